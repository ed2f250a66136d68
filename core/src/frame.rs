//! The frame: a batch as bytes. Every byte is in docs/FORMAT.md; golden files in `core/tests/golden/` pin it.
//!
//! ```text
//! offset bytes
//!      0     4  magic "TDMK"
//!      4     2  protocol version, 1
//!      6     1  compression of the body: 0 none, 1 zstd, 2 deflate
//!      7     1  flags, 0
//!      8     4  body bytes as they follow
//!     12     4  body bytes after decompression
//!     16    32  schema fingerprint
//!     48     4  station number
//!     52     4  count of changes
//!     56     8  first seq
//!     64     8  station's clock when cut, ms since 1970 UTC
//!     72    32  chain before the first change
//!    104    32  chain after the last change
//!    136    16  check: the first half of blake3 over bytes 0 … 135 and the body
//!    152        body
//! ```
//!
//! All integers are little-endian. Every length is checked before memory is taken.

use thiserror::Error;

use crate::batch::Batch;
use crate::chain::{Chain, Print};
use crate::ids::StationNumber;
use crate::limits::FrameLimits;
use crate::schema::{Fingerprint, Schema};
use crate::wire::{decode_body, encode_body};

/// Length of the header.
pub const HEADER_BYTES: usize = 152;
/// The protocol version this build writes, and the newest it reads.
pub const VERSION: u16 = 1;
const MAGIC: [u8; 4] = *b"TDMK";
const SENT_AT: usize = 64;
const CHECK_AT: usize = 136;

/// The compression of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    None = 0,
    /// zstd, level 1: what stations use.
    Zstd = 1,
    /// Raw deflate (RFC 1951): what browsers use, where zstd would cost 114 KB.
    Deflate = 2,
}

/// The reason why bytes are no frame that this build takes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Shorter than it says, or than a header.
    #[error("the frame ends at byte {have} of {need}")]
    Truncated {
        /// Bytes there are.
        have: usize,
        /// Bytes there should be.
        need: usize,
    },
    /// Longer than it says.
    #[error("{0} bytes are left over after the frame")]
    Trailing(usize),
    /// Other bytes.
    #[error("not a Tidemark frame: it begins with {0:02x?}, not with \"TDMK\"")]
    Magic([u8; 4]),
    /// Of a later version.
    #[error("the frame is of protocol version {0}, this build reads up to {VERSION}; upgrade the receiver")]
    Version(u16),
    /// The bytes were altered on the way.
    #[error("the frame was altered on its way: its check does not match")]
    Check,
    /// A compression this build does not have.
    #[error("the frame's body is compressed with code {0}, which this build does not read")]
    Compression(u8),
    /// A header field that cannot be.
    #[error("the frame's header is wrong: {0}")]
    Header(String),
    /// Over a receiver's limit.
    #[error("the frame has {what} {have}, the receiver takes {max}")]
    TooLarge {
        /// The thing that there is too much of.
        what: &'static str,
        /// The amount.
        have: u64,
        /// The limit.
        max: u64,
    },
    /// Written to another schema than it was decoded with.
    #[error("the frame is of schema {frame}, not of {schema}")]
    Schema {
        /// The frame's.
        frame: Fingerprint,
        /// The receiver's.
        schema: Fingerprint,
    },
    /// The body does not decompress to what the header says.
    #[error("the frame's body does not decompress: {0}")]
    Decompress(String),
    /// The body is not a body.
    #[error("the frame's body is wrong: {0}")]
    Body(#[from] crate::wire::BodyError),
    /// The changes do not lead from one chain to the other.
    #[error("the frame's changes do not give the chain in its header")]
    Chain,
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Code of the body's compression.
    pub compression: u8,
    /// Body bytes as they follow.
    pub body_bytes: u32,
    /// Body bytes after decompression.
    pub raw_bytes: u32,
    /// The schema the body follows.
    pub fingerprint: Fingerprint,
    /// Whose log it is of.
    pub station: StationNumber,
    /// The number of changes, at least 1.
    pub count: u32,
    /// First seq, from 1.
    pub first_seq: u64,
    /// The station's clock when it was cut, milliseconds since 1970 UTC.
    pub sent_at_ms: i64,
    /// The chain before the first change.
    pub chain_before: Chain,
    /// The chain after the last.
    pub chain_after: Chain,
}

/// The schema that a frame says to follow; `None` when it is too short for a frame. Nothing else of it is checked.
#[must_use]
pub fn fingerprint_of(frame: &[u8]) -> Option<Fingerprint> {
    (frame.len() >= HEADER_BYTES).then(|| Fingerprint(bytes_at(frame, 16)))
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("BUG: the header's length is checked")
}

fn check_of(header: &[u8], body: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header[..CHECK_AT]).update(body);
    bytes_at(hasher.finalize().as_bytes(), 0)
}

