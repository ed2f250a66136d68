//! The planner against a naive model: whatever the changes, wherever the batches are cut, verdicts and rows are as if
//! every change came alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::common::station::{Change, Station, day, text};
use crate::common::stores::{Kind, POISON, Store};
use crate::common::{NOON_MS, TestClock, field};
use proptest::prelude::*;
use tidemark_core::batch::Op;
use tidemark_core::protocol::PushReply;
use tidemark_core::value::Value;
use tidemark_memory::MemoryUpstream;
use tidemark_server::upstream::Upstream;

/// A change in small words: few keys, few times, so that they meet often.
#[derive(Debug, Clone)]
enum Step {
    Site { op: Op, n: i64, parent: Option<i64>, name: bool },
    Reading { op: Op, n: i64, day: i64, site: Option<i64>, tag: Option<u8>, poison: bool },
    Tag { op: Op, n: u8, site: Option<i64> },
    Remark { op: Op, n: i64, reading: Option<i64> },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![3 => Just(Op::Insert), 2 => Just(Op::Update), 3 => Just(Op::Delete)]
}

fn step() -> impl Strategy<Value = Step> {
    let key = 1..5_i64;
    let reference = prop::option::weighted(0.7, 1..5_i64);
    prop_oneof![
        3 => (op(), key.clone(), reference.clone(), prop::bool::weighted(0.9))
            .prop_map(|(op, n, parent, name)| Step::Site { op, n, parent, name }),
        3 => (op(), key.clone(), 1..4_i64, reference.clone(), prop::option::weighted(0.4, 1..4_u8), prop::bool::weighted(0.1))
            .prop_map(|(op, n, day, site, tag, poison)| Step::Reading { op, n, day, site, tag, poison }),
        2 => (op(), 1..4_u8, reference.clone()).prop_map(|(op, n, site)| Step::Tag { op, n, site }),
        1 => (op(), key, reference).prop_map(|(op, n, reading)| Step::Remark { op, n, reading }),
    ]
}

fn uid(n: u8) -> [u8; 16] {
    [n; 16]
}

fn change(station: &Station, step: &Step) -> Change {
    let id = |n: Option<i64>| n.map_or(Value::Null, |n| station.id(n));
    match step {
        Step::Site { op: Op::Delete, n, .. } => station.delete("site", *n),
        Step::Site { op, n, parent, name } => {
            let name = if *name { text("s") } else { Value::Null };
            Change { op: *op, ..station.insert("site", *n, &[("name", name), ("parent_id", id(*parent))]) }
        }
        Step::Reading { op: Op::Delete, n, day: at, .. } => station.delete_at("reading", *n, day(*at)),
        Step::Reading { op, n, day: at, site, tag, poison } => {
            let tag = tag.map_or(Value::Null, |n| Value::Uuid(uid(n)));
            let note = if *poison { text(POISON) } else { Value::Null };
            let set = [("site_id", id(*site)), ("tag_uid", tag), ("note", note)];
            Change { op: *op, ..station.reading(*n, day(*at), &set) }
        }
        Step::Tag { op, n, site } => {
            let mut change = station.tag(*op, uid(*n), "t");
            if *op != Op::Delete {
                change.values[2] = id(*site);
            }
            change
        }
        Step::Remark { op: Op::Delete, n, .. } => station.delete("remark", *n),
        Step::Remark { op, n, reading } => {
            Change { op: *op, ..station.insert("remark", *n, &[("reading_id", id(*reading))]) }
        }
    }
}

/// The model: one map per table, one change at a time, every rule written out.
#[derive(Default)]
struct Model {
    sites: BTreeMap<i64, (Option<i64>, Vec<Value>)>,
    readings: BTreeMap<(i64, i64), Vec<Value>>,
    tags: BTreeMap<u8, (Option<i64>, Vec<Value>)>,
    remarks: BTreeMap<i64, Vec<Value>>,
    /// Rows whose last insert or update was rejected.
    rejected: BTreeSet<(&'static str, i64)>,
}

/// Table and key.
fn row_of(step: &Step) -> (&'static str, i64) {
    match step {
        Step::Site { n, .. } => ("site", *n),
        Step::Reading { n, .. } => ("reading", *n),
        Step::Tag { n, .. } => ("tag", i64::from(*n)),
        Step::Remark { n, .. } => ("remark", *n),
    }
}

fn is_delete(step: &Step) -> bool {
    let (Step::Site { op, .. } | Step::Reading { op, .. } | Step::Tag { op, .. } | Step::Remark { op, .. }) = step;
    *op == Op::Delete
}

impl Model {
    fn apply(&mut self, step: &Step, values: Vec<Value>) -> Option<&'static str> {
        let verdict = self.judge(step, values);
        match verdict {
            None => drop(self.rejected.remove(&row_of(step))),
            Some(_) if !is_delete(step) => drop(self.rejected.insert(row_of(step))),
            Some(_) => {}
        }
        verdict
    }

