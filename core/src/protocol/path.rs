//! The paths of the endpoint. Each stands here once: the server's routes and every client take it from here.

/// Every path of the protocol begins with it.
pub const ROOT: &str = "/v1/";
/// A station asks for its number, or for another token.
pub const JOIN: &str = "/v1/join";
/// A station asks where its log stands upstream.
pub const STATION: &str = "/v1/station";
/// A frame in, the tidemark out.
pub const PUSH: &str = "/v1/push";
/// A station asks what became of its rejects.
pub const REJECTS: &str = "/v1/rejects";
/// A station says how it fares.
pub const CONTACT: &str = "/v1/contact";
/// Questions about a station's rows.
pub const DIGEST: &str = "/v1/digest";
/// The schema file that the server goes by.
pub const SCHEMA: &str = "/v1/schema";
/// The prints of a number's changes.
pub const HISTORY: &str = "/v1/history";
/// A file goes on under another number.
pub const REJOIN: &str = "/v1/rejoin";
/// Reports have their names below it.
pub const REPORTS: &str = "/v1/reports/";
/// What operators ask and do has its names below it.
pub const ADMIN: &str = "/v1/admin/";
/// What the server counts and measures, for Prometheus.
pub const METRICS: &str = "/metrics";
/// The program runs.
pub const HEALTH: &str = "/healthz";
/// The server serves.
pub const STARTED: &str = "/startupz";
/// The database answers and matches the schema.
pub const READY: &str = "/readyz";
