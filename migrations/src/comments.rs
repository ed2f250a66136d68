//! Comments in PostgreSQL: what a schema says of its tables and columns, brought up to date behind the migrations.
//!
//! The derived DDL has them for new tables. Here they reach the tables that migration files make, tables that an older
//! Tidemark made, and a schema of which only `doc` or `unit` changed, since its fingerprint stays the same and no
//! migration is pending.

use std::collections::HashMap;

use tidemark_core::postgres::{column_comment, comment_on_column, comment_on_table, table_comment};
use tidemark_core::schema::Schema;
use tokio_postgres::Transaction;

use crate::error::{MigrateError, postgres_message};

/// The comments that are there, of the tables that this role may comment (PostgreSQL lets only the owner do that).
const THERE: &str = "SELECT c.relname::text, '', pg_catalog.obj_description(c.oid, 'pg_class')
        FROM pg_catalog.pg_class c WHERE c.relnamespace = to_regnamespace(quote_ident($1))
        AND c.relkind IN ('r', 'p') AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
    UNION ALL SELECT c.relname::text, a.attname::text, pg_catalog.col_description(c.oid, a.attnum)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND a.attnum > 0 AND NOT a.attisdropped
        AND c.relkind IN ('r', 'p') AND pg_catalog.pg_has_role(c.relowner, 'USAGE')";

/// Writes the comments that differ, and the schema file they came from. Where the schema says nothing, a comment that
/// is there stays.
pub(crate) async fn describe(transaction: &Transaction<'_>, schema: &Schema) -> Result<(), MigrateError> {
    let rows = transaction.query(THERE, &[&schema.name()]).await?;
    let there: HashMap<(String, String), Option<String>> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    let differs = |table: &str, column: &str, wanted: &Option<String>| {
        there.get(&(table.to_owned(), column.to_owned())).is_some_and(|found| found != wanted)
    };
    let mut statements = Vec::new();
    for table in schema.tables() {
        if differs(&table.name, "", &table_comment(table)) {
            statements.extend(comment_on_table(schema, table));
        }
        for column in &table.columns {
            if differs(&table.name, &column.name, &column_comment(column)) {
                statements.extend(comment_on_column(schema, table, column));
            }
        }
    }
    if !statements.is_empty() {
        let failed = |error| MigrateError::Step { name: "comments".to_owned(), message: postgres_message(&error) };
        transaction.batch_execute(&statements.join(";\n")).await.map_err(failed)?;
    }
    // A later `up` without a file reads this text, and must not take the comments back. It is asked for first because
    // even an UPDATE of no row needs the right to update.
    let (fingerprint, source) = (schema.fingerprint().to_hex(), schema.source());
    let stale = "SELECT EXISTS (SELECT FROM tidemark.schema WHERE fingerprint = $1 AND toml <> $2)";
    if transaction.query_one(stale, &[&fingerprint, &source]).await?.get(0) {
        let renew = "UPDATE tidemark.schema SET toml = $2 WHERE fingerprint = $1";
        transaction.execute(renew, &[&fingerprint, &source]).await?;
    }
    Ok(())
}
