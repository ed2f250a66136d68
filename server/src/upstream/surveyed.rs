//! Reading a station's rows for a survey.

use async_trait::async_trait;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

use super::StoreError;
use crate::survey::Survey;

/// A store whose rows can be surveyed.
#[async_trait]
pub trait Surveyed: Send + Sync {
    /// Gives the survey every row of the station that it asks for, all of one snapshot, and says where the station's cursor stood in that
    /// snapshot. Rows stream: none is kept here. Holds no lock that a push waits for.
    async fn survey(&self, station: StationNumber, survey: Survey) -> Result<(Cursor, Survey), StoreError>;
}

/// A station without a cursor: its record is damaged.
pub(super) fn no_cursor(station: StationNumber) -> StoreError {
    StoreError::Fault(format!("the database has no cursor of station {station}"))
}
