//! What happened in a run, in order: hashed always, so that two runs can be compared; kept as text when somebody wants
//! to read it.

use super::clock::EPOCH_MS;

/// The trace of a run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: u64,
    print: bool,
}

impl Trace {
    /// Begins; `print` shows every line as it comes.
    #[must_use]
    pub const fn new(print: bool) -> Self {
        // FNV-1a, 64 bits: no secret is kept by it, it only has to tell runs apart.
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, print }
    }

    /// Adds a line.
    pub fn line(&mut self, now_ms: i64, what: std::fmt::Arguments<'_>) {
        let line = format!("{:>10.3} {what}", (now_ms - EPOCH_MS) as f64 / 1000.0);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if self.print {
            println!("{line}");
        }
    }

    /// The hash over all lines.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }
}
