//! A dump put back: in one transaction, so that it is there whole or not at all, and servers go on with what was
//! there until it is committed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::bail;
use bytes::Bytes;
use futures_util::SinkExt as _;
use tidemark_migrations::postgres::{LOCK, ensure_timescale, timescale as timescale_state};
use tokio_postgres::{Client, CopyInSink, Transaction};

use super::archive::{Archive, Entry, Piece};
use super::counted::manifest;
use super::manifest::Restored;
use super::programs::Running;
use crate::admin::timescale::{self, how_to_get};
use crate::admin::{TableName, connect, failed};
use crate::database::PostgresUrl;

/// The version of PostgreSQL, 15 for 15.3.
pub(super) async fn server_major(client: &Client) -> anyhow::Result<u32> {
    let sql = "SELECT current_setting('server_version_num')::int / 10000";
    let row = client.query_one(sql, &[]).await.map_err(|error| failed("ask for the server's version", &error))?;
    Ok(row.get::<_, i32>(0).unsigned_abs())
}

/// Nothing of Tidemark is in the database.
pub(super) async fn is_empty(client: &Client) -> anyhow::Result<bool> {
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'tidemark')";
    Ok(client.query_one(sql, &[]).await.map_err(|error| failed("look at the database", &error))?.get(0))
}

/// Puts a dump back. With `replace`, the schemas it holds take the place of those that are there.
pub(super) async fn restore(config: &PostgresUrl, file: &Path, replace: bool) -> anyhow::Result<Restored> {
    let mut client = connect(config).await?;
    let archive = Archive::open(file, server_major(&client).await?).await?;
    let schemas: BTreeSet<&str> = archive
        .entries
        .iter()
        .filter(|entry| entry.kind == "SCHEMA")
        .filter_map(|entry| entry.rest.split(' ').next())
        .collect();
    if !schemas.contains("tidemark") {
        bail!("{} holds no database of Tidemark", file.display());
    }
    if archive.needs_timescale() {
        bail!(
            "{} holds compressed chunks or continuous aggregates: restore it as a superuser into an empty database with --exact, in the same version of \
             TimescaleDB",
            file.display()
        );
    }
    let mut notes = Vec::new();
    if !archive.hypertables.is_empty() {
        let said = ensure_timescale(&mut client).await?;
        // The extension is loaded when a session begins.
        client = connect(config).await?;
        if timescale::extension(&client).await?.is_none() {
            let how = how_to_get(&timescale_state(&client).await?);
            notes.push(format!("hypertables of the backup became plain tables: {said}. To have hypertables: {how}"));
        }
    }
    let extension = timescale::extension(&client).await?;
    let doing = |error| failed("put the backup back", &error);
    let transaction = client.transaction().await.map_err(doing)?;
    transaction.execute("SELECT pg_catalog.pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(doing)?;
    let mut entries = archive.ordinary();
    if replace {
        let (gone, left) = make_room(&transaction, &schemas).await?;
        let within = |entry: &Entry| {
            schemas.contains(entry.schema.as_str())
                || (entry.schema == "-" && entry.kind == "SCHEMA")
                || (entry.schema == "-"
                    && entry
                        .rest
                        .strip_prefix("SCHEMA ")
                        .is_some_and(|rest| schemas.iter().any(|it| rest.starts_with(it))))
        };
        entries.retain(within);
        notes.push(format!("replaced: the schemas {}{left}", gone.join(", ")));
    }
    let mut rows = play(&transaction, &archive, &entries).await?;
    if let Some(extension) = &extension {
        for hypertable in &archive.hypertables {
            let namespace = TableName { schema: None, table: extension.namespace.clone() }.sql();
            let sql = format!(
                "SELECT {namespace}.create_hypertable($1::text::regclass, $2::text::name, chunk_time_interval => $3::bigint, \
                 create_default_indexes => false)"
            );
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&hypertable.name.sql(), &hypertable.column, &hypertable.interval];
            transaction.query(&sql, &values).await.map_err(doing)?;
        }
    } else {
        let plain = "UPDATE tidemark.schema SET partitioning = 'plain' WHERE partitioning <> 'plain'";
        transaction.batch_execute(plain).await.map_err(doing)?;
    }
    let chunks = archive.chunk_data();
    if !chunks.is_empty() {
        rows += play(&transaction, &archive, &chunks).await?;
    }
    transaction.commit().await.map_err(doing)?;
    client.batch_execute("ANALYZE").await.map_err(|error| failed("renew the statistics", &error))?;
    Ok(Restored { kept: None, rows, notes })
}

