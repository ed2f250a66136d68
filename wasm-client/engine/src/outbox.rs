//! The outbox: cuts batches out of the log, in bounded memory, and compares the log with what a server says.

use rusqlite::{Connection, Transaction};
use tidemark_core::amount::count_is;
use tidemark_core::batch::{Batch, BatchBuilder, LogRow};
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::frame::{self, Compression, FrameError, FrameHeader};
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::reject::Rejection;
use tidemark_core::value::{SqliteValue, emptied};

#[cfg(not(target_arch = "wasm32"))]
use crate::attach::open_places;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::halt::{Fork, Found};
use crate::log::{JsonNumbers, at_ms, last_seq, sqlite_value};
use crate::meta::{self, Meta};
use crate::store::Store;

/// Bounds of one batch. A single change is cut whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Most changes.
    pub rows: u32,
    /// Most bytes of the changes' canonical form, which the body before compression does not exceed.
    pub body_bytes: usize,
    /// Most cells.
    pub cells: usize,
}

/// A batch cut out of the log.
#[derive(Debug)]
pub struct Cut {
    /// The changes.
    pub batch: Batch,
    /// The tidemark it follows.
    pub base: Cursor,
    /// Changes in it that were rejected here: they travel as markers.
    pub rejected: Vec<(u64, Rejection)>,
    /// Whether a cap ended it, and not the log.
    pub capped: bool,
}

/// How a server's cursor compares with the station's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Same history up to there.
    Same,
    /// Another history: the station's chain there is this.
    Differs(Chain),
    /// The server stands before the station's tidemark: it has lost changes that it acknowledged.
    Behind,
    /// The server stands after the last change of the log: this file has lost changes.
    Beyond {
        /// The log's last seq.
        last: u64,
    },
    /// Another process has moved the station's tidemark meanwhile: nothing to compare.
    Moved,
}

impl Agreement {
    /// The fork of the station of this name that was found. `None` when the histories agree, or nothing was compared.
    #[must_use]
    pub fn fork(self, name: String, base: Cursor, server: Cursor) -> Option<Fork> {
        let short = |chain: Chain| chain.to_hex()[..12].to_owned();
        let found = match self {
            Self::Behind => Found::Behind { server: server.seq, acknowledged: base.seq },
            Self::Beyond { last } => Found::Beyond { server: server.seq, last },
            Self::Differs(ours) => Found::Differs { seq: server.seq, server: short(server.chain), here: short(ours) },
            Self::Same | Self::Moved => return None,
        };
        Some(Fork { name, found })
    }
}

/// Bounds of the pieces in which the log is read to compare it.
pub(crate) const PIECE: Caps = Caps { rows: 5_000, body_bytes: 8 << 20, cells: 1 << 20 };
/// Room kept below the cap for the message of a rejected change, which may be longer than the values it replaces.
const MESSAGE_ROOM_BYTES: usize = 2048;

/// At most this many bytes does a row have in canonical form, unless it is rejected.
fn canonical_bytes_max(row: &LogRow<'_>) -> usize {
    let values = row.values.iter().map(|value| match value {
        SqliteValue::Null => 1,
        SqliteValue::Integer(_) | SqliteValue::Real(_) => 9,
        SqliteValue::Text(v) | SqliteValue::Blob(v) => 5 + v.len(),
    });
    18 + row.table.len() + values.sum::<usize>()
}

/// The log, read in order from after a cursor.
pub(crate) struct Reader<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) file: &'a str,
    pub(crate) catalog: &'a Catalog,
    pub(crate) number: StationNumber,
}

impl<'a> Reader<'a> {
    fn tampered(&self, detail: String) -> Error {
        Error::LogTampered { file: self.file.to_owned(), detail }
    }