impl FrameHeader {
    /// Reads a frame's header and checks the whole frame: lengths, limits and the check over its bytes. The body is not
    /// unpacked.
    ///
    /// # Errors
    /// Everything that can be wrong before the schema is known.
    pub fn parse(frame: &[u8], limits: &FrameLimits) -> Result<Self, FrameError> {
        if frame.len() < 6 {
            return Err(FrameError::Truncated { have: frame.len(), need: HEADER_BYTES });
        }
        let magic = bytes_at(frame, 0);
        if magic != MAGIC {
            return Err(FrameError::Magic(magic));
        }
        let version = u16::from_le_bytes(bytes_at(frame, 4));
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if frame.len() < HEADER_BYTES {
            return Err(FrameError::Truncated { have: frame.len(), need: HEADER_BYTES });
        }
        let u32_at = |at| u32::from_le_bytes(bytes_at(frame, at));
        let (body_bytes, raw_bytes, count) = (u32_at(8), u32_at(12), u32_at(52));
        let within = |what, have: u64, max: u32| {
            if have > u64::from(max) { Err(FrameError::TooLarge { what, have, max: max.into() }) } else { Ok(()) }
        };
        within("bytes", HEADER_BYTES as u64 + u64::from(body_bytes), limits.frame_bytes_max)?;
        within("unpacked bytes", raw_bytes.into(), limits.body_bytes_max)?;
        within("changes", count.into(), limits.rows_max)?;
        let need = HEADER_BYTES + body_bytes as usize;
        if frame.len() < need {
            return Err(FrameError::Truncated { have: frame.len(), need });
        }
        if frame.len() > need {
            return Err(FrameError::Trailing(frame.len() - need));
        }
        if check_of(frame, &frame[HEADER_BYTES..]) != bytes_at(frame, CHECK_AT) {
            return Err(FrameError::Check);
        }
        if frame[7] != 0 {
            return Err(FrameError::Header(format!("unknown flags {:#04x}", frame[7])));
        }
        let first_seq = u64::from_le_bytes(bytes_at(frame, 56));
        if count == 0 || first_seq == 0 || first_seq > i64::MAX as u64 - u64::from(count) {
            return Err(FrameError::Header(format!(
                "{count} changes from seq {first_seq}; a batch has at least one, and seq counts from 1"
            )));
        }
        Ok(Self {
            compression: frame[6],
            body_bytes,
            raw_bytes,
            fingerprint: Fingerprint(bytes_at(frame, 16)),
            station: StationNumber::new(u32_at(48)).map_err(|error| FrameError::Header(error.to_string()))?,
            count,
            first_seq,
            sent_at_ms: i64::from_le_bytes(bytes_at(frame, SENT_AT)),
            chain_before: Chain(bytes_at(frame, 72)),
            chain_after: Chain(bytes_at(frame, 104)),
        })
    }
}

/// Turns a batch into a frame.
///
/// ```
/// use tidemark_core::batch::{BatchBuilder, LogRow};
/// use tidemark_core::{chain::Chain, frame, ids::StationNumber, limits::FrameLimits, schema, value::SqliteValue};
/// let schema = schema::shrinkage();
/// let mut builder = BatchBuilder::new(&schema, StationNumber::new(1).unwrap(), 1, Chain::start([0; 16]));
/// let row = [SqliteValue::Integer(1), SqliteValue::Text("СИНЕЦ ВЯЛЕНЫЙ".as_bytes())];
/// builder.push(&LogRow { seq: 1, at_ms: 0, table: b"nomenclature", op: b"I", values: &row });
/// let batch = builder.finish(0);
/// let bytes = frame::encode(&batch, frame::Compression::Deflate).unwrap();
/// assert_eq!(frame::decode(&bytes, &schema, &FrameLimits::DEFAULT).unwrap(), batch);
/// ```
///
/// # Errors
/// [`FrameError::Compression`] when this build has no zstd, [`FrameError::TooLarge`] when the body does not fit 32
/// bits.
pub fn encode(batch: &Batch, compression: Compression) -> Result<Vec<u8>, FrameError> {
    let raw = encode_body(batch);
    let raw_bytes = u32::try_from(raw.len()).map_err(|_| FrameError::TooLarge {
        what: "unpacked bytes",
        have: raw.len() as u64,
        max: u32::MAX.into(),
    })?;
    let mut frame = vec![0; HEADER_BYTES];
    match compression {
        Compression::None => frame.extend_from_slice(&raw),
        Compression::Deflate => frame.extend_from_slice(&miniz_oxide::deflate::compress_to_vec(&raw, 6)),
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            let body = zstd::bulk::compress(&raw, 1).map_err(|error| FrameError::Header(format!("zstd: {error}")))?;
            frame.extend_from_slice(&body);
        }
        #[cfg(not(feature = "zstd"))]
        Compression::Zstd => return Err(FrameError::Compression(compression as u8)),
    }
    let body_bytes = u32::try_from(frame.len() - HEADER_BYTES).map_err(|_| FrameError::TooLarge {
        what: "bytes",
        have: frame.len() as u64,
        max: u32::MAX.into(),
    })?;
    let mut put = |at: usize, bytes: &[u8]| frame[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(4, &VERSION.to_le_bytes());
    put(6, &[compression as u8, 0]);
    put(8, &body_bytes.to_le_bytes());
    put(12, &raw_bytes.to_le_bytes());
    put(16, &batch.fingerprint.0);
    put(48, &batch.station.get().to_le_bytes());
    put(52, &(batch.order.len() as u32).to_le_bytes());
    put(56, &batch.first_seq.to_le_bytes());
    put(SENT_AT, &batch.sent_at_ms.to_le_bytes());
    put(72, &batch.chain_before.0);
    put(104, &batch.chain_after.0);
    put_check(&mut frame);
    Ok(frame)
}

