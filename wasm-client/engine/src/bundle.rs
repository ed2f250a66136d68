//! Sneakernet: the pending log written as a bundle, and the receipt for it taken. What a push does over the network, by
//! hand; the same cuts, the same frames, the same acknowledgement.

use std::io::{self, Read, Seek, SeekFrom, Write};

use tidemark_core::bundle::{BundleHead, BundleWriter};
use tidemark_core::decision::Cursor;
use tidemark_core::frame::FrameError;
use tidemark_core::receipt::{ReceiptEnd, ReceiptHead, ReceiptPart, ReceiptReader, UnprovedReceipt};
use tidemark_core::sealed::SealError;
use tidemark_core::secret::secret_hash;
use tidemark_core::value::format_uuid;

use crate::ack::{Ack, Acked, acknowledge};
use crate::error::Error;
use crate::halt::Halt;
use crate::meta::{Membership, Meta};
use crate::outbox::{Agreement, Snapshot, compare, encode};
use crate::store::Store;
use crate::sync::Pace;

/// The reason why no bundle was written, or a receipt not taken. Nothing was trimmed that the server does not hold.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The station's file.
    #[error(transparent)]
    Store(#[from] Error),
    /// The bundle cannot be written.
    #[error("cannot write it: {0}")]
    Write(#[source] io::Error),
    /// One change is more than any server takes.
    #[error("change {seq} alone is more than a server takes at once ({why})")]
    TooLarge {
        /// Its seq.
        seq: u64,
        /// The bound that it exceeds.
        why: FrameError,
    },
    /// Station and server hold different histories.
    #[error("{0}")]
    Forked(Halt),
    /// The receipt is damaged, or none.
    #[error(transparent)]
    Receipt(#[from] SealError),
    /// It answers another station's bundle.
    #[error(
        "the receipt is for station {station}, uuid {uuid}, and this file is station {ours}, uuid {our_uuid}; take it to the file whose bundle it answers"
    )]
    Foreign {
        /// The number in the receipt.
        station: u32,
        /// The uuid in the receipt.
        uuid: String,
        /// The file's number.
        ours: u32,
        /// The file's uuid.
        our_uuid: String,
    },
    /// Changes before the receipt's are not acknowledged here.
    #[error("the receipt begins at change {first_seq}, but this file knows only of {tidemark} upstream")]
    Gap {
        /// The receipt's first seq.
        first_seq: u64,
        /// The file's tidemark.
        tidemark: u64,
    },
}

/// A result of this module.
pub type BundleResult<T> = std::result::Result<T, BundleError>;

/// The contents of a bundle that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// First seq.
    pub first_seq: u64,
    /// Last seq.
    pub last_seq: u64,
    /// The number of frames.
    pub frames: u64,
    /// Changes in it that were rejected here: they travel as markers.
    pub rejected_here: u64,
}

/// A station that has joined: number, token and what else its row says.
fn joined(store: &Store) -> BundleResult<(Meta, Membership, [u8; 32])> {
    let meta = store.meta()?;
    match (&meta.membership, &meta.token) {
        (Some(membership), Some(token)) => {
            let (membership, token_hash) = (membership.clone(), secret_hash(&token.0));
            Ok((meta, membership, token_hash))
        }
        _ => Err(Error::NotJoined { file: store.file().to_owned() }.into()),
    }
}

/// Writes everything that is pending now as a bundle; the log stays as it is. `None` when nothing is pending, and then
/// nothing is written. `progress` is told how many changes are written.
///
/// The bundle is whole only when this returns: write it under another name, and rename it then.
///
/// # Errors
/// See [`BundleError`]; what was written until then is a truncated bundle, which no server takes.
pub fn export(
    store: &mut Store,
    now_ms: i64,
    out: impl Write,
    mut progress: impl FnMut(u64),
) -> BundleResult<Option<Exported>> {
    let (meta, membership, token_hash) = joined(store)?;
    if let Some(forked) = meta.forked {
        return Err(BundleError::Forked(forked));
    }
    let (station_uuid, fingerprint) = (store.uuid(), store.schema().fingerprint());
    let last_seq = store.last_seq()?;
    // As before a push: what leaves the machine must survive a power cut here, or the file would seem rewound
    // afterwards.
    if last_seq > meta.sent_seq {
        store.note_carried(last_seq)?;
    }
    let snapshot = Snapshot::take(store)?;
    let mut at = snapshot.tidemark;
    if last_seq <= at.seq {
        return Ok(None);
    }
    let head = BundleHead {
        station_uuid,
        station: membership.number,
        fingerprint,
        first_seq: at.seq + 1,
        last_seq,
        chain_before: at.chain,
        created_at_ms: now_ms,
    };
    let mut bundle = BundleWriter::begin(out, &token_hash, &head).map_err(BundleError::Write)?;
    let mut pace = Pace::new(meta.limits.unwrap_or_default());
    let mut exported = Exported { first_seq: head.first_seq, last_seq, frames: 0, rejected_here: 0 };
    while let Some(cut) = snapshot.cut(at, last_seq, &pace.caps(), now_ms)? {
        let span = cut.batch.span();
        let frame = match encode(&cut.batch, pace.limits()) {
            Ok(frame) => frame,
            Err(FrameError::TooLarge { .. }) if pace.was_too_much(span.count) => continue,
            Err(why @ FrameError::TooLarge { .. }) => return Err(BundleError::TooLarge { seq: span.first_seq, why }),
            Err(error) => return Err(Error::from(error).into()),
        };
        bundle.frame(&frame).map_err(BundleError::Write)?;
        at = Cursor { seq: span.last_seq(), chain: span.chain_after };
        // A file takes what it is given: batches grow as over a fast network.
        pace.went_through(span.count, 0, cut.capped, 0);
        exported.frames += 1;
        exported.rejected_here += cut.rejected.len() as u64;
        progress(at.seq + 1 - head.first_seq);
    }
    bundle.finish().map_err(BundleError::Write)?;
    Ok(Some(exported))
}

