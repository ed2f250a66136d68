//! A program of the field that writes to a station's file with plain SQL, and notes in its journal what it has
//! committed. It knows nothing of Tidemark but that it asks, before a commit, how many changes the log has numbered:
//! the journal's claim for the checks.
//!
//! References never change, and a row goes only when no other of the file references it (but for products with a
//! surplus specification, on purpose): so upstream must never hold a row whose parent is missing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, Statement, Transaction, TransactionBehavior, params};

use super::journal::{Change, Journal, Line, MARKER_COLUMN, MARKER_TABLE, Op, Prepared, Said, marker};
use crate::record::PRODUCTS;
use crate::world::{Dice, now, pause};

/// A key that no row ever has.
const NOBODY: i64 = 4_000_000_000;

/// Writes to `db` for a while, with a journal in a new file.
///
/// # Errors
/// SQLite's, and the journal's.
pub fn write(db: &Path, journal: &Path, seed: u64, duration: Duration) -> Result<()> {
    let start = now();
    let mut dice = Dice::new(seed);
    let mut notes = Journal::create(journal)?;
    let mut db = Connection::open(db)?;
    db.busy_timeout(Duration::from_secs(20))?;
    db.pragma_update(None, "foreign_keys", false)?;
    for tx in 1.. {
        if start.elapsed() > duration {
            break;
        }
        notes.note(&Line::Begin(tx))?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut work = Work { db: &transaction, dice: &mut dice, changes: Vec::new() };
        work.some()?;
        if work.dice.below(7) == 0 {
            transaction.rollback()?;
            notes.note(&Line::RolledBack(tx))?;
        } else {
            work.mark(&marker(journal, tx))?;
            let changes = work.changes;
            let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'tidemark_log'";
            let last_seq: i64 = transaction.query_row(sql, [], |row| row.get(0))?;
            notes.note(&Line::Prepared(Prepared { tx, last_seq: last_seq.try_into()?, changes }))?;
            transaction.commit()?;
            notes.note(&Line::Committed(tx))?;
        }
        pause(Duration::from_millis(dice.below(50)));
    }
    Ok(())
}

/// One transaction.
struct Work<'a> {
    db: &'a Transaction<'a>,
    dice: &'a mut Dice,
    changes: Vec<Change>,
}