    fn absent(&self, table: &'static str, key: i64) -> &'static str {
        if self.rejected.contains(&(table, key)) { "parent" } else { "reference" }
    }

    fn judge(&mut self, step: &Step, values: Vec<Value>) -> Option<&'static str> {
        match step {
            Step::Site { op: Op::Delete, n, .. } => {
                let under = self.sites.iter().any(|(key, (parent, _))| key != n && *parent == Some(*n));
                if under || self.tags.values().any(|(site, _)| *site == Some(*n)) {
                    return Some("referenced");
                }
                self.sites.remove(n);
            }
            Step::Site { name: false, .. } => return Some("required"),
            Step::Site { n, parent, .. } => {
                if let Some(parent) = parent.filter(|parent| parent != n && !self.sites.contains_key(parent)) {
                    return Some(self.absent("site", parent));
                }
                self.sites.insert(*n, (*parent, values));
            }
            Step::Reading { op: Op::Delete, n, day, .. } => drop(self.readings.remove(&(*n, *day))),
            Step::Reading { n, day, site, tag, poison, .. } => {
                if let Some(site) = site.filter(|site| !self.sites.contains_key(site)) {
                    return Some(self.absent("site", site));
                }
                if let Some(tag) = tag.filter(|tag| !self.tags.contains_key(tag)) {
                    return Some(self.absent("tag", tag.into()));
                }
                if *poison {
                    return Some("constraint");
                }
                self.readings.insert((*n, *day), values);
            }
            Step::Tag { op: Op::Delete, n, .. } => drop(self.tags.remove(n)),
            Step::Tag { n, site, .. } => {
                if let Some(site) = site.filter(|site| !self.sites.contains_key(site)) {
                    return Some(self.absent("site", site));
                }
                self.tags.insert(*n, (*site, values));
            }
            Step::Remark { op: Op::Delete, n, .. } => drop(self.remarks.remove(n)),
            Step::Remark { n, reading, .. } => {
                if let Some(reading) = reading.filter(|reading| !self.readings.keys().any(|(key, _)| key == reading)) {
                    return Some(self.absent("reading", reading));
                }
                self.remarks.insert(*n, values);
            }
        }
        None
    }

    fn rows(&self, table: &str) -> Vec<Vec<Value>> {
        match table {
            "site" => self.sites.values().map(|(_, values)| values.clone()).collect(),
            "reading" => self.readings.values().cloned().collect(),
            "tag" => self.tags.values().map(|(_, values)| values.clone()).collect(),
            _ => self.remarks.values().cloned().collect(),
        }
    }
}

/// Gives every poisoned row a key of its own: an image that a later change of the batch replaces is never written, so a
/// constraint beyond the schema does not see it, which the model knows nothing of. Remarks that reference nothing
/// reference the last of them.
fn lone_poison(mut steps: Vec<Step>) -> Vec<Step> {
    let mut last = None;
    for (at, step) in (100..).zip(&mut steps) {
        match step {
            Step::Reading { op: Op::Insert | Op::Update, n, poison: true, .. } => {
                *n = at;
                last = Some(at);
            }
            Step::Remark { reading: reading @ None, .. } => *reading = last,
            _ => {}
        }
    }
    steps
}

/// A station's changes make rows as SQLite would: one row per key, whatever its time. What a station cannot log is left
/// out.
fn honest(steps: Vec<Step>) -> Vec<Step> {
    let mut at: BTreeMap<i64, i64> = BTreeMap::new();
    let mut log = Vec::new();
    for step in steps {
        match step {
            Step::Reading { op: Op::Delete, n, site, tag, poison, .. } => {
                if let Some(day) = at.remove(&n) {
                    log.push(Step::Reading { op: Op::Delete, n, day, site, tag, poison });
                }
            }
            Step::Reading { op, n, day, site, tag, poison } => {
                let before = at.insert(n, day);
                if let Some(before) = before.filter(|&before| before != day) {
                    log.push(Step::Reading { op: Op::Delete, n, day: before, site, tag, poison });
                    log.push(Step::Reading { op: Op::Insert, n, day, site, tag, poison });
                } else {
                    log.push(Step::Reading { op, n, day, site, tag, poison });
                }
            }
            other => log.push(other),
        }
    }
    log
}

