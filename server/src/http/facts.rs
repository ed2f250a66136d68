//! The small answers: the program runs, its database is ready, its schema, a file of the notebook.

use tidemark_core::protocol::Problem;

use super::asked::Asked;
use super::problem::{Reply, text};
use crate::ingest::{differs, store_problem};

/// The program runs.
pub(super) fn alive() -> Result<Reply, Problem> {
    Ok(text("ok\n"))
}

/// The database answers, and its tables are those of the schema.
pub(super) async fn ready(asked: Asked<'_>) -> Result<Reply, Problem> {
    let differences = asked.endpoint.ingest.upstream().ready().await.map_err(store_problem)?;
    if differences.is_empty() {
        return Ok(text("ready\n"));
    }
    Err(differs(&differences))
}

/// The schema file that the server goes by.
pub(super) fn schema(asked: &Asked<'_>) -> Result<Reply, Problem> {
    Ok(text(asked.endpoint.ingest.schema().source().to_owned()))
}

/// A file of the field notebook.
pub(super) fn notebook(asked: &Asked<'_>) -> Result<Reply, Problem> {
    let uri = asked.request.uri();
    asked.endpoint.site.answer(uri.path(), uri.query(), asked.request.headers())
}
