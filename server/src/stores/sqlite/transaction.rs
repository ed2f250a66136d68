//! A transaction on SQLite: the rows of the schema's tables. The ledger comes with [`super::sql`].

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::batch::Group;
use tidemark_core::digest::RowHash;
use tidemark_core::identity::Identity;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::value::{ColumnType, ValueRef};

use super::file::failed;
use super::values::{Parameter, key_of, typed, typed_or_raw};
use crate::ledger::lineage::Lineage;
use crate::upstream::error::StoreError;
use crate::upstream::facts::{ColumnAt, Facts, Questions};
use crate::upstream::rows::{Rows, one_by_one};
use crate::upstream::writes::{Isolated, Step, TableWrites};

/// A transaction.
pub(super) struct SqliteTransaction<'s> {
    pub(super) schema: &'s Schema,
    pub(super) connection: &'s mut Connection,
}

impl SqliteTransaction<'_> {
    pub(super) fn execute(&mut self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(failed)
    }

    fn gather(&self, lineage: &Lineage, questions: &Questions) -> rusqlite::Result<Facts> {
        let mut facts = Facts::default();
        for (&index, keys) in &questions.present {
            let table = &self.schema.tables()[index];
            let (key, name) = (quote(&table.key_column().name), quote(&table.name));
            let time = table.time_column().map_or_else(|| "NULL".to_owned(), |time| quote(&time.name));
            let mut select = self.connection.prepare_cached(&format!("SELECT {time} FROM {name} WHERE {key} = ?1"))?;
            for key in keys {
                let mut rows = select.query([Parameter(key.value())])?;
                while let Some(row) = rows.next()? {
                    let time = match typed(ColumnType::Timestamp, row.get_ref(0)?) {
                        Some(ValueRef::Timestamp(us)) => us,
                        _ => 0,
                    };
                    facts.present.entry((index, *key)).or_default().insert(time);
                }
            }
        }
        for (&index, keys) in &questions.foreign {
            let table = &self.schema.tables()[index];
            let (key, name) = (quote(&table.key_column().name), quote(&table.name));
            let sql = format!(
                "SELECT \"station\" FROM {name} WHERE {key} = ?1 AND \"station\" NOT IN ({})",
                owned_list(lineage)
            );
            let mut select = self.connection.prepare_cached(&sql)?;
            for key in keys {
                let owner = select.query_row([Parameter(key.value())], |row| row.get(0)).optional()?;
                facts.foreign.extend(owner.map(|owner| ((index, *key), owner)));
            }
        }
        for (&at, keys) in &questions.children {
            let table = &self.schema.tables()[at.table];
            let (column, name) = (quote(&table.columns[at.column].name), quote(&table.name));
            let mut count =
                self.connection.prepare_cached(&format!("SELECT count(*) FROM {name} WHERE {column} = ?1"))?;
            for key in keys {
                let rows: i64 = count.query_row([Parameter(key.value())], |row| row.get(0))?;
                facts.children.insert((at, *key), rows.unsigned_abs());
            }
        }
        for (&index, keys) in &questions.holders {
            let table = &self.schema.tables()[index];
            let columns = questions.holder_columns(index);
            let list: Vec<String> = columns.iter().map(|&column| quote(&table.columns[column].name)).collect();
            let (key, name) = (quote(&table.key_column().name), quote(&table.name));
            let sql = format!("SELECT {} FROM {name} WHERE {key} = ?1", list.join(", "));
            let mut select = self.connection.prepare_cached(&sql)?;
            for key in keys {
                let mut rows = select.query([Parameter(key.value())])?;
                while let Some(row) = rows.next()? {
                    for (place, &column) in columns.iter().enumerate() {
                        let at = ColumnAt { table: index, column };
                        facts.holders.insert((at, *key), key_of(table, column, row, place)?);
                    }
                }
            }
        }
        for (&index, keys) in &questions.appended {
            self.gather_appended(index, keys, &mut facts)?;
        }
        Ok(facts)
    }

    /// The rows of an append table that have one of these keys. Here the key is the place of the row itself, so this is
    /// as quick as it can be.
    fn gather_appended(&self, index: usize, rows: &[Identity], facts: &mut Facts) -> rusqlite::Result<()> {
        let table = &self.schema.tables()[index];
        let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
        let (key, name) = (quote(&table.key_column().name), quote(&table.name));
        let sql = format!("SELECT {} FROM {name} WHERE {key} = ?1", columns.join(", "));
        let mut select = self.connection.prepare_cached(&sql)?;
        let mut scratch = Vec::new();
        for Identity { key, .. } in rows {
            let mut rows = select.query([Parameter(key.value())])?;
            while let Some(row) = rows.next()? {
                let cells = table.columns.iter().enumerate();
                let cells: rusqlite::Result<Vec<ValueRef<'_>>> =
                    cells.map(|(at, column)| Ok(typed_or_raw(column.ty, row.get_ref(at)?))).collect();
                let hash = RowHash::of(&mut scratch, &table.name, cells?.into_iter());
                facts.appended.insert((index, *key), hash);
            }
        }
        Ok(())
    }

    fn write_rows(&self, lineage: &Lineage, groups: &[Group], write: &TableWrites) -> Result<(), StoreError> {
        let table = &self.schema.tables()[write.table];
        let mut upsert = self.connection.prepare_cached(&upsert_sql(table, lineage)).map_err(failed)?;
        for at in write.fresh.iter().chain(&write.upserts) {
            let row = groups[at.group as usize].row(at.row as usize);
            let mut place = 0;
            for value in row {
                place += 1;
                upsert.raw_bind_parameter(place, Parameter(value)).map_err(failed)?;
            }
            upsert.raw_bind_parameter(place + 1, lineage.station.get()).map_err(failed)?;
            if upsert.raw_execute().map_err(failed)? == 0 {
                return Err(StoreError::Violation("the row belongs to another station".to_owned()));
            }
        }
        Ok(())
    }

    fn delete_rows(&self, lineage: &Lineage, write: &TableWrites) -> rusqlite::Result<()> {
        let table = &self.schema.tables()[write.table];
        let (key, name) = (quote(&table.key_column().name), quote(&table.name));
        let mut sql = format!("DELETE FROM {name} WHERE {key} = ?1 AND \"station\" IN ({})", owned_list(lineage));
        if let Some(time) = table.time_column() {
            sql.push_str(&format!(" AND {} = ?2", quote(&time.name)));
        }
        let mut delete = self.connection.prepare_cached(&sql)?;
        for identity in &write.deletes {
            delete.raw_bind_parameter(1, Parameter(identity.key.value()))?;
            if table.time.is_some() {
                delete.raw_bind_parameter(2, Parameter(ValueRef::Timestamp(identity.time_us)))?;
            }
            delete.raw_execute()?;
        }
        Ok(())
    }
}

