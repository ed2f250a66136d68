//! The ledger: what an upstream database keeps of stations, beside their rows. How far each log is durable, which
//! prints its chain had, what was rejected, who may push, who may read and who may act; what operators see of them.
//!
//! Each file has the records and the trait of one subject. A store that speaks SQL gets all of them from
//! [`crate::stores::sql`], where each statement stands once.

pub mod batches;
pub mod cursors;
pub mod fleet;
pub mod lineage;
pub mod operators;
pub mod readers;
pub mod rejects;
pub mod schemas;
pub mod stations;

pub use self::batches::BatchLedger;
pub use self::cursors::CursorLedger;
pub use self::fleet::FleetLedger;
pub use self::lineage::LineageLedger;
pub use self::operators::OperatorLedger;
pub use self::readers::ReaderLedger;
pub use self::rejects::RejectLedger;
pub use self::schemas::SchemaLedger;
pub use self::stations::StationLedger;

/// All subjects of the ledger together. Within a transaction the calls belong to it; else each stands alone.
pub trait Ledger:
    BatchLedger
    + CursorLedger
    + FleetLedger
    + LineageLedger
    + OperatorLedger
    + ReaderLedger
    + RejectLedger
    + SchemaLedger
    + StationLedger
    + Send
{
}

impl<T> Ledger for T where
    T: BatchLedger
        + CursorLedger
        + FleetLedger
        + LineageLedger
        + OperatorLedger
        + ReaderLedger
        + RejectLedger
        + SchemaLedger
        + StationLedger
        + Send
{
}
