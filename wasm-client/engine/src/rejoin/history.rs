//! The file's own history: the prints of its log, made anew to compare them with the server's.

use rusqlite::Connection;
use tidemark_core::chain::{Chain, Print};
use tidemark_core::decision::Cursor;

use crate::error::{Error, Result};
use crate::log::last_seq;
use crate::meta::{self, Meta};
use crate::outbox::{PIECE, Reader};
use crate::store::Store;

/// The file's own history, from its tidemark on.
#[derive(Debug)]
pub(crate) struct OwnHistory {
    /// The station's row when it was read.
    pub(crate) meta: Meta,
    /// The print after each change that follows the tidemark, as far as the log is whole.
    prints: Vec<Print>,
    /// The damage in the log behind that, if there is any, in words.
    pub(crate) tampered: Option<String>,
}

impl OwnHistory {
    /// Reads the whole log; 8 bytes per change stay in memory.
    ///
    /// # Errors
    /// [`Error::NotJoined`], SQLite's.
    pub(crate) fn read(store: &mut Store) -> Result<Self> {
        let (tx, file, catalog) = store.read()?;
        let meta = meta::read(&tx, file)?;
        let number = meta.membership.clone().ok_or_else(|| Error::NotJoined { file: file.to_owned() })?.number;
        let reader = Reader { db: &tx, file, catalog, number };
        let (last, mut tampered) = match reader.check(meta.tidemark.seq, meta.sent_seq) {
            Ok(last) => (last, None),
            Err(Error::LogTampered { detail, .. }) => (meta.tidemark.seq, Some(detail)),
            Err(error) => return Err(error),
        };
        let sql = |error| Error::sqlite(file, "read the log", error);
        let mut query = tx.prepare("SELECT seq FROM tidemark_log WHERE seq > ?1 ORDER BY seq").map_err(sql)?;
        let mut whole = meta.tidemark.seq;
        let mut rows = query.query([whole as i64]).map_err(sql)?;
        while whole < last
            && let Some(row) = rows.next().map_err(sql)?
            && row.get::<_, i64>(0).map_err(sql)?.unsigned_abs() == whole + 1
        {
            whole += 1;
        }
        if whole < last {
            tampered.get_or_insert_with(|| format!("change {} is missing in it", whole + 1));
        }
        let (mut at, mut prints) = (meta.tidemark, Vec::new());
        while at.seq < whole {
            let Some((builder, _)) = reader.cut(at, whole, &PIECE)? else { break };
            let (schema, _) = catalog.schema_of(at.seq + 1);
            let batch = builder.finish(0);
            let (piece, chain) = batch.prints(schema);
            at = Cursor { seq: at.seq + piece.len() as u64, chain };
            prints.extend(piece);
        }
        Ok(Self { meta, prints, tampered })
    }

    /// Last seq of it.
    pub(crate) const fn last_seq(&self) -> u64 {
        self.meta.tidemark.seq + self.prints.len() as u64
    }

    pub(super) fn print_at(&self, seq: u64) -> Option<Print> {
        let base = self.meta.tidemark;
        if seq == base.seq {
            return Some(base.chain.print());
        }
        let at = usize::try_from(seq.checked_sub(base.seq + 1)?).ok()?;
        self.prints.get(at).copied()
    }
}

/// The chain after change `seq` of the log, which is whole up to there.
///
/// # Errors
/// [`Error::LogTampered`] when it is not, SQLite's.
pub(crate) fn chain_at(store: &mut Store, seq: u64) -> Result<Chain> {
    let (tx, file, catalog) = store.read()?;
    let meta = meta::read(&tx, file)?;
    let number = meta.membership.ok_or_else(|| Error::NotJoined { file: file.to_owned() })?.number;
    let reader = Reader { db: &tx, file, catalog, number };
    let mut at = meta.tidemark;
    while at.seq < seq {
        let Some((builder, _)) = reader.cut(at, seq, &PIECE)? else { break };
        at = Cursor { seq: builder.next_seq() - 1, chain: builder.chain() };
    }
    Ok(at.chain)
}

/// Last seq of a log that grew or not since it was compared: whole from `common` on.
///
/// # Errors
/// [`Error::LogTampered`] when it is not, SQLite's.
pub(super) fn check_whole(db: &Connection, file: &str, common: u64) -> Result<u64> {
    let sql = |error| Error::sqlite(file, "read the log", error);
    let last = last_seq(db).map_err(sql)?;
    let count: i64 = db
        .query_row("SELECT count(*) FROM tidemark_log WHERE seq > ?1", [common as i64], |row| row.get(0))
        .map_err(sql)?;
    if last.checked_sub(common) == Some(count.unsigned_abs()) {
        return Ok(last);
    }
    Err(Error::LogTampered { file: file.to_owned(), detail: format!("changes after {common} are missing in it") })
}
