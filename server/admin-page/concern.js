/**
 * From when on something concerns somebody, and is marked: where alerts fire, too. The numbers are those of `concern.rs` of the
 * server; a test compares them.
 */
export const CLOCK_OFF_MS = 300_000;
export const LOW_DISK_BYTES = 1_073_741_824;
export const OLDEST_PENDING_MS = 21_600_000;
export const BACKUP_OLD_MS = 172_800_000;
