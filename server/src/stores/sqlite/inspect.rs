//! Differences between an embedded database and the schema: a server does not start on one that differs, and says how.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::schema::Schema;
use tidemark_core::sqlite::create_upstream_table;

/// A column as SQLite knows it.
#[derive(PartialEq)]
struct Column {
    ty: String,
    not_null: bool,
    filled: bool,
    key: bool,
}

/// Every difference between the database and what the schema needs; empty when there is none. What is needed is read
/// from tables made in memory by the schema's own SQL. Further columns are the operator's, as long as rows can do
/// without them.
pub(super) fn differences(connection: &Connection, schema: &Schema) -> rusqlite::Result<Vec<String>> {
    let model = Connection::open_in_memory()?;
    let mut found = Vec::new();
    for table in schema.tables() {
        let name = &table.name;
        model.execute_batch(&create_upstream_table(table))?;
        let wanted = columns(&model, name)?;
        let there = columns(connection, name)?;
        if there.is_empty() {
            found.push(format!("table {name} is missing"));
            continue;
        }
        if !is_strict(connection, name)? {
            found.push(format!("table {name} is not STRICT"));
        }
        for (column, wanted) in &wanted {
            let Some(there) = there.get(column) else {
                found.push(format!("column {name}.{column} is missing"));
                continue;
            };
            if there.ty != wanted.ty {
                found.push(format!("column {name}.{column} is {}, the schema needs {}", there.ty, wanted.ty));
            }
            if there.not_null != wanted.not_null {
                let (is, needs) = if there.not_null { ("required", "optional") } else { ("optional", "required") };
                found.push(format!("column {name}.{column} is {is}, the schema says {needs}"));
            }
            if there.key != wanted.key {
                let is = if there.key { "is" } else { "is not" };
                found.push(format!("column {name}.{column} {is} part of the primary key, the schema says otherwise"));
            }
        }
        for (column, _) in
            there.iter().filter(|(name, column)| !wanted.contains_key(*name) && column.not_null && !column.filled)
        {
            found.push(format!("column {name}.{column} is required and not in the schema"));
        }
    }
    Ok(found)
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<BTreeMap<String, Column>> {
    let mut select =
        connection.prepare(r#"SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?1)"#)?;
    let rows = select.query_map([table], |row| {
        let column = Column {
            ty: row.get(1)?,
            not_null: row.get(2)?,
            filled: row.get::<_, Option<String>>(3)?.is_some(),
            key: row.get::<_, i64>(4)? > 0,
        };
        Ok((row.get(0)?, column))
    })?;
    rows.collect()
}

fn is_strict(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1";
    Ok(connection.query_row(sql, [table], |row| row.get(0)).optional()?.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named() {
        let schema = Schema::parse(
            "name = 'w'\nversion = 1\n[tables.site.columns]\nid = { type = 'integer' }\nname = { type = 'text', required = true }\n\
             [tables.reading.columns]\nid = { type = 'integer' }\nx = { type = 'real' }",
        )
        .unwrap();
        let made = || {
            let connection = Connection::open_in_memory().unwrap();
            for table in schema.tables() {
                connection.execute_batch(&create_upstream_table(table)).unwrap();
            }
            connection
        };
        assert_eq!(differences(&made(), &schema).unwrap(), Vec::<String>::new());
        let site = "CREATE TABLE site (id INTEGER PRIMARY KEY NOT NULL";
        let rest = "station INTEGER NOT NULL DEFAULT 0) STRICT";
        for (change, says) in [
            ("DROP TABLE reading".to_owned(), "table reading is missing"),
            ("ALTER TABLE reading DROP COLUMN x".to_owned(), "column reading.x is missing"),
            ("ALTER TABLE reading DROP COLUMN station".to_owned(), "column reading.station is missing"),
            (
                format!("DROP TABLE site; {site}, name BLOB NOT NULL, {rest}"),
                "column site.name is BLOB, the schema needs TEXT",
            ),
            (
                format!("DROP TABLE site; {site}, name TEXT, {rest}"),
                "column site.name is optional, the schema says required",
            ),
            (
                format!("DROP TABLE site; {site}, name TEXT NOT NULL, extra TEXT NOT NULL, {rest}"),
                "column site.extra is required and not in the schema",
            ),
            (
                format!("DROP TABLE site; {site}, name TEXT NOT NULL, {}", rest.trim_end_matches(" STRICT")),
                "table site is not STRICT",
            ),
        ] {
            let connection = made();
            connection.execute_batch(&change).unwrap();
            assert_eq!(differences(&connection, &schema).unwrap(), [says], "{change}");
        }
        let connection = made();
        connection.execute_batch("ALTER TABLE reading ADD COLUMN note TEXT").unwrap();
        assert_eq!(differences(&connection, &schema).unwrap(), Vec::<String>::new());
    }
}
