//! Every bound of the format and the protocol. A limit is said here once; messages and docs quote it.

/// Longest name of a schema, table or column, in bytes (PostgreSQL's identifier limit).
pub const NAME_BYTES_MAX: usize = 63;
/// Most tables in one schema.
pub const TABLES_MAX: usize = 500;
/// Most columns in one table. PostgreSQL stops at 1,600 and SQLite's default at 2,000.
pub const COLUMNS_MAX: usize = 500;
/// Largest schema file, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// Largest single text, JSON or bytes value that travels, in bytes; a larger one is rejected on the station.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Largest row that travels, in canonical bytes; a larger one is rejected on the station. With it, any single change
/// fits into a frame of [`FrameLimits::DEFAULT`], compressed or not, so no change can block those behind it.
pub const ROW_BYTES_MAX: usize = 24 << 20;
/// Longest URL of a server, in bytes.
pub const URL_BYTES_MAX: usize = 1000;
/// Deepest nesting of a JSON value.
pub const JSON_DEPTH_MAX: usize = 100;

/// Bounds a receiver puts on one frame. A server advertises its own in every reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FrameLimits {
    /// Most changes in one frame.
    pub rows_max: u32,
    /// Most compressed bytes of one frame, header included.
    pub frame_bytes_max: u32,
    /// Most bytes of one body after decompression.
    pub body_bytes_max: u32,
    /// Most cells (rows × columns, over all groups) a body may unfold to: NULLs cost a bit on the wire and 8 bytes
    /// here.
    pub cells_max: u32,
}

impl FrameLimits {
    /// The limits of a server that is not told otherwise.
    pub const DEFAULT: Self =
        Self { rows_max: 50_000, frame_bytes_max: 32 << 20, body_bytes_max: 64 << 20, cells_max: 8 << 20 };
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Most bytes of a JSON request or reply other than a frame.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Most rejects that one `POST /v1/rejects` asks about.
pub const ASKED_REJECTS_MAX: usize = 1_000;
/// Most bytes of such a request: room for as many numbers of 20 digits twice, once with a word.
pub const REJECTS_REQUEST_BYTES_MAX: usize = 128 << 10;

/// Most bytes of a `POST /v1/contact` request.
pub const CONTACT_REQUEST_BYTES_MAX: usize = 4096;
/// Most bytes that are kept of the version that a station says it has.
pub const VERSION_BYTES_MAX: usize = 64;
/// How often a station with nothing to push is in contact, in milliseconds.
pub const CONTACT_EVERY_MS: u64 = 600_000;
/// After how long without contact a station counts as silent, in milliseconds.
pub const SILENT_AFTER_MS: u64 = 3_600_000;

/// Most bytes of a `POST /v1/digest` request.
pub const DIGEST_REQUEST_BYTES_MAX: usize = 1 << 20;
/// Most ranges one such request asks about, over all its asks.
pub const RANGES_MAX: usize = 4096;
/// Most rows one such request looks up by their identity.
pub const FIND_ROWS_MAX: usize = 500;
/// Most cells (rows × columns) of rows that are looked up with their cells.
pub const FIND_CELLS_MAX: usize = 20_000;
/// Most rows a reply lists; the rest is asked for again.
pub const LISTED_ROWS_MAX: usize = 10_000;