impl Work<'_> {
    /// Some statements, with time for a SIGKILL between them.
    fn some(&mut self) -> Result<()> {
        let count = if self.dice.below(12) == 0 { 60 } else { 1 + self.dice.below(10) };
        for _ in 0..count {
            match self.dice.below(40) {
                0..=1 => self.file().map(|_| ())?,
                2..=4 => self.product().map(|_| ())?,
                5..=12 => self.record()?,
                13..=15 => self.fit()?,
                16..=18 => self.fault()?,
                19..=20 => self.specification()?,
                21..=28 => self.edit()?,
                29..=30 => self.move_record()?,
                31..=35 => self.delete()?,
                36..=38 => self.blunder()?,
                _ => self.repair()?,
            }
            if self.dice.below(6) == 0 {
                pause(Duration::from_millis(self.dice.below(12)));
            }
        }
        Ok(())
    }

    /// Runs a statement that ends in `RETURNING *` and notes the rows it changed.
    fn change(&mut self, table: &str, op: Op, sql: &str, values: impl Params) -> Result<()> {
        let mut statement = self.db.prepare_cached(&format!("{sql} RETURNING *")).with_context(|| sql.to_owned())?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next().with_context(|| sql.to_owned())? {
            self.changes.push(Change { table: table.to_owned(), op, row: said(row)? });
        }
        Ok(())
    }

    /// Some key of a table for which `condition` holds.
    fn pick(&mut self, table: &str, condition: &str) -> Result<Option<i64>> {
        let last: i64 =
            self.db.query_row(&format!("SELECT coalesce(max(id), 0) FROM {table}"), [], |row| row.get(0))?;
        let from = 1 + self.dice.below(last.max(1).unsigned_abs());
        let sql = format!("SELECT id FROM {table} WHERE id >= ?1 AND ({condition}) ORDER BY id LIMIT 1");
        Ok(self.db.prepare_cached(&sql)?.query_row([i64::try_from(from)?], |row| row.get(0)).optional()?)
    }

    fn file(&mut self) -> Result<i64> {
        let name = format!("инвентаризация_{:08x}.xlsx", self.dice.next() as u32);
        let sql = "INSERT INTO source_data (file_name, file_path, quality_score) VALUES (?1, '/данные/' || ?1, ?2)";
        let quality = self.dice.unit();
        self.change("source_data", Op::I, sql, params![name, quality])?;
        Ok(self.db.last_insert_rowid())
    }

    fn product(&mut self) -> Result<i64> {
        let (name, kind, code) = PRODUCTS[self.dice.below(PRODUCTS.len() as u64) as usize];
        let sql = "INSERT INTO nomenclature (name, product_type, product_type_code) VALUES (?1, ?2, ?3)";
        self.change("nomenclature", Op::I, sql, (name, kind, code))?;
        Ok(self.db.last_insert_rowid())
    }

    fn some_file(&mut self) -> Result<i64> {
        self.pick("source_data", "true")?.map_or_else(|| self.file(), Ok)
    }

    fn some_product(&mut self) -> Result<i64> {
        self.pick("nomenclature", "true")?.map_or_else(|| self.product(), Ok)
    }

    fn record(&mut self) -> Result<()> {
        let (file, product) = (self.some_file()?, self.some_product()?);
        let initial = self.dice.below(60_000) as f64 / 1000.0;
        let left = initial * (0.9 + self.dice.unit() * 0.1);
        let batches = format!(r#"[{{"партия": "{}-А", "кг": {initial}}}]"#, self.dice.below(10_000));
        let sql = "INSERT INTO calculation_data (source_data_id, nomenclature_id, initial_balance, incoming, outgoing, final_balance, \
                   storage_days, calculation_date, fifo_principle_applied, fifo_batch_sequence) VALUES (?1, ?2, ?3, 0, 0, ?4, ?5, ?6, 1, ?7)";
        let (days, time) = (3 + self.dice.below(26) as i64, self.time());
        self.change("calculation_data", Op::I, sql, params![file, product, initial, left, days, time, batches])
    }

    /// A time within 2025, to the microsecond: many chunks.
    fn time(&mut self) -> String {
        let first_us = 1_735_689_600_000_000;
        tidemark_core::timestamp::format(first_us + self.dice.below(360 * 86_400_000_000) as i64)
    }

    fn fit(&mut self) -> Result<()> {
        let Some(record) = self.pick("calculation_data", "true")? else { return self.record() };
        let sql = "INSERT INTO coefficients (calculation_data_id, coefficient_a, coefficient_b, accuracy_r2, calculation_date) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let (a, b, r2, time) = (self.dice.unit(), -self.dice.unit(), self.dice.unit(), self.time());
        self.change("coefficients", Op::I, sql, params![record, a, b, r2, time])?;
        let coefficient = self.db.last_insert_rowid();
        let sql = "INSERT INTO forecasts (coefficient_id, forecast_value, forecast_date) VALUES (?1, ?2, ?3)";
        self.change("forecasts", Op::I, sql, params![coefficient, a * 7.0, time])
    }

    fn fault(&mut self) -> Result<()> {
        let Some(record) = self.pick("calculation_data", "true")? else { return self.record() };
        let text = "проверить весы №2; 🐟".repeat(1 + self.dice.below(9) as usize);
        let sql =
            "INSERT INTO validation_errors (calculation_data_id, error_type, description) VALUES (?1, 'весы', ?2)";
        self.change("validation_errors", Op::I, sql, (record, text))
    }

    fn specification(&mut self) -> Result<()> {
        let (product, surplus) = (self.some_product()?, self.dice.unit() * 5.0);
        let sql = "INSERT INTO surplus_specifications (nomenclature_id, surplus_percentage) VALUES (?1, ?2)";
        self.change("surplus_specifications", Op::I, sql, (product, surplus))
    }

    fn edit(&mut self) -> Result<()> {
        let n = self.dice.below(1_000) as i64;
        match self.dice.below(5) {
            0 => {
                let id = self.some_product()?;
                let sql = "UPDATE nomenclature SET validation_flags = 'проверено ' || ?2 WHERE id = ?1";
                self.change("nomenclature", Op::U, sql, (id, n))
            }
            1 => {
                let id = self.some_file()?;
                let sql = "UPDATE source_data SET processed = 1, quality_score = ?2 / 7.0 WHERE id = ?1";
                self.change("source_data", Op::U, sql, (id, n))
            }
            2 => {
                let id = self.some_product()?;
                let sql = "INSERT OR REPLACE INTO nomenclature (id, name) VALUES (?1, 'ЩУКА СУШЁНАЯ ' || ?2)";
                self.change("nomenclature", Op::I, sql, (id, n))
            }
            3 => {
                let id = self.pick("forecasts", "true")?;
                let sql = "UPDATE forecasts SET actual_value = ?2 / 3.0, deviation = -0.0 WHERE id = ?1";
                self.change("forecasts", Op::U, sql, (id, n))
            }
            _ => {
                let id = self.pick("calculation_data", "true")?;
                let sql = "UPDATE calculation_data SET manual_review_required = 1, validation_errors = 'весы ' || ?2 WHERE id = ?1";
                self.change("calculation_data", Op::U, sql, (id, n))
            }
        }
    }

    /// Another time may be another chunk upstream, so the log has a delete and an insert.
    fn move_record(&mut self) -> Result<()> {
        // One that would not arrive at its new time would leave its children without a parent.
        let arrives = "fifo_batch_sequence IS NULL OR json_valid(fifo_batch_sequence)";
        let Some(id) = self.pick("calculation_data", arrives)? else { return Ok(()) };
        let old = self.db.query_row("SELECT * FROM calculation_data WHERE id = ?1", [id], |row| Ok(said(row)))??;
        self.changes.push(Change { table: "calculation_data".to_owned(), op: Op::D, row: old });
        let time = self.time();
        self.change(
            "calculation_data",
            Op::I,
            "UPDATE calculation_data SET calculation_date = ?2 WHERE id = ?1",
            (id, time),
        )
    }

    fn delete(&mut self) -> Result<()> {
        let unused = |of: &str, by: &[(&str, &str)]| {
            let held =
                by.iter().map(|(table, column)| format!("EXISTS (SELECT 1 FROM {table} WHERE {column} = {of}.id)"));
            format!("NOT ({})", held.collect::<Vec<_>>().join(" OR "))
        };
        let (table, condition) = match self.dice.below(6) {
            0 => ("forecasts", "true".to_owned()),
            1 => ("validation_errors", "true".to_owned()),
            2 => ("surplus_specifications", "true".to_owned()),
            3 => ("coefficients", unused("coefficients", &[("forecasts", "coefficient_id")])),
            4 => {
                let by = [("coefficients", "calculation_data_id"), ("validation_errors", "calculation_data_id")];
                ("calculation_data", unused("calculation_data", &by))
            }
            // A specification may be left: then upstream keeps the product, and says so.
            _ => ("nomenclature", unused("nomenclature", &[("calculation_data", "nomenclature_id")])),
        };
        let Some(id) = self.pick(table, &condition)? else { return Ok(()) };
        self.change(table, Op::D, &format!("DELETE FROM {table} WHERE id = ?1"), [id])
    }

    /// What can only be rejected, here or by the server.
    fn blunder(&mut self) -> Result<()> {
        let (file, product, time) = (self.some_file()?, self.some_product()?, self.time());
        match self.dice.below(9) {
            0 => {
                self.change("nomenclature", Op::I, "INSERT INTO nomenclature (name) VALUES ('а' || char(0) || 'б')", [])
            }
            1 => self.change(
                "source_data",
                Op::I,
                "INSERT INTO source_data (file_name, file_path, processed) VALUES ('x', '/x', 7)",
                [],
            ),
            2 => {
                let sql = "INSERT INTO nomenclature (id, name) VALUES (?1, 'отрицательный')";
                let id = -1 - self.dice.below(1 << 40) as i64;
                self.change("nomenclature", Op::I, sql, [id])
            }
            3 => {
                let sql = "INSERT INTO calculation_data (nomenclature_id, calculation_date, storage_days) VALUES (?1, ?2, 'много')";
                self.change("calculation_data", Op::I, sql, params![product, time])
            }
            4 => {
                let sql = "UPDATE calculation_data SET fifo_batch_sequence = '{\"партия\": ' WHERE id = ?1";
                let id = self.pick("calculation_data", "true")?;
                self.change("calculation_data", Op::U, sql, [id])
            }
            5 => {
                let sql = "INSERT INTO calculation_data (source_data_id, calculation_date) VALUES (?1, '9999-12-31 00:00:00')";
                self.change("calculation_data", Op::I, sql, [file])
            }
            6 => {
                let sql = "INSERT INTO calculation_data (source_data_id, calculation_date) VALUES (?1, ?2)";
                let nobody = NOBODY + self.dice.below(1_000) as i64;
                self.change("calculation_data", Op::I, sql, params![nobody, time])
            }
            7 => {
                let sql = "INSERT INTO surplus_specifications (nomenclature_id, notes) VALUES (?1, 'без товара')";
                self.change("surplus_specifications", Op::I, sql, [NOBODY])
            }
            // A row that is refused, and a child that cannot come without it.
            _ => {
                let sql = "INSERT INTO nomenclature (name, validation_flags) VALUES ('родитель', char(0))";
                self.change("nomenclature", Op::I, sql, [])?;
                let parent = self.db.last_insert_rowid();
                let sql = "INSERT INTO surplus_specifications (nomenclature_id, notes) VALUES (?1, 'ребёнок')";
                self.change("surplus_specifications", Op::I, sql, [parent])
            }
        }
    }

    /// What was rejected is corrected: the row arrives as if nothing had been.
    fn repair(&mut self) -> Result<()> {
        match self.dice.below(3) {
            0 => {
                let sql = "UPDATE calculation_data SET storage_days = 9 WHERE id = ?1";
                let id = self.pick("calculation_data", "storage_days = 'много'")?;
                self.change("calculation_data", Op::U, sql, [id])
            }
            1 => {
                let sql = "UPDATE nomenclature SET validation_flags = NULL WHERE id = ?1";
                let id = self.pick("nomenclature", "validation_flags = char(0)")?;
                self.change("nomenclature", Op::U, sql, [id])
            }
            _ => {
                let sql = "UPDATE surplus_specifications SET notes = notes || '!' WHERE id = ?1";
                let id = self.pick("surplus_specifications", "notes LIKE 'ребёнок%'")?;
                self.change("surplus_specifications", Op::U, sql, [id])
            }
        }
    }

    /// The row that names the transaction.
    fn mark(&mut self, name: &str) -> Result<()> {
        let sql = format!(
            "INSERT INTO {MARKER_TABLE} (process_name, {MARKER_COLUMN}, output_records) VALUES ('запись', ?1, ?2)"
        );
        self.change(MARKER_TABLE, Op::I, &sql, params![name, self.changes.len() as i64])
    }
}

/// A row as the journal says it.
fn said(row: &Row<'_>) -> Result<Vec<Said>> {
    let cell = |at| {
        Ok(match row.get_ref(at)? {
            ValueRef::Null => Said::Null(()),
            ValueRef::Integer(v) => Said::Integer(v),
            ValueRef::Real(v) => Said::Real { real: format!("{v:?}") },
            ValueRef::Text(v) => Said::Text(std::str::from_utf8(v)?.to_owned()),
            ValueRef::Blob(_) => bail!("the shrinkage schema has no bytes"),
        })
    };
    let statement: &Statement<'_> = row.as_ref();
    (0..statement.column_count()).map(cell).collect()
}
