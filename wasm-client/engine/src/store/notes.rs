//! Writes into the station's row what happened to it: each method in a transaction of its own.

use rusqlite::Connection;
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::Remedy;

use super::Store;
use crate::error::{Error, Result, Secret};
use crate::meta::{Membership, write};
use crate::noted;
use crate::trust::{self, Trust};

impl Store {
    /// Runs one writer of the station's row, in a transaction of its own.
    fn write_row<T>(&self, write: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        write(self.connection()).map_err(self.sqlite("update the station's row"))
    }

    /// Notes, durably, that changes up to `seq` are about to leave the file by hand.
    pub(crate) fn note_carried(&self, seq: u64) -> Result<()> {
        self.write_row(|db| write::carried(db, seq))
    }

    /// Notes, durably, that changes up to `seq` are about to be sent as station `number`. Returns `false` when the file
    /// is another station by now.
    pub(crate) fn note_sent(&self, number: StationNumber, seq: u64) -> Result<bool> {
        write::sent(self.connection(), number, seq).map_err(self.sqlite("note what is sent"))
    }

    /// Notes that the server answered and has the same history.
    pub(crate) fn note_agreed(&self, now_ms: i64) -> Result<()> {
        self.write_row(|db| write::agreed(db, now_ms))
    }

    /// Notes why nothing may be sent from the file, so that no process does until that is settled. `heard_ms`: the
    /// server has just said so.
    pub(crate) fn note_halted(&self, kept: &str, heard_ms: Option<i64>) -> Result<()> {
        self.write_row(|db| write::halted(db, kept, heard_ms))
    }

    /// Keeps the token to join with; see [`write::begin_join`].
    pub(crate) fn begin_join(&self, code_digest: [u8; 32], fresh_token: &Secret, server: &str) -> Result<()> {
        write::begin_join(self.connection(), code_digest, fresh_token, server).map_err(self.sqlite("keep the token"))
    }

    /// Forgets which code the token was made for; a planted bug.
    pub(crate) fn forget_join_code(&self) -> Result<()> {
        self.write_row(write::forget_join_code)
    }

    /// Notes that the server took the file for a station, and what it is known by, if anything was said of that.
    pub(crate) fn note_joined(
        &mut self,
        membership: &Membership,
        limits: &FrameLimits,
        known_by: Option<&Trust>,
        now_ms: i64,
    ) -> Result<()> {
        let file = self.file().to_owned();
        self.transaction(|tx| {
            write::joined(tx, membership, limits, now_ms)
                .and_then(|()| known_by.map_or(Ok(()), |known_by| trust::write(tx, known_by)))
                .map_err(|error| Error::sqlite(&file, "update the station's row", error))
        })
    }

    /// Notes that the server is at another URL.
    pub(crate) fn note_server(&self, url: &str) -> Result<()> {
        self.write_row(|db| write::move_server(db, url))
    }

    /// Notes what went wrong, and the remedy that the server names, for `status`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn note_error(&self, now_ms: i64, message: &str, remedy: Option<&Remedy>) -> Result<()> {
        self.write_row(|db| write::failed(db, now_ms, &noted::write(message, remedy)))
    }
}
