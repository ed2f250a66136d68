//! Reading what a file keeps beside its rows: the log, the rejects, its lineage.

use super::Store;
use crate::error::{Error, Result};
use crate::lineage::{self, FormerStation};
use crate::log::{self, ImageRow};
use crate::pruned;
use crate::rejects::{self, Reject, RejectState};

impl Store {
    /// The last `limit` changes of the log that are not upstream yet, in seq order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn log(&self, limit: u64) -> Result<Vec<ImageRow>> {
        log::read_last(self.connection(), |seq| self.schema_of(seq), limit).map_err(self.sqlite("read the log"))
    }

    /// The number of rejected changes that are open.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rejects_count(&self) -> Result<u64> {
        rejects::count_open(self.connection()).map_err(self.sqlite("count the rejects"))
    }

    /// Visits the rejected changes after seq `after`, in seq order, at most `limit` of them, whatever their state.
    ///
    /// # Errors
    /// SQLite's, and what `visit` returns.
    pub fn rejects<E: From<Error>>(
        &self,
        after: u64,
        limit: u64,
        visit: impl FnMut(Reject) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.rejects_in(None, after, limit, visit)
    }

    /// [`Store::rejects`] in one state.
    ///
    /// # Errors
    /// As there.
    pub fn rejects_in<E: From<Error>>(
        &self,
        state: Option<RejectState>,
        after: u64,
        limit: u64,
        visit: impl FnMut(Reject) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let db = (self.connection(), self.file());
        rejects::visit(db, |seq| self.schema_of(seq), state, (after, limit), visit)
    }

    /// The rejected change with this seq.
    ///
    /// # Errors
    /// SQLite's.
    pub fn reject(&self, seq: u64) -> Result<Option<Reject>> {
        let Some(before) = seq.checked_sub(1) else { return Ok(None) };
        let mut found = None;
        self.rejects::<Error>(before, 1, |reject| {
            found = Some(reject).filter(|reject| reject.change.seq == seq);
            Ok(())
        })?;
        Ok(found)
    }

    /// The stations this file was before, the last one last.
    ///
    /// # Errors
    /// SQLite's.
    pub fn former(&self) -> Result<Vec<FormerStation>> {
        lineage::read_stations(self.connection(), self.file())
    }

    /// Visits the changes that were rejected while the file was another station, with that station's number; seqs are
    /// of its log.
    ///
    /// # Errors
    /// SQLite's, and what `visit` returns.
    pub fn former_rejects<E: From<Error>>(
        &self,
        visit: impl FnMut(u32, Reject) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        lineage::visit_rejects(self.connection(), self.file(), |seq| self.schema_of(seq), visit)
    }

    /// The number of rows that were ever pruned from the file: they are upstream only.
    ///
    /// # Errors
    /// SQLite's.
    pub fn pruned_rows(&self) -> Result<u64> {
        pruned::count(self.connection()).map_err(self.sqlite("count what was pruned"))
    }
}