fn put_check(frame: &mut [u8]) {
    let check = check_of(frame, &frame[HEADER_BYTES..]);
    frame[CHECK_AT..HEADER_BYTES].copy_from_slice(&check);
}

/// Sets the station's clock in the header of a frame that [`encode`] made: one that waited after it was cut tells when
/// it is sent.
///
/// # Panics
/// When the frame is shorter than a header.
pub fn restamp(frame: &mut [u8], sent_at_ms: i64) {
    frame[SENT_AT..SENT_AT + 8].copy_from_slice(&sent_at_ms.to_le_bytes());
    put_check(frame);
}

/// Turns a frame into a batch: unpacked, decoded by `schema`, its chain recomputed and compared with the header's.
///
/// # Errors
/// Says what is wrong with the bytes; nothing is taken on trust.
pub fn decode(frame: &[u8], schema: &Schema, limits: &FrameLimits) -> Result<Batch, FrameError> {
    decode_with_prints(frame, schema, limits).map(|(batch, _)| batch)
}

/// [`decode`], with the print of the chain after each change, which checking the chain gives anyway.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_with_prints(
    frame: &[u8],
    schema: &Schema,
    limits: &FrameLimits,
) -> Result<(Batch, Vec<Print>), FrameError> {
    let header = FrameHeader::parse(frame, limits)?;
    if header.fingerprint != schema.fingerprint() {
        return Err(FrameError::Schema { frame: header.fingerprint, schema: schema.fingerprint() });
    }
    let raw = decompress(&header, &frame[HEADER_BYTES..], limits)?;
    let (groups, order, at_ms) = decode_body(&raw, header.count, schema, limits)?;
    let batch = Batch {
        fingerprint: header.fingerprint,
        station: header.station,
        first_seq: header.first_seq,
        chain_before: header.chain_before,
        chain_after: header.chain_after,
        sent_at_ms: header.sent_at_ms,
        groups,
        order,
        at_ms,
    };
    let (prints, chain_after) = batch.prints(schema);
    if chain_after != header.chain_after {
        return Err(FrameError::Chain);
    }
    Ok((batch, prints))
}

/// The largest window that zstd may take memory for, as a power of two: what holds the largest body, within zstd's own
/// bounds. A frame says itself how large a window it wants, up to 128 MiB for a body of nothing.
#[cfg(feature = "zstd")]
fn window_log_max(limits: &FrameLimits) -> u32 {
    let largest = limits.body_bytes_max.clamp(1 << 10, 1 << 27);
    largest.next_power_of_two().ilog2()
}

/// Unpacks a body; memory grows with what is really produced and stops at what the header said, which is within the
/// limit.
#[cfg_attr(not(feature = "zstd"), allow(unused_variables))] // only zstd takes memory for a window
fn decompress(header: &FrameHeader, body: &[u8], limits: &FrameLimits) -> Result<Vec<u8>, FrameError> {
    let expected = header.raw_bytes as usize;
    let raw = match header.compression {
        0 => body.to_vec(),
        #[cfg(feature = "zstd")]
        1 => {
            use std::io::Read as _;
            let mut raw = Vec::new();
            zstd::stream::read::Decoder::new(body)
                .and_then(|mut decoder| {
                    decoder.window_log_max(window_log_max(limits))?;
                    decoder.take(expected as u64 + 1).read_to_end(&mut raw)
                })
                .map_err(|error| FrameError::Decompress(error.to_string()))?;
            raw
        }
        2 => miniz_oxide::inflate::decompress_to_vec_with_limit(body, expected)
            .map_err(|error| FrameError::Decompress(error.to_string()))?,
        other => return Err(FrameError::Compression(other)),
    };
    if raw.len() != expected {
        return Err(FrameError::Decompress(format!("it has not the {expected} bytes the header says")));
    }
    Ok(raw)
}
