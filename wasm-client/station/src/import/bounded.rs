//! A reader that notices a record without end: one forgotten quote would swallow the rest of the file into memory.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Most bytes between two ends of records.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;

/// How far a [`Bounded`] has read, and since which record.
#[derive(Debug, Clone, Default)]
pub struct Meter(Rc<Cell<(u64, u64)>>);

impl Meter {
    /// A record has ended.
    pub fn record_ended(&self) {
        let (read, _) = self.0.get();
        self.0.set((read, read));
    }

    /// Bytes read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.0.get().0
    }
}

/// Reads from `inner` until a record gets too long.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    meter: Meter,
}

impl<R: Read> Bounded<R> {
    /// Wraps a reader; the caller tells the meter where records end.
    pub const fn new(inner: R, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, ended) = self.meter.0.get();
        if read - ended > RECORD_BYTES_MAX {
            return Err(io::Error::other(format!(
                "a record has more than {} MiB; is a closing quote missing?",
                RECORD_BYTES_MAX >> 20
            )));
        }
        let count = self.inner.read(buffer)?;
        self.meter.0.set((read + count as u64, ended));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_end_is_an_error_and_a_long_file_is_not() {
        let meter = Meter::default();
        let mut bounded = Bounded::new(io::repeat(b'x'), meter.clone());
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..200 {
            assert_eq!(bounded.read(&mut buffer).unwrap(), 1 << 20);
            meter.record_ended();
        }
        let error = (0..200).find_map(|_| bounded.read(&mut buffer).err()).expect("it must end");
        assert!(error.to_string().contains("closing quote"), "{error}");
    }
}
