//! What PostgreSQL's own tools do with the same rows: COPY from a file of the server, and psql.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use tidemark_e2e::postgres::{PgClient, program};

use crate::checksum::COLUMNS;
use crate::drivers::ended;
use crate::standings::Measured;

/// Empties the table, and leaves nothing of before to be written while somebody is measured.
///
/// # Errors
/// The database's.
pub fn emptied(client: &PgClient) -> Result<()> {
    client.batch("TRUNCATE bench.reading")?;
    client.batch("CHECKPOINT")
}

/// COPYs the rows of a file that `COPY … TO` wrote, as the superuser: COPY from a file of the server.
///
/// # Errors
/// The database's.
pub fn copy(client: &PgClient, file: &str, rows: u64) -> Result<Measured> {
    let begin = Instant::now();
    client.batch(&format!("COPY bench.reading FROM '{file}' (FORMAT binary)"))?;
    Ok(Measured::new(rows, begin.elapsed().as_secs_f64()))
}

/// What a careful script does: COPY into a temporary table and an upsert out of it, in one transaction of psql.
///
/// # Errors
/// When psql fails.
pub fn psql(url: &str, folder: &Path, csv: &str, rows: u64) -> Result<Measured> {
    let others = COLUMNS.split(", ").filter(|name| !matches!(*name, "id" | "measured_at"));
    let set = others.map(|name| format!("{name} = excluded.{name}")).collect::<Vec<_>>().join(", ");
    let script = folder.join("upsert.sql");
    std::fs::write(
        &script,
        format!(
            "\\set ON_ERROR_STOP on\n\
             BEGIN;\n\
             CREATE TEMPORARY TABLE fresh (LIKE bench.reading) ON COMMIT DROP;\n\
             \\copy fresh ({COLUMNS}) FROM '{csv}' (FORMAT csv, HEADER)\n\
             INSERT INTO bench.reading ({COLUMNS}) SELECT {COLUMNS} FROM fresh\n\
                 ON CONFLICT (id, measured_at) DO UPDATE SET {set};\n\
             COMMIT;\n"
        ),
    )?;
    let script = script.to_string_lossy();
    let begin = Instant::now();
    ended(&program("psql")?, &["--no-psqlrc", "--quiet", "-d", url, "-f", &script], folder, &BTreeMap::new())?;
    Ok(Measured::new(rows, begin.elapsed().as_secs_f64()))
}
