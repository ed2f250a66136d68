//! Makes the golden files of the format that is current: pairs of a station's file and its upstream, embedded and
//! PostgreSQL, in the states an upgrade can meet. Run once per format version, by the programs that write it, before
//! the format moves on:
//!
//! ```text
//! cargo run -p tidemark-e2e --bin golden -- e2e/golden/v1
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("usage: golden FOLDER")?);
    if folder.exists() {
        bail!("{}: exists; golden files are made once and never again", folder.display());
    }
    let (embedded, postgres) = (folder.join("embedded"), folder.join("postgres"));
    std::fs::create_dir_all(&embedded)?;
    std::fs::create_dir_all(&postgres)?;
    let schema = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/schema.toml"))?;

    let field = Field::new(&schema, None)?;
    write(&field, &embedded)?;
    std::fs::copy(field.folder().join("upstream.db"), embedded.join("upstream.db"))?;

    let cluster = PostgresCluster::start(Flavour::Plain)?;
    write(&Field::new(&schema, Some(cluster.create_database("golden")?))?, &postgres)?;
    let dump = Command::new("pg_dump").args(["--inserts", "--no-owner", &cluster.url("golden")]).output()?;
    ensure!(dump.status.success(), "pg_dump: {}", String::from_utf8_lossy(&dump.stderr));
    std::fs::write(postgres.join("upstream.sql"), dump.stdout)?;
    Ok(())
}

/// Makes the files of two stations in `folder`, and brings the field's upstream into the state that goes with them.
fn write(field: &Field, folder: &Path) -> Result<()> {
    field.migrate()?;
    let server = field.serve()?;

    // Never joined: it has recorded, and knows no server.
    let alone = field.init_station("alone")?;
    alone.open()?.execute_batch("INSERT INTO site (name) VALUES ('Wangerooge'), ('Spiekeroog')")?;
    std::fs::copy(&alone.file, folder.join("never-joined.db"))?;

    // Joined, with rejects of both sides.
    let station = field.join_station("norderney", &server.url())?;
    station.open()?.execute_batch(
        "INSERT INTO site (name) VALUES ('Norderney'), ('Baltrum');
         INSERT INTO reading (site_id, measured_at, value, checked) VALUES
             (1, '2026-06-01 06:00:00.000001', 11.5, 0), (1, '2026-06-01 07:00:00', -0.0, 1), (2, '2026-07-01 06:00:00', NULL, NULL),
             (2, '1901-01-01 00:00:00', 3.25, NULL);
         INSERT INTO picture VALUES ('0192f0c1-2e4a-7c4e-8a51-3f1d2c9b7e60', 1, x'00ff10', '{\"a\": [1, null]}'),
             ('0192f0c1-2e4a-7c4e-8a51-3f1d2c9b7e61', 2, NULL, '{not json')",
    )?;
    station.run(&["push"])?.success()?;

    // Three changes that the server will have, and this copy of the file does not know so; then changes it never sent.
    station.open()?.execute_batch(
        "INSERT INTO reading (site_id, measured_at, value) VALUES (2, '2026-07-01 07:00:00', 12.125);
         UPDATE reading SET checked = 1 WHERE id = 1;
         DELETE FROM picture",
    )?;
    std::fs::copy(&station.file, folder.join("station.db"))?;
    station.run(&["push"])?.success()?;
    server.process.terminate()?.success()?;
    rusqlite::Connection::open(folder.join("station.db"))?.execute_batch(
        "INSERT INTO site (name) VALUES ('Juist');
         INSERT INTO reading (site_id, measured_at, value) VALUES (3, '2026-07-02 07:00:00', 9.0);
         UPDATE site SET name = 'Baltrum Hafen' WHERE id = 2;
         DELETE FROM reading WHERE id = 2",
    )?;
    Ok(())
}
