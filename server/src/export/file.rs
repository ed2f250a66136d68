//! The SQLite file of the old system: exactly the tables that SQLAlchemy makes for the schema, and nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rusqlite::Connection;
use tempfile::TempPath;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::value::{ColumnType, ValueRef};

use crate::files;
use crate::stores::sqlite::damage::damage;
use crate::stores::sqlite::values::Parameter;

/// Pages kept in memory while the file is written, in KiB.
const CACHE_KIB: i64 = 8 * 1024;

pub(super) struct OldFile {
    // Closed before the file is removed.
    connection: Connection,
    part: TempPath,
    to: PathBuf,
    inserts: Vec<String>,
}

impl OldFile {
    /// Begins the file beside its place, under a name of its own.
    pub(super) fn create(schema: &Schema, to: &Path) -> anyhow::Result<Self> {
        if to.symlink_metadata().is_ok() {
            bail!("{} exists already; move it away, or name another file", to.display());
        }
        let unwritable = || format!("cannot write {}", to.display());
        let mut builder = tempfile::Builder::new();
        // One that was killed leaves its part; the name says of what.
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(to.file_name().with_context(|| format!("{} names no file", to.display()))?);
        prefix.push("-");
        builder.prefix(&prefix).suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // What the user's umask leaves of it, as for any new database.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let part = builder.tempfile_in(files::folder_of(to)).with_context(unwritable)?.into_temp_path();
        let connection = Connection::open(&part).with_context(unwritable)?;
        let begin = || -> rusqlite::Result<()> {
            // There whole or not at all: what is half written is thrown away, so nothing needs a journal.
            connection.pragma_update(None, "journal_mode", "OFF")?;
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            // As in the old system: a reference may name a row that is not there.
            connection.pragma_update(None, "foreign_keys", false)?;
            connection.set_prepared_statement_cache_capacity(schema.tables().len().max(16));
            connection.execute_batch("BEGIN EXCLUSIVE")?;
            for &table in schema.parents_first() {
                connection.execute_batch(&create_table(schema, &schema.tables()[table]))?;
            }
            Ok(())
        };
        begin().with_context(unwritable)?;
        let inserts = schema.tables().iter().map(insert_sql).collect();
        Ok(Self { connection, part, to: to.to_owned(), inserts })
    }

    pub(super) fn insert(&self, table: usize, values: &[ValueRef<'_>]) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(&self.inserts[table])?;
        for (at, value) in values.iter().enumerate() {
            insert.raw_bind_parameter(at + 1, Parameter(*value))?;
        }
        insert.raw_execute().map(|_| ())
    }

    /// Checks every page and that each table has as many rows as were written, and gives the file its name. Returns
    /// by table how many references name no row.
    pub(super) fn finish(self, schema: &Schema, written: &[u64]) -> anyhow::Result<Vec<u64>> {
        let Self { connection, part, to, .. } = self;
        let shown = to.display();
        let unwritable = || format!("cannot write {shown}");
        connection.execute_batch("COMMIT").with_context(unwritable)?;
        if let Some(found) = damage(&connection).with_context(unwritable)? {
            bail!("{shown} is damaged as written ({found}); nothing was exported. Check the disk, and export again");
        }
        let mut orphans = Vec::new();
        for (table, &written) in schema.tables().iter().zip(written) {
            let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).with_context(unwritable);
            let there = count(&format!("SELECT count(*) FROM {}", quote(&table.name)))?.unsigned_abs();
            if there != written {
                bail!("{shown}: table {} has {there} of {written} rows; nothing was exported", table.name);
            }
            let sql = format!("SELECT count(*) FROM pragma_foreign_key_check('{}')", table.name);
            orphans.push(count(&sql)?.unsigned_abs());
        }
        connection.close().map_err(|(_, error)| error).with_context(unwritable)?;
        files::sync(&part).with_context(unwritable)?;
        part.persist_noclobber(&to).map_err(|error| error.error).with_context(unwritable)?;
        files::sync_name(&to).with_context(unwritable)?;
        Ok(orphans)
    }
}

/// SQLAlchemy's name of a column type in SQLite.
const fn type_name(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Integer => "INTEGER",
        ColumnType::Real => "FLOAT",
        ColumnType::Text => "VARCHAR",
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Timestamp => "DATETIME",
        ColumnType::Json => "JSON",
        ColumnType::Bytes => "BLOB",
        ColumnType::Uuid => "CHAR(36)",
    }
}

/// `CREATE TABLE` in SQLAlchemy's own layout. What the system's models fill in and check they fill in and check
/// themselves.
fn create_table(schema: &Schema, table: &Table) -> String {
    let mut lines = Vec::new();
    for (at, column) in table.columns.iter().enumerate() {
        let not_null = if at == table.key || column.required { " NOT NULL" } else { "" };
        lines.push(format!("{} {}{not_null}", quote(&column.name), type_name(column.ty)));
    }
    lines.push(format!("PRIMARY KEY ({})", quote(&table.key_column().name)));
    for column in &table.columns {
        if let Some(parent) = column.references.map(|parent| &schema.tables()[parent]) {
            let (parent, key) = (quote(&parent.name), quote(&parent.key_column().name));
            lines.push(format!("FOREIGN KEY({}) REFERENCES {parent} ({key})", quote(&column.name)));
        }
    }
    format!("CREATE TABLE {} (\n\t{}\n)", quote(&table.name), lines.join(", \n\t"))
}

fn insert_sql(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
    let places = vec!["?"; columns.len()].join(", ");
    format!("INSERT INTO {} ({}) VALUES ({places})", quote(&table.name), columns.join(", "))
}
