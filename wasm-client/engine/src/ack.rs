//! The one transaction of an acknowledgement: rejects kept with their image, tidemark moved, log trimmed.

use tidemark_core::decision::Cursor;
use tidemark_core::limits::FrameLimits;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::RejectedChange;
use tidemark_core::reject::{RejectCode, Rejection};

use crate::error::{Error, Result, printable};
use crate::lineage::raise_bound;
use crate::meta;
use crate::rejects::{Origin, keep, parent_rejected_here, resolve};
use crate::store::Store;

/// The changes that are durable upstream now, and their fate.
#[derive(Debug)]
pub struct Ack<'a> {
    /// The tidemark the batch followed.
    pub base: Cursor,
    /// The new tidemark: verified against the station's own chain, within the batch.
    pub upto: Cursor,
    /// The largest local id in each table of the batch, when all of it is acknowledged.
    pub largest_ids: &'a [(String, i64)],
    /// Changes rejected here when the batch was cut, in seq order.
    pub rejected_here: &'a [(u64, Rejection)],
    /// Changes the server says it rejected.
    pub rejected_by_server: &'a [RejectedChange],
    /// The bounds of a frame the server told.
    pub limits: FrameLimits,
    /// The station's clock.
    pub now_ms: i64,
}

impl Ack<'_> {
    const fn trims(&self, seq: u64) -> bool {
        seq > self.base.seq && seq <= self.upto.seq
    }

    /// What [`acknowledge`] does with it, unless another process was faster.
    pub(crate) fn moves(&self) -> Acked {
        let here = self.rejected_here.iter().filter(|(seq, _)| self.trims(*seq));
        let by_server = self.rejected_by_server.iter().filter(|change| self.trims(change.seq));
        Acked::Moved {
            changes: self.upto.seq - self.base.seq,
            rejected_here: here.count() as u64,
            rejected_by_server: by_server.count() as u64,
        }
    }
}

/// What [`acknowledge`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acked {
    /// The tidemark moved.
    Moved {
        /// Changes trimmed.
        changes: u64,
        /// Of them rejected here.
        rejected_here: u64,
        /// Of them rejected by the server.
        rejected_by_server: u64,
    },
    /// Another process moved the tidemark meanwhile; nothing was done.
    Stale,
}

/// Applies an acknowledgement.
///
/// # Errors
/// SQLite's; nothing is changed then, and the batch may be sent again.
pub fn acknowledge(store: &mut Store, ack: &Ack<'_>) -> Result<Acked> {
    let file = store.file().to_owned();
    let schema = store.schema().clone();
    if planted(Bug::TrimBeforeCommit) {
        store.execute("DELETE FROM tidemark_log WHERE seq <= ?1", [ack.upto.seq as i64])?;
    }
    store.transaction(|tx| {
        let sql = |error| Error::sqlite(&file, "move the tidemark", error);
        if meta::read(tx, &file)?.tidemark != ack.base || ack.upto.seq <= ack.base.seq {
            return Ok(Acked::Stale);
        }
        {
            let mut keep = keep(tx, &schema).map_err(sql)?;
            for (seq, rejection) in ack.rejected_here.iter().filter(|(seq, _)| ack.trims(*seq)) {
                keep(*seq, rejection.code.as_str(), &rejection.message, Origin::Station, ack.now_ms).map_err(sql)?;
            }
            for change in ack.rejected_by_server.iter().filter(|change| ack.trims(change.seq)) {
                let (mut code, mut message) = (change.code, printable(&change.message));
                // The server does not know which rows the changes rejected here should have written.
                if code == RejectCode::Reference
                    && let Some((seq, why)) = parent_rejected_here(tx, &schema, change.seq).map_err(sql)?
                {
                    code = RejectCode::Parent;
                    message =
                        format!("{message}: its change {seq} was rejected on this station ({why}); repair that one");
                }
                if !planted(Bug::RejectNotKept) {
                    keep(change.seq, code.as_str(), &message, Origin::Server, ack.now_ms).map_err(sql)?;
                }
            }
        }
        resolve(tx, &schema, ack.upto.seq, ack.now_ms).map_err(sql)?;
        meta::write::acknowledged(tx, ack.upto, &ack.limits, ack.now_ms).map_err(sql)?;
        for (table, id) in ack.largest_ids {
            raise_bound(tx, table, *id).map_err(sql)?;
        }
        let trim = ack.upto.seq as i64 + i64::from(planted(Bug::TrimPastTidemark));
        tx.execute("DELETE FROM tidemark_log WHERE seq <= ?1", [trim]).map_err(sql)?;
        if planted(Bug::SeqReused) {
            tx.execute("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'tidemark_log'", []).map_err(sql)?;
        }
        Ok(ack.moves())
    })
}
