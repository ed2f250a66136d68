//! Differences between a database and the schema: a server does not start on one that differs, and says how.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use thiserror::Error;
use tidemark_core::postgres::{foreign_keys, primary_key, type_name};
use tidemark_core::schema::{Schema, Table};
use tidemark_migrations::MigrateError;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

#[derive(Debug, Error)]
pub(super) enum InspectError {
    #[error("{}", super::connect::message_of(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

struct Column {
    ty: String,
    not_null: bool,
    filled: bool,
}

/// One line for the log.
pub(super) async fn describe(client: &Client, schema: &Schema) -> Result<String, InspectError> {
    let server: String = client.query_one("SHOW server_version", &[]).await?.get(0);
    let partitioning = partitioning(client, schema).await?;
    let timescale = tidemark_migrations::postgres::timescale_version(client).await?;
    Ok(match (timescale, partitioning.as_str()) {
        (Some(version), "hypertable") => {
            format!("PostgreSQL {server} with TimescaleDB {version}: tables with a time column are hypertables")
        }
        (Some(version), _) => format!(
            "PostgreSQL {server} with TimescaleDB {version}, migrated before that was there: tables with a time column are ordinary tables"
        ),
        (None, _) => format!("PostgreSQL {server}, plain PostgreSQL: tables with a time column are ordinary tables"),
    })
}

async fn partitioning(client: &Client, schema: &Schema) -> Result<String, InspectError> {
    let sql = "SELECT partitioning FROM tidemark.schema WHERE fingerprint = $1";
    let row = client.query_opt(sql, &[&schema.fingerprint().to_hex()]).await?;
    Ok(row.map_or_else(|| "plain".to_owned(), |row| row.get(0)))
}

/// Every difference between the database and what the schema needs; empty when there is none.
pub(super) async fn differences(client: &mut Client, schema: &Schema) -> Result<Vec<String>, InspectError> {
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.get(0);
    if encoding != "UTF8" {
        return Ok(vec![format!("the database's encoding is {encoding}, it must be UTF8")]);
    }
    let status = tidemark_migrations::postgres::status(client, schema).await?;
    if !status.pending.is_empty() {
        return Ok(status.pending.iter().map(|step| format!("migration {} is not applied", step.name)).collect());
    }
    let mut found = Vec::new();
    let columns = columns(client, schema.name()).await?;
    let primary = constraints(client, schema.name(), "p").await?;
    let foreign = constraints(client, schema.name(), "f").await?;
    let hypertables = if partitioning(client, schema).await? == "hypertable" {
        Some(hypertables(client, schema.name()).await?)
    } else {
        None
    };
    for table in schema.tables() {
        let Some(there) = columns.get(&table.name) else {
            found.push(format!("table {}.{} is missing", schema.name(), table.name));
            continue;
        };
        compare_columns(table, there, &mut found);
        let wanted = primary_key(table).join(", ");
        let wanted: BTreeSet<String> = if table.append { BTreeSet::new() } else { BTreeSet::from([wanted]) };
        let keys = primary.get(&table.name).cloned().unwrap_or_default();
        if table.append && !keys.is_empty() {
            found.push(format!("table {}: the primary key is ({}), an append table has none", table.name, join(&keys)));
        } else if keys != wanted {
            found.push(format!(
                "table {}: the primary key is ({}), the schema needs ({})",
                table.name,
                join(&keys),
                join(&wanted)
            ));
        }
        for (column, parent) in foreign_keys(schema, table) {
            let key = format!("{} -> {}.{}", column.name, schema.name(), parent.name);
            if !foreign.get(&table.name).is_some_and(|keys| keys.contains(&key)) {
                found.push(format!(
                    "table {}: the foreign key {} to {} is missing",
                    table.name, column.name, parent.name
                ));
            }
        }
        if let (Some(hypertables), Some(time)) = (&hypertables, table.time_column()) {
            match hypertables.get(&table.name) {
                None => found
                    .push(format!("table {} is not a hypertable; `tidemark-server optimize` makes it one", table.name)),
                Some(by) if *by != time.name => {
                    found.push(format!(
                        "hypertable {} is partitioned by {by}, the schema says {}",
                        table.name, time.name
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(found)
}

/// The tables that a server may not write to as it must; empty when there is none.
pub(super) async fn rights(client: &Client, schema: &Schema) -> Result<Vec<String>, InspectError> {
    let sql = "SELECT t.name FROM unnest($1::text[]) AS t (name)
        WHERE CASE WHEN has_schema_privilege($2, 'USAGE') THEN EXISTS (
            SELECT FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed (privilege)
            WHERE NOT has_table_privilege(format('%I.%I', $2, t.name), needed.privilege)) ELSE true END ORDER BY t.name";
    let names: Vec<&str> = schema.tables().iter().map(|table| table.name.as_str()).collect();
    let rows = client.query_typed(sql, &[(&names, Type::TEXT_ARRAY), (&schema.name(), Type::TEXT)]).await?;
    let missing = |row: &Row| {
        let name: String = row.get(0);
        format!(
            "the server's role may not SELECT, INSERT, UPDATE and DELETE in table {}.{name}; GRANT it that",
            schema.name()
        )
    };
    Ok(rows.iter().map(missing).collect())
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
}

fn compare_columns(table: &Table, there: &BTreeMap<String, Column>, found: &mut Vec<String>) {
    let wanted = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| (column.name.as_str(), type_name(column.ty), table.is_not_null(at)));
    let mut known = BTreeSet::new();
    for (name, ty, not_null) in wanted.chain([("station", "integer", true)]) {
        known.insert(name);
        let Some(column) = there.get(name) else {
            found.push(format!("column {}.{name} is missing", table.name));
            continue;
        };
        if column.ty != ty {
            found.push(format!("column {}.{name} is of type {}, the schema needs {ty}", table.name, column.ty));
        }
        if column.not_null != not_null {
            let says = |not_null: bool| if not_null { "NOT NULL" } else { "nullable" };
            found.push(format!(
                "column {}.{name} is {}, the schema needs it {}",
                table.name,
                says(column.not_null),
                says(not_null)
            ));
        }
    }
    for (name, column) in there {
        if !known.contains(name.as_str()) && column.not_null && !column.filled {
            found.push(format!(
                "column {}.{name} is NOT NULL without a default, and the schema does not have it",
                table.name
            ));
        }
    }
}

async fn columns(client: &Client, schema: &str) -> Result<HashMap<String, BTreeMap<String, Column>>, InspectError> {
    let sql = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')";
    let mut tables: HashMap<String, BTreeMap<String, Column>> = HashMap::new();
    for row in client.query(sql, &[&schema]).await? {
        let column = Column { ty: row.get(2), not_null: row.get(3), filled: row.get(4) };
        tables.entry(row.get(0)).or_default().insert(row.get(1), column);
    }
    Ok(tables)
}

/// The columns of primary keys, or `column -> schema.table` of foreign keys, by table.
async fn constraints(
    client: &Client,
    schema: &str,
    kind: &str,
) -> Result<HashMap<String, BTreeSet<String>>, InspectError> {
    let sql = "SELECT c.relname::text,
            (SELECT string_agg(a.attname, ', ' ORDER BY k.place) FROM unnest(o.conkey) WITH ORDINALITY AS k (attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum),
            pn.nspname::text, p.relname::text
        FROM pg_catalog.pg_constraint o
        JOIN pg_catalog.pg_class c ON c.oid = o.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_class p ON p.oid = o.confrelid LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
        WHERE n.nspname = $1 AND o.contype::text = $2";
    let mut found: HashMap<String, BTreeSet<String>> = HashMap::new();
    for row in client.query(sql, &[&schema, &kind]).await? {
        let columns: String = row.get(1);
        let entry = match (row.get::<_, Option<String>>(2), row.get::<_, Option<String>>(3)) {
            (Some(parent_schema), Some(parent)) => format!("{columns} -> {parent_schema}.{parent}"),
            _ => columns,
        };
        found.entry(row.get(0)).or_default().insert(entry);
    }
    Ok(found)
}

/// The first dimension of each hypertable, by table.
async fn hypertables(client: &Client, schema: &str) -> Result<HashMap<String, String>, InspectError> {
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb')";
    if !client.query_one(there, &[]).await?.get::<_, bool>(0) {
        return Ok(HashMap::new());
    }
    let sql = "SELECT hypertable_name::text, column_name::text FROM timescaledb_information.dimensions
        WHERE hypertable_schema = $1 AND dimension_number = 1";
    Ok(client.query(sql, &[&schema]).await?.into_iter().map(|row| (row.get(0), row.get(1))).collect())
}
