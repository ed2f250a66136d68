//! Chunks of tables with a time column: how many changes go into one transaction without touching too many.

use std::collections::HashSet;

use tidemark_core::identity::Identity;
use tidemark_core::schema::{Schema, Table};

use super::resolve::Change;

/// The number of the chunk that holds a row, counted from 1970; `None` for rows of ordinary tables.
///
/// A database may cut at other moments, and does after the width was changed there; what is counted with it is an
/// estimate.
#[must_use]
pub fn chunk_of(table: &Table, identity: Identity) -> Option<i64> {
    let width_us = i64::try_from(table.chunk?.seconds).ok()?.checked_mul(1_000_000)?.max(1);
    table.time.map(|_| identity.time_us.div_euclid(width_us))
}

/// The chunks that changes touch, one after the other.
#[derive(Debug, Default)]
pub struct Touched {
    seen: HashSet<(usize, i64)>,
    last: Option<(usize, i64)>,
}

impl Touched {
    /// Counts a change, if it touches no more than `chunks_max` chunks together with those before. The first one always
    /// fits.
    pub fn fits(&mut self, schema: &Schema, change: &Change, chunks_max: u32) -> bool {
        let table = schema.tables().get(change.table);
        let chunk = table.zip(change.identity).and_then(|(table, identity)| chunk_of(table, identity));
        let Some(chunk) = chunk.map(|chunk| (change.table, chunk)) else { return true };
        // Rows come in the order of their times more often than not.
        if self.last != Some(chunk) && self.seen.insert(chunk) && self.seen.len() > (chunks_max as usize).max(1) {
            return false;
        }
        self.last = Some(chunk);
        true
    }
}
