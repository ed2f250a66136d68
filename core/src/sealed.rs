//! Sealed files: what a station and its server send each other on a stick. Every byte is in docs/FORMAT.md, "Sealed
//! files".
//!
//! ```text
//! file   := magic (4 bytes) · u16 version · u16 flags, 0 · record …
//! record := u8 kind · u32 length · payload · 32 bytes seal      kinds: 0 head (first), 1 item, 2 end (last)
//! ```
//!
//! A record's seal is keyed BLAKE3 over the seal before it and the record; the head's over the file's first 8 bytes and
//! the head. So each record proves itself and everything before it when it is read: nothing of a file has to be trusted
//! before its end is seen, and a file that changes between two readings is noticed at the first altered record. The key
//! derives from the hash of the station's token, which station and server both have and nobody else.
//!
//! Readers take no more memory than the longest record they are told to take.

use std::io::{self, Read, Write};

use thiserror::Error;

/// The version this build writes, and the newest it reads.
pub const VERSION: u16 = 1;
/// Bytes of a record besides its payload: kind, length and seal.
pub const RECORD_BYTES: usize = 5 + SEAL_BYTES;
/// Bytes before the first record.
pub const PRELUDE_BYTES: usize = 8;
const SEAL_BYTES: usize = 32;

/// The purpose of a sealed file: its magic, the context of its key, and its name in messages.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// First bytes of the file.
    pub magic: [u8; 4],
    /// Context of the key's derivation: a seal of one purpose is no seal of another.
    pub context: &'static str,
    /// The word that people use for such a file.
    pub noun: &'static str,
}

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Head = 0,
    Item = 1,
    End = 2,
}

/// The reason why a file is not taken.
#[derive(Debug, Error)]
pub enum SealError {
    /// It is something else.
    #[error("not a Tidemark {noun}: it begins with {begins:02x?}")]
    Magic {
        /// The kind of file that was wanted.
        noun: &'static str,
        /// The kind of file that is there.
        begins: [u8; 4],
    },
    /// Of a later version.
    #[error("the {noun} is of version {version}, this program reads up to {VERSION}; upgrade this program")]
    Version {
        /// The kind of file.
        noun: &'static str,
        /// Its version.
        version: u16,
    },
    /// It ends too early.
    #[error("the {noun} is cut off after {at} bytes; copy it again, whole")]
    Truncated {
        /// The kind of file.
        noun: &'static str,
        /// The number of bytes there.
        at: u64,
    },
    /// It goes on after its end.
    #[error("bytes follow the end of the {noun} at byte {at}; copy it again, alone")]
    Trailing {
        /// The kind of file.
        noun: &'static str,
        /// The byte at which it ended.
        at: u64,
    },
    /// A seal does not fit.
    #[error(
        "the {noun} was altered, or is not of this station and this server: its seal at byte {at} does not match. Copy it again from where it was made"
    )]
    Seal {
        /// The kind of file.
        noun: &'static str,
        /// The byte at which the record begins.
        at: u64,
    },
    /// Its contents are not what such a file holds.
    #[error("the {noun} is wrong at byte {at}: {detail}")]
    Content {
        /// The kind of file.
        noun: &'static str,
        /// The byte at which the record begins.
        at: u64,
        /// The fault.
        detail: String,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The key of one station's sealed files of one purpose.
#[derive(Clone, Copy)]
pub struct Key([u8; 32]);

impl Key {
    /// Derives it from the hash of the station's token ([`crate::secret::secret_hash`]).
    #[must_use]
    pub fn derive(purpose: &Purpose, token_hash: &[u8; 32]) -> Self {
        Self(blake3::derive_key(purpose.context, token_hash))
    }

    fn seal(&self, before: &[u8], head: &[u8], payload: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.0).update(before).update(head).update(payload).finalize()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

fn record_head(kind: Kind, payload: &[u8]) -> [u8; 5] {
    let length = u32::try_from(payload.len()).expect("BUG: a record is far below 4 GiB");
    let mut head = [kind as u8; 5];
    head[1..].copy_from_slice(&length.to_le_bytes());
    head
}

/// Writes one record; returns its seal.
fn write_record(
    out: &mut impl Write,
    key: &Key,
    before: &[u8],
    kind: Kind,
    payload: &[u8],
) -> io::Result<blake3::Hash> {
    let head = record_head(kind, payload);
    let seal = key.seal(before, &head, payload);
    out.write_all(&head)?;
    out.write_all(payload)?;
    out.write_all(seal.as_bytes())?;
    Ok(seal)
}

/// Writes a sealed file, record by record.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
    key: Key,
    seal: blake3::Hash,
}

impl<W: Write> Writer<W> {
    /// Begins a file with its head.
    pub(crate) fn begin(mut out: W, purpose: &Purpose, key: Key, head: &[u8]) -> io::Result<Self> {
        let mut prelude = [0; PRELUDE_BYTES];
        prelude[..4].copy_from_slice(&purpose.magic);
        prelude[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out.write_all(&prelude)?;
        let seal = write_record(&mut out, &key, &prelude, Kind::Head, head)?;
        Ok(Self { out, key, seal })
    }

    /// Appends an item.
    pub(crate) fn item(&mut self, payload: &[u8]) -> io::Result<()> {
        self.seal = write_record(&mut self.out, &self.key, self.seal.as_bytes(), Kind::Item, payload)?;
        Ok(())
    }

    /// Ends the file, and flushes what was written.
    pub(crate) fn end(mut self, payload: &[u8]) -> io::Result<W> {
        write_record(&mut self.out, &self.key, self.seal.as_bytes(), Kind::End, payload)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A sealed file whose head was read, and not yet proved: it says whose key proves it.
#[derive(Debug)]
pub(crate) struct Unproved<R> {
    input: Input<R>,
    prelude: [u8; PRELUDE_BYTES],
    head: Vec<u8>,
    seal: [u8; SEAL_BYTES],
}

impl<R: Read> Unproved<R> {
    /// Reads a file's beginning; `head_bytes` is how long its head is.
    pub(crate) fn open(input: R, purpose: &Purpose, head_bytes: usize) -> Result<Self, SealError> {
        let noun = purpose.noun;
        let mut input = Input { inner: input, at: 0, noun };
        let mut prelude = [0; PRELUDE_BYTES];
        input.fill(&mut prelude)?;
        let [a, b, c, d, version @ .., f0, f1] = prelude;
        if [a, b, c, d] != purpose.magic {
            return Err(SealError::Magic { noun, begins: [a, b, c, d] });
        }
        let version = u16::from_le_bytes(version);
        if version != VERSION {
            return Err(SealError::Version { noun, version });
        }
        if [f0, f1] != [0, 0] {
            return Err(input.wrong(0, "unknown flags"));
        }
        let mut head = Vec::new();
        let (kind, seal) = input.record(&mut head, head_bytes)?;
        if kind != Kind::Head || head.len() != head_bytes {
            return Err(input.wrong(PRELUDE_BYTES as u64, "it does not begin with its head"));
        }
        Ok(Self { input, prelude, head, seal })
    }

    /// The head as it stands there.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// An error about the head.
    pub(crate) fn wrong_head(&self, detail: impl Into<String>) -> SealError {
        self.input.wrong(PRELUDE_BYTES as u64, detail)
    }

    /// Proves the head.
    pub(crate) fn prove(self, key: Key) -> Result<Reader<R>, SealError> {
        let seal = key.seal(&self.prelude, &record_head(Kind::Head, &self.head), &self.head);
        // blake3's own comparison takes the same time wherever the difference is.
        if seal != self.seal {
            return Err(SealError::Seal { noun: self.input.noun, at: PRELUDE_BYTES as u64 });
        }
        Ok(Reader { input: self.input, key, seal, record_at: PRELUDE_BYTES as u64 })
    }
}

/// The next thing in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// An item; its payload is in the buffer.
    Item,
    /// The end, and nothing after it; its payload is in the buffer.
    End,
}

/// Reads a proved file, record by record.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: Input<R>,
    key: Key,
    seal: blake3::Hash,
    record_at: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the next record into `payload`, at most `bytes_max` bytes, and proves it. Not to be called after the end.
    pub(crate) fn next_record(&mut self, payload: &mut Vec<u8>, bytes_max: usize) -> Result<Next, SealError> {
        self.record_at = self.input.at;
        let (kind, seal) = self.input.record(payload, bytes_max)?;
        self.seal = self.key.seal(self.seal.as_bytes(), &record_head(kind, payload), payload);
        if self.seal != seal {
            return Err(SealError::Seal { noun: self.input.noun, at: self.record_at });
        }
        match kind {
            Kind::Item => Ok(Next::Item),
            Kind::End => {
                self.input.end()?;
                Ok(Next::End)
            }
            Kind::Head => Err(self.wrong("a second head")),
        }
    }

    /// An error about the record read last.
    pub(crate) fn wrong(&self, detail: impl Into<String>) -> SealError {
        self.input.wrong(self.record_at, detail)
    }
}

/// Takes the fixed fields of a head or an end apart; their length is checked before.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next N bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("BUG: the length is checked");
        self.0 = rest;
        *field
    }
}

