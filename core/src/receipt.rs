//! The receipt: a server's answer to a bundle, carried back by hand. A sealed file ([`crate::sealed`]) whose items are
//! the verdicts on the bundle's frames. Every byte is in docs/FORMAT.md, "Receipt"; golden files pin it.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::decision::Cursor;
use crate::ids::StationNumber;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::protocol::RejectedChange;
use crate::sealed::{self, Key, Next, Purpose, SealError};

/// The purpose that receipts are sealed for.
pub const PURPOSE: Purpose =
    Purpose { magic: *b"TDMR", context: "tidemark receipt 1: key of the seals", noun: "receipt" };

const HEAD_BYTES: usize = 16 + 4 + 8 + 8;
const END_BYTES: usize = 8 + 32 + 8;

/// The head of a receipt: the bundle that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptHead {
    /// The uuid of the station's file.
    pub station_uuid: [u8; 16],
    /// The station's number.
    pub station: StationNumber,
    /// First seq of the bundle.
    pub first_seq: u64,
    /// Last seq of the bundle: up to here the rejects are told.
    pub last_seq: u64,
}

impl ReceiptHead {
    fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(&self.station_uuid);
        head.extend_from_slice(&self.station.get().to_le_bytes());
        head.extend_from_slice(&self.first_seq.to_le_bytes());
        head.extend_from_slice(&self.last_seq.to_le_bytes());
        head
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut fields = sealed::Fields::new(bytes);
        let head = Self {
            station_uuid: fields.take(),
            station: StationNumber::new(u32::from_le_bytes(fields.take())).map_err(|error| error.to_string())?,
            first_seq: u64::from_le_bytes(fields.take()),
            last_seq: u64::from_le_bytes(fields.take()),
        };
        sealed::check_range(head.first_seq, head.last_seq)?;
        Ok(head)
    }
}

/// The outcome of one frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The frame's last seq.
    pub last_seq: u64,
    /// Every change of the frame that the server rejected, in seq order; the others are applied.
    pub rejected: Vec<RejectedChange>,
}

/// The end of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptEnd {
    /// The last seq of the station's log that is durable upstream: the bundle's last seq or, by online pushes, beyond
    /// it.
    pub cursor: Cursor,
    /// The server's clock, milliseconds since 1970 UTC.
    pub server_time_ms: i64,
}

/// Writes a receipt.
#[derive(Debug)]
pub struct ReceiptWriter<W>(sealed::Writer<W>);

impl<W: Write> ReceiptWriter<W> {
    /// Begins a receipt.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(out: W, token_hash: &[u8; 32], head: &ReceiptHead) -> io::Result<Self> {
        let key = Key::derive(&PURPOSE, token_hash);
        sealed::Writer::begin(out, &PURPOSE, key, &head.encode()).map(Self)
    }

    /// Appends the verdicts on the next frame.
    ///
    /// # Errors
    /// Those of the output.
    pub fn verdicts(&mut self, verdicts: &Verdicts) -> io::Result<()> {
        self.0.item(&serde_json::to_vec(verdicts).expect("BUG: numbers and texts serialise"))
    }

    /// Ends the receipt.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self, end: &ReceiptEnd) -> io::Result<W> {
        let mut bytes = Vec::with_capacity(END_BYTES);
        bytes.extend_from_slice(&end.cursor.seq.to_le_bytes());
        bytes.extend_from_slice(&end.cursor.chain.0);
        bytes.extend_from_slice(&end.server_time_ms.to_le_bytes());
        self.0.end(&bytes)
    }
}

/// A receipt whose head was read, and not yet proved.
#[derive(Debug)]
pub struct UnprovedReceipt<R> {
    file: sealed::Unproved<R>,
    head: ReceiptHead,
}

impl<R: Read> UnprovedReceipt<R> {
    /// Reads a receipt's beginning.
    ///
    /// # Errors
    /// When it is no receipt, of a later version, or cut off.
    pub fn open(input: R) -> Result<Self, SealError> {
        let file = sealed::Unproved::open(input, &PURPOSE, HEAD_BYTES)?;
        let head = ReceiptHead::decode(file.head()).map_err(|detail| file.wrong_head(detail))?;
        Ok(Self { file, head })
    }

    /// Its claims about itself; anybody may have written that.
    #[must_use]
    pub const fn head(&self) -> &ReceiptHead {
        &self.head
    }

    /// Proves the head with the hash of the station's token.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the head was altered, or sealed with another token.
    pub fn prove(self, token_hash: &[u8; 32]) -> Result<ReceiptReader<R>, SealError> {
        let file = self.file.prove(Key::derive(&PURPOSE, token_hash))?;
        Ok(ReceiptReader { file, last_seq: self.head.first_seq - 1, head: self.head, buffer: Vec::new() })
    }
}

/// The next thing in a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptPart {
    /// The verdicts on the next frame.
    Verdicts(Verdicts),
    /// The end: nothing before it is missing.
    End(ReceiptEnd),
}

/// Reads a receipt's verdicts, each proved before it is handed out.
#[derive(Debug)]
pub struct ReceiptReader<R> {
    file: sealed::Reader<R>,
    head: ReceiptHead,
    last_seq: u64,
    buffer: Vec<u8>,
}

impl<R: Read> ReceiptReader<R> {
    /// The receipt's claims about itself, proved.
    #[must_use]
    pub const fn head(&self) -> &ReceiptHead {
        &self.head
    }

    /// Reads on; do not ask again after the end.
    ///
    /// # Errors
    /// Says what is wrong, and where. Memory stays within [`MESSAGE_BYTES_MAX`] and what that unfolds to.
    pub fn next_part(&mut self) -> Result<ReceiptPart, SealError> {
        match self.file.next_record(&mut self.buffer, MESSAGE_BYTES_MAX)? {
            Next::Item => {
                let verdicts: Verdicts = serde_json::from_slice(&self.buffer)
                    .map_err(|error| self.file.wrong(format!("verdicts this program cannot read: {error}")))?;
                let range = self.last_seq + 1..=verdicts.last_seq;
                let ordered = verdicts.rejected.is_sorted_by(|a, b| a.seq < b.seq);
                let inside = verdicts.rejected.iter().all(|change| range.contains(&change.seq));
                if range.is_empty() || verdicts.last_seq > self.head.last_seq || !ordered || !inside {
                    return Err(self.file.wrong("verdicts that do not follow those before"));
                }
                self.last_seq = verdicts.last_seq;
                Ok(ReceiptPart::Verdicts(verdicts))
            }
            Next::End => {
                if self.buffer.len() != END_BYTES {
                    return Err(self.file.wrong("an end of another length"));
                }
                let mut fields = sealed::Fields::new(&self.buffer);
                let cursor = Cursor { seq: u64::from_le_bytes(fields.take()), chain: Chain(fields.take()) };
                let server_time_ms = i64::from_le_bytes(fields.take());
                if self.last_seq != self.head.last_seq || cursor.seq < self.head.last_seq {
                    return Err(self.file.wrong("an end that does not fit its verdicts"));
                }
                Ok(ReceiptPart::End(ReceiptEnd { cursor, server_time_ms }))
            }
        }
    }
}
