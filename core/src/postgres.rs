//! SQL derived for PostgreSQL: schema, tables, references, comments, hypertables.

use crate::schema::{Column, DefaultValue, Schema, Table};
use crate::sqlite::quote;
use crate::value::ColumnType;

/// The way a table with a time column is partitioned upstream: the one seam through which another engine's way enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePartitioning {
    /// TimescaleDB hypertables.
    Hypertable,
    /// Plain tables, where TimescaleDB is not installed.
    Plain,
}

/// PostgreSQL's name of a column type, as `format_type` prints it.
#[must_use]
pub const fn type_name(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Integer => "bigint",
        ColumnType::Real => "double precision",
        ColumnType::Text => "text",
        ColumnType::Boolean => "boolean",
        ColumnType::Timestamp => "timestamp with time zone",
        // `json`, not `jsonb`: the text is kept to the letter, so both sides can be compared bit for bit.
        ColumnType::Json => "json",
        ColumnType::Bytes => "bytea",
        ColumnType::Uuid => "uuid",
    }
}

/// `table_column_suffix`, shortened behind a hash where PostgreSQL would cut it silently.
#[must_use]
pub fn derived_name(table: &str, column: &str, suffix: &str) -> String {
    let name = if column.is_empty() { format!("{table}_{suffix}") } else { format!("{table}_{column}_{suffix}") };
    if name.len() <= crate::limits::NAME_BYTES_MAX {
        return name;
    }
    let hash = crate::value::hex(&blake3::hash(name.as_bytes()).as_bytes()[..4]);
    let keep = crate::limits::NAME_BYTES_MAX - suffix.len() - hash.len() - 2;
    format!("{}_{hash}_{suffix}", &name[..keep])
}

/// `"schema"."table"`.
#[must_use]
pub fn qualified(schema: &Schema, table: &Table) -> String {
    format!("{}.{}", quote(schema.name()), quote(&table.name))
}

/// A text as SQL, whatever `standard_conforming_strings` is set to.
fn text_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

fn default_sql(default: &DefaultValue) -> String {
    match default {
        DefaultValue::Now => "now()".to_owned(),
        DefaultValue::Integer(v) => v.to_string(),
        DefaultValue::Real(v) => format!("'{v:?}'::double precision"),
        DefaultValue::Text(v) => text_literal(v),
        DefaultValue::Boolean(v) => v.to_string(),
    }
}

fn check_sql(column: &Column) -> Option<String> {
    let name = quote(&column.name);
    let ty = type_name(column.ty);
    let mut rules = Vec::new();
    rules.extend(column.min.map(|min| format!("{name} >= '{min}'::{ty}")));
    rules.extend(column.max.map(|max| format!("{name} <= '{max}'::{ty}")));
    rules.extend(column.max_bytes.map(|max| match column.ty {
        ColumnType::Json => format!("octet_length({name}::text) <= {max}"),
        _ => format!("octet_length({name}) <= {max}"),
    }));
    (!rules.is_empty()).then(|| rules.join(" AND "))
}

/// The columns of the upstream primary key: the key, and the time of a hypertable, whose unique keys must contain it.
/// The same on plain PostgreSQL, so that a table can become a hypertable later.
#[must_use]
pub fn primary_key(table: &Table) -> Vec<&str> {
    table.identity().map(|index| table.columns[index].name.as_str()).collect()
}

/// `CREATE SCHEMA` of the schema's own namespace.
#[must_use]
pub fn create_schema(schema: &Schema) -> String {
    format!("CREATE SCHEMA {}", quote(schema.name()))
}

/// One column's part of `CREATE TABLE` and `ADD COLUMN`: name, type and NOT NULL.
#[must_use]
pub fn column_definition(table: &Table, index: usize) -> String {
    let column = &table.columns[index];
    let not_null = if table.is_not_null(index) { " NOT NULL" } else { "" };
    format!("{} {}{not_null}", quote(&column.name), type_name(column.ty))
}

/// A column's default as SQL.
#[must_use]
pub fn column_default(column: &Column) -> Option<String> {
    column.default.as_ref().map(default_sql)
}

/// The named constraint that holds a column's bounds.
#[must_use]
pub fn check_constraint(table: &Table, column: &Column) -> Option<String> {
    let name = quote(&derived_name(&table.name, &column.name, "check"));
    check_sql(column).map(|rule| format!("CONSTRAINT {name} CHECK ({rule})"))
}

/// The named constraint of one of [`foreign_keys`].
#[must_use]
pub fn foreign_key_constraint(schema: &Schema, table: &Table, column: &Column, parent: &Table) -> String {
    format!(
        "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({})",
        quote(&derived_name(&table.name, &column.name, "fkey")),
        quote(&column.name),
        qualified(schema, parent),
        quote(&parent.key_column().name)
    )
}

/// `CREATE TABLE` of one table, with its foreign keys to ordinary tables when it is one itself.
#[must_use]
pub fn create_table(schema: &Schema, table: &Table) -> String {
    let mut lines = Vec::new();
    for (index, column) in table.columns.iter().enumerate() {
        let mut line = column_definition(table, index);
        if index == table.key && column.ty == ColumnType::Integer {
            // HQ's own rows: station 0, plain serials below the stations' blocks.
            line.push_str(&format!(" GENERATED BY DEFAULT AS IDENTITY (MAXVALUE {})", crate::ids::LOCAL_ID_MAX));
        } else if index == table.key {
            line.push_str(" DEFAULT gen_random_uuid()");
        }
        if let Some(default) = column_default(column) {
            line.push_str(" DEFAULT ");
            line.push_str(&default);
        }
        lines.push(line);
    }
    lines.push("\"station\" integer NOT NULL DEFAULT 0".to_owned());
    let key: Vec<String> = primary_key(table).into_iter().map(quote).collect();
    let key_name = quote(&derived_name(&table.name, "", "pkey"));
    lines.push(format!("CONSTRAINT {key_name} PRIMARY KEY ({})", key.join(", ")));
    lines.extend(table.columns.iter().filter_map(|column| check_constraint(table, column)));
    lines.extend(
        foreign_keys(schema, table).map(|(column, parent)| foreign_key_constraint(schema, table, column, parent)),
    );
    format!("CREATE TABLE {} (\n    {}\n)", qualified(schema, table), lines.join(",\n    "))
}

