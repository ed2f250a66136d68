//! Reports on PostgreSQL: read from the roll-ups of migration `0007_shrinkage_reports`.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connect::failed;
use super::pool::{PostgresUpstream, Purpose};
use super::values::StampUs;
use crate::upstream::error::StoreError;
use crate::upstream::reports::{DayRow, Days, Freshness, ModelRow, ProductRow, ReportStore, Total};

/// How long a report is waited for.
const REPORT_SILENCE: Duration = Duration::from_secs(60);
/// How long a refresh of the roll-ups is waited for, which nobody else waits for.
const REFRESH_SILENCE: Duration = Duration::from_secs(30 * 60);

/// The report on products, of all of them.
pub const PRODUCTS: &str = "SELECT name, stations, calculations, mean_accuracy, validation_errors, mean_rate, to_char(first_day, 'YYYY-MM-DD'), to_char(last_day, 'YYYY-MM-DD')
    FROM shrinkage_reports.products";
/// The report on models.
pub const MODELS: &str = "SELECT name, model_type, calculations, products, mean_accuracy FROM shrinkage_reports.models";
/// A product's days: its name, the first and the last day. What the view `shrinkage_reports.daily` says, but grouped by
/// what differs within one product only: with the name among the groups the planner expects so many that it sorts, on
/// disk.
pub const DAYS: &str = "SELECT to_char(d.day, 'YYYY-MM-DD'), m.name, sum(d.calculations)::bigint, sum(d.accuracies)::bigint, sum(d.accuracy_sum),
        sum(d.a_count)::bigint, sum(d.a_sum), sum(d.b_count)::bigint, sum(d.b_sum), sum(d.c_count)::bigint, sum(d.c_sum)
    FROM shrinkage_reports.daily_coefficients AS d
    JOIN shrinkage.nomenclature AS n ON n.id = d.nomenclature_id
    LEFT JOIN shrinkage.models AS m ON m.id = d.model_id
    WHERE n.name = $1 AND d.day BETWEEN $2::text::date AND $3::text::date GROUP BY d.day, m.name ORDER BY d.day, m.name";
/// The mass that the records of each product lost, of those that have a rate, in kilograms. Roll-ups hold rates only,
/// so this reads the rows themselves; of more than a million it would take seconds, and says nothing.
pub const LOSSES: &str = "SELECT n.name, sum(l.records)::bigint, sum(l.kg) FROM (
        SELECT c.nomenclature_id, count(r.kg) AS records, sum(r.kg) AS kg
        FROM shrinkage.calculation_data AS c CROSS JOIN LATERAL (SELECT
            shrinkage_reports.shrinkage_mass(c.initial_balance, c.incoming, c.outgoing, c.final_balance) AS kg) AS r
        WHERE (SELECT sum(calculations) FROM shrinkage_reports.product_totals) <= 1000000 AND c.initial_balance >= 1e-6
            AND ($1::text IS NULL OR c.nomenclature_id IN (SELECT id FROM shrinkage.nomenclature WHERE name = $1))
        GROUP BY c.nomenclature_id) AS l
    JOIN shrinkage.nomenclature AS n ON n.id = l.nomenclature_id GROUP BY n.name";
/// The first and the last day with coefficients of a product, of one model or of all.
const DAYS_OF: &str = "SELECT to_char(min(d.day), 'YYYY-MM-DD'), to_char(max(d.day), 'YYYY-MM-DD')
    FROM shrinkage_reports.daily_coefficients AS d
    JOIN shrinkage.nomenclature AS n ON n.id = d.nomenclature_id
    LEFT JOIN shrinkage.models AS m ON m.id = d.model_id
    WHERE n.name = $1 AND ($2::text IS NULL OR m.name = $2)";

/// A row where records by day are a continuous aggregate.
const AGGREGATE: &str = "SELECT 1 WHERE to_regclass('shrinkage_reports.calculations_by_day') IS NOT NULL";
/// Computes anew what it kept of days that were written since; it cannot stand in a transaction, so not in `refresh()`
/// either.
const REFRESH_AGGREGATE: &str =
    "CALL refresh_continuous_aggregate('shrinkage_reports.calculations_by_day', NULL, NULL)";

