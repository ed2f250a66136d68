//! The ledger: what an upstream database keeps of stations, beside their rows. How far each log is durable, which
//! prints its chain had, what was rejected, who may push and who may read.
//!
//! Each file has the records and the trait of one subject. A store that speaks SQL gets all of them from
//! [`crate::stores::sql`], where each statement stands once.

pub mod cursors;
pub mod lineage;
pub mod readers;
pub mod rejects;
pub mod schemas;
pub mod stations;

pub use self::cursors::CursorLedger;
pub use self::lineage::LineageLedger;
pub use self::readers::ReaderLedger;
pub use self::rejects::RejectLedger;
pub use self::schemas::SchemaLedger;
pub use self::stations::StationLedger;

/// All subjects of the ledger together. Within a transaction the calls belong to it; else each stands alone.
pub trait Ledger:
    CursorLedger + LineageLedger + ReaderLedger + RejectLedger + SchemaLedger + StationLedger + Send
{
}

impl<T> Ledger for T where
    T: CursorLedger + LineageLedger + ReaderLedger + RejectLedger + SchemaLedger + StationLedger + Send
{
}
