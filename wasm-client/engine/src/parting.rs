//! Where a file's history parts from the one the server has of its number.
//!
//! The server keeps a print of the chain after every change it applied. The file makes its own, from its tidemark on, and compares:
//! chains that agree at one change agree at every earlier one, so the last agreement is exact wherever both prints are known.

use tidemark_core::chain::{Chain, Print};
use tidemark_core::decision::Cursor;
use tidemark_core::rejoin::HistoryReply;

use crate::error::{Error, Result};
use crate::meta::{self, Meta};
use crate::outbox::{PIECE, Reader};
use crate::store::{Store, last_seq};

/// The file's own history, from its tidemark on.
#[derive(Debug)]
pub(crate) struct OwnHistory {
    /// The station's row when it was read.
    pub(crate) meta: Meta,
    /// The print after each change that follows the tidemark, as far as the log is whole.
    prints: Vec<Print>,
    /// What is wrong with the log behind that, if anything is.
    pub(crate) tampered: Option<String>,
}

impl OwnHistory {
    /// Reads the whole log; 8 bytes per change stay in memory.
    ///
    /// # Errors
    /// [`Error::NotJoined`], SQLite's.
    pub(crate) fn read(store: &mut Store) -> Result<Self> {
        let (tx, file, identity) = store.read()?;
        let meta = meta::read(&tx, file)?;
        let number = meta.membership.clone().ok_or_else(|| Error::NotJoined { file: file.to_owned() })?.number;
        let reader = Reader { db: &tx, file, identity, number };
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
            let (schema, _) = identity.schema_of(at.seq + 1);
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

    fn print_at(&self, seq: u64) -> Option<Print> {
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
    let (tx, file, identity) = store.read()?;
    let meta = meta::read(&tx, file)?;
    let number = meta.membership.ok_or_else(|| Error::NotJoined { file: file.to_owned() })?.number;
    let reader = Reader { db: &tx, file, identity, number };
    let mut at = meta.tidemark;
    while at.seq < seq {
        let Some((builder, _)) = reader.cut(at, seq, &PIECE)? else { break };
        at = Cursor { seq: builder.next_seq() - 1, chain: builder.chain() };
    }
    Ok(at.chain)
}

/// Where the two histories part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// After this change; the log is whole.
    At(u64),
    /// The log is not whole, or the server has lost changes that the log holds no more; nothing tells of another history. Upstream and
    /// the file's rows must be made equal row by row.
    Rows,
    /// The server has another history, and the log is not whole.
    Tampered,
    /// Somewhere after the first and up to the second: the server applied those changes before it kept prints.
    Unknown(u64, u64),
    /// Everywhere: the server has nothing of this file.
    Anew,
}

/// Compares histories as the server's comes in, page by page.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) own: OwnHistory,
    /// The server's cursor, as it was told last.
    pub(crate) server: Option<Cursor>,
    /// The number was revoked: nothing is pushed under it any more.
    pub(crate) revoked: bool,
    /// Last seq at which both are known to agree.
    agree: u64,
    /// First seq at which they are known to differ.
    differ: Option<u64>,
    /// The next page follows this seq; `None` when there is nothing to ask any more.
    ask: Option<u64>,
}

impl Comparison {
    pub(crate) const fn new(own: OwnHistory) -> Self {
        let base = own.meta.tidemark.seq;
        // From one before the tidemark on, so that the print there is compared, too.
        Self { own, server: None, revoked: false, agree: base, differ: None, ask: Some(base.saturating_sub(1)) }
    }

    /// After which seq to ask for prints, if there is something to ask.
    pub(crate) const fn asks_after(&self) -> Option<u64> {
        self.ask
    }

    /// The server's answer.
    pub(crate) fn answered(&mut self, reply: &HistoryReply) {
        let server = Cursor { seq: reply.tidemark, chain: reply.chain };
        self.server = Some(server);
        self.revoked = reply.revoked;
        self.ask = None;
        let told = (reply.first_seq..).zip(reply.prints.0.iter().copied());
        for (seq, print) in told.chain([(server.seq, server.chain.print())]) {
            match self.own.print_at(seq) {
                Some(own) if own == print => self.agree = self.agree.max(seq),
                Some(_) => self.differ = Some(self.differ.map_or(seq, |differ| differ.min(seq))),
                None => {}
            }
        }
        let told = (reply.first_seq + reply.prints.0.len() as u64).saturating_sub(1);
        let end = server.seq.min(self.own.last_seq());
        if !reply.prints.0.is_empty() && told < end && self.differ.is_none_or(|differ| differ > told + 1) {
            self.ask = Some(told);
        }
    }

    /// Where they part, once everything was asked.
    pub(crate) fn parting(&self) -> Parting {
        let (base, last) = (self.own.meta.tidemark.seq, self.own.last_seq());
        let server = self.server.map_or(0, |server| server.seq);
        // Nothing differs, and what the server has beyond the log was sent from this very file.
        let alone = self.differ.is_none() && server <= last.max(self.own.meta.sent_seq);
        if server < base {
            return if self.differ.is_none() { Parting::Rows } else { Parting::Tampered };
        }
        if self.own.tampered.is_some() {
            return if alone { Parting::Rows } else { Parting::Tampered };
        }
        if self.differ == Some(base) {
            return Parting::Unknown(0, base);
        }
        if self.agree == server.min(last) || self.differ == Some(self.agree + 1) {
            return Parting::At(self.agree);
        }
        Parting::Unknown(self.agree, self.differ.unwrap_or(last + 1) - 1)
    }
}

/// Last seq of a log that grew or not since it was compared: whole from `common` on.
///
/// # Errors
/// [`Error::LogTampered`] when it is not, SQLite's.
pub(crate) fn check_whole(db: &rusqlite::Connection, file: &str, common: u64) -> Result<u64> {
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
