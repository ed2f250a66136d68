//! The status of a station: its state, and the counts and times that `tidemark status` shows.

use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::protocol::Remedy;
use tidemark_core::sqlite::quote;

use super::Store;
use crate::error::Result;
use crate::halt::Halt;
use crate::log::{at_ms, last_seq};
use crate::meta::{self, Membership};

/// The state that a station is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It records, and has no server yet.
    NotJoined,
    /// Everything was upstream when the server was last heard: see [`Status::last_contact_ms`]. What became of it
    /// since, only the server knows.
    InSync,
    /// Changes wait for being pushed.
    Pending,
    /// Station and server hold different histories; nothing is pushed.
    Forked,
}

impl State {
    /// One word, for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJoined => "not-joined",
            Self::InSync => "in-sync",
            Self::Pending => "pending",
            Self::Forked => "forked",
        }
    }
}

/// A station's state, read in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The state it is in.
    pub state: State,
    /// Number and name.
    pub membership: Option<Membership>,
    /// The server's URL.
    pub server: Option<String>,
    /// Last seq of the log.
    pub last_seq: u64,
    /// Last seq durable upstream.
    pub tidemark: u64,
    /// Changes that are not upstream yet.
    pub pending: u64,
    /// The time at which the oldest of them was captured, milliseconds since 1970 UTC by the station's clock.
    pub oldest_pending_ms: Option<i64>,
    /// Rejected changes that are open.
    pub rejects: u64,
    /// The time at which the server last said where this station stands, milliseconds since 1970 UTC by the station's
    /// clock.
    pub last_contact_ms: Option<i64>,
    /// The last failure in words, if nothing succeeded since.
    pub last_error: Option<String>,
    /// The remedy that the server names against it.
    pub last_remedy: Option<Remedy>,
    /// The time of that failure, milliseconds since 1970 UTC.
    pub last_error_ms: Option<i64>,
    /// The reason why nothing may be sent, when the state is [`State::Forked`].
    pub forked: Option<Halt>,
}

/// When the first change of the log was captured.
fn oldest(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT at FROM tidemark_log ORDER BY seq LIMIT 1";
    db.query_row(sql, [], |row| Ok(at_ms(row.get_ref(0)?))).optional()
}

impl Store {
    /// Reads the station's state.
    ///
    /// # Errors
    /// SQLite's.
    pub fn status(&mut self) -> Result<Status> {
        let rejects = self.rejects_count()?;
        let (tx, file, _) = self.read()?;
        let sql = |error| crate::Error::sqlite(file, "read the station's state", error);
        let meta = meta::read(&tx, file)?;
        let last_seq = last_seq(&tx).map_err(sql)?;
        let tidemark = meta.tidemark.seq;
        let oldest = oldest(&tx).map_err(sql)?;
        let pending = last_seq.saturating_sub(tidemark);
        let state = if meta.forked.is_some() {
            State::Forked
        } else if meta.membership.is_none() {
            State::NotJoined
        } else if pending > 0 {
            State::Pending
        } else {
            State::InSync
        };
        Ok(Status {
            state,
            membership: meta.membership,
            server: meta.server,
            last_seq,
            tidemark,
            pending,
            oldest_pending_ms: oldest,
            rejects,
            last_contact_ms: meta.last_contact_ms,
            last_error: meta.last_error,
            last_remedy: meta.last_remedy,
            last_error_ms: meta.last_error_ms,
            forked: meta.forked,
        })
    }

    /// The number of changes that are not upstream, and when the oldest of them was captured, milliseconds since 1970
    /// UTC by the station's clock.
    ///
    /// # Errors
    /// SQLite's.
    pub fn backlog(&mut self) -> Result<(u64, Option<i64>)> {
        let (tx, file, _) = self.read()?;
        let sql = |error| crate::Error::sqlite(file, "read the station's backlog", error);
        let tidemark = meta::read(&tx, file)?.tidemark.seq;
        let pending = last_seq(&tx).map_err(sql)?.saturating_sub(tidemark);
        Ok((pending, oldest(&tx).map_err(sql)?))
    }

    /// The number of rows that each table of the schema has, in file order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn row_counts(&self) -> Result<Vec<(String, u64)>> {
        let sql = self.sqlite("count the rows");
        let count = |table: &tidemark_core::schema::Table| {
            if !self.lacking().has(table) {
                return Ok((table.name.clone(), 0));
            }
            let count = format!("SELECT count(*) FROM {}", quote(&table.name));
            let count: i64 = self.connection().query_row(&count, [], |row| row.get(0)).map_err(&sql)?;
            Ok((table.name.clone(), count as u64))
        };
        self.schema().tables().iter().map(count).collect()
    }
}
