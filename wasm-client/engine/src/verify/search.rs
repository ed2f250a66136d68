//! The search: a state machine that asks the server about ever smaller ranges. One request is in flight at a time; the file is read anew
//! for every question, so nothing is locked while the network is slow.

use std::collections::VecDeque;

use tidemark_core::decision::Cursor;
use tidemark_core::identity::Identity;
use tidemark_core::limits::{FIND_CELLS_MAX, FIND_ROWS_MAX, LISTED_ROWS_MAX, RANGES_MAX};
use tidemark_core::protocol::Problem;
use tidemark_core::survey::{Answer, Ask, DigestReply, DigestRequest, ListedRow, Question, Range};
use tidemark_core::value::ColumnType;

use super::judge::{Judgement, Standing, judge, stands};
use super::pruned::ListedDays;
use super::ranges::{Part, list, split, whole};
use super::{DIFFERENCES_MAX, Difference, Kind, Report, TableReport};
use crate::error::Result;
use crate::meta;
use crate::rows::Rows;
use crate::store::Store;
use crate::sync::backoff::retry_after_ms;
use crate::sync::conversation::Joined;
use crate::sync::reply::{Read, read, stop_of};
use crate::sync::{Reply, Request, Stop};

/// A range with no more of the station's rows than this is listed, not cut.
const LISTED_RANGE_ROWS: u64 = 32;
/// Ranges cut at once, so that each is cut into at least 16 parts.
const CUT_AT_ONCE: usize = RANGES_MAX / 16;
/// The station's rows in the ranges of one request: what a server reads in a few seconds.
const ROWS_PER_REQUEST: u64 = 1_000_000;
/// How often in a row other processes may push in between before the search waits.
const STALE_MAX: u32 = 50;
/// How long a server may read.
const TIMEOUT_MS: u64 = 60_000;

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Perform this request and report its outcome.
    Send(Request),
    /// The search is over: [`Search::report`].
    Done,
    /// It cannot go on.
    Stopped(Stop),
}

/// What an outcome led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Go on.
    Progress,
    /// It did not work; the same is asked again.
    Failed {
        /// What happened.
        message: String,
        /// How long the server asks to wait, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// The reply follows another history than the log: [`crate::sync::agree`] finds out which.
    OtherHistory,
    /// It cannot go on.
    Stopped(Stop),
}

/// What is in flight.
#[derive(Debug, Clone)]
enum Asked {
    Digests(Vec<Part>),
    Rows { table: usize, ranges: Vec<Range> },
    Find { table: usize, suspects: Vec<Identity> },
}

impl Asked {
    /// Whether answers are of the kind that was asked for: of digests, those of the first tables' parts, at least of one table's.
    fn is_answered_by(&self, answers: &[Answer]) -> bool {
        match (self, answers) {
            (Self::Digests(parts), answers) => {
                let mut rest = &parts[..];
                for answer in answers {
                    let Answer::Digests(digests) = answer else { return false };
                    if rest.is_empty() || digests.len() != of_one_table(rest) {
                        return false;
                    }
                    rest = &rest[digests.len()..];
                }
                !answers.is_empty()
            }
            (Self::Rows { ranges, .. }, [Answer::Rows { rows, more }]) => lists(ranges, rows, *more),
            (Self::Find { .. }, [Answer::Found(_)]) => true,
            _ => false,
        }
    }
}

/// The search for rows that differ.
#[derive(Debug)]
pub struct Search {
    /// The tables to compare that are not cut yet, by number.
    tables: VecDeque<usize>,
    /// Ranges whose digests are to be compared, by table.
    compare: VecDeque<Part>,
    /// Ranges that differ and are to be listed, or cut.
    list: Vec<(usize, Range, u64)>,
    cut: Vec<(usize, Range)>,
    suspects: VecDeque<(usize, Identity)>,
    listed: ListedDays,
    /// Taken up again after a failure.
    again: Option<Asked>,
    in_flight: Option<(u64, Asked)>,
    next_id: u64,
    /// The first so many differences are asked for with their cells.
    detailed: usize,
    rows_per_request: u64,
    stale: u32,
    reports: Vec<(usize, TableReport)>,
    report: Report,
}

