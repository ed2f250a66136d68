//! A plain table as it stands in the database: its columns, what is on it, and which way it can become a hypertable.

use tidemark_core::postgres::{qualified, type_name};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tokio_postgres::{Client, GenericClient};

use crate::admin::failed;
use crate::admin::timescale::Extension;

/// The schema of the new tables, the notes and the progress, as long as it runs.
pub(super) const NAMESPACE: &str = "tidemark_optimize";

/// The way a table becomes a hypertable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// A copy takes its place.
    Online,
    /// In its place, locked: what is on it stays on it.
    InPlace(Vec<String>),
}

/// A plain table.
#[derive(Debug, Clone)]
pub(super) struct OldTable {
    /// Its name.
    pub(super) name: String,
    /// Its schema, quoted.
    pub(super) namespace: String,
    /// It, as SQL names it.
    pub(super) sql: String,
    /// The hypertable beside it.
    pub(super) new: String,
    /// Key and time, quoted.
    pub(super) key: String,
    pub(super) time: String,
    /// The key's type in SQL.
    pub(super) key_type: &'static str,
    /// The time that a chunk holds.
    chunk: String,
    /// Its number of rows, as PostgreSQL estimates it.
    pub(super) rows_about: i64,
    /// Its size with indexes.
    pub(super) bytes: u64,
    /// The things a copy cannot take over.
    holds: Vec<String>,
}

/// The things on a table that a copy would lose. What reports have there is connected again after the swap.
const HOLDS: &str = "
    SELECT 'the trigger ' || t.tgname FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid = $1::text::regclass AND NOT t.tgisinternal AND t.tgname NOT LIKE 'tidemark\\_optimize\\_%'
            AND t.tgfoid IS DISTINCT FROM to_regproc('shrinkage_reports.note_touched')
    UNION ALL SELECT DISTINCT 'the view or rule ' || r.ev_class::regclass::text FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::text::regclass
            AND r.ev_class IS DISTINCT FROM to_regclass('shrinkage_reports.records')
    UNION ALL SELECT 'the foreign key ' || c.conname FROM pg_catalog.pg_constraint c
        WHERE c.contype = 'f' AND $1::text::regclass IN (c.conrelid, c.confrelid)
    UNION ALL SELECT 'the policy ' || p.polname FROM pg_catalog.pg_policy p WHERE p.polrelid = $1::text::regclass
    UNION ALL SELECT 'row security' FROM pg_catalog.pg_class c WHERE c.oid = $1::text::regclass AND c.relrowsecurity
    UNION ALL SELECT 'the publication ' || p.pubname FROM pg_catalog.pg_publication_rel r
        JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = $1::text::regclass
    UNION ALL SELECT 'inheritance' FROM pg_catalog.pg_inherits i WHERE $1::text::regclass IN (i.inhrelid, i.inhparent)
    UNION ALL SELECT 'the serial column ' || a.attname FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.refobjid = $1::text::regclass AND d.deptype = 'a' AND a.attidentity = ''
            AND EXISTS (SELECT FROM pg_catalog.pg_class s WHERE s.oid = d.objid AND s.relkind = 'S')";

impl OldTable {
    /// Reads what the database knows of a table.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(super) async fn read(client: &Client, schema: &Schema, table: &Table) -> anyhow::Result<Self> {
        let doing = |error| failed(&format!("look at the table {}", table.name), &error);
        let sql = qualified(schema, table);
        let holds = client.query(HOLDS, &[&sql]).await.map_err(doing)?;
        let size =
            "SELECT greatest(reltuples, 0)::bigint, pg_catalog.pg_total_relation_size(oid) FROM pg_catalog.pg_class
            WHERE oid = $1::text::regclass";
        let size = client.query_one(size, &[&sql]).await.map_err(doing)?;
        let (Some(time), Some(chunk)) = (table.time_column(), table.chunk) else {
            anyhow::bail!("BUG: {} has no time column", table.name);
        };
        let key = table.key_column();
        let mut holds: Vec<String> = holds.iter().map(|row| row.get(0)).collect();
        if table.append {
            holds.push("no unique index to copy its rows by".to_owned());
        }
        Ok(Self {
            name: table.name.clone(),
            namespace: quote(schema.name()),
            new: format!("{NAMESPACE}.{}", quote(&table.name)),
            key: quote(&key.name),
            key_type: type_name(key.ty),
            time: quote(&time.name),
            chunk: chunk.to_string(),
            rows_about: size.get(0),
            bytes: size.get::<_, i64>(1).unsigned_abs(),
            holds,
            sql,
        })
    }

    /// The way it can go.
    pub(super) fn way(&self) -> Way {
        if self.holds.is_empty() { Way::Online } else { Way::InPlace(self.holds.clone()) }
    }

    /// The statement that makes a table a hypertable.
    pub(super) fn create_hypertable(&self, extension: &Extension, table: &str, migrate: bool) -> String {
        format!(
            "SELECT {}.create_hypertable('{table}', '{}', chunk_time_interval => INTERVAL '{}', create_default_indexes => false, \
             migrate_data => {migrate})",
            quote(&extension.namespace.replace('"', "\"\"")),
            self.time.trim_matches('"'),
            self.chunk
        )
    }
}

/// Name and type of each column of a table, in order, as one text; nothing when the table is not there.
pub(super) async fn shape(client: &impl GenericClient, table: &str) -> anyhow::Result<Option<String>> {
    let sql = "SELECT string_agg(format('%I %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull), ', ' ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";
    let row = client
        .query_one(sql, &[&table])
        .await
        .map_err(|error| failed(&format!("read the columns of {table}"), &error))?;
    Ok(row.get(0))
}

/// The columns of a table that are written, as a list of SQL.
pub(super) async fn written_columns(client: &impl GenericClient, table: &str) -> anyhow::Result<String> {
    let sql = "SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''";
    let row = client
        .query_one(sql, &[&table])
        .await
        .map_err(|error| failed(&format!("read the columns of {table}"), &error))?;
    row.try_get(0).map_err(|error| failed(&format!("read the columns of {table}"), &error))
}
