//! Who may read the metrics, and how much they say of single stations.

use std::time::Duration;

/// What a server is told about its metrics.
#[derive(Debug, Clone)]
pub struct MetricsSettings {
    /// The address of a listener that has nothing but them, and asks for no token; `None`: there is none.
    pub listen: Option<String>,
    /// The hash of the token for which they are answered where stations ask, too; `None`: they are not.
    pub token_hash: Option<[u8; 32]>,
    /// So many stations, those with the lowest numbers, have a label of their own; the rest are summed as `other`.
    pub stations_max: usize,
    /// The time between two questions to the database for what only that knows.
    pub refresh_every: Duration,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { listen: None, token_hash: None, stations_max: 0, refresh_every: Duration::from_secs(15) }
    }
}
