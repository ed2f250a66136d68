//! Randomness by purpose: each purpose has a stream of its own, so that taking one fault out of a plan leaves the other
//! draws alone.

use tidemark_testkit::world::Dice;

/// What a stream of randomness is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// What a seed means.
    Plan,
    /// When and how hard one kind of fault strikes.
    Fault(u32),
    /// What the programs of one station write.
    Writer(u32),
    /// When they write.
    Schedule(u32),
    /// What becomes of messages.
    Network,
    /// What the database does.
    Database,
    /// Clocks.
    Clock,
    /// Crashes within a station's process.
    Process,
    /// When a process hears that its file was written.
    Word,
}

/// The stream of a seed for a purpose.
#[must_use]
pub fn stream(seed: u64, purpose: Purpose) -> Dice {
    let (kind, index) = match purpose {
        Purpose::Plan => (1, 0),
        Purpose::Fault(index) => (2, index),
        Purpose::Writer(index) => (3, index),
        Purpose::Schedule(index) => (4, index),
        Purpose::Network => (5, 0),
        Purpose::Database => (6, 0),
        Purpose::Clock => (7, 0),
        Purpose::Process => (8, 0),
        Purpose::Word => (9, 0),
    };
    let mut dice = Dice::new(seed ^ (kind << 56) ^ (u64::from(index) << 40));
    Dice::new(dice.next())
}

/// Draws of everyday kinds.
pub trait Draw {
    /// Whether something of this probability happens.
    fn chance(&mut self, probability: f64) -> bool;
    /// A number from `low` to `high`, both included.
    fn between(&mut self, low: i64, high: i64) -> i64;
    /// One of several.
    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T;
    /// A waiting time around `mean`, exponentially distributed, at least 1.
    fn wait(&mut self, mean: f64) -> i64;
}

impl Draw for Dice {
    fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    fn wait(&mut self, mean: f64) -> i64 {
        ((1.0 - self.unit()).ln() * -mean) as i64 + 1
    }
}
