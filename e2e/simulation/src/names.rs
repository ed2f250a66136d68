//! Names of what takes part in a run.

/// The name of a station.
#[must_use]
pub fn station_name(index: usize) -> String {
    format!("station-{index}")
}