fn codes(reply: &PushReply) -> Vec<(u64, &'static str)> {
    reply.rejected.iter().map(|rejected| (rejected.seq, rejected.code.as_str())).collect()
}

/// Pushes the steps, cut where `cuts` say, and compares verdicts and rows with the model.
async fn check(store: &Store, station: &mut Station, steps: &[Step], cuts: &[usize], model: &mut Model) {
    let mut rest = steps;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
        rest = tail;
        let changes: Vec<Change> = head.iter().map(|step| change(station, step)).collect();
        let first = station.seq + 1;
        let batch = station.cut(&changes);
        let wanted: Vec<(u64, &str)> = (first..)
            .zip(head.iter().zip(&changes))
            .filter_map(|(seq, (step, change))| Some((seq, model.apply(step, change.values.clone())?)))
            .collect();
        let reply = store.push(&batch).await.unwrap();
        assert_eq!(codes(&reply), wanted, "on {:?}, the batch {head:#?}", store.kind);
        // Every change ends as one of the three, also when it comes again.
        assert_eq!(reply.applied as usize + reply.rejected.len(), head.len());
        let again = store.push(&batch).await.unwrap();
        assert_eq!((again.applied, again.duplicate as usize, codes(&again)), (0, head.len(), wanted));
    }
    for table in ["site", "reading", "tag", "remark"] {
        store.has(station, table, &model.rows(table)).await;
    }
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..30_usize, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn any_batch_has_the_verdicts_and_rows_of_its_changes_one_by_one(
        steps in prop::collection::vec(step(), 1..80),
        cuts in cuts(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(Kind::Memory, &[field()]).await;
            let mut station = store.join("north").await;
            check(&store, &mut station, &lone_poison(steps), &cuts, &mut Model::default()).await;
        });
    }
}

/// The same on the real stores: fewer runs, one long log each, so that a batch meets rows of many earlier ones.
async fn long_log(kind: Kind) {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let store = Store::open(kind, &[field()]).await;
    for seed in 0..6_u8 {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let steps = prop::collection::vec(step(), 300).new_tree(&mut runner).unwrap().current();
        let cuts = cuts().new_tree(&mut runner).unwrap().current();
        let mut station = store.join(&format!("station {seed}")).await;
        // Keys of tags are uuids, shared by all stations: each seed has its own.
        let steps: Vec<Step> = honest(lone_poison(steps))
            .into_iter()
            .map(|step| match step {
                Step::Tag { op, n, site } => Step::Tag { op, n: n + seed * 10, site },
                Step::Reading { op, n, day, site, tag, poison } => {
                    Step::Reading { op, n, day, site, tag: tag.map(|tag| tag + seed * 10), poison }
                }
                other => other,
            })
            .collect();
        check(&store, &mut station, &steps, &cuts, &mut Model::default()).await;
    }
}

#[tokio::test]
async fn a_long_log_into_embedded() {
    long_log(Kind::Sqlite).await;
}

#[tokio::test]
async fn a_long_log_into_plain_postgres() {
    long_log(Kind::PlainPostgres).await;
}

#[tokio::test]
async fn a_long_log_into_timescale() {
    long_log(Kind::Timescale).await;
}

/// The simulation's way: no runtime, no thread, no clock of the machine.
#[test]
fn memory_needs_no_runtime() {
    use futures_util::FutureExt as _;
    let schema = field();
    let memory: Arc<dyn Upstream> = Arc::new(MemoryUpstream::new(Arc::clone(&schema)));
    let ingest = crate::common::stores::ingest(&memory, &schema, &TestClock::new());
    let number = tidemark_core::ids::StationNumber::new(1).unwrap();
    let station = Station::new(&schema, 1, [1; 16]);
    let pushed = ingest.push(number, &crate::common::station::frame(&station.peek(&[station.site(1)]))).now_or_never();
    let problem = pushed.expect("nothing to wait for").unwrap_err();
    assert!(problem.detail.contains("no cursor"), "{problem:?} at {NOON_MS}");
}
