//! Reports in the embedded upstream: read from the views of migration `0005_shrinkage_reports`, which are never behind.

use async_trait::async_trait;
use rusqlite::{Connection, Params, Row};

use super::file::{SqliteUpstream, failed};
use crate::clock::{Clock as _, SystemClock};
use crate::upstream::error::StoreError;
use crate::upstream::reports::{DayRow, Days, Freshness, ModelRow, ProductRow, ReportStore, Total};

const PRODUCTS: &str =
    "SELECT p.name, stations, calculations, mean_accuracy, validation_errors, mean_rate, first_day, last_day, records, kg
    FROM tidemark_reports_products AS p LEFT JOIN (
        SELECT product, count(shrinkage_rate) AS records, sum(shrinkage_mass) FILTER (WHERE shrinkage_rate IS NOT NULL) AS kg
        FROM tidemark_reports_records GROUP BY product) AS l ON l.product = p.name";
const DAYS_OF: &str = "SELECT min(day), max(day) FROM tidemark_reports_daily
    WHERE product = ?1 AND (?2 IS NULL OR model = ?2)";
const MODELS: &str = "SELECT name, model_type, calculations, products, mean_accuracy FROM tidemark_reports_models";
const DAYS: &str =
    "SELECT day, model, calculations, accuracies, accuracy_sum, a_count, a_sum, b_count, b_sum, c_count, c_sum
    FROM tidemark_reports_daily WHERE product = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY day, model";

fn read<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    each: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let rows = || connection.prepare_cached(sql)?.query_map(parameters, each)?.collect::<rusqlite::Result<Vec<T>>>();
    rows().map_err(failed)
}

fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)?.unsigned_abs())
}

fn total(row: &Row<'_>, at: usize) -> rusqlite::Result<Total> {
    Ok(Total { count: count(row, at)?, sum: row.get::<_, Option<f64>>(at + 1)?.unwrap_or(0.0) })
}

fn product(row: &Row<'_>) -> rusqlite::Result<ProductRow> {
    let records = row.get::<_, Option<i64>>(8)?.unwrap_or(0).unsigned_abs();
    let loss = Total { count: records, sum: row.get::<_, Option<f64>>(9)?.unwrap_or(0.0) };
    Ok(ProductRow {
        product: row.get(0)?,
        stations: count(row, 1)?,
        calculations: count(row, 2)?,
        mean_accuracy: row.get(3)?,
        validation_errors: count(row, 4)?,
        mean_rate: row.get(5)?,
        mean_loss_kg: loss.mean(),
        loss_kg: (loss.count > 0).then_some(loss.sum),
        first_day: row.get(6)?,
        last_day: row.get(7)?,
    })
}

fn model(row: &Row<'_>) -> rusqlite::Result<ModelRow> {
    Ok(ModelRow {
        model: row.get(0)?,
        model_type: row.get(1)?,
        calculations: count(row, 2)?,
        products: count(row, 3)?,
        mean_accuracy: row.get(4)?,
    })
}

fn day(row: &Row<'_>) -> rusqlite::Result<DayRow> {
    Ok(DayRow {
        day: row.get(0)?,
        model: row.get(1)?,
        calculations: count(row, 2)?,
        accuracy: total(row, 3)?,
        coefficients: [total(row, 5)?, total(row, 7)?, total(row, 9)?],
    })
}

#[async_trait]
impl ReportStore for SqliteUpstream {
    async fn refresh(&self, _: bool) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn freshness(&self) -> Result<Freshness, StoreError> {
        Ok(Freshness { refreshed_at_ms: Some(SystemClock.now_ms()), behind: false, made_at_ms: None })
    }

    async fn product_names(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT name FROM nomenclature";
        Self::with(&self.surveyor, |connection| read(connection, sql, [], |row| row.get(0))).await
    }

    async fn products(&self, name: Option<&str>) -> Result<Vec<ProductRow>, StoreError> {
        let name = name.map(str::to_owned);
        Self::with(&self.surveyor, move |connection| match name {
            Some(name) => read(connection, &format!("{PRODUCTS} WHERE p.name = ?1"), [name], product),
            None => read(connection, PRODUCTS, [], product),
        })
        .await
    }

    async fn models(&self) -> Result<Vec<ModelRow>, StoreError> {
        Self::with(&self.surveyor, |connection| read(connection, MODELS, [], model)).await
    }

    async fn days(&self, product: &str, since: &str, until: &str) -> Result<Vec<DayRow>, StoreError> {
        let parameters = [product, since, until].map(str::to_owned);
        Self::with(&self.surveyor, move |connection| read(connection, DAYS, parameters, day)).await
    }

    async fn days_of(&self, product: &str, model: Option<&str>) -> Result<Option<Days>, StoreError> {
        let parameters = (product.to_owned(), model.map(str::to_owned));
        Self::with(&self.surveyor, move |connection| {
            let days = |row: &Row<'_>| Ok(row.get::<_, Option<String>>(0)?.zip(row.get(1)?));
            let days = connection.query_row(DAYS_OF, parameters, days).map_err(failed)?;
            Ok(days.map(|(first_day, last_day)| Days { first_day, last_day }))
        })
        .await
    }
}
