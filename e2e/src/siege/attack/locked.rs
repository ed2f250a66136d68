//! A table that somebody has locked: stations that push to it wait, and those that push to others must not.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

use super::cast::Cast;
use crate::siege::log::Table;
use crate::siege::peer::Battle;
use crate::world::now;

/// Rows of the batches that wait.
const ROWS: u64 = 20;
/// How often each of the stations pushes while nobody waits.
const EVERY: Duration = Duration::from_millis(250);

/// Locks the table without time for as long as the attack goes on, while 20 stations push to it.
pub(super) async fn table(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(&cast.database, NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("BEGIN; LOCK TABLE siege.{} IN ACCESS EXCLUSIVE MODE", Table::Remark.name())).await?;
    let mut pushing = JoinSet::new();
    for n in 0..cast.remarkers.len() {
        let (battle, cast) = (Arc::clone(&battle), Arc::clone(&cast));
        pushing.spawn(async move {
            let mut station = cast.remarkers[n].lock().await;
            while !battle.is_over() {
                station.push(ROWS).await?;
                tokio::time::sleep(EVERY).await;
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(battle.until.saturating_duration_since(now())).await;
    client.batch_execute("COMMIT").await?;
    drop(client);
    connection.await??;
    while let Some(pushed) = pushing.join_next().await {
        pushed??;
    }
    Ok(())
}
