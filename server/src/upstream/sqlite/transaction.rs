//! The embedded upstream's transaction: questions about sets of rows, and writes of sets of rows.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::batch::Group;
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::RejectedChange;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::value::{ColumnType, ValueRef};

use super::failed;
use super::records::{REJECT_COLUMNS, cursor_of, reject_of, station_where};
use super::values::{Parameter, at_text, key_of, typed};
use crate::ingest::plan::TableWrites;
use crate::ingest::questions::{ColumnAt, Facts, Questions};
use crate::lines::Line;
use crate::stations::{JoinAsk, NewStation, StationRecord};
use crate::upstream::memory::rejected_change;
use crate::upstream::{Reject, StoreError, StoreTransaction};

pub(super) struct SqliteTransaction<'s> {
    pub(super) schema: &'s Schema,
    pub(super) connection: &'s mut Connection,
}

impl SqliteTransaction<'_> {
    pub(super) fn execute(&mut self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(failed)
    }

    fn gather(&self, line: &Line, questions: &Questions) -> rusqlite::Result<Facts> {
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
                owned_list(line)
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
        Ok(facts)
    }

    fn write_rows(&self, line: &Line, groups: &[Group], write: &TableWrites) -> Result<(), StoreError> {
        let table = &self.schema.tables()[write.table];
        let mut upsert = self.connection.prepare_cached(&upsert_sql(table, line)).map_err(failed)?;
        for at in write.fresh.iter().chain(&write.upserts) {
            let row = groups[at.group as usize].row(at.row as usize);
            let mut place = 0;
            for value in row {
                place += 1;
                upsert.raw_bind_parameter(place, Parameter(value)).map_err(failed)?;
            }
            upsert.raw_bind_parameter(place + 1, line.station.get()).map_err(failed)?;
            if upsert.raw_execute().map_err(failed)? == 0 {
                return Err(StoreError::Violation("the row belongs to another station".to_owned()));
            }
        }
        Ok(())
    }

    fn delete_rows(&self, line: &Line, write: &TableWrites) -> rusqlite::Result<()> {
        let table = &self.schema.tables()[write.table];
        let (key, name) = (quote(&table.key_column().name), quote(&table.name));
        let mut sql = format!("DELETE FROM {name} WHERE {key} = ?1 AND \"station\" IN ({})", owned_list(line));
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

    fn keep(&self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO tidemark_rejects (station, seq, at, received_at, tbl, op, code, message, image, origin, state, resolved_at,
                 key, parent) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        for reject in rejects {
            insert.execute((
                reject.station.get(),
                reject.seq.cast_signed(),
                at_text(reject.at_ms),
                at_text(reject.received_at_ms),
                reject.table,
                reject.op,
                reject.code,
                reject.message,
                reject.image,
                reject.origin,
                reject.state.as_str(),
                reject.resolved_at_ms.map(at_text),
                reject.key,
                reject.parent.map(u64::cast_signed),
            ))?;
        }
        Ok(())
    }
}

/// The numbers whose rows the line owns, for an `IN`.
fn owned_list(line: &Line) -> String {
    line.owned().map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

fn upsert_sql(table: &Table, line: &Line) -> String {
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
        owned_list(line)
    )
}

#[async_trait]
impl StoreTransaction for SqliteTransaction<'_> {
    async fn lock_cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        // The transaction began as the one writer: everything is locked.
        cursor_of(self.connection, station)
    }

    async fn facts(&mut self, line: &Line, questions: &Questions) -> Result<Facts, StoreError> {
        self.gather(line, questions).map_err(failed)
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

    async fn write(&mut self, line: &Line, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError> {
        for write in writes {
            self.write_rows(line, groups, write)?;
        }
        for write in writes.iter().rev().filter(|write| !write.deletes.is_empty()) {
            self.delete_rows(line, write).map_err(failed)?;
        }
        Ok(())
    }

    async fn store_rejects(&mut self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Result<(), StoreError> {
        self.keep(rejects).map_err(failed)
    }

    async fn rejected_between(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<RejectedChange>, StoreError> {
        let sql = format!(
            "SELECT {REJECT_COLUMNS} FROM tidemark_rejects
             WHERE station = ?1 AND seq BETWEEN ?2 AND ?3 AND origin = 'server' ORDER BY seq"
        );
        let read = || -> rusqlite::Result<Vec<Option<Reject>>> {
            let mut select = self.connection.prepare_cached(&sql)?;
            let range = (station.get(), first_seq.cast_signed(), last_seq.cast_signed());
            select.query_map(range, reject_of)?.collect()
        };
        Ok(read().map_err(failed)?.iter().flatten().map(rejected_change).collect())
    }

    async fn advance(
        &mut self,
        station: StationNumber,
        cursor: Cursor,
        began: u64,
        now_ms: i64,
        clock_offset_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark_cursor SET seq = ?2, chain = ?3, updated_at = ?4, clock_offset_ms = ?5,
                       heard = CASE WHEN began < ?6 THEN max(heard, began) ELSE heard END, began = ?6 WHERE station = ?1";
        let (seq, began) = (cursor.seq.cast_signed(), began.cast_signed());
        let values = (station.get(), seq, cursor.chain.0, at_text(now_ms), clock_offset_ms, began);
        self.connection.execute(sql, values).map_err(failed)?;
        Ok(())
    }

    async fn lock_stations(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn station_by_code(&mut self, code_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError> {
        station_where(self.connection, "code_hash", code_hash)
    }

    async fn station_by_name(&mut self, name: &str) -> Result<Option<StationRecord>, StoreError> {
        station_where(self.connection, "name", name)
    }

    async fn station_by_uuid(&mut self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError> {
        station_where(self.connection, "station_uuid", uuid)
    }

    async fn last_number(&mut self) -> Result<u32, StoreError> {
        let sql = "SELECT coalesce(max(number), 0) FROM tidemark_station";
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(failed)
    }

    async fn assign(
        &mut self,
        name: &str,
        number: StationNumber,
        ask: &JoinAsk,
        start: Chain,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark_station SET number = ?2, station_uuid = ?3, token_hash = ?4, joined_at = ?5 WHERE name = ?1";
        let values = (name, number.get(), ask.uuid, ask.token_hash, at_text(ask.now_ms));
        self.connection.execute(sql, values).map_err(failed)?;
        let sql = "INSERT INTO tidemark_cursor (station, seq, chain, updated_at) VALUES (?1, 0, ?2, ?3)";
        self.connection.execute(sql, (number.get(), start.0, at_text(ask.now_ms))).map_err(failed)?;
        Ok(())
    }

    async fn renew_code(&mut self, station: &StationRecord, code: &NewStation) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark_ended_token (token_hash, station, ended_at)
                   SELECT token_hash, number, ?2 FROM tidemark_station WHERE name = ?1 AND number IS NOT NULL ON CONFLICT DO NOTHING";
        self.connection.execute(sql, (&station.name, at_text(code.now_ms))).map_err(failed)?;
        let sql = "UPDATE tidemark_station SET code_hash = ?2, code_expires_at = ?3, revoked_at = NULL WHERE name = ?1";
        let values = (&station.name, code.code_hash, at_text(code.code_expires_at_ms));
        self.connection.execute(sql, values).map_err(failed)?;
        Ok(())
    }

    async fn renew_token(&mut self, name: &str, token_hash: [u8; 32]) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark_station SET token_hash = ?2 WHERE name = ?1";
        self.connection.execute(sql, (name, token_hash)).map_err(failed)?;
        Ok(())
    }
}
