//! What a field station of the shrinkage system records: files, products, inventory records, coefficients, forecasts,
//! and later corrections. Written with plain SQL into a plain SQLite file, as any program would.
//!
//! An inventory record says that of `initial` kilograms, with `incoming` and `outgoing`, `final` were left after some
//! days: theoretical = initial + incoming − outgoing, shrinkage = theoretical − final, rate = shrinkage ÷ initial.
//! Three models are fitted to the rate: exponential S(t) = a·(1 − e^(−b·t)) + c·t, linear S(t) = a·t + b,
//! polynomial S(t) = a·t² + b·t + c, each a fraction of the initial mass after t days.

use anyhow::Result;
use rusqlite::{Connection, Transaction, params};

use crate::world::Dice;

/// Name, type and code of a product.
pub const PRODUCTS: &[(&str, &str, &str)] = &[
    ("СИНЕЦ ВЯЛЕНЫЙ", "вяленая рыба", "ВЯЛ"),
    ("СКУМБРИЯ Х/К", "рыба холодного копчения", "Х/К"),
    ("ЛЕЩ ВЯЛЕНЫЙ", "вяленая рыба", "ВЯЛ"),
    ("ВОБЛА ВЯЛЕНАЯ", "вяленая рыба", "ВЯЛ"),
    ("ГОРБУША Х/К", "рыба холодного копчения", "Х/К"),
    ("ОКУНЬ Г/К", "рыба горячего копчения", "Г/К"),
    ("СЁМГА С/С", "слабосолёная рыба", "С/С"),
    ("ЩУКА СУШЁНАЯ «Ёрш & Ко»", "сушёная рыба", "СУШ"),
];

/// Two records known from the existing system: product, initial and final mass, both over 7 days with no movement.
const KNOWN: &[(usize, f64, f64)] = &[(0, 1.2, 1.092), (1, 5.0, 4.75)];

/// How much to record.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Inventory records; each brings three sets of coefficients and three forecasts.
    pub records: u32,
    /// Records per transaction: how often the program commits.
    pub records_per_commit: u32,
}

/// Records a season: catalogue first, then the inventory, then corrections. `progress` hears how many records are
/// written.
///
/// # Errors
/// SQLite's.
pub fn season(db: &mut Connection, dice: &mut Dice, plan: Plan, mut progress: impl FnMut(u32)) -> Result<()> {
    let transaction = db.transaction()?;
    catalogue(&transaction)?;
    transaction.commit()?;
    let mut done = 0;
    while done < plan.records {
        let transaction = db.transaction()?;
        let until = plan.records.min(done + plan.records_per_commit.max(1));
        let file = source_file(&transaction, dice, done)?;
        while done < until {
            inventory_record(&transaction, dice, file, done)?;
            done += 1;
        }
        lineage(&transaction, dice, file, until)?;
        transaction.commit()?;
        progress(done);
    }
    let transaction = db.transaction()?;
    corrections(&transaction)?;
    Ok(transaction.commit()?)
}

/// Products and models, once per station.
fn catalogue(db: &Transaction<'_>) -> Result<()> {
    let known: i64 = db.query_row("SELECT count(*) FROM models", [], |row| row.get(0))?;
    if known > 0 {
        return Ok(());
    }
    for (name, kind, code) in PRODUCTS {
        db.execute(
            "INSERT INTO nomenclature (name, product_type, product_type_code) VALUES (?1, ?2, ?3)",
            params![name, kind, code],
        )?;
    }
    for (name, kind, formula) in [
        ("Экспоненциальная", "exponential", "S(t) = a·(1 − e^(−b·t)) + c·t"),
        ("Линейная", "linear", "S(t) = a·t + b"),
        ("Полиномиальная", "polynomial", "S(t) = a·t² + b·t + c"),
    ] {
        db.execute(
            "INSERT INTO models (name, model_type, description, version) VALUES (?1, ?2, ?3, '1.0')",
            params![name, kind, formula],
        )?;
    }
    Ok(())
}

/// The file that the records of one commit were read from.
fn source_file(db: &Transaction<'_>, dice: &mut Dice, first_record: u32) -> Result<i64> {
    let name = format!("инвентаризация_{first_record:06}.xlsx");
    db.execute(
        "INSERT INTO source_data (file_name, file_path, upload_date, file_hash, quality_score) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            name,
            format!("/данные/{name}"),
            moment(first_record),
            format!("{:016x}", dice.next()),
            0.9 + dice.below(100) as f64 / 1000.0
        ],
    )?;
    Ok(db.last_insert_rowid())
}

