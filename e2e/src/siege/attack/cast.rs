//! Who plays in attacks: stations with valid tokens, some of them only abused.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tidemark_core::schema::Schema;
use tokio::sync::Mutex;

use crate::siege::log::{Log, Table};
use crate::siege::site::{Member, Site};
use crate::siege::station::Station;

/// How many stations write to the table that is locked.
const REMARKERS: usize = 20;

/// The cast of all attacks. A station's log counts like those of good stations: what it was told is upstream once.
#[derive(Debug)]
pub struct Cast {
    /// The schema of the siege.
    pub schema: Arc<Schema>,
    /// The URL of the database, for the one who locks a table.
    pub database: String,
    /// A member whose token is abused, with no log of its own.
    pub abused: Member,
    /// Another one, whose token comes with bombs.
    pub bomber: Member,
    /// Pushes the largest frames there are.
    pub greedy: Mutex<Station>,
    /// Pushes over many connections at once.
    pub many: Mutex<Station>,
    /// Asks about the many rows it has.
    pub curious: Mutex<Station>,
    /// Write to the table that is locked.
    pub remarkers: Vec<Mutex<Station>>,
}

impl Cast {
    /// Joins them.
    ///
    /// # Errors
    /// When the server refuses one.
    pub async fn join(site: &Site) -> Result<Self> {
        let mut members = site.join("cast", 5 + REMARKERS).await?.into_iter();
        let server = site.door();
        let mut next = || members.next().context("BUG: as many members as roles");
        let station =
            |member: &Member, table| Station::new(member, site.schema(), server.clone(), table).map(Mutex::new);
        Ok(Self {
            schema: Arc::clone(site.schema()),
            database: site.database().to_owned(),
            abused: next()?,
            bomber: next()?,
            greedy: station(&next()?, Table::Reading)?,
            many: station(&next()?, Table::Reading)?,
            curious: station(&next()?, Table::Reading)?,
            remarkers: (0..REMARKERS).map(|_| station(&next()?, Table::Remark)).collect::<Result<_>>()?,
        })
    }

    /// A log of the bomber, for frames that must not be taken.
    ///
    /// # Errors
    /// When its number is none.
    pub fn bomber_log(&self) -> Result<Log> {
        Log::new(&self.schema, self.bomber.number, self.bomber.uuid, Table::Reading)
    }

    /// The logs of all that push.
    pub async fn logs(&self) -> Vec<Log> {
        let mut logs = Vec::new();
        for station in [&self.greedy, &self.many, &self.curious].into_iter().chain(&self.remarkers) {
            logs.push(station.lock().await.log.clone());
        }
        logs
    }
}
