//! A survey of a station's rows: what was asked, which rows have to be read for it, and the answers gathered while they
//! stream past.
//!
//! ```text
//! store:  while let Some(reading) = survey.next_reading() {
//!             for each of the station's rows in it { survey.row(values) }
//!         }  →  survey.answers()
//! ```
//!
//! Every store only reads; what is made of the rows is here, once. Memory is bounded by what was asked and by the rows
//! a reply lists.

use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidemark_core::digest::{CellHash, RowDigest, RowHash};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::limits::LISTED_ROWS_MAX;
use tidemark_core::schema::{Chunk, Schema, Table};
use tidemark_core::survey::{Answer, Ask, Cell, FoundRow, ListedRow, Question, Range};
use tidemark_core::value::ValueRef;
use tokio::time::Instant;

/// Once so many rows were read, no further ask is begun: the reply goes out, and the station asks for the rest.
const ROWS_PER_REPLY: u64 = 2_000_000;
/// The time that a store reads for one reply, all its statements together: a station waits a minute for it. An ask that
/// is not read to its end by then is not answered.
pub const SURVEY_TIME: Duration = Duration::from_secs(45);
/// Ranges of integer keys that lie no further apart than this are read in one go.
const KEY_GAP: u64 = 1 << 16;

/// Which rows of a table a store has to read. It may read more: what was not asked for is left out here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those in a range.
    Span(Range),
    /// Those of these identities.
    Rows(Vec<Identity>),
}

/// A table to be read.
#[derive(Debug, Clone)]
pub struct Reading {
    schema: Arc<Schema>,
    table: usize,
    /// Which of its rows.
    pub scope: Scope,
}

impl Reading {
    /// The table as the station's schema has it: its columns are read by name and given to [`Survey::row`] in this
    /// order.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.schema.tables()[self.table]
    }
}

/// The answer to one ask, while it is gathered.
#[derive(Debug)]
enum Gathered {
    Digests {
        ranges: Vec<Range>,
        digests: Vec<RowDigest>,
    },
    /// The first rows in order; the heap's top is the last of them.
    Rows {
        ranges: Vec<Range>,
        first: BinaryHeap<ListedRow>,
        room: usize,
        more: bool,
    },
    Find {
        wanted: HashSet<Identity>,
        cells: bool,
        found: Vec<FoundRow>,
    },
}

/// A survey.
#[derive(Debug)]
pub struct Survey {
    schema: Arc<Schema>,
    /// Asks not begun, the next one last.
    todo: Vec<Ask>,
    done: Vec<Answer>,
    current: Option<(usize, Gathered)>,
    /// The purpose of the reading that runs: a store may read beyond its ends, and then reads that row again.
    span: Range,
    /// Whether the store reads a table from its first row to its last anyway.
    whole_tables: bool,
    /// Scopes of the current ask not read yet, the next one last.
    scopes: Vec<Scope>,
    rows_read: u64,
    rows_listed: usize,
    scratch: Vec<u8>,
    /// When whoever asked needs the answers.
    until: Option<Instant>,
}

impl Survey {
    /// A survey by a station's schema. The asks were checked against it.
    #[must_use]
    pub fn new(schema: Arc<Schema>, mut asks: Vec<Ask>) -> Self {
        asks.reverse();
        Self {
            schema,
            todo: asks,
            done: Vec::new(),
            current: None,
            span: Range::ALL,
            whole_tables: false,
            scopes: Vec::new(),
            rows_read: 0,
            rows_listed: 0,
            scratch: Vec::new(),
            until: None,
        }
    }

    /// Whoever asked needs the answers by then.
    #[must_use]
    pub fn until(self, until: Instant) -> Self {
        Self { until: Some(until), ..self }
    }

    /// When reading ends that begins now and may take so long.
    #[must_use]
    pub fn ends(&self, time: Duration) -> Instant {
        let ends = Instant::now() + time;
        self.until.map_or(ends, |until| until.min(ends))
    }

    /// One digest over all rows of each table, in the schema's order.
    #[must_use]
    pub fn whole(schema: Arc<Schema>) -> Self {
        let ask = |table: &Table| Ask { table: table.name.clone(), question: Question::Digests(vec![Range::ALL]) };
        let asks = schema.tables().iter().map(ask).collect();
        Self::new(schema, asks)
    }

    /// For a store that reads all of a table whatever span of it is wanted: ranges apart from each other are read in
    /// one go.
    #[must_use]
    pub fn over_whole_tables(mut self) -> Self {
        self.whole_tables = true;
        self
    }

    /// The table to read next; `None` when all is read that goes into this reply.
    pub fn next_reading(&mut self) -> Option<Reading> {
        loop {
            if let (Some((table, _)), Some(scope)) = (&self.current, self.scopes.pop()) {
                self.span = if let Scope::Span(span) = scope { span } else { Range::ALL };
                return Some(Reading { schema: Arc::clone(&self.schema), table: *table, scope });
            }
            self.end_ask();
            if self.rows_read >= ROWS_PER_REPLY || self.rows_listed >= LISTED_ROWS_MAX {
                return None;
            }
            let ask = self.todo.pop()?;
            self.begin(ask);
        }
    }