/// The references PostgreSQL itself enforces: between ordinary tables. A hypertable cannot be referenced, and
/// foreign-key triggers on one cut COPY from 540k to 189k rows/s; the server checks those set by set.
pub fn foreign_keys<'s>(schema: &'s Schema, table: &'s Table) -> impl Iterator<Item = (&'s Column, &'s Table)> {
    let ordinary = table.time.is_none();
    table
        .columns
        .iter()
        .filter_map(move |column| column.references.map(|parent| (column, &schema.tables()[parent])))
        .filter(move |(_, parent)| ordinary && parent.time.is_none())
}

/// An index behind every foreign key: what PostgreSQL reads before it deletes a parent.
#[must_use]
pub fn create_indexes(schema: &Schema, table: &Table) -> Vec<String> {
    foreign_keys(schema, table)
        .map(|(column, _)| {
            format!(
                "CREATE INDEX {} ON {} ({})",
                quote(&derived_name(&table.name, &column.name, "idx")),
                qualified(schema, table),
                quote(&column.name)
            )
        })
        .collect()
}

/// The comment of a table upstream: its `doc`. `None` where the schema says nothing.
///
/// PostgreSQL stores no NUL character, so one in a schema's `doc` is left out.
#[must_use]
pub fn table_comment(table: &Table) -> Option<String> {
    table.doc.as_deref().map(without_nul).filter(|text| !text.is_empty())
}

/// The comment of a column upstream: its `doc`, then its `unit` in brackets. `None` where the schema says neither.
///
/// ```
/// use tidemark_core::{postgres::column_comment, schema::Schema};
/// let schema = Schema::parse(r#"
///     name = "weather"
///     version = 1
///     [tables.reading.columns]
///     id = { type = "integer" }
///     dew = { type = "real", unit = "°C", doc = "Dew point." }
///     temp = { type = "real", unit = "°C" }
/// "#).unwrap();
/// let comments: Vec<_> = schema.tables()[0].columns.iter().map(column_comment).collect();
/// assert_eq!(comments, [None, Some("Dew point. [°C]".to_owned()), Some("[°C]".to_owned())]);
/// ```
#[must_use]
pub fn column_comment(column: &Column) -> Option<String> {
    let unit = column.unit.as_deref().map(without_nul).filter(|unit| !unit.is_empty()).map(|unit| format!("[{unit}]"));
    let doc = column.doc.as_deref().map(without_nul).filter(|doc| !doc.is_empty());
    match (doc, unit) {
        (Some(doc), Some(unit)) => Some(format!("{doc} {unit}")),
        (doc, unit) => doc.or(unit),
    }
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}

/// `COMMENT ON TABLE` with [`table_comment`].
#[must_use]
pub fn comment_on_table(schema: &Schema, table: &Table) -> Option<String> {
    let text = table_comment(table)?;
    Some(format!("COMMENT ON TABLE {} IS {}", qualified(schema, table), text_literal(&text)))
}

/// `COMMENT ON COLUMN` with [`column_comment`].
#[must_use]
pub fn comment_on_column(schema: &Schema, table: &Table, column: &Column) -> Option<String> {
    let (text, name) = (column_comment(column)?, quote(&column.name));
    Some(format!("COMMENT ON COLUMN {}.{name} IS {}", qualified(schema, table), text_literal(&text)))
}

/// All comments of one table and its columns: what the schema says of them, for people who look at the database.
#[must_use]
pub fn create_comments(schema: &Schema, table: &Table) -> Vec<String> {
    let columns = table.columns.iter().filter_map(|column| comment_on_column(schema, table, column));
    comment_on_table(schema, table).into_iter().chain(columns).collect()
}

/// The statement that makes a table with a time column a hypertable; `None` for ordinary tables and without
/// TimescaleDB.
#[must_use]
pub fn partition_by_time(schema: &Schema, table: &Table, partitioning: TimePartitioning) -> Option<String> {
    let (time, chunk) = (table.time_column()?, table.chunk?);
    match partitioning {
        TimePartitioning::Hypertable => Some(format!(
            "SELECT create_hypertable('{}', '{}', chunk_time_interval => INTERVAL '{chunk}', create_default_indexes => false)",
            qualified(schema, table),
            time.name
        )),
        TimePartitioning::Plain => None,
    }
}

/// Everything for one schema, statement by statement: parents first, hypertables last.
#[must_use]
pub fn create_all(schema: &Schema, partitioning: TimePartitioning) -> Vec<String> {
    let tables = || schema.parents_first().iter().map(|&index| &schema.tables()[index]);
    let mut statements = vec![create_schema(schema)];
    for table in tables() {
        statements.push(create_table(schema, table));
        statements.extend(create_indexes(schema, table));
        statements.extend(create_comments(schema, table));
    }
    statements.extend(tables().filter_map(|table| partition_by_time(schema, table, partitioning)));
    statements
}
