//! The bundle: a station's pending log as a file, for a server that no network reaches. A sealed file
//! ([`crate::sealed`]) whose items are the frames a push would send. Every byte is in docs/FORMAT.md, "Bundle"; golden
//! files pin it.

use std::io::{self, Read, Write};

use crate::chain::Chain;
use crate::frame::{FrameHeader, HEADER_BYTES};
use crate::ids::StationNumber;
use crate::limits::FrameLimits;
use crate::schema::Fingerprint;
use crate::sealed::{self, Key, Next, Purpose, SealError};

/// The purpose that bundles are sealed for.
pub const PURPOSE: Purpose =
    Purpose { magic: *b"TDMB", context: "tidemark bundle 1: key of the seals", noun: "bundle" };

const HEAD_BYTES: usize = 16 + 4 + 32 + 8 + 8 + 32 + 8;
const END_BYTES: usize = 8;

/// The head of a bundle: its claims about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleHead {
    /// The uuid of the station's file.
    pub station_uuid: [u8; 16],
    /// The number its server gave it.
    pub station: StationNumber,
    /// The schema the station follows; frames of changes captured before an upgrade follow older ones.
    pub fingerprint: Fingerprint,
    /// First seq in it, from 1.
    pub first_seq: u64,
    /// Last seq in it.
    pub last_seq: u64,
    /// The chain before the first change.
    pub chain_before: Chain,
    /// The station's clock when it was made, milliseconds since 1970 UTC.
    pub created_at_ms: i64,
}

impl BundleHead {
    fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(&self.station_uuid);
        head.extend_from_slice(&self.station.get().to_le_bytes());
        head.extend_from_slice(&self.fingerprint.0);
        head.extend_from_slice(&self.first_seq.to_le_bytes());
        head.extend_from_slice(&self.last_seq.to_le_bytes());
        head.extend_from_slice(&self.chain_before.0);
        head.extend_from_slice(&self.created_at_ms.to_le_bytes());
        head
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut fields = sealed::Fields::new(bytes);
        let head = Self {
            station_uuid: fields.take(),
            station: StationNumber::new(u32::from_le_bytes(fields.take())).map_err(|error| error.to_string())?,
            fingerprint: Fingerprint(fields.take()),
            first_seq: u64::from_le_bytes(fields.take()),
            last_seq: u64::from_le_bytes(fields.take()),
            chain_before: Chain(fields.take()),
            created_at_ms: i64::from_le_bytes(fields.take()),
        };
        sealed::check_range(head.first_seq, head.last_seq)?;
        Ok(head)
    }
}

/// Writes a bundle.
#[derive(Debug)]
pub struct BundleWriter<W> {
    file: sealed::Writer<W>,
    frames: u64,
}

impl<W: Write> BundleWriter<W> {
    /// Begins a bundle.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(out: W, token_hash: &[u8; 32], head: &BundleHead) -> io::Result<Self> {
        let key = Key::derive(&PURPOSE, token_hash);
        Ok(Self { file: sealed::Writer::begin(out, &PURPOSE, key, &head.encode())?, frames: 0 })
    }

    /// Appends a frame; frames follow each other without a gap.
    ///
    /// # Errors
    /// Those of the output.
    pub fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.frames += 1;
        self.file.item(frame)
    }

    /// Ends the bundle. Without this it is a truncated one.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<W> {
        self.file.end(&self.frames.to_le_bytes())
    }
}

/// A bundle whose head was read, and not yet proved.
#[derive(Debug)]
pub struct UnprovedBundle<R> {
    file: sealed::Unproved<R>,
    head: BundleHead,
}

impl<R: Read> UnprovedBundle<R> {
    /// Reads a bundle's beginning: enough to look up whose key proves it.
    ///
    /// # Errors
    /// When it is no bundle, of a later version, or cut off.
    pub fn open(input: R) -> Result<Self, SealError> {
        let file = sealed::Unproved::open(input, &PURPOSE, HEAD_BYTES)?;
        let head = BundleHead::decode(file.head()).map_err(|detail| file.wrong_head(detail))?;
        Ok(Self { file, head })
    }

    /// Its claims about itself; anybody may have written that.
    #[must_use]
    pub const fn head(&self) -> &BundleHead {
        &self.head
    }

    /// Proves the head with the hash of the station's token, and goes on to the frames.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the head was altered, or sealed with another token.
    pub fn prove(self, token_hash: &[u8; 32], limits: FrameLimits) -> Result<BundleReader<R>, SealError> {
        let file = self.file.prove(Key::derive(&PURPOSE, token_hash))?;
        let (next_seq, chain) = (self.head.first_seq, self.head.chain_before);
        Ok(BundleReader { file, head: self.head, limits, frames: 0, next_seq, chain })
    }
}

/// Reads a bundle's frames, each proved before it is handed out.
#[derive(Debug)]
pub struct BundleReader<R> {
    file: sealed::Reader<R>,
    head: BundleHead,
    limits: FrameLimits,
    frames: u64,
    next_seq: u64,
    chain: Chain,
}

impl<R: Read> BundleReader<R> {
    /// The bundle's claims about itself, proved.
    #[must_use]
    pub const fn head(&self) -> &BundleHead {
        &self.head
    }

    /// Reads the next frame into `frame`, and checks that it is the station's and goes on where the one before ended.
    /// `None` at the bundle's end, when nothing is missing; do not ask again then.
    ///
    /// # Errors
    /// Says what is wrong, and where. Memory stays within the frame limits.
    pub fn next_frame(&mut self, frame: &mut Vec<u8>) -> Result<Option<FrameHeader>, SealError> {
        let bytes_max = (self.limits.frame_bytes_max as usize).max(HEADER_BYTES);
        match self.file.next_record(frame, bytes_max)? {
            Next::End => {
                let end = self.frames.to_le_bytes();
                let whole = frame.len() == END_BYTES && *frame == end && self.next_seq == self.head.last_seq + 1;
                if whole { Ok(None) } else { Err(self.file.wrong("its end does not fit its frames")) }
            }
            Next::Item => {
                let header =
                    FrameHeader::parse(frame, &self.limits).map_err(|error| self.file.wrong(error.to_string()))?;
                let follows = header.station == self.head.station
                    && header.first_seq == self.next_seq
                    && header.chain_before == self.chain;
                if !follows {
                    return Err(self.file.wrong(format!("its frame {} does not follow the one before", self.frames)));
                }
                self.frames += 1;
                self.next_seq += u64::from(header.count);
                self.chain = header.chain_after;
                Ok(Some(header))
            }
        }
    }
}