/// One inventory record with what is computed from it.
fn inventory_record(db: &Transaction<'_>, dice: &mut Dice, file: i64, n: u32) -> Result<()> {
    let known = KNOWN.get(n as usize);
    let product = known.map_or_else(|| dice.below(PRODUCTS.len() as u64) as usize, |known| known.0);
    let days = if known.is_some() { 7 } else { 3 + dice.below(26) as i64 };
    let initial = known.map_or_else(|| grams(0.5 + dice.unit() * 60.0), |known| known.1);
    let moves = known.is_none() && dice.below(3) == 0;
    let (incoming, outgoing) =
        if moves { (grams(dice.unit() * 10.0), grams(dice.unit() * initial / 3.0)) } else { (0.0, 0.0) };
    let theoretical = initial + incoming - outgoing;
    // A product's own curve, and the noise of scales.
    let curve = [0.05 + product as f64 * 0.012, 0.15 + product as f64 * 0.02];
    let lost = initial * (curve[0] * (1.0 - (-curve[1] * days as f64).exp()) + dice.unit() * 0.004);
    let left = known.map_or_else(|| grams(theoretical - lost), |known| known.2);
    let shrinkage = theoretical - left;
    let rate = shrinkage / initial;
    let at = moment(n);
    let batches = format!(r#"[{{"партия": "{n}-А", "кг": {initial}}}, {{"партия": "{n}-Б", "кг": {incoming}}}]"#);
    db.execute(
        "INSERT INTO calculation_data (source_data_id, nomenclature_id, initial_balance, incoming, outgoing, final_balance, storage_days,
            calculation_date, inventory_confidence, inventory_period_start, inventory_period_end, is_valid_inventory_period,
            is_preliminary_forecast, inventory_shrinkage_total, adjusted_shrinkage_rate, fifo_principle_applied, fifo_batch_sequence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, datetime(?8, '-' || ?7 || ' days'), ?8, 1, 0, ?10, ?11, ?12, ?13)", params![
        file,
        product as i64 + 1,
        initial,
        incoming,
        outgoing,
        left,
        days,
        at,
        0.8 + dice.unit() * 0.2,
        shrinkage,
        rate,
        moves,
        batches
    ])?;
    let record = db.last_insert_rowid();
    for (model, coefficients) in fitted(rate, days as f64) {
        let [a, b, c] = coefficients;
        let r2 = r_squared(model, coefficients, curve, days);
        db.execute(
            "INSERT INTO coefficients (calculation_data_id, model_id, coefficient_a, coefficient_b, coefficient_c, accuracy_r2,
                calculation_date, effective_shrinkage_rate) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", params![record, model, a, b, c, r2, at, rate])?;
        let coefficient = db.last_insert_rowid();
        let forecast = initial * shrinkage_fraction(model, coefficients, days as f64 + 7.0);
        db.execute(
            "INSERT INTO forecasts (coefficient_id, forecast_value, forecast_date) VALUES (?1, ?2, ?3)",
            params![coefficient, forecast, at],
        )?;
    }
    Ok(())
}

/// The three models through the measured point: S(days) = rate. What one point leaves open is set by experience.
fn fitted(rate: f64, days: f64) -> [(i64, [f64; 3]); 3] {
    let (speed, bend) = (0.25, 0.3);
    [
        (1, [rate / (1.0 - (-speed * days).exp()), speed, 0.0]),
        (2, [rate / days, 0.0, 0.0]),
        (3, [-bend * rate / (days * days), (1.0 + bend) * rate / days, 0.0]),
    ]
}

/// S(t) of a model (1 exponential, 2 linear, 3 polynomial), as a fraction of the initial mass.
#[must_use]
pub fn shrinkage_fraction(model: i64, [a, b, c]: [f64; 3], t: f64) -> f64 {
    match model {
        1 => a * (1.0 - (-b * t).exp()) + c * t,
        2 => a * t + b,
        _ => a * t * t + b * t + c,
    }
}

