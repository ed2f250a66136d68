//! The times that are taken, as options of every command that applies changes.

use anyhow::bail;
use clap::Args;
use tidemark_core::timestamp::{self, DAY_US};

use crate::config::ClockWindow;

#[derive(Args)]
pub(super) struct WindowArgs {
    /// Earliest time a table's time column may say. Rows with an earlier one are rejected with code clock.
    #[arg(long, default_value = "2000-01-01", value_name = "DATE")]
    clock_floor: String,
    /// How many days ahead of the server's clock a table's time column may say.
    #[arg(long, default_value_t = 7, value_name = "N")]
    clock_skew_days: u32,
}

impl WindowArgs {
    pub(super) fn window(&self) -> anyhow::Result<ClockWindow> {
        let Ok(floor_us) = timestamp::parse(self.clock_floor.as_bytes()) else {
            bail!("--clock-floor {:?} is not a date of the form YYYY-MM-DD", self.clock_floor);
        };
        Ok(ClockWindow { floor_us, skew_us: i64::from(self.clock_skew_days).saturating_mul(DAY_US) })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        window: WindowArgs,
    }

    #[test]
    fn the_window_that_is_said_nothing_of_is_the_one_of_the_library() {
        let window = |words: &[&str]| Program::parse_from(words).window.window().unwrap();
        assert_eq!(window(&["serve"]), ClockWindow::DEFAULT);
        assert_eq!(timestamp::format(ClockWindow::DEFAULT.floor_us), "2000-01-01 00:00:00.000000");
        assert_eq!(window(&["serve", "--clock-floor", "1970-01-01"]).floor_us, 0);
    }
}