/// The numbers whose rows the station owns, for an `IN`.
fn owned_list(lineage: &Lineage) -> String {
    lineage.owned().map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

fn upsert_sql(table: &Table, lineage: &Lineage) -> String {
    let mut columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
    columns.push("\"station\"".to_owned());
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    let sets: Vec<String> = columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let name = quote(&table.name);
    format!(
        "INSERT INTO {name} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {} WHERE {name}.\"station\" IN ({})",
        columns.join(", "),
        places.join(", "),
        quote(&table.key_column().name),
        sets.join(", "),
        owned_list(lineage)
    )
}

#[async_trait]
impl Rows for SqliteTransaction<'_> {
    async fn facts(&mut self, lineage: &Lineage, questions: &Questions) -> Result<Facts, StoreError> {
        self.gather(lineage, questions).map_err(failed)
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.execute("SAVEPOINT tidemark")
    }

    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.execute("ROLLBACK TO tidemark; RELEASE tidemark")
    }

    async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.execute("RELEASE tidemark")
    }

    async fn write(&mut self, lineage: &Lineage, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError> {
        for write in writes {
            self.write_rows(lineage, groups, write)?;
        }
        for write in writes.iter().rev().filter(|write| !write.deletes.is_empty()) {
            self.delete_rows(lineage, write).map_err(failed)?;
        }
        Ok(())
    }

    async fn write_each(
        &mut self,
        lineage: &Lineage,
        groups: &[Group],
        steps: &[Step],
    ) -> Result<Isolated, StoreError> {
        let schema = self.schema;
        one_by_one(self, schema, lineage, groups, steps).await
    }
}
