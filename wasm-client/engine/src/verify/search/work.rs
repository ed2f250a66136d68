//! The work that a search has before it: tables to begin, ranges to compare, to cut and to list, rows under suspicion.

use std::collections::VecDeque;

use tidemark_core::identity::Identity;
use tidemark_core::limits::{FIND_CELLS_MAX, FIND_ROWS_MAX, LISTED_ROWS_MAX, RANGES_MAX};
use tidemark_core::survey::{Answer, ListedRow, Range};

use super::asked::Asked;
use crate::error::Result;
use crate::meta;
use crate::rows::Rows;
use crate::store::Store;
use crate::verify::pruned::ListedDays;
use crate::verify::ranges::{Part, list, split, whole};
use crate::verify::report::{PrunedDifference, TableReport};

/// A range with no more of the station's rows than this is listed, not cut.
const LISTED_RANGE_ROWS: u64 = 32;
/// Ranges cut at once, so that each is cut into at least 16 parts.
const CUT_AT_ONCE: usize = RANGES_MAX / 16;
/// The station's rows in the ranges of one request: what a server reads in a few seconds.
const ROWS_PER_REQUEST: u64 = 1_000_000;

/// The work that is left, and how much of it goes into one request.
#[derive(Debug)]
pub(super) struct Work {
    /// The tables to compare that are not cut yet, by number.
    tables: VecDeque<usize>,
    /// Ranges whose digests are to be compared, by table.
    compare: VecDeque<Part>,
    /// Ranges that differ and are to be listed, with how many rows the station has in each.
    list: Vec<(usize, Range, u64)>,
    /// Ranges that differ and are to be cut.
    cut: Vec<(usize, Range)>,
    /// Rows that may differ, to be asked for one by one.
    suspects: VecDeque<(usize, Identity)>,
    /// The days of pruned rows that were listed.
    listed: ListedDays,
    /// The station's rows in the ranges of one request.
    rows_per_request: u64,
}

impl Work {
    /// Everything is still to be done for these tables.
    pub(super) fn new(tables: VecDeque<usize>) -> Self {
        Self {
            tables,
            compare: VecDeque::new(),
            list: Vec::new(),
            cut: Vec::new(),
            suspects: VecDeque::new(),
            listed: ListedDays::default(),
            rows_per_request: ROWS_PER_REQUEST,
        }
    }

    /// The number of rows under suspicion.
    pub(super) fn suspects(&self) -> usize {
        self.suspects.len()
    }

    /// Gives up all that would find more suspects. Returns whether nothing of it was left.
    pub(super) fn only_suspects(&mut self) -> bool {
        let left = [self.tables.len(), self.compare.len(), self.list.len(), self.cut.len()];
        self.tables.clear();
        self.compare.clear();
        self.list.clear();
        self.cut.clear();
        left.iter().all(|&left| left == 0)
    }

    /// Finds the next question; reads the file as far as it needs to. `begun` is handed each table that is begun.
    pub(super) fn next_question(
        &mut self,
        store: &mut Store,
        wants_cells: bool,
        begun: &mut impl FnMut(usize, TableReport),
    ) -> Result<Option<Asked>> {
        loop {
            if !self.list.is_empty() {
                return Ok(Some(self.next_listing()));
            }
            if !self.cut.is_empty() && self.compare.is_empty() {
                self.cut_some(store)?;
                continue;
            }
            if let Some(table) = self.tables.pop_front() {
                let report = self.begin_table(store, table)?;
                begun(table, report);
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
            return Ok(self.next_suspects(store, wants_cells));
        }
    }

    /// The station's rows in the ranges that are to be compared.
    fn rows_to_compare(&self) -> u64 {
        self.compare.iter().map(|part| part.digest.rows()).sum()
    }

    /// Cuts a table into ranges, which are to be compared; returns what was seen of it.
    fn begin_table(&mut self, store: &mut Store, index: usize) -> Result<TableReport> {
        let whole = with_rows(store, |rows| whole(rows, index))?;
        let table = store.schema().tables()[index].name.clone();
        self.compare.extend(whole.parts);
        Ok(TableReport {
            table,
            rows: whole.rows,
            ranges: whole.filled,
            missing: 0,
            extra: 0,
            changed: 0,
            known: 0,
            pending: 0,
            unsendable: whole.unsendable,
            pruned: whole.pruned,
        })
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

    /// The first ranges to list, as many of one table as one request may ask about.
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

    /// As many suspects of the first one's table as one request may ask about.
    fn next_suspects(&mut self, store: &Store, wants_cells: bool) -> Option<Asked> {
        let table = self.suspects.front()?.0;
        let columns = store.schema().tables()[table].columns.len();
        let most = if wants_cells { (FIND_CELLS_MAX / columns).min(FIND_ROWS_MAX) } else { FIND_ROWS_MAX };
        let count = self.suspects.iter().take(most).take_while(|(index, _)| *index == table).count();
        let suspects = self.suspects.drain(..count).map(|(_, identity)| identity).collect();
        Some(Asked::Find { table, suspects })
    }

    /// A request was too much for the server: the next ones ask about fewer rows.
    pub(super) fn ask_less(&mut self) {
        self.rows_per_request = (self.rows_per_request / 4).max(1);
    }

    /// These parts are compared next, in their order, perhaps in smaller requests.
    pub(super) fn compare_again(&mut self, parts: Vec<Part>) {
        parts.into_iter().rev().for_each(|part| self.compare.push_front(part));
    }

    /// Keeps the ranges that differ; what the reply leaves out is asked again.
    pub(super) fn on_digests(&mut self, parts: Vec<Part>, answers: &[Answer]) {
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
        self.compare_again(parts.collect());
    }

    /// Notes the rows that only one side has, or that have other hashes.
    pub(super) fn on_rows(
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

    /// Compares the days of pruned rows that were listed, of every table.
    pub(super) fn compare_pruned(&mut self, store: &mut Store) -> Result<Vec<PrunedDifference>> {
        let listed = std::mem::take(&mut self.listed);
        let mut differences = Vec::new();
        for table in listed.tables() {
            differences.extend(with_rows(store, |rows| listed.differences(rows, table))?);
        }
        differences.sort_unstable_by_key(|day| (day.table, day.day_us));
        Ok(differences)
    }
}

/// Runs `work` on the station's rows as they are now.
fn with_rows<R>(store: &mut Store, work: impl FnOnce(&Rows<'_>) -> Result<R>) -> Result<R> {
    let (tx, file, catalog) = store.read()?;
    let meta = meta::read(&tx, file)?;
    work(&Rows::new(&tx, file, catalog, &meta)?)
}