impl Search {
    /// A search over all tables, or over one. The first `detailed` differences say which cells differ.
    ///
    /// # Errors
    /// When there is no such table; the message lists those there are.
    pub fn new(store: &Store, table: Option<&str>, detailed: usize) -> Result<Self> {
        let mut tables: VecDeque<usize> = match table {
            None => (0..store.schema().tables().len()).collect(),
            Some(name) => {
                store.table(name)?;
                store.schema().table_index(name).into_iter().collect()
            }
        };
        // In a file that was another station before, rows keyed by uuids do not say which of both wrote them.
        if !store.former()?.is_empty() {
            tables.retain(|&table| store.schema().tables()[table].key_column().ty == ColumnType::Integer);
        }
        let report = Report {
            agreed: None,
            tables: Vec::new(),
            differences: Vec::new(),
            pruned: Vec::new(),
            complete: true,
            requests: 0,
        };
        Ok(Self {
            tables,
            compare: VecDeque::new(),
            list: Vec::new(),
            cut: Vec::new(),
            suspects: VecDeque::new(),
            listed: ListedDays::default(),
            again: None,
            in_flight: None,
            next_id: 1,
            detailed,
            rows_per_request: ROWS_PER_REQUEST,
            stale: 0,
            reports: Vec::new(),
            report,
        })
    }

    /// What was found.
    #[must_use]
    pub fn report(mut self) -> Report {
        self.report.tables = self.reports.into_iter().map(|(_, report)| report).collect();
        self.report.differences.sort_unstable_by_key(|found| (found.table, found.identity, found.kind));
        self.report
    }

    /// What to do now.
    ///
    /// # Errors
    /// What the store says; the search can be asked again.
    pub fn ask(&mut self, store: &mut Store) -> Result<Step> {
        let asked = match self.again.take() {
            Some(asked) => asked,
            None => match self.plan(store)? {
                Some(asked) => asked,
                None => return Ok(Step::Done),
            },
        };
        let schema = store.schema();
        let asks = asks_of(&asked, |table| schema.tables()[table].name.clone(), self.wants_cells());
        let request = match request_of(store, self.next_id, asks)? {
            Ok(request) => request,
            Err(stop) => return Ok(Step::Stopped(stop)),
        };
        self.next_id += 1;
        self.report.requests += 1;
        self.in_flight = Some((request.id, asked));
        Ok(Step::Send(request))
    }

    /// Finds the next question; reads the file as far as it needs to.
    fn plan(&mut self, store: &mut Store) -> Result<Option<Asked>> {
        loop {
            if self.report.differences.len() + self.suspects.len() >= DIFFERENCES_MAX {
                let left = [self.tables.len(), self.compare.len(), self.list.len(), self.cut.len()];
                self.report.complete &= left.iter().all(|&left| left == 0);
                self.tables.clear();
                self.compare.clear();
                self.list.clear();
                self.cut.clear();
            }
            if !self.list.is_empty() {
                return Ok(Some(self.next_listing()));
            }
            if !self.cut.is_empty() && self.compare.is_empty() {
                self.cut_some(store)?;
                continue;
            }
            if let Some(table) = self.tables.pop_front() {
                self.begin_table(store, table)?;
                // Several small tables go into one request.
                if !self.tables.is_empty()
                    && self.compare.len() < RANGES_MAX
                    && self.rows_to_compare() < self.rows_per_request
                {
                    continue;
                }
            }
            if !self.compare.is_empty() {
                return Ok(Some(Asked::Digests(self.next_parts())));
            }
            if let Some(&(table, _)) = self.suspects.front() {
                return Ok(Some(self.next_suspects(store, table)));
            }
            self.compare_pruned(store)?;
            return Ok(None);
        }
    }

    fn rows_to_compare(&self) -> u64 {
        self.compare.iter().map(|part| part.digest.rows()).sum()
    }

    fn begin_table(&mut self, store: &mut Store, index: usize) -> Result<()> {
        let whole = with_rows(store, |rows| whole(rows, index))?;
        let table = store.schema().tables()[index].name.clone();
        let (rows, ranges, unsendable, pruned) = (whole.rows, whole.filled, whole.unsendable, whole.pruned);
        let report = TableReport {
            table,
            rows,
            ranges,
            missing: 0,
            extra: 0,
            changed: 0,
            known: 0,
            pending: 0,
            unsendable,
            pruned,
        };
        self.reports.push((index, report));
        self.compare.extend(whole.parts);
        Ok(())
    }