/// How well a model follows the product's own curve over the days of storage: 1 − residual ÷ total sum of squares.
fn r_squared(model: i64, coefficients: [f64; 3], [top, speed]: [f64; 2], days: i64) -> f64 {
    let truth: Vec<f64> = (1..=days).map(|t| top * (1.0 - (-speed * t as f64).exp())).collect();
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let residuals = truth.iter().zip(1..).map(|(s, t)| s - shrinkage_fraction(model, coefficients, f64::from(t)));
    let residual: f64 = residuals.map(|r| r * r).sum();
    1.0 - residual / truth.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>()
}

fn lineage(db: &Transaction<'_>, dice: &mut Dice, file: i64, records: u32) -> Result<()> {
    db.execute(
        "INSERT INTO data_lineage (source_file_id, process_name, process_timestamp, user_id, output_records, status, execution_time_ms, version)
         VALUES (?1, 'расчёт усушки', ?2, 'оператор', ?3, 'success', ?4, '1.0')",
        params![file, moment(records), records, dice.below(5000) as i64],
    )?;
    db.execute("UPDATE source_data SET processed = 1 WHERE id = ?1", [file])?;
    Ok(())
}

/// What a station changes afterwards: forecasts meet reality, records are reviewed, times corrected, mistakes deleted.
fn corrections(db: &Transaction<'_>) -> Result<()> {
    db.execute_batch(
        "UPDATE forecasts SET actual_value = forecast_value * 1.02, deviation = forecast_value * 0.02 WHERE id % 5 = 0;
         UPDATE calculation_data SET manual_review_required = 1, validation_errors = 'проверить весы №2' WHERE id % 17 = 0;
         -- Another day is another chunk upstream: logged as a delete and an insert.
         UPDATE calculation_data SET calculation_date = datetime(calculation_date, '+9 days')
            WHERE id % 23 = 0 AND calculation_date < '2025-11-30';
         INSERT OR REPLACE INTO nomenclature (id, name, product_type) VALUES (8, 'ЩУКА СУШЁНАЯ', 'сушёная рыба');
         DELETE FROM forecasts WHERE id % 29 = 0;
         DELETE FROM coefficients WHERE id % 31 = 0 AND id NOT IN (SELECT coefficient_id FROM forecasts);
         DELETE FROM forecasts WHERE coefficient_id % 37 = 0;
         DELETE FROM coefficients WHERE id % 37 = 0;",
    )?;
    Ok(())
}

/// To the gram, as scales say it.
fn grams(kilograms: f64) -> f64 {
    (kilograms * 1000.0).round() / 1000.0
}

/// The moment of the n-th record: eight a day from 9 January 2025 on, over 300 days and then again.
fn moment(n: u32) -> String {
    let first_us = 1_736_409_600_000_000;
    let (day, hour) = (n / 8 % 300, n % 8);
    tidemark_core::timestamp::format(first_us + i64::from(day * 24 + hour) * 3_600_000_000 + i64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(records: u32) -> Result<Connection> {
        let mut db = Connection::open_in_memory()?;
        let schema = tidemark_core::schema::shrinkage();
        for table in schema.tables() {
            db.execute_batch(&tidemark_core::sqlite::create_table(&schema, table))?;
        }
        season(&mut db, &mut Dice::new(1), Plan { records, records_per_commit: 10 }, |_| ())?;
        Ok(db)
    }

    #[test]
    fn known_records_have_the_rates_of_the_existing_system() -> Result<()> {
        let db = recorded(20)?;
        for (id, expected) in [(1, 0.09), (2, 0.05)] {
            let sql = "SELECT adjusted_shrinkage_rate FROM calculation_data WHERE id = ?1";
            let rate: f64 = db.query_row(sql, [id], |row| row.get(0))?;
            assert!((rate - expected).abs() < 1e-12, "record {id}: {rate}");
        }
        Ok(())
    }

    #[test]
    fn models_meet_the_measured_rate_at_the_end_of_storage() -> Result<()> {
        let db = recorded(50)?;
        let mut query = db.prepare(
            "SELECT model_id, coefficient_a, coefficient_b, coefficient_c, storage_days, effective_shrinkage_rate
             FROM coefficients c JOIN calculation_data d ON d.id = c.calculation_data_id",
        )?;
        let mut rows = query.query([])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            let s = shrinkage_fraction(row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?], row.get(4)?);
            assert!((s - row.get::<_, f64>(5)?).abs() < 1e-9);
            seen += 1;
        }
        assert!(seen > 140, "{seen}");
        Ok(())
    }
}
