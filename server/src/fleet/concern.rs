//! From when on something about a station, or the backup, concerns somebody. The metrics count by these; the fleet page
//! (`admin-page/concern.js`) marks by the same numbers, and `deploy/prometheus/alerts.yml` fires at them. Silence is in
//! [`tidemark_core::limits`].

/// A clock that is further off than this is wrong, in milliseconds: 5 minutes.
pub const CLOCK_OFF_MS: u64 = 300_000;
/// Less free room than this on a station's disk is little, in bytes: 1 GiB.
pub const LOW_DISK_BYTES: u64 = 1 << 30;
/// A change that has waited for longer is late, in milliseconds: 6 hours.
pub const OLDEST_PENDING_MS: u64 = 6 * 3_600_000;
/// A backup that was made before that is old, in milliseconds: 2 days.
pub const BACKUP_OLD_MS: u64 = 2 * 86_400_000;
