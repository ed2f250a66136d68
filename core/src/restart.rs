//! How long to wait before a task begins again that a fault of this program has ended. Pure.

/// The first pause, in milliseconds.
const FIRST_MS: u64 = 100;
/// The longest pause, in milliseconds.
const LONGEST_MS: u64 = 60_000;
/// A task that went on for so long, in milliseconds, had got over the fault before.
const WELL_MS: u64 = 60_000;

/// The pauses of one task: each twice as long as the one before, up to a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    next_ms: u64,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next_ms: FIRST_MS }
    }
}

impl Pauses {
    /// The pause, in milliseconds, after the task has ended that had gone on for `lasted_ms`.
    pub fn after(&mut self, lasted_ms: u64) -> u64 {
        if lasted_ms >= WELL_MS {
            *self = Self::default();
        }
        let pause_ms = self.next_ms;
        self.next_ms = (2 * pause_ms).min(LONGEST_MS);
        pause_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_minute_and_a_task_that_went_well_begins_with_the_shortest() {
        let mut pauses = Pauses::default();
        let grown: Vec<u64> = (0..12).map(|_| pauses.after(5)).collect();
        assert_eq!(grown[..4], [100, 200, 400, 800]);
        assert_eq!(grown[10..], [LONGEST_MS; 2]);
        assert_eq!(pauses.after(WELL_MS - 1), LONGEST_MS);
        assert_eq!((pauses.after(WELL_MS), pauses.after(0)), (FIRST_MS, 2 * FIRST_MS));
    }
}
