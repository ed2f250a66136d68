//! A proxy that gives each transaction another connection of its own to the database (PgBouncer with
//! `pool_mode = transaction` or `statement`) cannot be worked through: the driver names the statements it prepares,
//! and a name is known to one of those connections, where it also stays when this program is long gone; `optimize`
//! and `backup` hold locks, settings and snapshots of a session. That fails late, and in the middle. So it is found
//! out at once, and said.
//!
//! Found out by what such a proxy does, not by its name: two connections of ours that the same process of the database
//! serves, or one that another process serves from one question to the next. A proxy that gives each connection one of
//! its own (`pool_mode = session`) does neither.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::driver::message_of;
use super::once::once;
use crate::database::PostgresUrl;

/// How long a question may take here.
const PATIENCE: Duration = Duration::from_secs(5);
/// So often it is looked: a proxy with two idle connections that takes them in turn shows itself in the second round.
const ROUNDS: usize = 3;
/// Asked without a name for the statement, so that it passes through anything.
const WHO: &str = "SELECT pg_catalog.pg_backend_pid()";

/// The places that were found to be without such a proxy.
static FREE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Refuses a place that such a proxy stands before. Each place is looked at once in the life of the program.
pub(super) async fn refuse(url: &PostgresUrl, first: &Client) -> anyhow::Result<()> {
    let place = url.to_string();
    if FREE.lock().unwrap_or_else(PoisonError::into_inner).contains(&place) {
        return Ok(());
    }
    // As many clients as it takes, or a proxy with a single connection: who connects next will be told.
    let Ok((second, _)) = once(url).await else { return Ok(()) };
    let shared = tokio::time::timeout(PATIENCE, is_shared(first, &second)).await;
    match shared {
        Ok(Ok(false)) => {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
            Ok(())
        }
        Ok(Ok(true)) => anyhow::bail!(
            "{url} is a proxy that gives each transaction another connection to the database (PgBouncer with \
             pool_mode = transaction): prepared statements, session locks and snapshots do not survive that. Let it \
             use pool_mode = session for this user or database, or name PostgreSQL itself; the server keeps a pool of \
             its own (--pool-max)"
        ),
        Ok(Err(error)) => anyhow::bail!("{url} does not let a transaction be begun: {}", message_of(&error)),
        Err(_) => anyhow::bail!(
            "{url} does not answer a second connection within {PATIENCE:?}: a proxy with too few connections to the \
             database? The server needs as many as --pool-max"
        ),
    }
}

/// The two do not each have a process of their own.
async fn is_shared(first: &Client, second: &Client) -> Result<bool, tokio_postgres::Error> {
    for _ in 0..ROUNDS {
        let before = served_by(first).await?;
        second.batch_execute("BEGIN").await?;
        let other = served_by(second).await?;
        let after = if other == before { None } else { served_by(first).await? };
        second.batch_execute("ROLLBACK").await?;
        if other == before || after != before {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn served_by(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let answer = client.simple_query(WHO).await?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