/// True when a head's range can be one of a log: seq counts from 1, and fits SQLite's integers.
pub(crate) fn check_range(first_seq: u64, last_seq: u64) -> Result<(), String> {
    if first_seq == 0 || last_seq < first_seq || last_seq >= i64::MAX as u64 {
        return Err(format!("changes {first_seq} to {last_seq} are none"));
    }
    Ok(())
}

/// The bytes of a file, and how many were read.
#[derive(Debug)]
struct Input<R> {
    inner: R,
    at: u64,
    noun: &'static str,
}

impl<R: Read> Input<R> {
    fn wrong(&self, at: u64, detail: impl Into<String>) -> SealError {
        SealError::Content { noun: self.noun, at, detail: detail.into() }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), SealError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => return Err(SealError::Truncated { noun: self.noun, at: self.at }),
                Ok(count) => {
                    filled += count;
                    self.at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads a record's kind, payload and seal. The payload's memory grows with what is really there.
    fn record(&mut self, payload: &mut Vec<u8>, bytes_max: usize) -> Result<(Kind, [u8; SEAL_BYTES]), SealError> {
        let start = self.at;
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let [kind, length @ ..] = head;
        let kind = match kind {
            0 => Kind::Head,
            1 => Kind::Item,
            2 => Kind::End,
            other => return Err(self.wrong(start, format!("a record of unknown kind {other}"))),
        };
        let length = u32::from_le_bytes(length) as usize;
        if length > bytes_max {
            return Err(self.wrong(start, format!("a record of {length} bytes, at most {bytes_max} are taken")));
        }
        payload.clear();
        let read = (&mut self.inner).take(length as u64).read_to_end(payload)?;
        self.at += read as u64;
        if read < length {
            return Err(SealError::Truncated { noun: self.noun, at: self.at });
        }
        let mut seal = [0; SEAL_BYTES];
        self.fill(&mut seal)?;
        Ok((kind, seal))
    }

    /// Checks that nothing follows.
    fn end(&mut self) -> Result<(), SealError> {
        let mut more = Vec::new();
        match (&mut self.inner).take(1).read_to_end(&mut more)? {
            0 => Ok(()),
            _ => Err(SealError::Trailing { noun: self.noun, at: self.at }),
        }
    }
}
