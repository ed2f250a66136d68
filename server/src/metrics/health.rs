//! The database, the roll-ups of reports, backups, and how old these figures are.

use std::time::Duration;

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Registry};

use super::make::{self, seconds};

/// What the database said when it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatabaseFigures {
    /// It answers.
    pub is_up: bool,
    /// It takes no writes: a standby, or set so.
    pub is_read_only: bool,
    /// A batch could be applied.
    pub is_ready: bool,
}

/// The instruments.
#[derive(Debug)]
pub struct Health {
    up: IntGauge,
    read_only: IntGauge,
    ready: IntGauge,
    rollup_lag: Gauge,
    rollup_failures: IntCounter,
    backup_at: Gauge,
    backup_bytes: IntGauge,
    backups: IntCounterVec,
    refreshed_at: Gauge,
    refresh: Gauge,
    refresh_failures: IntCounter,
}

impl Health {
    pub(super) fn new(registry: &Registry) -> Self {
        let backups = make::counters(
            registry,
            "tidemark_backups_total",
            "Backups that this server made (--backup-every), by outcome: checked or failed.",
            &["outcome"],
        );
        ["checked", "failed"].iter().for_each(|outcome| drop(backups.with_label_values(&[*outcome])));
        Self {
            up: make::gauge(registry, "tidemark_database_up", "1 while the database answers."),
            read_only: make::gauge(
                registry,
                "tidemark_database_read_only",
                "1 while the database takes no writes: it is a standby, or set so.",
            ),
            ready: make::gauge(
                registry,
                "tidemark_ready",
                "1 while a batch could be applied: what /readyz says, but for a server that stops.",
            ),
            rollup_lag: make::real(
                registry,
                "tidemark_rollup_lag_seconds",
                "Age of the roll-ups of reports while rows have come since, before the first time since they were made; 0 while they are up to date.",
            ),
            rollup_failures: make::counter(
                registry,
                "tidemark_rollup_failures_total",
                "Times that the roll-ups of reports could not be brought up to date.",
            ),
            backup_at: make::real(
                registry,
                "tidemark_backup_last_success_timestamp_seconds",
                "When the last backup of which the database knows was made, seconds since 1970 UTC; 0 when there is none.",
            ),
            backup_bytes: make::gauge(registry, "tidemark_backup_last_size_bytes", "The size of that backup."),
            backups,
            refreshed_at: make::real(
                registry,
                "tidemark_figures_refreshed_timestamp_seconds",
                "When what only the database knows was last asked for with success, seconds since 1970 UTC.",
            ),
            refresh: make::real(
                registry,
                "tidemark_figures_refresh_duration_seconds",
                "How long the last time took in which the database was asked.",
            ),
            refresh_failures: make::counter(
                registry,
                "tidemark_figures_refresh_failures_total",
                "Times that the database did not answer what the figures need.",
            ),
        }
    }

    /// What the database said.
    pub fn database(&self, figures: DatabaseFigures) {
        self.up.set(figures.is_up.into());
        self.read_only.set(figures.is_read_only.into());
        self.ready.set(figures.is_ready.into());
    }

    /// The roll-ups are that old, in milliseconds.
    pub fn rollup_lag(&self, lag_ms: i64) {
        self.rollup_lag.set(lag_ms.max(0) as f64 / 1_000.0);
    }

    /// The roll-ups could not be brought up to date.
    pub fn rollup_failed(&self) {
        self.rollup_failures.inc();
    }

    /// The last backup: when it was made, milliseconds since 1970 UTC, and its size.
    pub fn last_backup(&self, last: Option<(i64, u64)>) {
        let (at_ms, bytes) = last.unwrap_or_default();
        self.backup_at.set(at_ms as f64 / 1_000.0);
        self.backup_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A backup was made, or not.
    pub fn backup(&self, is_checked: bool) {
        self.backups.with_label_values(&[if is_checked { "checked" } else { "failed" }]).inc();
    }

    /// The database was asked for figures at this time, milliseconds since 1970 UTC, and it took so long.
    pub fn refreshed(&self, now_ms: i64, took: Duration, has_all: bool) {
        self.refresh.set(seconds(took));
        if has_all {
            self.refreshed_at.set(now_ms as f64 / 1_000.0);
        } else {
            self.refresh_failures.inc();
        }
    }
}
