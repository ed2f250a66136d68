//! The lineage of a file: the stations it was before, and the rows that are upstream under their numbers.
//!
//! Here it is read; `rejoin` is what adds to it.

mod bounds;
mod former_ids;
mod stations;

pub(crate) use bounds::{first_bounds, integer_keyed, raise_bound};
pub(crate) use former_ids::{CREATE_LINEAGE, FORMER_REJECTS_TABLE, FormerIds};
pub use stations::FormerStation;
pub(crate) use stations::{read_stations, visit_rejects};