    fn begin(&mut self, ask: Ask) {
        let index = self.schema.table_index(&ask.table).expect("BUG: the ask was checked");
        let table = &self.schema.tables()[index];
        self.scopes = scopes(table, &ask.question, self.whole_tables);
        self.scopes.reverse();
        let gathered = match ask.question {
            Question::Digests(ranges) => {
                Gathered::Digests { digests: vec![RowDigest::default(); ranges.len()], ranges }
            }
            Question::Rows(ranges) => {
                let room = LISTED_ROWS_MAX - self.rows_listed;
                Gathered::Rows { ranges, first: BinaryHeap::new(), room, more: false }
            }
            Question::Find { rows, cells } => {
                Gathered::Find { wanted: rows.into_iter().collect(), cells, found: Vec::new() }
            }
        };
        self.current = Some((index, gathered));
    }

    fn end_ask(&mut self) {
        let Some((_, gathered)) = self.current.take() else { return };
        self.done.push(match gathered {
            Gathered::Digests { digests, .. } => Answer::Digests(digests),
            Gathered::Rows { first, more, .. } => {
                self.rows_listed += first.len();
                Answer::Rows { rows: first.into_sorted_vec(), more }
            }
            Gathered::Find { found, .. } => Answer::Found(found),
        });
    }