    /// As many parts as one request may ask about.
    fn next_parts(&mut self) -> Vec<Part> {
        let (mut parts, mut rows) = (Vec::new(), 0);
        while let Some(part) = self.compare.front() {
            rows += part.digest.rows();
            if parts.len() >= RANGES_MAX || (rows > self.rows_per_request && !parts.is_empty()) {
                break;
            }
            parts.extend(self.compare.pop_front());
        }
        parts
    }

    fn next_listing(&mut self) -> Asked {
        self.list.sort_unstable_by_key(|(table, range, _)| (*table, range.from));
        let table = self.list[0].0;
        let mut rows = 0;
        let fits = |(index, _, count): &&(usize, Range, u64)| {
            rows += count;
            *index == table && rows <= LISTED_ROWS_MAX as u64
        };
        let count = self.list.iter().take(RANGES_MAX).take_while(fits).count().max(1);
        let ranges = self.list.drain(..count).map(|(_, range, _)| range).collect();
        Asked::Rows { table, ranges }
    }

    /// Cuts ranges of one table; the parts go to be compared, or to be listed when they cannot be cut.
    fn cut_some(&mut self, store: &mut Store) -> Result<()> {
        self.cut.sort_unstable_by_key(|(table, range)| (*table, range.from));
        let table = self.cut[0].0;
        let count = self.cut.iter().take(CUT_AT_ONCE).take_while(|(index, _)| *index == table).count();
        let ranges: Vec<Range> = self.cut.drain(..count).map(|(_, range)| range).collect();
        for part in with_rows(store, |rows| split(rows, table, &ranges))? {
            if ranges.contains(&part.range) {
                self.list.push((table, part.range, part.digest.rows()));
            } else {
                self.compare.push_back(part);
            }
        }
        Ok(())
    }

    fn wants_cells(&self) -> bool {
        self.report.differences.len() < self.detailed
    }

    fn next_suspects(&mut self, store: &Store, table: usize) -> Asked {
        let columns = store.schema().tables()[table].columns.len();
        let most = if self.wants_cells() { (FIND_CELLS_MAX / columns).min(FIND_ROWS_MAX) } else { FIND_ROWS_MAX };
        let count = self.suspects.iter().take(most).take_while(|(index, _)| *index == table).count();
        let suspects = self.suspects.drain(..count).map(|(_, identity)| identity).collect();
        Asked::Find { table, suspects }
    }

    /// The request got no answer.
    pub fn on_failure(&mut self, id: u64, timeout: bool) {
        let Some(asked) = self.land(id) else { return };
        if timeout {
            self.ask_less();
        }
        self.ask_again(asked);
    }

    fn land(&mut self, id: u64) -> Option<Asked> {
        self.in_flight.take_if(|(flight, _)| *flight == id).map(|(_, asked)| asked)
    }

    fn ask_less(&mut self) {
        self.rows_per_request = (self.rows_per_request / 4).max(1);
    }

    /// Digests are packed anew, perhaps into smaller requests; the others are asked as they were.
    fn ask_again(&mut self, asked: Asked) {
        match asked {
            Asked::Digests(parts) => parts.into_iter().rev().for_each(|part| self.compare.push_front(part)),
            asked => self.again = Some(asked),
        }
    }