/// Puts a dump back into an empty database by TimescaleDB's own steps: the extension's catalog as it was, compressed
/// chunks and continuous aggregates with it.
pub(super) async fn restore_exactly(config: &PostgresUrl, file: &Path) -> anyhow::Result<Restored> {
    let mut client = connect(config).await?;
    let archive = Archive::open(file, server_major(&client).await?).await?;
    let said = ensure_timescale(&mut client).await?;
    // The extension is loaded when a session begins.
    client = connect(config).await?;
    let Some(extension) = timescale::extension(&client).await? else {
        let how = how_to_get(&timescale_state(&client).await?);
        bail!("--exact is for databases with TimescaleDB, and here is {said}. To have it: {how}");
    };
    let namespace = TableName { schema: None, table: extension.namespace }.sql();
    let step = |name: &str| format!("SELECT {namespace}.timescaledb_{name}_restore()");
    let doing = |error| failed("prepare TimescaleDB for --exact (which needs a superuser)", &error);
    client.batch_execute(&step("pre")).await.map_err(doing)?;
    let restored = match Running::start(archive.whole(config)) {
        Ok(running) => running.end().await,
        Err(error) => Err(error),
    };
    // Also when it failed: the database would stay in the state of one that is being restored.
    let ended = client.batch_execute(&step("post")).await.map_err(|error| failed("end TimescaleDB's restore", &error));
    restored.and(ended)?;
    client.batch_execute("ANALYZE").await.map_err(|error| failed("renew the statistics", &error))?;
    let rows = manifest(&connect(config).await?).await?.rows();
    Ok(Restored { kept: None, rows, notes: Vec::new() })
}

/// Drops the schemas that are replaced; returns which were there, and what is left alone.
async fn make_room(tx: &Transaction<'_>, schemas: &BTreeSet<&str>) -> anyhow::Result<(Vec<String>, String)> {
    let doing = |error| failed("make room for the backup", &error);
    // Whoever applies a batch needs this table: from here on nobody writes.
    tx.batch_execute("LOCK TABLE tidemark.cursor IN ACCESS EXCLUSIVE MODE").await.map_err(doing)?;
    let sql = "SELECT DISTINCT nspname::text FROM pg_catalog.pg_namespace
        WHERE nspname = ANY ($1) OR nspname IN (SELECT name FROM tidemark.schema) ORDER BY 1";
    let wanted: Vec<&str> = schemas.iter().copied().collect();
    let gone: Vec<String> = tx.query(sql, &[&wanted]).await.map_err(doing)?.iter().map(|row| row.get(0)).collect();
    let sql = "SELECT DISTINCT format('%I.%I', vn.nspname, v.relname) FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
        JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
        JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
            AND tn.nspname = ANY ($1) AND vn.nspname <> ALL ($1)";
    let hang: Vec<String> = tx.query(sql, &[&gone]).await.map_err(doing)?.iter().map(|row| row.get(0)).collect();
    if !hang.is_empty() {
        bail!(
            "these views read tables that would be replaced, and would be lost: {}; drop them first, and make them again afterwards",
            hang.join(", ")
        );
    }
    for name in &gone {
        let name = TableName { schema: None, table: name.clone() }.sql();
        tx.batch_execute(&format!("SET LOCAL client_min_messages = warning; DROP SCHEMA {name} CASCADE"))
            .await
            .map_err(doing)?;
    }
    let others = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))";
    let others: bool = tx.query_one(others, &[]).await.map_err(doing)?.get(0);
    Ok((gone, if others { "; what is in the schema public was left as it is".to_owned() } else { String::new() }))
}

/// Runs entries of a dump; returns how many rows they had.
async fn play(tx: &Transaction<'_>, archive: &Archive, entries: &[Entry]) -> anyhow::Result<u64> {
    let doing = |error| failed("put the backup back", &error);
    let mut reading = archive.script(entries)?;
    let mut rows = 0;
    let mut sink: Option<std::pin::Pin<Box<CopyInSink<Bytes>>>> = None;
    while let Some(piece) = reading.pieces.recv().await {
        match piece? {
            Piece::Sql(sql) => tx.batch_execute(&sql).await.map_err(doing)?,
            Piece::Rows { table, columns } => {
                let target = archive.hypertable_of(&table).map_or(table, |it| it.name.sql());
                sink = Some(Box::pin(tx.copy_in(&format!("COPY {target} {columns} FROM STDIN")).await.map_err(doing)?));
            }
            Piece::Data(data, count) => {
                rows += count;
                if let Some(sink) = &mut sink {
                    sink.send(data.into()).await.map_err(doing)?;
                }
            }
            Piece::End => {
                if let Some(mut sink) = sink.take() {
                    sink.as_mut().finish().await.map_err(doing)?;
                }
            }
        }
    }
    reading.end().await?;
    Ok(rows)
}