    /// One row of the reading that runs: all columns of its table, as upstream values. A cell that does not hold a
    /// value of its column's type is given as bytes.
    ///
    /// # Errors
    /// When the row's key is not one, which only somebody who writes to the database by hand can bring about.
    pub fn row(&mut self, values: &[ValueRef<'_>]) -> Result<(), String> {
        let Some((index, gathered)) = &mut self.current else { return Ok(()) };
        let table = &self.schema.tables()[*index];
        let identity = identity_of(table, values)?;
        self.rows_read += 1;
        if !self.span.contains(&identity) {
            return Ok(());
        }
        let scratch = &mut self.scratch;
        let mut hash = || RowHash::of(scratch, &table.name, values.iter().copied());
        match gathered {
            Gathered::Digests { ranges, digests } => {
                if let Some(at) = Range::find(ranges, &identity) {
                    digests[at].add(&hash());
                }
            }
            Gathered::Rows { ranges, first, room, more } => {
                if Range::find(ranges, &identity).is_none() {
                    return Ok(());
                }
                let full = first.len() >= *room;
                if full && first.peek().is_some_and(|last| last.id < identity) {
                    *more = true;
                    return Ok(());
                }
                first.push(ListedRow { id: identity, hash: hash() });
                if full {
                    first.pop();
                    *more = true;
                }
            }
            Gathered::Find { wanted, cells, found } => {
                // Taken out, so that a row that two readings meet is found once.
                if wanted.remove(&identity) {
                    let hash = hash();
                    let cell =
                        |value: &ValueRef<'_>| Cell { hash: CellHash::of(scratch, *value), shown: value.to_string() };
                    let cells = if *cells { values.iter().map(cell).collect() } else { Vec::new() };
                    found.push(FoundRow { id: identity, hash, cells });
                }
            }
        }
        Ok(())
    }

    /// Leaves the ask that is being read, and all behind it, for another survey; whether one was answered before it.
    #[must_use]
    pub fn cut(&mut self) -> bool {
        self.current = None;
        self.scopes.clear();
        self.todo.clear();
        !self.done.is_empty()
    }

    /// The answers to the first asks, at least to one.
    #[must_use]
    pub fn answers(mut self) -> Vec<Answer> {
        self.end_ask();
        self.done
    }

    /// All digests that were asked for, in order: of a survey by [`Survey::whole`] one per table.
    #[must_use]
    pub fn digests(self) -> Vec<RowDigest> {
        let answers = self.answers().into_iter();
        answers.flat_map(|answer| if let Answer::Digests(digests) = answer { digests } else { Vec::new() }).collect()
    }
}

/// A time that is none comes before every other, so that the row is in some range and shows as one too many.
fn identity_of(table: &Table, values: &[ValueRef<'_>]) -> Result<Identity, String> {
    let time_us = match table.time.map(|time| values[time]) {
        None => 0,
        Some(ValueRef::Timestamp(us)) => us,
        Some(_) => i64::MIN,
    };
    let key = Key::of(values[table.key]).ok_or_else(|| {
        format!("a row of table {} has a key that is not of type {}", table.name, table.key_column().ty.as_str())
    })?;
    Ok(Identity { time_us, key })
}

/// The fewest readings that do not read much that was not asked for: ranges close to each other are read together.
fn scopes(table: &Table, question: &Question, all_together: bool) -> Vec<Scope> {
    let ranges = match question {
        Question::Find { rows, .. } => return vec![Scope::Rows(rows.clone())],
        Question::Digests(ranges) | Question::Rows(ranges) => ranges,
    };
    let mut spans: Vec<Range> = Vec::new();
    for range in ranges {
        match spans.last_mut() {
            Some(span) if all_together || are_close(table, span.to, range.from) => span.to = range.to,
            _ => spans.push(*range),
        }
    }
    spans.into_iter().map(Scope::Span).collect()
}

/// Whether what lies between two ranges is read faster than left out: less than a chunk, or few keys.
fn are_close(table: &Table, to: Option<Identity>, from: Option<Identity>) -> bool {
    let (Some(to), Some(from)) = (to, from) else { return true };
    if table.time.is_some() {
        let chunk_us = table.chunk.unwrap_or(Chunk::DEFAULT).seconds.saturating_mul(1_000_000);
        return from.time_us.abs_diff(to.time_us) <= chunk_us;
    }
    match (to.key, from.key) {
        (Key::Integer(to), Key::Integer(from)) => from.abs_diff(to) <= KEY_GAP,
        // Uuids are spread evenly: ranges of them lie everywhere.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Arc<Schema> {
        let toml = "name = 'w'\nversion = 1\n[tables.reading]\ntime = 'at'\n[tables.reading.columns]\nid = { type = 'integer' }\n\
                    at = { type = 'timestamp' }\n[tables.site.columns]\nid = { type = 'integer' }";
        Arc::new(Schema::parse(toml).unwrap())
    }

    fn at(time_us: i64, key: i64) -> Identity {
        Identity { time_us, key: Key::Integer(key) }
    }

    fn ask(table: &str, question: Question) -> Ask {
        Ask { table: table.into(), question }
    }

    #[test]
    fn ranges_close_to_each_other_are_read_together() {
        let day = tidemark_core::timestamp::DAY_US;
        let range = |from: Identity, to: Identity| Range { from: Some(from), to: Some(to) };
        let ranges = vec![
            range(at(0, 0), at(day, 0)),
            range(at(8 * day, 0), at(9 * day, 0)),
            range(at(20 * day, 0), at(21 * day, 0)),
        ];
        let schema = schema();
        let spans = scopes(&schema.tables()[0], &Question::Rows(ranges.clone()), false);
        assert_eq!(spans, [Scope::Span(range(at(0, 0), at(9 * day, 0))), Scope::Span(ranges[2])]);
        let far = vec![range(at(0, 0), at(0, 9)), range(at(0, 10), at(0, 11)), range(at(0, 1 << 20), at(0, 1 << 21))];
        let spans = scopes(&schema.tables()[1], &Question::Digests(far.clone()), false);
        assert_eq!(spans, [Scope::Span(range(at(0, 0), at(0, 11))), Scope::Span(far[2])]);
    }

    /// As the memory and the embedded store do, and PostgreSQL at the ends of a span.
    #[test]
    fn a_row_that_two_readings_meet_counts_once() {
        let range = |from, to| Range { from: Some(at(0, from)), to: Some(at(0, to)) };
        let ranges = vec![range(0, 5), range(1 << 20, 1 << 21)];
        for whole_tables in [false, true] {
            let survey = Survey::new(schema(), vec![ask("site", Question::Digests(ranges.clone()))]);
            let mut survey = if whole_tables { survey.over_whole_tables() } else { survey };
            let mut readings = 0;
            while survey.next_reading().is_some() {
                readings += 1;
                for key in [1, 4, 7, 1 << 20] {
                    survey.row(&[ValueRef::Integer(key)]).unwrap();
                }
            }
            let digests = survey.digests();
            assert_eq!((readings, digests[0].rows(), digests[1].rows()), (if whole_tables { 1 } else { 2 }, 2, 1));
        }
    }

    #[test]
    fn a_list_is_cut_at_its_bound_and_says_so() {
        let mut survey = Survey::new(schema(), vec![ask("site", Question::Rows(vec![Range::ALL])); 2]);
        assert!(survey.next_reading().is_some());
        // The last ones first: those before them push them out.
        for n in (0..LISTED_ROWS_MAX as i64 + 5).rev() {
            survey.row(&[ValueRef::Integer(n)]).unwrap();
        }
        assert!(survey.next_reading().is_none(), "the reply is full");
        let answers = survey.answers();
        let [Answer::Rows { rows, more: true }] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(rows.len(), LISTED_ROWS_MAX);
        assert!(rows.iter().zip(0..).all(|(row, n)| row.id.key == Key::Integer(n)));
    }

    #[test]
    fn a_time_that_is_none_comes_first_and_a_key_that_is_none_is_a_fault() {
        let mut survey = Survey::new(schema(), vec![ask("reading", Question::Rows(vec![Range::ALL]))]);
        survey.next_reading().unwrap();
        survey.row(&[ValueRef::Integer(1), ValueRef::Bytes(b"infinity")]).unwrap();
        assert!(survey.row(&[ValueRef::Bytes(b"x"), ValueRef::Timestamp(1)]).unwrap_err().contains("table reading"));
        let answers = survey.answers();
        let [Answer::Rows { rows, more: false }] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(rows[0].id, at(i64::MIN, 1));
    }
}
