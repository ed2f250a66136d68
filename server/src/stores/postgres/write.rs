//! Writes of rows: COPY for those that should be new, COPY into a temporary table and an upsert for the others, or one
//! statement where they are [few](super::few); deletes by sets. The statements are one per table, whatever the number
//! of rows.

use tidemark_core::batch::Group;
use tidemark_core::postgres::{primary_key, qualified};
use tidemark_core::schema::Table;
use tidemark_core::sqlite::quote;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::connect::failed;
use super::copy::copy_rows;
use super::few::{self, are_few, source_sql};
use super::transaction::PostgresTransaction;
use super::values::{KeyArray, StampUs, key_type, owned_array};
use crate::ledger::lineage::Lineage;
use crate::upstream::error::StoreError;
use crate::upstream::writes::{RowAt, TableWrites};

/// So many rows are deleted from a table with time by their keys as a set, too. While there are no statistics of a
/// chunk, the planner takes its rows for one or none, and would compare each of them with each of a few that go (90 of
/// 16,000: 0.4 s instead of 7 ms). With more it takes a hash by itself; of as many keys it would estimate each for each
/// chunk.
const FEW_KEYS: usize = 500;

impl PostgresTransaction<'_> {
    pub(super) async fn write_tables(
        &self,
        lineage: &Lineage,
        groups: &[Group],
        writes: &[TableWrites],
        at_savepoint: bool,
    ) -> Result<(), StoreError> {
        for (place, write) in writes.iter().enumerate() {
            let written = self.write_rows(lineage, groups, write, at_savepoint && place == 0).await;
            written.map_err(|error| self.of(write.table, error))?;
        }
        for write in writes.iter().rev().filter(|write| !write.deletes.is_empty()) {
            self.delete_rows(lineage, write).await.map_err(|error| self.of(write.table, error))?;
        }
        Ok(())
    }

    async fn insert_fresh(
        &self,
        lineage: &Lineage,
        groups: &[Group],
        table: &Table,
        rows: &[RowAt],
    ) -> Result<(), tokio_postgres::Error> {
        let target = qualified(self.schema, table);
        if are_few(groups, rows) {
            let columns = column_list(table);
            let sql = format!("INSERT INTO {target} ({columns}) SELECT {columns} FROM {}", source_sql(table, &columns));
            let number = lineage.station.get().cast_signed();
            few::run(&self.pipeline, &sql, table, number, groups, rows, &[]).await?;
            return Ok(());
        }
        let sql = copy_sql(&target, table);
        copy_rows(&self.pipeline, &sql, lineage.station.get().cast_signed(), groups, rows.iter().copied()).await?;
        Ok(())
    }

    async fn upsert(
        &self,
        lineage: &Lineage,
        groups: &[Group],
        write: &TableWrites,
        rows: Vec<RowAt>,
    ) -> Result<(), StoreError> {
        let table = &self.schema.tables()[write.table];
        let target = qualified(self.schema, table);
        let number = lineage.station.get().cast_signed();
        if are_few(groups, &rows) {
            let owned = owned_array(lineage);
            let source = source_sql(table, &column_list(table));
            let sql = upsert_sql(&target, &source, table, &format!("= ANY (${})", table.columns.len() + 2));
            let others = [(&owned as &(dyn ToSql + Sync), Type::INT4_ARRAY)];
            let written = few::run(&self.pipeline, &sql, table, number, groups, &rows, &others).await;
            return of_other_station(written.map_err(failed)?, rows.len() as u64);
        }
        let temporary = format!("pg_temp.\"tidemark_upsert_{}\"", write.table);
        self.send(&format!(
            "DROP TABLE IF EXISTS {temporary}; CREATE TEMPORARY TABLE {} (LIKE {target}) ON COMMIT DROP",
            temporary.trim_start_matches("pg_temp.")
        ))
        .await;
        let sql = copy_sql(&temporary, table);
        let copied = copy_rows(&self.pipeline, &sql, number, groups, rows.into_iter()).await.map_err(failed)?;
        let upsert = upsert_sql(&target, &temporary, table, &format!("IN ({})", owned_list(lineage)));
        of_other_station(self.pipeline.execute_once(&upsert, &[]).await.map_err(failed)?, copied)
    }

    /// Writes rows of a table. At the savepoint of their range they need none of their own.
    async fn write_rows(
        &self,
        lineage: &Lineage,
        groups: &[Group],
        write: &TableWrites,
        at_savepoint: bool,
    ) -> Result<(), StoreError> {
        let table = &self.schema.tables()[write.table];
        let references_itself = table.columns.iter().any(|column| column.references == Some(write.table));
        let mut upserts = write.upserts.clone();
        if references_itself && !upserts.is_empty() {
            // A fresh row may hang on one that is upserted: both go in one statement.
            upserts.extend(&write.fresh);
        } else if !write.fresh.is_empty() {
            if !at_savepoint {
                self.send("SAVEPOINT tidemark_fresh").await;
            }
            match self.insert_fresh(lineage, groups, table, &write.fresh).await {
                Ok(()) if at_savepoint => {}
                Ok(()) => self.send("RELEASE SAVEPOINT tidemark_fresh").await,
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                    if at_savepoint {
                        self.go_back_to("tidemark_range").await;
                    } else {
                        self.go_back("tidemark_fresh").await;
                    }
                    // An append table has no unique index but the operator's, and takes no upserts.
                    if table.append || !self.past_unique_violations && !self.is_primary(&error).await? {
                        return Err(failed(error));
                    }
                    upserts.extend(&write.fresh);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        if upserts.is_empty() { Ok(()) } else { self.upsert(lineage, groups, write, upserts).await }
    }

    /// Whether a unique violation is the primary key's; of a hypertable, a chunk's.
    async fn is_primary(&self, error: &tokio_postgres::Error) -> Result<bool, StoreError> {
        let named = error.as_db_error().and_then(|error| error.schema().zip(error.constraint()));
        let Some((schema, index)) = named else { return Ok(true) };
        let sql = "SELECT i.indisprimary FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
            JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&schema, Type::TEXT), (&index, Type::TEXT)];
        let rows = self.pipeline.query_once(sql, &parameters).await.map_err(failed)?;
        Ok(rows.first().is_none_or(|row| row.get(0)))
    }

    async fn delete_rows(&self, lineage: &Lineage, write: &TableWrites) -> Result<(), StoreError> {
        let table = &self.schema.tables()[write.table];
        let keys = KeyArray::new(key_type(table), write.deletes.iter().map(|identity| &identity.key));
        let owned = owned_array(lineage);
        let (target, key) = (qualified(self.schema, table), quote(&table.key_column().name));
        let Some(time) = table.time_column().map(|time| quote(&time.name)) else {
            let sql =
                format!("DELETE FROM {target} WHERE {key} = ANY ($1::{}) AND \"station\" = ANY ($2)", keys.sql_type());
            self.pipeline.execute_once(&sql, &[keys.parameter(), (&owned, Type::INT4_ARRAY)]).await.map_err(failed)?;
            return Ok(());
        };
        // The range lets TimescaleDB leave out every chunk that cannot hold one of the rows.
        let keys_type = keys.sql_type();
        let few = match write.deletes.len() {
            ..=FEW_KEYS => format!(" AND t.{key} = ANY ($1::{keys_type})"),
            _ => String::new(),
        };
        let sql = format!(
            "DELETE FROM {target} AS t USING unnest($1::{keys_type}, $2::timestamptz[]) AS gone (key, time)
             WHERE t.{key} = gone.key AND t.{time} = gone.time AND t.\"station\" = ANY ($3)
             AND t.{time} BETWEEN $4 AND $5{few}"
        );
        let times: Vec<StampUs> = write.deletes.iter().map(|identity| StampUs(identity.time_us)).collect();
        let range = write.deletes.iter().map(|identity| identity.time_us);
        let (first, last) = (StampUs(range.clone().min().unwrap_or(0)), StampUs(range.max().unwrap_or(0)));
        self.pipeline
            .execute_once(
                &sql,
                &[
                    keys.parameter(),
                    (&times, Type::TIMESTAMPTZ_ARRAY),
                    (&owned, Type::INT4_ARRAY),
                    (&first, Type::TIMESTAMPTZ),
                    (&last, Type::TIMESTAMPTZ),
                ],
            )
            .await
            .map_err(failed)?;
        Ok(())
    }
}

