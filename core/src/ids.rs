//! Ids: small integers that never collide.
//!
//! A station keeps plain local keys 1, 2, 3 …; upstream they become `station << 32 | local`. The sum fits 53 bits, so a
//! JavaScript number holds it. Rows authored at HQ (station 0) keep their plain serials.

use thiserror::Error;

/// Largest local id: 2³² − 1.
pub const LOCAL_ID_MAX: i64 = (1 << 32) - 1;
/// Largest station number: 2²¹ − 1.
pub const STATION_NUMBER_MAX: u32 = (1 << 21) - 1;

/// The number the server gave a station, 1 … 2²¹ − 1.
///
/// ```
/// use tidemark_core::ids::StationNumber;
/// let station = StationNumber::new(3)?;
/// let id = station.upstream_id(7).expect("local ids begin at 1");
/// assert!(station.owns(id) && !StationNumber::new(4)?.owns(id));
/// assert!(StationNumber::new(0).is_err(), "that is HQ");
/// # Ok::<(), tidemark_core::ids::StationNumberOutOfRange>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct StationNumber(u32);

/// A station number outside 1 … 2²¹ − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("station number {0} is outside 1 … {STATION_NUMBER_MAX}; ids of such a station would not fit 53 bits")]
pub struct StationNumberOutOfRange(pub u64);

impl StationNumber {
    /// Checks and wraps a number.
    ///
    /// # Errors
    /// When it is 0 (HQ) or above [`STATION_NUMBER_MAX`].
    pub fn new(number: u32) -> Result<Self, StationNumberOutOfRange> {
        if number == 0 || number > STATION_NUMBER_MAX {
            return Err(StationNumberOutOfRange(number.into()));
        }
        Ok(Self(number))
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The upstream id of this station's row `local`; `None` when `local` is outside 1 … 2³² − 1.
    ///
    /// ```
    /// use tidemark_core::ids::StationNumber;
    /// let station = StationNumber::new(3).unwrap();
    /// assert_eq!(station.upstream_id(7), Some(3 * 4_294_967_296 + 7));
    /// assert_eq!(station.upstream_id(0), None);
    /// ```
    #[must_use]
    pub const fn upstream_id(self, local: i64) -> Option<i64> {
        if local < 1 || local > LOCAL_ID_MAX {
            return None;
        }
        Some(((self.0 as i64) << 32) | local)
    }

    /// True when `upstream` lies in this station's block.
    #[must_use]
    pub const fn owns(self, upstream: i64) -> bool {
        upstream >> 32 == self.0 as i64 && upstream & LOCAL_ID_MAX != 0
    }
}

impl TryFrom<u32> for StationNumber {
    type Error = StationNumberOutOfRange;
    fn try_from(number: u32) -> Result<Self, Self::Error> {
        Self::new(number)
    }
}

impl From<StationNumber> for u32 {
    fn from(number: StationNumber) -> u32 {
        number.0
    }
}

impl std::fmt::Display for StationNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_id_fits_a_javascript_number() {
        let station = StationNumber::new(STATION_NUMBER_MAX).unwrap();
        let id = station.upstream_id(LOCAL_ID_MAX).unwrap();
        assert_eq!(id, (1 << 53) - 1);
        assert!(station.owns(id));
    }

    #[test]
    fn station_number_past_the_limit_is_an_error_never_a_wrap() {
        assert_eq!(StationNumber::new(0), Err(StationNumberOutOfRange(0)));
        let past = STATION_NUMBER_MAX + 1;
        assert_eq!(StationNumber::new(past), Err(StationNumberOutOfRange(past.into())));
    }

    #[test]
    fn local_ids_outside_the_block_have_no_upstream_id() {
        let station = StationNumber::new(1).unwrap();
        for local in [0, -1, i64::MIN, i64::MAX, LOCAL_ID_MAX + 1] {
            assert_eq!(station.upstream_id(local), None, "{local}");
        }
    }
}
