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

/// How many of these changes, from the first on, touch at most `chunks_max` chunks together. The first one always fits.
#[must_use]
pub fn fitting(schema: &Schema, changes: &[Change], chunks_max: u32) -> usize {
    let mut seen = HashSet::new();
    let mut last = None;
    for (count, change) in changes.iter().enumerate() {
        let Some(table) = schema.tables().get(change.table) else { continue };
        let chunk = change.identity.and_then(|identity| chunk_of(table, identity));
        let Some(chunk) = chunk.map(|chunk| (change.table, chunk)) else { continue };
        // Rows come in the order of their times more often than not.
        if last != Some(chunk) && seen.insert(chunk) && seen.len() > (chunks_max as usize).max(1) {
            return count;
        }
        last = Some(chunk);
    }
    changes.len()
}
