//! Room that deleted rows left is given back, and the planner's statistics are renewed.

use rusqlite::Connection;

use super::{TableName, connect, failed, open_file, postgres_tables};
use crate::database::DatabaseUrl;
use crate::server::schema_of_database;

/// The size before and after, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Before.
    pub before: u64,
    /// Afterwards.
    pub after: u64,
}

/// Vacuums. An embedded file is rebuilt: writers wait meanwhile. In PostgreSQL, rows are cleared and statistics
/// renewed while everybody works; `full` rewrites the tables, and locks each meanwhile. `say` hears of each table.
///
/// # Errors
/// When the database cannot be used or a table cannot be locked; what was done before stays.
pub async fn vacuum(database: &DatabaseUrl, full: bool, say: &mut (dyn FnMut(&str) + Send)) -> anyhow::Result<Sizes> {
    match database {
        DatabaseUrl::Sqlite(path) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || vacuum_file(&open_file(&path)?)).await?
        }
        DatabaseUrl::Postgres(config) => {
            let schema = schema_of_database(database).await?;
            let client = connect(config).await?;
            let before = size(&client).await?;
            for table in postgres_tables(&client, schema.as_ref()).await? {
                let full = if full { "FULL, " } else { "" };
                let sql = format!("VACUUM ({full}ANALYZE) {}", TableName::sql(&table));
                client
                    .batch_execute(&sql)
                    .await
                    .map_err(|error| failed(&format!("vacuum {}", table.shown()), &error))?;
                say(&table.shown());
            }
            Ok(Sizes { before, after: size(&client).await? })
        }
    }
}

async fn size(client: &tokio_postgres::Client) -> anyhow::Result<u64> {
    let sql = "SELECT pg_catalog.pg_database_size(current_database())";
    let row = client.query_one(sql, &[]).await.map_err(|error| failed("ask for the size", &error))?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

fn vacuum_file(connection: &Connection) -> anyhow::Result<Sizes> {
    let size = || -> rusqlite::Result<u64> {
        let number = |what: &str| connection.query_row(&format!("PRAGMA {what}"), [], |row| row.get::<_, i64>(0));
        Ok(number("page_count")?.unsigned_abs() * number("page_size")?.unsigned_abs())
    };
    let before = size()?;
    connection.execute_batch("VACUUM; PRAGMA optimize = 0x10002; PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(Sizes { before, after: size()? })
}
