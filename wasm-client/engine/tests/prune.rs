//! Rows that are upstream leave the file: only those, for good, and provably.

use std::collections::BTreeSet;

use crate::common::upstream::{Rows, Upstream, rows_of, world};
use crate::common::{TestClock, World, schema};
use tidemark_client::prune::{self, TableReport, prune};
use tidemark_client::sync::{Config, Patience, StopKind};
use tidemark_client::verify::{self, Kind, Means, PrunedDifference, Report, verify};
use tidemark_client::{Error, Store, rusqlite};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::sqlite::create_table;
use tidemark_core::timestamp;
use tidemark_core::value::Value;

const DAY_US: i64 = 86_400_000_000;

fn time_us(text: &str) -> i64 {
    timestamp::parse(text.as_bytes()).unwrap()
}

fn with_means<R>(upstream: &mut Upstream, clock: &mut TestClock, work: impl FnOnce(&mut Means<'_>) -> R) -> R {
    let patience = Patience { failures: 4, wait_ms: 60_000 };
    work(&mut Means { transport: upstream, clock, patience, config: Config::interactive(1) })
}

#[track_caller]
fn pruned_before(store: &mut Store, upstream: &mut Upstream, clock: &mut TestClock, before: &str) -> TableReport {
    let wish = prune::Wish { before_us: time_us(before), ..prune::Wish::default() };
    match with_means(upstream, clock, |means| prune(store, means, &wish)).unwrap() {
        prune::Outcome::Pruned(mut reports) => reports.remove(0),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn verified(store: &mut Store, upstream: &mut Upstream, clock: &mut TestClock, repair: bool) -> Report {
    let wish = verify::Wish { table: None, push: true, repair, detailed: 5 };
    match with_means(upstream, clock, |means| verify(store, means, &wish)).unwrap() {
        verify::Outcome::Compared { report, .. } => report,
        other => panic!("{other:?}"),
    }
}

fn ids(store: &Store, of: &str) -> BTreeSet<i64> {
    let mut query = store.connection().prepare(&format!("SELECT id FROM reading WHERE {of}")).unwrap();
    query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The row of a local id upstream.
fn upstream_row(upstream: &Upstream, local: i64) -> (usize, Identity) {
    let mut rows = upstream.rows.keys().filter(|(table, _)| *table == 1);
    *rows.find(|(_, identity)| matches!(identity.key, Key::Integer(id) if id & 0xffff_ffff == local)).unwrap()
}

#[test]
fn old_rows_that_upstream_holds_go_and_all_is_still_proved() {
    let (mut store, mut upstream, mut clock, _folder) = world(1200);
    let last_seq = store.last_seq().unwrap();
    let schema_before = schema_of(&store);
    let old = ids(&store, "at < '2024-06-10'");
    let young = ids(&store, "at >= '2024-06-10'");
    let report = pruned_before(&mut store, &mut upstream, &mut clock, "2024-06-10 00:00:00");
    assert_eq!(
        (report.pruned, report.kept.newest),
        (old.len() as u64 - u64::from(old.contains(&1200)), u64::from(old.contains(&1200)))
    );
    assert_eq!(store.pruned_rows().unwrap(), report.pruned);
    assert_eq!(ids(&store, "1"), young.iter().copied().chain(old.contains(&1200).then_some(1200)).collect());
    assert!(report.pruned > 300, "{report:?}");
    // The log is as if nothing had happened, and goes on as before.
    assert_eq!((store.last_seq().unwrap(), store.log(9).unwrap().len()), (last_seq, 0));
    let added: Vec<String> = schema_of(&store).into_iter().filter(|sql| !schema_before.contains(sql)).collect();
    assert!(added.len() == 4 && added.iter().all(|sql| sql.contains("_pruned")), "{added:?}");
    let clean = verified(&mut store, &mut upstream, &mut clock, false);
    assert!(clean.is_equal() && clean.requests <= 2, "{clean:?}");
    assert_eq!((clean.tables[1].rows, clean.tables[1].pruned), (1200 - report.pruned, report.pruned));
    store.execute("INSERT INTO reading (site_id, at, n) VALUES (1, '2024-01-01', 1)", []).unwrap();
    assert_eq!(store.last_seq().unwrap(), last_seq + 1);
    // Once more: nothing is left to do, but for what came meanwhile and is not upstream.
    let again = pruned_before(&mut store, &mut upstream, &mut clock, "2024-06-10 00:00:00");
    assert_eq!(again.pruned, 0, "{again:?}");
}

fn schema_of(store: &Store) -> Vec<String> {
    let mut query = store.connection().prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").unwrap();
    query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn what_upstream_loses_of_pruned_rows_is_found_by_its_day_and_never_repaired_away() {
    for (answers_max, listed_max) in [(usize::MAX, 10_000), (1, 5)] {
        let (mut store, mut upstream, mut clock, _folder) = world(1200);
        pruned_before(&mut store, &mut upstream, &mut clock, "2024-06-10 00:00:00");
        (upstream.answers_max, upstream.listed_max) = (answers_max, listed_max);
        let whole = upstream.rows.clone();
        let gone: Vec<i64> = (1..1200).filter(|id| !ids(&store, "1").contains(id)).collect();
        let [lost, changed, moved] = [gone[0], gone[100], gone[200]].map(|id| upstream_row(&upstream, id));
        upstream.rows.remove(&lost).unwrap();
        *upstream.rows.get_mut(&changed).unwrap().last_mut().unwrap() = Value::Text("other".into());
        let row = upstream.rows.remove(&moved).unwrap();
        let to = (1, Identity { time_us: time_us("2023-01-01 12:00:00"), ..moved.1 });
        upstream.rows.insert(to, row.clone());
        // A row that nobody pruned, on a day with pruned rows; and one that is still here.
        let Key::Integer(key) = lost.1.key else { panic!() };
        let extra = (1, Identity { key: Key::Integer(key + 5_000), time_us: changed.1.time_us + 1 });
        upstream.rows.insert(extra, row);
        let here = upstream_row(&upstream, *ids(&store, "at < '2024-06-20'").first().unwrap());
        *upstream.rows.get_mut(&here).unwrap().last_mut().unwrap() = Value::Text("other".into());
        let report = verified(&mut store, &mut upstream, &mut clock, false);
        let day = |identity: Identity| identity.time_us.div_euclid(DAY_US) * DAY_US;
        let of_day = |us: i64| -> u64 {
            let same = |id: &&i64| {
                whole
                    .keys()
                    .any(|(table, row)| *table == 1 && day(*row) == us && row.key == Key::Integer((3 << 32) | **id))
            };
            gone.iter().filter(same).count() as u64
        };
        let mut wanted: Vec<(i64, u64, u64)> = vec![
            (day(lost.1), of_day(day(lost.1)), of_day(day(lost.1)) - 1),
            (day(changed.1), of_day(day(changed.1)), of_day(day(changed.1))),
            (day(moved.1), of_day(day(moved.1)), of_day(day(moved.1)) - 1),
            (day(to.1), 0, 1),
        ];
        wanted.sort_unstable();
        let found = |day: &PrunedDifference| (day.day_us, day.here, day.upstream);
        assert_eq!(report.pruned.iter().map(found).collect::<Vec<_>>(), wanted, "listed {listed_max}");
        let rows: Vec<_> = report.differences.iter().map(|row| (row.table, row.identity, row.kind)).collect();
        let mut differing = [(extra.0, extra.1, Kind::Extra), (here.0, here.1, Kind::Changed)];
        differing.sort_unstable_by_key(|row| row.1);
        assert_eq!(rows, differing);
        assert_eq!(report.found(), 6);
        // The fake server applies nothing; of pruned rows nothing is sent.
        let last_seq = store.last_seq().unwrap();
        let after = verified(&mut store, &mut upstream, &mut clock, true);
        assert_eq!(store.last_seq().unwrap(), last_seq + 2);
        assert_eq!(after.pruned, report.pruned);
        upstream.rows = whole;
        assert!(verified(&mut store, &mut upstream, &mut clock, true).is_equal());
    }
}

#[test]
fn what_is_not_proved_to_be_upstream_stays() {
    let (mut store, mut upstream, mut clock, _folder) = world(200);
    let readings: Vec<_> = upstream.rows.keys().copied().filter(|(table, _)| *table == 1).collect();
    upstream.rows.remove(&readings[17]);
    *upstream.rows.get_mut(&readings[50]).unwrap().last_mut().unwrap() = Value::Text("other".into());
    // Written past capture: in no log, not upstream.
    let trigger: String = store
        .connection()
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'tidemark_reading_after_insert'", [], |row| row.get(0))
        .unwrap();
    store.connection().execute_batch("DROP TRIGGER tidemark_reading_after_insert; INSERT INTO reading (id, at, n) VALUES (9000, '2023-12-01', 1)").unwrap();
    store.connection().execute_batch(&trigger).unwrap();
    // Rejected, and given up.
    store.execute("UPDATE reading SET n = 'many' WHERE id IN (4, 5)", []).unwrap();
    store.execute("UPDATE reading SET n = 5 WHERE id = 6", []).unwrap();
    upstream.server.reject = vec![store.last_seq().unwrap()];
    common_push(&mut store, &mut upstream, &mut clock);
    let seqs: Vec<u64> = rejects(&store);
    store.discard_rejects(&seqs[..1], 1).unwrap();
    // Referenced by a table that only the program knows.
    store
        .connection()
        .execute_batch(
            "CREATE TABLE audit (of INTEGER REFERENCES reading ON DELETE CASCADE); INSERT INTO audit VALUES (7), (8)",
        )
        .unwrap();
    // A program writes while the server is asked.
    let path = store.file().to_owned();
    let mut turn = 0;
    upstream.meanwhile = Box::new(move || {
        turn += 1;
        let program = rusqlite::Connection::open(&path).unwrap();
        program.execute("UPDATE reading SET x = x + 1 WHERE id = ?1", [20 + turn]).unwrap();
        program.execute("INSERT INTO audit VALUES (?1)", [40 + turn]).unwrap();
    });
    let report = pruned_before(&mut store, &mut upstream, &mut clock, "2030-01-01 00:00:00");
    upstream.meanwhile = Box::new(|| ());
    assert_eq!((report.kept.rejected, report.kept.differing), (1, 2), "{report:?}");
    assert_eq!(report.kept.newest, 1, "row 9000 is the newest: {report:?}");
    let mut left = ids(&store, "1");
    for row in [&readings[17], &readings[50]] {
        let Key::Integer(id) = row.1.key else { panic!() };
        assert!(left.remove(&(id & 0xffff_ffff)));
    }
    assert_eq!(left.iter().copied().take(5).collect::<Vec<_>>(), [4, 5, 6, 7, 8], "{left:?}");
    assert!(left.contains(&21) && left.contains(&41) && left.contains(&9000));
    assert_eq!(store.log(9).unwrap().len() as i64, turns(&store), "the writer's changes, and nothing else");
    assert_eq!(store.connection().query_row("SELECT count(*) FROM audit WHERE of < 10", [], |row| row.get(0)), Ok(2));
}

fn turns(store: &Store) -> i64 {
    store.connection().query_row("SELECT count(*) FROM audit WHERE of > 10", [], |row| row.get(0)).unwrap()
}

fn rejects(store: &Store) -> Vec<u64> {
    let mut query = store.connection().prepare("SELECT seq FROM tidemark_rejects ORDER BY seq").unwrap();
    query.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(|seq| seq.unwrap().unsigned_abs()).collect()
}

fn common_push(store: &mut Store, upstream: &mut Upstream, clock: &mut TestClock) {
    use tidemark_client::sync::{Drained, Engine, drain};
    let mut engine = Engine::new(Config::interactive(3));
    engine.resume(store).unwrap();
    let patience = Patience { failures: 4, wait_ms: 60_000 };
    let drained = drain(store, &mut engine, upstream, clock, patience, &mut |_| ()).unwrap();
    assert!(matches!(drained, Drained::Done(_)), "{drained:?}");
}

#[test]
fn the_ids_of_pruned_rows_are_never_given_again() {
    let (mut store, mut upstream, mut clock, folder) = world(100);
    let report = pruned_before(&mut store, &mut upstream, &mut clock, "2030-01-01 00:00:00");
    assert_eq!((report.pruned, report.kept.newest, ids(&store, "1")), (99, 1, [100].into()));
    let path = folder.path().join("field.db");
    let program = rusqlite::Connection::open(&path).unwrap();
    for sql in [
        "INSERT INTO reading (id, n) VALUES (7, 1)",
        "INSERT OR REPLACE INTO reading (id, n) VALUES (99, 1)",
        "INSERT INTO reading (n) VALUES (1), (2); UPDATE reading SET id = 1 WHERE id = 102",
    ] {
        let refused = program.execute_batch(sql).unwrap_err().to_string();
        assert!(
            refused.contains("was pruned from this file and is upstream; give the new row another one"),
            "{refused}"
        );
    }
    assert_eq!(ids(&store, "1"), [100, 101, 102].into());
    program.execute_batch("UPDATE reading SET n = 5 WHERE id = 7; DELETE FROM reading WHERE id = 8; DELETE FROM reading WHERE id > 99").unwrap();
    program.execute("INSERT INTO reading (n) VALUES (3)", []).unwrap();
    assert_eq!(ids(&store, "1"), [103].into());
    let logged: Vec<String> = store.log(9).unwrap().into_iter().map(|row| format!("{:?}", row.op)).collect();
    assert_eq!(logged.len(), 6, "{logged:?}");
    // Whoever drops the triggers has them made anew.
    program.execute_batch("DROP TRIGGER tidemark_reading_pruned_insert").unwrap();
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.take_repairs().len(), 1);
    assert!(store.execute("INSERT INTO reading (id, n) VALUES (7, 1)", []).is_err());
}

#[test]
fn a_table_whose_deletes_do_more_is_left_alone() {
    let (mut store, mut upstream, mut clock, _folder) = world(50);
    for more in [
        "DELETE FROM site WHERE id = 2",
        "INSERT INTO journal VALUES (OLD.id)",
        "UPDATE reading SET n = 0 WHERE id = 50",
    ] {
        store.connection().execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS journal (of); DROP TRIGGER IF EXISTS own; CREATE TRIGGER own AFTER DELETE ON reading BEGIN {more}; END"
        )).unwrap();
        let before = (rows_of(store.connection()), store.last_seq().unwrap());
        let report = pruned_before(&mut store, &mut upstream, &mut clock, "2030-01-01 00:00:00");
        assert!(
            report.pruned == 0
                && report.refused.as_deref().is_some_and(|why| why.contains("a trigger of the program's own")),
            "{report:?}"
        );
        assert_eq!((rows_of(store.connection()), store.last_seq().unwrap()), before);
        assert_eq!(store.connection().query_row("SELECT count(*) FROM journal", [], |row| row.get(0)), Ok(0));
    }
    store
        .connection()
        .execute_batch("DROP TRIGGER own; CREATE TABLE other (n INTEGER REFERENCES reading (n))")
        .unwrap();
    let report = pruned_before(&mut store, &mut upstream, &mut clock, "2030-01-01 00:00:00");
    assert!(report.refused.is_some_and(|why| why.contains("other.n references another column")));
    store.connection().execute_batch("DROP TABLE other").unwrap();
    assert_eq!(pruned_before(&mut store, &mut upstream, &mut clock, "2030-01-01 00:00:00").pruned, 49);
}

#[test]
fn what_cannot_be_pruned_is_said_and_nothing_changes() {
    let world = World::new();
    world.store.execute("INSERT INTO reading (at) VALUES ('2020-01-01')", []).unwrap();
    let World { mut store, server, mut clock, .. } = world;
    let mut upstream = Upstream::new(server);
    let wish = prune::Wish { before_us: i64::MAX, ..prune::Wish::default() };
    let outcome = with_means(&mut upstream, &mut clock, |means| prune(&mut store, means, &wish)).unwrap();
    let prune::Outcome::Stopped(stop) = outcome else { panic!("{outcome:?}") };
    assert!(
        stop.kind() == StopKind::NotJoined && stop.to_string().contains("nothing of it is durable upstream"),
        "{stop}"
    );
    for (table, says) in [("site", "has no time column"), ("sites", "its tables are: site, reading")] {
        let wish = prune::Wish { table: Some(table.to_owned()), ..prune::Wish::default() };
        let error = with_means(&mut upstream, &mut clock, |means| prune(&mut store, means, &wish)).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(ids(&store, "1").len(), 1);
}

#[test]
fn a_dry_run_changes_nothing_and_programs_that_do_not_know_pruning_refuse_the_file() {
    let (mut store, mut upstream, mut clock, _folder) = world(100);
    let format = |store: &Store| -> i64 {
        store.connection().query_row("SELECT format FROM tidemark_station", [], |row| row.get(0)).unwrap()
    };
    let before = (rows_of(store.connection()), schema_of(&store));
    let wish = prune::Wish { before_us: i64::MAX, table: Some("reading".into()), dry_run: true };
    let outcome = with_means(&mut upstream, &mut clock, |means| prune(&mut store, means, &wish)).unwrap();
    assert!(matches!(&outcome, prune::Outcome::Pruned(reports) if reports[0].pruned == 99), "{outcome:?}");
    assert_eq!((rows_of(store.connection()), schema_of(&store), format(&store)), (before.0, before.1, 2));
    pruned_before(&mut store, &mut upstream, &mut clock, "2030-01-01 00:00:00");
    assert_eq!(format(&store), 3);
    store.execute("UPDATE tidemark_station SET format = 4", []).unwrap();
    let path = store.file().to_owned();
    assert!(matches!(Store::open(path), Err(Error::Newer { found: 4, known: 3, .. })));
}

mod random {
    use super::*;
    use proptest::prelude::*;

    /// What a program, or an operator, does.
    #[derive(Debug, Clone)]
    enum Deed {
        Insert { rows: u8, day: u8 },
        Change { which: u16 },
        Move { which: u16, day: u8 },
        Delete { which: u16 },
        Prune { day: u8, meanwhile: bool },
        Reopen,
        Spoil { which: u16 },
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            4 => (1..60u8, 0..40u8).prop_map(|(rows, day)| Deed::Insert { rows, day }),
            2 => any::<u16>().prop_map(|which| Deed::Change { which }),
            1 => (any::<u16>(), 0..40u8).prop_map(|(which, day)| Deed::Move { which, day }),
            1 => any::<u16>().prop_map(|which| Deed::Delete { which }),
            3 => (0..45u8, any::<bool>()).prop_map(|(day, meanwhile)| Deed::Prune { day, meanwhile }),
            1 => Just(Deed::Reopen),
            2 => any::<u16>().prop_map(|which| Deed::Spoil { which }),
        ]
    }

    fn time(day: u8, n: i64) -> String {
        timestamp::format(time_us("2024-01-10 00:00:00") + i64::from(day) * DAY_US + n * 3_571_000_000)
    }

    /// The station's file, and one like it that is never pruned.
    struct Twins {
        store: Store,
        upstream: Upstream,
        clock: TestClock,
        whole: rusqlite::Connection,
        _folder: tempfile::TempDir,
    }

    impl Twins {
        fn new() -> Self {
            let (store, upstream, clock, folder) = world(1);
            let whole = rusqlite::Connection::open(folder.path().join("whole.db")).unwrap();
            for table in schema().tables() {
                whole.execute_batch(&create_table(&schema(), table)).unwrap();
            }
            whole
                .execute_batch(
                    "INSERT INTO site (name) VALUES ('a'), ('b'), ('c');
                     INSERT INTO reading (site_id, at, n, x) VALUES (2, datetime(1700076543, 'unixepoch'), 1, 1 / 7.0)",
                )
                .unwrap();
            Self { store, upstream, clock, whole, _folder: folder }
        }

        fn both(&self, sql: &str) {
            self.store.connection().execute_batch(sql).unwrap();
            self.whole.execute_batch(sql).unwrap();
        }

        /// One of the rows that are here.
        fn one(&self, which: u16) -> Option<i64> {
            let ids: Vec<i64> = ids(&self.store, "1").into_iter().collect();
            (!ids.is_empty()).then(|| ids[usize::from(which) % ids.len()])
        }

        /// Pushes: upstream holds what the whole file holds.
        fn push(&mut self) {
            common_push(&mut self.store, &mut self.upstream, &mut self.clock);
            self.upstream.rows = rows_of(&self.whole);
        }

        fn report(&mut self) -> Report {
            verified(&mut self.store, &mut self.upstream, &mut self.clock, false)
        }

        fn do_deed(&mut self, deed: &Deed) {
            match *deed {
                Deed::Insert { rows, day } => {
                    let insert = |n: i64| {
                        format!(
                            "INSERT INTO reading (site_id, at, n, x) VALUES (1 + {n} % 3, '{}', {n}, 0.5)",
                            time(day, n % 50)
                        )
                    };
                    let inserts: Vec<String> = (0..i64::from(rows)).map(insert).collect();
                    self.both(&format!("BEGIN; {}; COMMIT", inserts.join("; ")));
                }
                Deed::Change { which } => {
                    if let Some(id) = self.one(which) {
                        self.both(&format!("UPDATE reading SET n = n + 1 WHERE id = {id}"));
                    }
                }
                Deed::Move { which, day } => {
                    if let Some(id) = self.one(which) {
                        self.both(&format!("UPDATE reading SET at = '{}' WHERE id = {id}", time(day, 7)));
                    }
                }
                Deed::Delete { which } => {
                    if let Some(id) = self.one(which) {
                        self.both(&format!("DELETE FROM reading WHERE id = {id}"));
                    }
                }
                Deed::Prune { day, meanwhile } => {
                    self.push();
                    let newest = ids(&self.store, "1").pop_last();
                    if let (true, Some(id)) = (meanwhile, newest) {
                        let files = [self.store.file().to_owned(), self.whole.path().unwrap().to_owned()];
                        let first = ids(&self.store, "1").pop_first().unwrap();
                        let mut turn = 0;
                        self.upstream.meanwhile = Box::new(move || {
                            turn += 1;
                            if turn > 2 {
                                return;
                            }
                            for file in &files {
                                let program = rusqlite::Connection::open(file).unwrap();
                                program
                                    .execute(
                                        "UPDATE reading SET n = n + 100 WHERE id IN (?1, ?2) AND ?3 = 1",
                                        (first, id, turn),
                                    )
                                    .unwrap();
                                program.execute("DELETE FROM reading WHERE id = ?1 AND ?2 = 2", (id, turn)).unwrap();
                            }
                        });
                    }
                    let log = self.store.last_seq().unwrap();
                    let report = pruned_before(&mut self.store, &mut self.upstream, &mut self.clock, &time(day, 0));
                    self.upstream.meanwhile = Box::new(|| ());
                    assert_eq!((report.refused, report.kept.differing), (None, 0));
                    let status = self.store.status().unwrap();
                    assert_eq!(status.tidemark, log);
                    assert_eq!(self.store.log(9999).unwrap().len() as u64, status.pending);
                    if !meanwhile {
                        let old = ids(&self.store, &format!("at < '{}'", time(day, 0)));
                        assert!(old.len() <= 1, "{old:?}");
                    }
                }
                Deed::Reopen => {
                    let path = self.store.file().to_owned();
                    self.store = Store::open(path).unwrap();
                    assert_eq!(self.store.take_repairs(), []);
                }
                Deed::Spoil { which } => {
                    self.push();
                    let whole: Rows = self.upstream.rows.clone();
                    let readings: Vec<_> = whole.keys().copied().filter(|(table, _)| *table == 1).collect();
                    if readings.is_empty() {
                        return;
                    }
                    let row = readings[usize::from(which) % readings.len()];
                    if which % 2 == 0 {
                        self.upstream.rows.remove(&row);
                    } else {
                        *self.upstream.rows.get_mut(&row).unwrap().last_mut().unwrap() = Value::Text("other".into());
                    }
                    let report = self.report();
                    assert_eq!(report.found(), 1, "{row:?}: {report:?}");
                    self.upstream.rows = whole;
                }
            }
        }

        /// Every row is here or pruned, never both; upstream has all of them.
        fn check(&mut self) {
            self.push();
            let report = self.report();
            assert!(report.is_equal(), "{report:?}");
            let (here, whole) = (rows_of(self.store.connection()), rows_of(&self.whole));
            assert!(here.iter().all(|(id, row)| whole.get(id) == Some(row)));
            // A pruned row is changed or deleted by no program any more, so upstream keeps it.
            assert_eq!((whole.len() - here.len()) as u64, self.store.pruned_rows().unwrap());
            assert_eq!(report.tables[1].pruned, self.store.pruned_rows().unwrap());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_history_of_writes_and_prunes_loses_no_row_and_stays_provable(deeds in prop::collection::vec(deed(), 1..24)) {
            let mut twins = Twins::new();
            for deed in &deeds {
                twins.do_deed(deed);
            }
            twins.check();
        }
    }
}