impl PostgresUpstream {
    async fn query(&self, sql: &str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, StoreError> {
        self.query_within(REPORT_SILENCE, sql, parameters).await
    }

    async fn query_within(
        &self,
        silence: Duration,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        let mut lent = self.lend(Purpose::Report).await?;
        let (client, pulse) = lent.take();
        let asked = async { client.query_typed(sql, parameters).await.map_err(failed) };
        let done = pulse.watch(silence, asked).await;
        lent.end(done)
    }
}

fn count(row: &Row, at: usize) -> u64 {
    row.get::<_, i64>(at).unsigned_abs()
}

fn total(row: &Row, at: usize) -> Total {
    Total { count: count(row, at), sum: row.get::<_, Option<f64>>(at + 1).unwrap_or(0.0) }
}

#[async_trait]
impl ReportStore for PostgresUpstream {
    async fn refresh(&self, everything: bool) -> Result<u64, StoreError> {
        if !self.query(AGGREGATE, &[]).await?.is_empty() {
            let mut lent = self.lend(Purpose::Report).await?;
            let (client, pulse) = lent.take();
            let asked = async { client.batch_execute(REFRESH_AGGREGATE).await.map_err(failed) };
            let done = pulse.watch(REFRESH_SILENCE, asked).await;
            lent.end(done)?;
        }
        let sql = "SELECT shrinkage_reports.refresh($1)";
        let rows = self.query_within(REFRESH_SILENCE, sql, &[(&everything, Type::BOOL)]).await?;
        Ok(rows.first().map_or(0, |row| count(row, 0)))
    }

    async fn freshness(&self) -> Result<Freshness, StoreError> {
        let sql =
            "SELECT at, EXISTS (SELECT FROM shrinkage_reports.touched), (SELECT applied_at FROM tidemark.migration
            WHERE name = '0007_shrinkage_reports') FROM shrinkage_reports.refreshed";
        let rows = self.query(sql, &[]).await?;
        let ms = |row: &Row, at: usize| row.get::<_, Option<StampUs>>(at).map(|stamp| stamp.0.div_euclid(1000));
        let never = Freshness { refreshed_at_ms: None, behind: true, made_at_ms: None };
        let freshness =
            |row: &Row| Freshness { refreshed_at_ms: ms(row, 0), behind: row.get(1), made_at_ms: ms(row, 2) };
        Ok(rows.first().map_or(never, freshness))
    }

    async fn product_names(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.query("SELECT DISTINCT name FROM shrinkage.nomenclature", &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn products(&self, name: Option<&str>) -> Result<Vec<ProductRow>, StoreError> {
        let rows = match name {
            Some(name) => self.query(&format!("{PRODUCTS} WHERE name = $1"), &[(&name, Type::TEXT)]).await?,
            None => self.query(PRODUCTS, &[]).await?,
        };
        let losses: HashMap<String, Total> =
            self.query(LOSSES, &[(&name, Type::TEXT)]).await?.iter().map(|row| (row.get(0), total(row, 1))).collect();
        let loss = |row: &Row| losses.get(row.get::<_, &str>(0)).copied().unwrap_or_default();
        let product = |row: &Row| ProductRow {
            product: row.get(0),
            stations: count(row, 1),
            calculations: count(row, 2),
            mean_accuracy: row.get(3),
            validation_errors: count(row, 4),
            mean_rate: row.get(5),
            mean_loss_kg: loss(row).mean(),
            loss_kg: (loss(row).count > 0).then(|| loss(row).sum),
            first_day: row.get(6),
            last_day: row.get(7),
        };
        Ok(rows.iter().map(product).collect())
    }

    async fn models(&self) -> Result<Vec<ModelRow>, StoreError> {
        let model = |row: &Row| ModelRow {
            model: row.get(0),
            model_type: row.get(1),
            calculations: count(row, 2),
            products: count(row, 3),
            mean_accuracy: row.get(4),
        };
        Ok(self.query(MODELS, &[]).await?.iter().map(model).collect())
    }

    async fn days(&self, product: &str, since: &str, until: &str) -> Result<Vec<DayRow>, StoreError> {
        let day = |row: &Row| DayRow {
            day: row.get(0),
            model: row.get(1),
            calculations: count(row, 2),
            accuracy: total(row, 3),
            coefficients: [total(row, 5), total(row, 7), total(row, 9)],
        };
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&product, Type::TEXT), (&since, Type::TEXT), (&until, Type::TEXT)];
        Ok(self.query(DAYS, &parameters).await?.iter().map(day).collect())
    }

    async fn days_of(&self, product: &str, model: Option<&str>) -> Result<Option<Days>, StoreError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&product, Type::TEXT), (&model, Type::TEXT)];
        let rows = self.query(DAYS_OF, &parameters).await?;
        let days = rows.first().and_then(|row| row.get::<_, Option<String>>(0).zip(row.get(1)));
        Ok(days.map(|(first_day, last_day)| Days { first_day, last_day }))
    }
}
