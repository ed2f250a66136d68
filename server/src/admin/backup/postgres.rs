//! Copies of a PostgreSQL database: pg_dump of one snapshot, and the same snapshot counted.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use tokio_postgres::{Client, IsolationLevel};

use super::archive::{Archive, Piece};
use super::counted::manifest;
use super::manifest::{Checked, Manifest};
use super::part::make_part;
use super::programs::{Running, command, find};
use super::restore::{restore, restore_exactly, server_major};

use crate::admin::{connect, failed};
use crate::clock::{Clock as _, SystemClock, random_bytes};
use crate::database::PostgresUrl;

/// The beginning of the names of databases into which a backup is restored to check it.
const SCRATCH: &str = "tidemark_check_";
/// So often the database of a check is dropped, while something of the server still looks at it.
const DROP_TRIES: u32 = 20;

/// Copies a database as it is at one moment, and says what it held then.
pub(super) async fn write(config: &PostgresUrl, part: &Path) -> anyhow::Result<Manifest> {
    let mut client = connect(config).await?;
    let pg_dump = find("pg_dump", server_major(&client).await?)?;
    make_part(part)?;
    let doing = |error| failed("take a snapshot of the database", &error);
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = transaction.start().await.map_err(doing)?;
    let settings = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
    transaction.batch_execute(settings).await.map_err(doing)?;
    let there: bool =
        transaction.query_one("SELECT to_regclass('tidemark.migration') IS NOT NULL", &[]).await.map_err(doing)?.get(0);
    if !there {
        bail!("this database holds nothing of Tidemark yet; `tidemark-server migrate up` makes its tables");
    }
    let snapshot: String =
        transaction.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await.map_err(doing)?.get(0);
    let mut dump = command(&pg_dump, config);
    dump.args(["--format=custom", "--no-password", "--snapshot", &snapshot, "--file"]).arg(part);
    let dump = Running::start(dump)?;
    let manifest = manifest(&transaction).await?;
    dump.end().await?;
    transaction.commit().await.map_err(doing)?;
    Ok(manifest)
}

/// Checks a dump: restored into a database of its own where the role may make one, else read to its end.
pub(super) async fn check(
    config: &PostgresUrl,
    file: &Path,
    manifest: &Manifest,
    restored: bool,
) -> anyhow::Result<Checked> {
    let client = connect(config).await?;
    let doing = |error| failed("ask for the role's rights", &error);
    let sql =
        "SELECT rolname::text, rolcreatedb OR rolsuper, rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let row = client.query_one(sql, &[]).await.map_err(doing)?;
    let (role, may_create, superuser): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    let exact = Archive::open(file, server_major(&client).await?).await?.needs_timescale();
    if restored && may_create && (superuser || !exact) {
        restored_equals(&client, config, file, manifest, exact).await?;
        return Ok(Checked::Restored);
    }
    read_through(&client, file, manifest).await?;
    Ok(Checked::Read(if exact {
        format!(
            "it holds compressed chunks or continuous aggregates, which {role} may not restore, and whose rows were not counted"
        )
    } else if restored {
        format!("the role {role} may not create a database to restore it into; ALTER ROLE {role} CREATEDB lets it")
    } else {
        "--check restores it into a database of its own".to_owned()
    }))
}

/// The name of a database for a check: when it was made, in seconds since 1970, and something of its own.
fn scratch_name(now_ms: i64) -> anyhow::Result<String> {
    let own = tidemark_core::value::hex(&random_bytes::<8>().context("the operating system gives no random bytes")?);
    Ok(format!("{SCRATCH}{:x}_{own}", now_ms / 1000))
}

/// The database was made for a check a day ago: by a process that was killed.
fn is_stale(name: &str, now_ms: i64) -> bool {
    let made = name.strip_prefix(SCRATCH).and_then(|rest| rest.split_once('_'));
    let made_s = made.and_then(|(seconds, _)| i64::from_str_radix(seconds, 16).ok());
    made_s.is_some_and(|made_s| made_s < now_ms / 1000 - 86_400)
}

/// Takes away what killed checks left.
async fn drop_stale(client: &Client) {
    let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE datdba = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)";
    for row in client.query(sql, &[]).await.unwrap_or_default() {
        let name: String = row.get(0);
        if is_stale(&name, SystemClock.now_ms()) {
            // It is somebody's task to look if it cannot go; the check of today does not depend on it.
            drop(client.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await);
        }
    }
}

/// Restores into a database of its own, which goes whatever comes of it.
async fn restored_equals(
    client: &Client,
    config: &PostgresUrl,
    file: &Path,
    manifest: &Manifest,
    exact: bool,
) -> anyhow::Result<()> {
    drop_stale(client).await;
    let name = scratch_name(SystemClock.now_ms())?;
    let doing = |error| failed("make a database to check the backup in", &error);
    let sql = "SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L', $1::text,
            pg_encoding_to_char(encoding), datcollate, datctype) FROM pg_catalog.pg_database WHERE datname = current_database()";
    let create: String = client.query_one(sql, &[&name]).await.map_err(doing)?.get(0);
    client.batch_execute(&create).await.map_err(doing)?;
    let scratch = config.with_database(&name);
    let compared = async {
        if exact {
            restore_exactly(&scratch, file).await?;
        } else {
            restore(&scratch, file, false).await?;
        }
        manifest.compare(&self::manifest(&connect(&scratch).await?).await?)
    };
    let compared = compared.await.with_context(|| format!("the backup {} does not restore", file.display()));
    let mut dropped = Ok(());
    for _ in 0..DROP_TRIES {
        dropped = client.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await;
        if dropped.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    if let Err(error) = dropped {
        tracing::warn!(
            "the database {name} was made to check a backup and is left: {}",
            crate::stores::postgres::message_of(&error)
        );
    }
    compared
}

/// Reads every row of a dump, and compares how many each table has.
async fn read_through(client: &Client, file: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let archive = Archive::open(file, server_major(client).await?).await?;
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for entries in [archive.ordinary(), archive.chunk_data()] {
        if entries.is_empty() {
            continue;
        }
        let mut reading = archive.script(&entries)?;
        let mut table = String::new();
        while let Some(piece) = reading.pieces.recv().await {
            match piece? {
                Piece::Rows { table: name, .. } => {
                    table = archive.hypertable_of(&name).map_or_else(|| name.replace('"', ""), |it| it.name.shown());
                    counted.entry(table.clone()).or_default();
                }
                Piece::Data(_, rows) => *counted.entry(table.clone()).or_default() += rows,
                Piece::Sql(_) | Piece::End => {}
            }
        }
        reading.end().await?;
    }
    let manifest = if archive.needs_timescale() { &Manifest::default() } else { manifest };
    for (name, content) in &manifest.0 {
        let there = counted.get(name).copied().unwrap_or(0);
        if there != content.rows {
            bail!("the backup {} has {there} rows of {name}, the database had {}", file.display(), content.rows);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_databases_of_old_checks_are_taken_away() {
        let now_ms = 1_764_124_435_123;
        let made = scratch_name(now_ms).unwrap();
        assert!(made.len() < 64 && !is_stale(&made, now_ms) && !is_stale(&made, now_ms + 86_400_000));
        assert!(is_stale(&made, now_ms + 86_402_000));
        for other in
            ["tidemark", "tidemark_check_", "tidemark_check_mine", "tidemark_check_zz_1", "x_tidemark_check_1_1"]
        {
            assert!(!is_stale(other, now_ms), "{other}");
        }
    }
}