    /// The request was answered.
    ///
    /// # Errors
    /// What the store says.
    pub fn hear(&mut self, store: &mut Store, id: u64, reply: &Reply) -> Result<Heard> {
        let Some(asked) = self.land(id) else { return Ok(Heard::Progress) };
        let done: DigestReply = match read(reply) {
            Read::Done(done) => done,
            Read::Problem(problem) => return Ok(self.on_problem(asked, reply, &problem)),
            Read::Other(foreign) => {
                self.ask_again(asked);
                let message = foreign.to_string();
                return Ok(Heard::Failed { message, retry_after_ms: retry_after_ms(reply.retry_after.as_deref()) });
            }
        };
        let server = Cursor { seq: done.tidemark, chain: done.chain };
        let standing = match (asked, &done.answers[..]) {
            (Asked::Find { table, suspects }, [Answer::Found(found)]) => {
                let (standing, judgements) = judge(store, table, &suspects, server, found)?;
                if standing == Standing::Agrees {
                    self.on_judged(table, &suspects, judgements);
                    self.stale = 0;
                } else {
                    self.again = Some(Asked::Find { table, suspects });
                    self.stale += 1;
                }
                standing
            }
            // These only direct the search: a stale one does as well. Of another history none does.
            (asked, answers) if asked.is_answered_by(answers) => {
                let standing = stands(store, server)?;
                match (asked, answers) {
                    (asked, _) if standing == Standing::Differs => self.ask_again(asked),
                    (Asked::Digests(parts), answers) => self.on_digests(parts, answers),
                    (Asked::Rows { table, ranges }, [Answer::Rows { rows, more }]) => {
                        self.on_rows(store, table, &ranges, rows, *more)?;
                    }
                    _ => unreachable!("BUG: the answers fit"),
                }
                standing
            }
            (asked, _) => {
                self.ask_again(asked);
                let message =
                    "the server answered something else than it was asked; do both programs have the same version?";
                return Ok(Heard::Failed { message: message.to_owned(), retry_after_ms: None });
            }
        };
        if standing == Standing::Agrees {
            self.report.agreed = Some(server);
        }
        Ok(match standing {
            Standing::Differs => Heard::OtherHistory,
            Standing::Stale if self.stale >= STALE_MAX => {
                let message = "other processes push all the time; end them, or try again later".to_owned();
                Heard::Failed { message, retry_after_ms: None }
            }
            Standing::Agrees | Standing::Stale => Heard::Progress,
        })
    }

    fn on_problem(&mut self, asked: Asked, reply: &Reply, problem: &Problem) -> Heard {
        if let Some(stop) = stop_of(problem) {
            return Heard::Stopped(stop);
        }
        // Perhaps it was too much at once.
        self.ask_less();
        self.ask_again(asked);
        let retry_after_ms = retry_after_ms(reply.retry_after.as_deref());
        Heard::Failed { message: format!("the server answered: {}", problem.detail), retry_after_ms }
    }

    /// Keeps the ranges that differ; what the reply leaves out is asked again.
    fn on_digests(&mut self, parts: Vec<Part>, answers: &[Answer]) {
        let digests = answers.iter().flat_map(|answer| match answer {
            Answer::Digests(digests) => digests.as_slice(),
            _ => &[],
        });
        let mut parts = parts.into_iter();
        for (digest, part) in digests.zip(parts.by_ref()) {
            if *digest == part.digest {
                continue;
            }
            if part.digest.rows() <= LISTED_RANGE_ROWS {
                self.list.push((part.table, part.range, part.digest.rows()));
            } else {
                self.cut.push((part.table, part.range));
            }
        }
        self.ask_again(Asked::Digests(parts.collect()));
    }

    /// Notes the rows that only one side has, or that have other hashes.
    fn on_rows(
        &mut self,
        store: &mut Store,
        table: usize,
        ranges: &[Range],
        there: &[ListedRow],
        more: bool,
    ) -> Result<()> {
        let (mut here, pruned, gone) = with_rows(store, |rows| {
            let gone = rows.pruned_of(table, there.iter().map(|row| row.id))?;
            Ok((list(rows, table, ranges)?, rows.pruned(table)?, gone))
        })?;
        self.listed.begin(table, ranges, &pruned);
        if let Some(last) = there.last().filter(|_| more).map(|row| row.id) {
            here.retain(|row| row.id <= last);
            if let Some(after) = last.successor() {
                let rest = ranges.iter().filter(|range| range.to.is_none_or(|to| after < to));
                let rest = rest.map(|range| Range { from: range.from.max(Some(after)), to: range.to });
                self.list.extend(rest.map(|range| (table, range, LISTED_RANGE_ROWS)));
            }
        }
        let (mut h, mut t) = (here.iter().peekable(), there.iter().peekable());
        loop {
            let suspect = match (h.peek(), t.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.id == b.id => {
                    let suspect = (a.hash != b.hash).then_some(a.id);
                    h.next();
                    t.next();
                    suspect
                }
                (Some(a), b) if b.is_none_or(|b| a.id < b.id) => h.next().map(|row| row.id),
                _ => t.next().and_then(|row| {
                    let is_pruned = gone.contains(&row.id);
                    if is_pruned {
                        self.listed.add(table, row);
                    }
                    (!is_pruned).then_some(row.id)
                }),
            };
            self.suspects.extend(suspect.map(|suspect| (table, suspect)));
        }
        Ok(())
    }

