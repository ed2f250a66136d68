//! A station's log as the siege keeps it: rows in, frames out, the chain kept. No file, no engine: the siege needs
//! thousands of them.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use tidemark_core::batch::{Batch, Group, Op};
use tidemark_core::chain::Chain;
use tidemark_core::frame::{self, Compression};
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;
use tidemark_core::value::ValueRef;

use crate::world::unix_ms;

/// The schema of the siege: a table with time and one without, so that one can be locked while the other is written.
pub const SCHEMA: &str = r#"
name = "siege"
version = 1
[tables.reading]
time = "measured_at"
chunk = "7 days"
[tables.reading.columns]
id          = { type = "integer" }
measured_at = { type = "timestamp" }
level       = { type = "real" }
note        = { type = "text" }
[tables.remark.columns]
id   = { type = "integer" }
note = { type = "text" }
"#;

/// A table of [`SCHEMA`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// With time: a hypertable where there is TimescaleDB.
    Reading,
    /// Without.
    Remark,
}

impl Table {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Remark => "remark",
        }
    }
}

/// The log of one station.
#[derive(Debug, Clone)]
pub struct Log {
    schema: Arc<Schema>,
    number: StationNumber,
    table: Table,
    /// Changes that were acknowledged; each is one row, and its number is the row's local id.
    acked: u64,
    chain: Chain,
}

/// A batch on its way.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The frame.
    pub bytes: Vec<u8>,
    /// Its last change.
    pub last_seq: u64,
    /// The chain there.
    pub chain: Chain,
    /// How many rows it has.
    pub rows: u64,
}

impl Log {
    /// An empty log of a station that has joined; all its rows go to one table.
    ///
    /// # Errors
    /// When the number is none.
    pub fn new(schema: &Arc<Schema>, number: u32, uuid: [u8; 16], table: Table) -> Result<Self> {
        let number = StationNumber::new(number).map_err(|error| anyhow!("{error}"))?;
        Ok(Self { schema: Arc::clone(schema), number, table, acked: 0, chain: Chain::start(uuid) })
    }

    /// The station's number.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number.get()
    }

    /// The table of its rows.
    #[must_use]
    pub const fn table(&self) -> Table {
        self.table
    }

    /// How many rows were acknowledged.
    #[must_use]
    pub const fn acked(&self) -> u64 {
        self.acked
    }

    /// The next rows as a frame; `note` gives the text of each row by its id. Cut again it is the same batch.
    ///
    /// # Errors
    /// When the rows do not fit a frame.
    pub fn cut(&self, rows: u64, note: impl Fn(u64) -> String) -> Result<Cut> {
        let at = self.schema.table_index(self.table.name()).context("BUG: the table is of the schema")?;
        let now_ms = unix_ms();
        let mut group = Group::new(&self.schema, u32::try_from(at)?, Op::Insert);
        for local in self.acked + 1..=self.acked + rows {
            let id = self.number.upstream_id(i64::try_from(local)?).context("more rows than ids")?;
            let note = note(local);
            let (id, note) = (ValueRef::Integer(id), ValueRef::Text(&note));
            match self.table {
                Table::Reading => {
                    group.push(&[id, ValueRef::Timestamp(now_ms * 1000), ValueRef::Real(local as f64), note]);
                }
                Table::Remark => group.push(&[id, note]),
            }
        }
        let mut batch = Batch {
            fingerprint: self.schema.fingerprint(),
            station: self.number,
            first_seq: self.acked + 1,
            chain_before: self.chain,
            chain_after: self.chain,
            sent_at_ms: now_ms,
            groups: vec![group],
            order: vec![0; usize::try_from(rows)?],
            at_ms: vec![now_ms; usize::try_from(rows)?],
        };
        let last_seq = batch.span().last_seq();
        batch.chain_after = batch.chain_at(&self.schema, last_seq);
        let bytes = frame::encode(&batch, Compression::Zstd)?;
        Ok(Cut { bytes, last_seq, chain: batch.chain_after, rows })
    }

    /// The batch is durable upstream.
    pub const fn acknowledge(&mut self, cut: &Cut) {
        self.acked = cut.last_seq;
        self.chain = cut.chain;
    }
}
