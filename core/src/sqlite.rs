//! SQL derived for SQLite: the station's tables, and the embedded upstream's.

pub use crate::names::quote;
use crate::schema::{Column, DefaultValue, Schema, Table};
use crate::value::ColumnType;

/// The declared type of a station's column. They are the names SQLAlchemy knows, so that reflected models read times as
/// times.
#[must_use]
pub const fn declared_type(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Integer => "INTEGER",
        ColumnType::Real => "REAL",
        ColumnType::Text => "TEXT",
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Timestamp => "DATETIME",
        ColumnType::Json => "JSON",
        ColumnType::Bytes => "BLOB",
        ColumnType::Uuid => "CHAR(36)",
    }
}

/// The statement's time in microsecond form: SQLAlchemy would take a fraction of three digits for microseconds.
const NOW: &str = "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))";

fn default_sql(default: &DefaultValue) -> String {
    match default {
        DefaultValue::Now => NOW.to_owned(),
        DefaultValue::Integer(v) => v.to_string(),
        DefaultValue::Real(v) => format!("{v:?}"),
        DefaultValue::Text(v) => format!("'{}'", v.replace('\'', "''")),
        DefaultValue::Boolean(v) => u8::from(*v).to_string(),
    }
}

/// The rules a value breaks at once, where the writer can still see it; types are checked when a batch is cut.
fn check_sql(column: &Column) -> Option<String> {
    let name = quote(&column.name);
    let mut rules = Vec::new();
    rules.extend(column.min.map(|min| format!("{name} >= {min}")));
    rules.extend(column.max.map(|max| format!("{name} <= {max}")));
    rules.extend(column.max_bytes.map(|max| format!("length(CAST({name} AS BLOB)) <= {max}")));
    (!rules.is_empty()).then(|| format!(" CHECK ({})", rules.join(" AND ")))
}

/// `CREATE TABLE` of one table on a station.
#[must_use]
pub fn create_table(schema: &Schema, table: &Table) -> String {
    let mut lines = Vec::new();
    for (index, column) in table.columns.iter().enumerate() {
        let mut line = format!("    {} {}", quote(&column.name), declared_type(column.ty));
        if index == table.key {
            line.push_str(" NOT NULL PRIMARY KEY");
            if column.ty == ColumnType::Integer {
                line.push_str(" AUTOINCREMENT");
            }
        } else if column.required {
            line.push_str(" NOT NULL");
        }
        if let Some(default) = &column.default {
            line.push_str(" DEFAULT ");
            line.push_str(&default_sql(default));
        }
        line.push_str(&rules_sql(schema, column));
        lines.push(line);
    }
    format!("CREATE TABLE {} (\n{}\n)", quote(&table.name), lines.join(",\n"))
}

/// `ALTER TABLE … ADD COLUMN` of a nullable column on a station. Without its default: SQLite would give it to the rows
/// that are there, which upstream are NULL.
#[must_use]
pub fn add_column(schema: &Schema, table: &Table, index: usize) -> String {
    let column = &table.columns[index];
    let (name, rules) = (quote(&column.name), rules_sql(schema, column));
    format!("ALTER TABLE {} ADD COLUMN {name} {}{rules}", quote(&table.name), declared_type(column.ty))
}

fn rules_sql(schema: &Schema, column: &Column) -> String {
    let mut rules = check_sql(column).unwrap_or_default();
    if let Some(parent) = column.references {
        let parent = &schema.tables()[parent];
        rules.push_str(&format!(" REFERENCES {} ({})", quote(&parent.name), quote(&parent.key_column().name)));
    }
    rules
}

/// One column of the embedded upstream, as `CREATE TABLE` and `ADD COLUMN` take it; without its default, which only
/// HQ's own statements use.
#[must_use]
pub fn upstream_column_definition(table: &Table, index: usize) -> String {
    let column = &table.columns[index];
    let ty = match column.ty {
        ColumnType::Integer | ColumnType::Boolean => "INTEGER",
        // A column declared REAL stores −0.0 as 0; one declared ANY in a strict table stores what it is given.
        ColumnType::Real => "ANY",
        ColumnType::Text | ColumnType::Timestamp | ColumnType::Json | ColumnType::Uuid => "TEXT",
        ColumnType::Bytes => "BLOB",
    };
    let mut line = format!("{} {ty}", quote(&column.name));
    if table.is_not_null(index) {
        line.push_str(" NOT NULL");
    }
    if index == table.key {
        line.push_str(" PRIMARY KEY");
    }
    line.extend(check_sql(column));
    line
}

/// `CREATE TABLE` of one table in the embedded upstream: strict types, the upstream id as key, and the row's station.
/// References are checked by the server, set by set, as on PostgreSQL between hypertables.
#[must_use]
pub fn create_upstream_table(table: &Table) -> String {
    let mut lines = Vec::new();
    for (index, column) in table.columns.iter().enumerate() {
        let mut line = format!("    {}", upstream_column_definition(table, index));
        if let Some(default) = &column.default {
            line.push_str(" DEFAULT ");
            line.push_str(&default_sql(default));
        }
        lines.push(line);
    }
    lines.push("    \"station\" INTEGER NOT NULL DEFAULT 0".to_owned());
    format!("CREATE TABLE {} (\n{}\n) STRICT", quote(&table.name), lines.join(",\n"))
}

/// An index on every column that references an ordinary table from one, upstream: what the check before a parent's
/// delete reads.
#[must_use]
pub fn create_upstream_indexes(schema: &Schema, table: &Table) -> Vec<String> {
    if table.time.is_some() {
        return Vec::new();
    }
    let references = table
        .columns
        .iter()
        .filter(|column| column.references.is_some_and(|parent| schema.tables()[parent].time.is_none()));
    references
        .map(|column| {
            let name = crate::names::derived_name(&table.name, &column.name, "idx");
            format!("CREATE INDEX {} ON {} ({})", quote(&name), quote(&table.name), quote(&column.name))
        })
        .collect()
}