    /// Cuts what follows `base`, up to seq `upto`; a batch follows one schema, so it ends where the file's schema was
    /// upgraded. `None` when there is nothing.
    pub(crate) fn cut(&self, base: Cursor, upto: u64, caps: &Caps) -> Result<Option<(BatchBuilder<'a>, bool)>> {
        let sql = |error| Error::sqlite(self.file, "read the log", error);
        let (schema, schema_upto) = self.catalog.schema_of(base.seq + 1);
        let upto = schema_upto.map_or(upto, |schema_upto| upto.min(schema_upto));
        let columns = schema.columns_max();
        let names: Vec<String> = (0..columns).map(|n| format!("c{n}")).collect();
        let mut query = self
            .db
            .prepare(&format!(
                "SELECT seq, at, tbl, op, {} FROM tidemark_log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
                names.join(", ")
            ))
            .map_err(sql)?;
        let as_i64 = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let mut rows = query.query((as_i64(base.seq), as_i64(upto))).map_err(sql)?;
        let mut builder = BatchBuilder::new(schema, self.catalog.id_map(schema, self.number), base.seq + 1, base.chain);
        let mut capped = false;
        let mut memory: Vec<SqliteValue<'_>> = Vec::with_capacity(columns);
        while let Some(row) = rows.next().map_err(sql)? {
            let seq: i64 = row.get(0).map_err(sql)?;
            let seq = seq.unsigned_abs();
            if seq != builder.next_seq() {
                let (expected, found) = (builder.next_seq(), seq);
                return Err(self.tampered(format!("after change {} comes {found}, not {expected}", expected - 1)));
            }
            let bytes = |n| match row.get_ref(n) {
                Ok(rusqlite::types::ValueRef::Text(v) | rusqlite::types::ValueRef::Blob(v)) => v,
                _ => &[],
            };
            let (name, op) = (bytes(2), bytes(3));
            let table = builder.table_index(name).map(|index| &schema.tables()[index]);
            let mut values = emptied(memory);
            // Another table's are wider; a row that no table is known of is not converted.
            for n in 0..table.map_or(0, |table| table.columns.len()) {
                values.push(sqlite_value(row.get_ref(4 + n).map_err(sql)?));
            }
            let at_ms = at_ms(row.get_ref(1).map_err(sql)?);
            let numbers = table.map(|table| JsonNumbers::of(table, &values));
            if let Some(numbers) = &numbers {
                numbers.put(&mut values);
            }
            let change = LogRow { seq, at_ms, table: name, op, values: &values };
            let over = builder.rows() >= caps.rows as usize
                || builder.body_bytes() + canonical_bytes_max(&change) + MESSAGE_ROOM_BYTES > caps.body_bytes
                || builder.cells() + columns > caps.cells;
            if over && builder.rows() > 0 {
                capped = true;
                break;
            }
            builder.push(&change);
            memory = emptied(values);
        }
        if !capped && builder.next_seq() <= upto {
            let first = builder.next_seq();
            return Err(self.tampered(format!("changes {first} to {upto} are missing at its end")));
        }
        Ok((builder.rows() > 0).then_some((builder, capped)))
    }

    /// Checks what is always true of a log that nobody edited; returns its last seq.
    pub(crate) fn check(&self, tidemark: u64, sent_seq: u64) -> Result<u64> {
        let sql = |error| Error::sqlite(self.file, "read the log", error);
        #[cfg(not(target_arch = "wasm32"))]
        match open_places(self.db).map_err(sql)? {
            0 => {}
            rows => return Err(Error::Backfill { file: self.file.to_owned(), rows }),
        }
        let last = last_seq(self.db).map_err(sql)?;
        if last < tidemark {
            return Err(self.tampered(format!(
                "its numbering restarted: the last seq is {last}, but {} upstream already",
                count_is(tidemark, "change")
            )));
        }
        if last < sent_seq {
            return Err(self.tampered(format!(
                "changes up to {sent_seq} were sent from it, and it ends at {last}: its end was cut off"
            )));
        }
        let first: Option<i64> =
            self.db.query_row("SELECT min(seq) FROM tidemark_log", [], |row| row.get(0)).map_err(sql)?;
        match first {
            Some(first) if first <= tidemark as i64 => Err(self.tampered(format!(
                "change {first} stands in it, but it ends at {tidemark} upstream: its numbering restarted"
            ))),
            _ => Ok(last),
        }
    }
}

/// The log as it stands at one moment: whatever programs write and other processes push meanwhile.
pub(crate) struct Snapshot<'a> {
    tx: Transaction<'a>,
    file: &'a str,
    catalog: &'a Catalog,
    number: StationNumber,
    /// The tidemark.
    pub tidemark: Cursor,
    /// The log's last seq.
    pub last_seq: u64,
}