    /// Compares the days of pruned rows that were listed. What was cut short was not listed to its end.
    fn compare_pruned(&mut self, store: &mut Store) -> Result<()> {
        let listed = std::mem::take(&mut self.listed);
        for table in listed.tables().into_iter().filter(|_| self.report.complete) {
            self.report.pruned.extend(with_rows(store, |rows| listed.differences(rows, table))?);
        }
        self.report.pruned.sort_unstable_by_key(|day| (day.table, day.day_us));
        Ok(())
    }

    fn on_judged(&mut self, table: usize, suspects: &[Identity], judgements: Vec<Judgement>) {
        let report = self.reports.iter_mut().find(|(index, _)| *index == table);
        let (_, report) = report.expect("BUG: a suspect's table was begun");
        for (&identity, judgement) in suspects.iter().zip(judgements) {
            match judgement {
                Judgement::Equal => {}
                Judgement::Pending => report.pending += 1,
                Judgement::Known => report.known += 1,
                Judgement::Differs(kind, cells) => {
                    *match kind {
                        Kind::Missing => &mut report.missing,
                        Kind::Extra => &mut report.extra,
                        Kind::Changed => &mut report.changed,
                    } += 1;
                    self.report.differences.push(Difference { table, identity, kind, cells });
                }
            }
        }
    }
}

/// A question to the server about the station's rows; the second way out: it cannot be asked.
pub(crate) fn request_of(store: &Store, id: u64, asks: Vec<Ask>) -> Result<std::result::Result<Request, Stop>> {
    let meta = store.meta()?;
    let request = DigestRequest { fingerprint: store.schema().fingerprint().to_hex(), asks };
    Ok(Joined::of(store.file(), &meta).map(|joined| {
        let request = Request::json(&joined.server, "/v1/digest", Some(joined.token), &request);
        request.within_ms(TIMEOUT_MS).numbered(id)
    }))
}

/// Runs `work` on the station's rows as they are now.
fn with_rows<R>(store: &mut Store, work: impl FnOnce(&Rows<'_>) -> Result<R>) -> Result<R> {
    let (tx, file, identity) = store.read()?;
    let meta = meta::read(&tx, file)?;
    work(&Rows::new(&tx, file, identity, &meta)?)
}

/// How many parts of one table begin a list of parts.
fn of_one_table(parts: &[Part]) -> usize {
    parts.iter().take_while(|part| part.table == parts[0].table).count()
}

fn asks_of(asked: &Asked, name: impl Fn(usize) -> String, cells: bool) -> Vec<Ask> {
    match asked {
        Asked::Digests(parts) => {
            let (mut asks, mut rest) = (Vec::new(), &parts[..]);
            while let Some(first) = rest.first() {
                let (same, others) = rest.split_at(of_one_table(rest));
                let ranges = same.iter().map(|part| part.range).collect();
                asks.push(Ask { table: name(first.table), question: Question::Digests(ranges) });
                rest = others;
            }
            asks
        }
        Asked::Rows { table, ranges } => vec![Ask { table: name(*table), question: Question::Rows(ranges.clone()) }],
        Asked::Find { table, suspects } => {
            vec![Ask { table: name(*table), question: Question::Find { rows: suspects.clone(), cells } }]
        }
    }
}

/// Whether these rows are from the ranges and in their order, and at least one is there when more are to come: a listing that goes on from
/// its last row ends only then.
fn lists(ranges: &[Range], rows: &[ListedRow], more: bool) -> bool {
    rows.is_sorted_by(|a, b| a.id < b.id)
        && rows.iter().all(|row| Range::find(ranges, &row.id).is_some())
        && !(more && rows.is_empty())
}
