//! The bounds a server keeps: of times in tables, statements, transactions and requests.

use std::time::Duration;

use tidemark_core::timestamp::DAY_US;

/// The time a statement may take in PostgreSQL unless told otherwise.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// The number of chunks that one transaction may touch unless told otherwise. PostgreSQL locks a handful of things
/// for each chunk, in a table that holds 64 for each connection it allows (`max_locks_per_transaction`) and that all
/// of them share.
pub const CHUNKS_MAX: u32 = 128;

/// 2000-01-01, microseconds since 1970 UTC.
const YEAR_2000_US: i64 = 10_957 * DAY_US;

/// The times that the server takes in a table's time column: a wrong clock would make stray chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockWindow {
    /// Earliest, microseconds since 1970 UTC.
    pub floor_us: i64,
    /// The lead over the server's clock that is taken, microseconds.
    pub skew_us: i64,
}

impl ClockWindow {
    /// From 2000 to 7 days ahead: a clock whose battery is empty says 1970, 1980 or the year of its firmware.
    pub const DEFAULT: Self = Self { floor_us: YEAR_2000_US, skew_us: 7 * DAY_US };
}

/// The bounds of the HTTP side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Most connections at once. For one more the longest idle is closed.
    pub connections_max: usize,
    /// Most of them over which no valid token came; the rest is for those who have one.
    pub unknown_connections_max: usize,
    /// Most connections of one address (IPv6: of one /64) over which no valid token came.
    pub address_connections_max: usize,
    /// Most connections of one token: of a station, or of a reader.
    pub station_connections_max: usize,
    /// Most requests at once over one connection, of HTTP/2.
    pub connection_streams_max: u32,
    /// Most memory for what requests bring and ask, in bytes: a quarter of it for bodies while they come, a quarter for
    /// decoded batches, an eighth for surveys; the rest is for what is made of them on the way to the database.
    /// At least four times what a frame may have, or the largest never come through.
    pub memory_bytes_max: usize,
    /// Most bodies of one station at once.
    pub station_bodies_max: usize,
    /// Most batches decoded at once.
    pub decodes_max: usize,
    /// Most batches applied at once, one of each station; of those that write one and the same table half as many.
    pub applies_max: usize,
    /// Most surveys of rows (`POST /v1/digest`) at once.
    pub surveys_max: usize,
    /// The time the head of a request may take, and before it the handshake of TLS.
    pub head_timeout: Duration,
    /// The time for which a peer may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// The time a request may take to come in whole, where anyone may ask.
    pub anyone_timeout: Duration,
    /// The time any request may take from its head to its answer. A batch that is being applied then is not cut.
    pub request_timeout: Duration,
    /// The time a body may stand still.
    pub body_idle_timeout: Duration,
    /// The time a body may take in all. One that is not half as fast as it would have to be is cut before.
    pub body_timeout: Duration,
    /// The slowest that any body may come, in bytes a second on average, after a first time as long as
    /// `body_idle_timeout`.
    pub body_rate_min: u32,
    /// Most tokens and codes that nobody knows which one address may try at once.
    pub attempts_max: u32,
    /// And so many a second from then on.
    pub attempts_per_second: u32,
    /// The time a request may wait for its turn to be applied, or to survey rows.
    pub turn_timeout: Duration,
    /// The time after the signal to stop for which requests are still taken, while `/readyz` sends new ones elsewhere.
    pub drain_grace: Duration,
    /// The time running requests may take after that.
    pub drain_timeout: Duration,
}

impl Default for HttpLimits {
    /// As `serve` has them, but for the grace time: a server within another program stops without one.
    fn default() -> Self {
        Self {
            connections_max: 8192,
            unknown_connections_max: 4096,
            address_connections_max: 256,
            station_connections_max: 16,
            connection_streams_max: 16,
            memory_bytes_max: 512 << 20,
            station_bodies_max: 2,
            decodes_max: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            applies_max: 16,
            surveys_max: 4,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            anyone_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(900),
            body_idle_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(300),
            body_rate_min: 100,
            attempts_max: 30,
            attempts_per_second: 5,
            turn_timeout: Duration::from_secs(20),
            drain_grace: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}
