//! The small answers: the program runs, its database is ready, its schema, a file of the notebook.

use tidemark_core::protocol::Problem;

use super::asked::Asked;
use super::problem::{Reply, text};

/// The program runs.
pub(super) fn alive() -> Result<Reply, Problem> {
    Ok(text("ok\n"))
}

/// A write would succeed.
pub(super) async fn ready(asked: Asked<'_>) -> Result<Reply, Problem> {
    asked.endpoint.health.ready(&asked.endpoint.ingest).await?;
    Ok(text("ready\n"))
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