/// The effect of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipted {
    /// Changes are durable upstream, and out of the log.
    Acked {
        /// The tidemark.
        tidemark: u64,
        /// The number of changes it moved over.
        changes: u64,
        /// Of them rejected on this station.
        rejected_here: u64,
        /// Of them rejected by the server.
        rejected_by_server: u64,
    },
    /// All that it confirms was known already.
    Stale {
        /// The receipt's last seq.
        last_seq: u64,
        /// The file's tidemark.
        tidemark: u64,
    },
}

/// Takes the receipt for a bundle: proves it, compares the server's chain with this log, and only then moves the
/// tidemark and trims, batch by batch. `receipt` is read twice.
///
/// # Errors
/// See [`BundleError`]. A forged, altered, truncated or foreign receipt trims nothing.
pub fn import_receipt(store: &mut Store, now_ms: i64, mut receipt: impl Read + Seek) -> BundleResult<Receipted> {
    let (_, membership, token_hash) = joined(store)?;
    let (head, end) = prove(store, &membership, &token_hash, &mut receipt)?;
    let base = loop {
        let base = store.meta()?.tidemark;
        if head.last_seq <= base.seq {
            return Ok(Receipted::Stale { last_seq: head.last_seq, tidemark: base.seq });
        }
        if head.first_seq > base.seq + 1 {
            return Err(BundleError::Gap { first_seq: head.first_seq, tidemark: base.seq });
        }
        match compare(store, base, end.cursor)? {
            Agreement::Same => break base,
            // Another process moved the tidemark meanwhile: compare again.
            Agreement::Moved => {}
            found => {
                let fork = found.fork(membership.name, base, end.cursor);
                let halt = Halt::Forked(fork.expect("BUG: the histories were compared and differ"));
                store.note_halted(&halt.kept(&halt.to_string()), Some(now_ms))?;
                return Err(BundleError::Forked(halt));
            }
        }
    };
    receipt.seek(SeekFrom::Start(0)).map_err(SealError::from)?;
    let proved = open(store, &membership, &token_hash, &mut receipt)?;
    acknowledge_all(store, now_ms, base, proved)
}

/// Reads a receipt's beginning: is it this station's?
fn open<R: Read>(
    store: &Store,
    membership: &Membership,
    token_hash: &[u8; 32],
    receipt: R,
) -> BundleResult<ReceiptReader<R>> {
    let unproved = UnprovedReceipt::open(receipt)?;
    let head = unproved.head();
    if head.station_uuid != store.uuid() || head.station != membership.number {
        return Err(BundleError::Foreign {
            station: head.station.get(),
            uuid: format_uuid(head.station_uuid),
            ours: membership.number.get(),
            our_uuid: format_uuid(store.uuid()),
        });
    }
    Ok(unproved.prove(token_hash)?)
}

/// Reads a receipt to its end, without believing a word before that.
fn prove(
    store: &Store,
    membership: &Membership,
    token_hash: &[u8; 32],
    receipt: impl Read,
) -> BundleResult<(ReceiptHead, ReceiptEnd)> {
    let mut receipt = open(store, membership, token_hash, receipt)?;
    loop {
        if let ReceiptPart::End(end) = receipt.next_part()? {
            return Ok((*receipt.head(), end));
        }
    }
}

/// Acknowledges what the verdicts cover, cut again for what was rejected here. Each part is proved when it is read.
fn acknowledge_all<R: Read>(
    store: &mut Store,
    now_ms: i64,
    base: Cursor,
    mut receipt: ReceiptReader<R>,
) -> BundleResult<Receipted> {
    let limits = store.meta()?.limits.unwrap_or_default();
    let caps = Pace::new(limits).caps();
    let (mut changes, mut here, mut by_server) = (0, 0, 0);
    let mut tidemark = base.seq;
    while let ReceiptPart::Verdicts(verdicts) = receipt.next_part()? {
        loop {
            let snapshot = Snapshot::take(store)?;
            tidemark = snapshot.tidemark.seq;
            // Some of it may be acknowledged already, by this receipt before a crash or by another process.
            let cut = if tidemark < verdicts.last_seq {
                snapshot.cut(snapshot.tidemark, verdicts.last_seq, &caps, now_ms)?
            } else {
                None
            };
            drop(snapshot);
            let Some(cut) = cut else { break };
            let span = cut.batch.span();
            let ack = Ack {
                base: cut.base,
                upto: Cursor { seq: span.last_seq(), chain: span.chain_after },
                largest_ids: &cut.batch.largest_ids(store.schema_of(span.first_seq)),
                rejected_here: &cut.rejected,
                rejected_by_server: &verdicts.rejected,
                limits,
                now_ms,
            };
            if let Acked::Moved { changes: moved, rejected_here, rejected_by_server } = acknowledge(store, &ack)? {
                changes += moved;
                here += rejected_here;
                by_server += rejected_by_server;
            }
        }
    }
    Ok(Receipted::Acked { tidemark, changes, rejected_here: here, rejected_by_server: by_server })
}