impl<'a> Snapshot<'a> {
    /// Takes one.
    ///
    /// # Errors
    /// As [`cut`].
    pub fn take(store: &'a mut Store) -> Result<Self> {
        let (tx, file, catalog) = store.read()?;
        let meta = meta::read(&tx, file)?;
        let number = meta.membership.ok_or_else(|| Error::NotJoined { file: file.to_owned() })?.number;
        let mut snapshot = Self { tx, file, catalog, number, tidemark: meta.tidemark, last_seq: 0 };
        snapshot.last_seq = snapshot.reader().check(meta.tidemark.seq, meta.sent_seq)?;
        Ok(snapshot)
    }

    fn reader(&self) -> Reader<'_> {
        Reader { db: &self.tx, file: self.file, catalog: self.catalog, number: self.number }
    }

    /// Cuts what follows `base`, up to seq `upto` and within `caps`. `None` when there is nothing.
    ///
    /// # Errors
    /// [`Error::LogTampered`], SQLite's.
    pub fn cut(&self, base: Cursor, upto: u64, caps: &Caps, now_ms: i64) -> Result<Option<Cut>> {
        let cut = self.reader().cut(base, upto, caps)?;
        Ok(cut.map(|(builder, capped)| Cut {
            base,
            rejected: builder.rejected().to_vec(),
            capped,
            batch: builder.finish(now_ms),
        }))
    }
}

/// Cuts the next batch: what follows the tidemark, within `caps`. `None` when everything is upstream.
///
/// The same log gives the same changes and the same chain, however often and at whatever caps it is cut.
///
/// # Errors
/// [`Error::NotJoined`], [`Error::LogTampered`], SQLite's.
pub fn cut(store: &mut Store, caps: &Caps, now_ms: i64) -> Result<Option<Cut>> {
    let snapshot = Snapshot::take(store)?;
    snapshot.cut(snapshot.tidemark, snapshot.last_seq, caps, now_ms)
}

/// Encodes a batch with this build's compression.
///
/// # Errors
/// [`FrameError::TooLarge`] when a receiver with these limits would not take the frame.
pub(crate) fn encode(batch: &Batch, limits: &FrameLimits) -> std::result::Result<Vec<u8>, FrameError> {
    let compression = if cfg!(feature = "zstd") { Compression::Zstd } else { Compression::Deflate };
    let frame = frame::encode(batch, compression)?;
    FrameHeader::parse(&frame, limits)?;
    Ok(frame)
}

/// Compares a server's cursor with the log. `base` is the tidemark when the server was asked.
///
/// # Errors
/// As [`cut`].
pub fn compare(store: &mut Store, base: Cursor, server: Cursor) -> Result<Agreement> {
    let (tx, file, catalog) = store.read()?;
    let meta = meta::read(&tx, file)?;
    if meta.tidemark != base {
        return Ok(Agreement::Moved);
    }
    compare_in(&tx, file, catalog, &meta, server)
}

/// Compares a server's cursor with the log of one snapshot, whose station row is `meta`.
pub(crate) fn compare_in(
    db: &Connection,
    file: &str,
    catalog: &Catalog,
    meta: &Meta,
    server: Cursor,
) -> Result<Agreement> {
    let number = meta.membership.as_ref().ok_or_else(|| Error::NotJoined { file: file.to_owned() })?.number;
    let base = meta.tidemark;
    if server.seq < base.seq {
        return Ok(Agreement::Behind);
    }
    let reader = Reader { db, file, catalog, number };
    let last = reader.check(base.seq, meta.sent_seq)?;
    if server.seq > last {
        return Ok(Agreement::Beyond { last });
    }
    let mut at = base;
    while at.seq < server.seq {
        let Some((builder, _)) = reader.cut(at, server.seq, &PIECE)? else { break };
        at = Cursor { seq: builder.next_seq() - 1, chain: builder.chain() };
    }
    Ok(if at.chain == server.chain { Agreement::Same } else { Agreement::Differs(at.chain) })
}