pub(super) fn column_list(table: &Table) -> String {
    let mut columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
    columns.push("\"station\"".to_owned());
    columns.join(", ")
}

pub(super) fn copy_sql(target: &str, table: &Table) -> String {
    format!("COPY {target} ({}) FROM STDIN (FORMAT BINARY)", column_list(table))
}

/// The numbers whose rows the station owns, as a list of SQL.
pub(super) fn owned_list(lineage: &Lineage) -> String {
    lineage.owned().map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

/// An upsert from `from`, of rows whose station `is_owned`: the end of a condition.
fn upsert_sql(target: &str, from: &str, table: &Table, is_owned: &str) -> String {
    let columns = column_list(table);
    let on_conflict = on_conflict_sql(table, is_owned);
    format!("INSERT INTO {target} AS t ({columns}) SELECT {columns} FROM {from} {on_conflict}")
}

/// What an insert does where the row is there, if its station `is_owned`; nothing for an append table, where the
/// planner has found it to be new.
pub(super) fn on_conflict_sql(table: &Table, is_owned: &str) -> String {
    if table.append {
        return String::new();
    }
    let key: Vec<String> = primary_key(table).into_iter().map(quote).collect();
    let names = table.columns.iter().map(|column| quote(&column.name)).chain(["\"station\"".to_owned()]);
    let sets: Vec<String> = names.map(|name| format!("{name} = EXCLUDED.{name}")).collect();
    format!("ON CONFLICT ({}) DO UPDATE SET {} WHERE t.\"station\" {is_owned}", key.join(", "), sets.join(", "),)
}

/// An upsert leaves rows that the station does not own.
fn of_other_station(written: u64, wanted: u64) -> Result<(), StoreError> {
    if written < wanted {
        return Err(StoreError::Violation("the row belongs to another station".to_owned()));
    }
    Ok(())
}
