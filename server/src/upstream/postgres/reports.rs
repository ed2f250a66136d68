//! Reports on PostgreSQL: read from the roll-ups of migration `0007_shrinkage_reports`.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::timestamp::DAY_US;
use tidemark_core::value::ValueRef;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::transaction::{PostgresTransaction, StampMs, StampUs};
use super::{PostgresUpstream, failed};
use crate::ingest::check::RowAt;
use crate::ingest::plan::TableWrites;
use crate::upstream::StoreError;
use crate::upstream::reports::{DayRow, Days, Freshness, ModelRow, ProductRow, Reader, ReportStore, Total};

/// The report on products, of all of them.
pub const PRODUCTS: &str = "SELECT name, stations, calculations, mean_accuracy, validation_errors, mean_rate, to_char(first_day, 'YYYY-MM-DD'), to_char(last_day, 'YYYY-MM-DD')
    FROM shrinkage_reports.products";
/// The report on models.
pub const MODELS: &str = "SELECT name, model_type, calculations, products, mean_accuracy FROM shrinkage_reports.models";
/// A product's days: its name, the first and the last day. What the view `shrinkage_reports.daily` says, but grouped by what differs within one
/// product only: with the name among the groups the planner expects so many that it sorts, on disk.
pub const DAYS: &str = "SELECT to_char(d.day, 'YYYY-MM-DD'), m.name, sum(d.calculations)::bigint, sum(d.accuracies)::bigint, sum(d.accuracy_sum),
        sum(d.a_count)::bigint, sum(d.a_sum), sum(d.b_count)::bigint, sum(d.b_sum), sum(d.c_count)::bigint, sum(d.c_sum)
    FROM shrinkage_reports.daily_coefficients AS d
    JOIN shrinkage.nomenclature AS n ON n.id = d.nomenclature_id
    LEFT JOIN shrinkage.models AS m ON m.id = d.model_id
    WHERE n.name = $1 AND d.day BETWEEN $2::text::date AND $3::text::date GROUP BY d.day, m.name ORDER BY d.day, m.name";
/// The mass that the records of each product lost, of those that have a rate, in kilograms. Roll-ups hold rates only, so this reads the rows
/// themselves; of more than a million it would take seconds, and says nothing.
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
const READERS: &str = "SELECT name, created_at, revoked_at FROM tidemark.reader";

/// A row where records by day are a continuous aggregate.
const AGGREGATE: &str = "SELECT 1 WHERE to_regclass('shrinkage_reports.calculations_by_day') IS NOT NULL";
/// Computes anew what it kept of days that were written since; it cannot stand in a transaction, so not in `refresh()` either.
const REFRESH_AGGREGATE: &str =
    "CALL refresh_continuous_aggregate('shrinkage_reports.calculations_by_day', NULL, NULL)";

/// The tables that the roll-ups are made of.
const SOURCES: [&str; 3] = ["calculation_data", "coefficients", "validation_errors"];

/// Whether the database holds the tables that reports are about.
pub(super) async fn has_reports(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_one("SELECT to_regclass('shrinkage_reports.touched') IS NOT NULL", &[]).await?;
    Ok(row.get(0))
}

/// Notes which days a batch wrote, in its own transaction.
pub(super) async fn note_touched(
    transaction: &PostgresTransaction<'_>,
    groups: &[Group],
    writes: &[TableWrites],
) -> Result<(), StoreError> {
    let (mut tables, mut days, mut ops) = (Vec::new(), Vec::new(), Vec::new());
    for write in writes {
        let table = &transaction.schema.tables()[write.table];
        if !SOURCES.contains(&table.name.as_str()) {
            continue;
        }
        let day = |us: i64| us.div_euclid(DAY_US);
        let day_of = |row: &RowAt| {
            let column = groups[row.group as usize].columns.get(table.time?)?;
            if let ValueRef::Timestamp(us) = column.get(row.row as usize) { Some(day(us)) } else { None }
        };
        let of_rows = |rows: &[RowAt]| rows.iter().map(day_of).collect::<BTreeSet<_>>();
        let deleted = write.deletes.iter().map(|identity| table.time.map(|_| day(identity.time_us))).collect();
        for (op, touched) in [("i", of_rows(&write.fresh)), ("u", of_rows(&write.upserts)), ("d", deleted)] {
            for day in touched {
                tables.push(table.name.as_str());
                days.push(day.map(|day| StampUs(day * DAY_US)));
                ops.push(op);
            }
        }
    }
    if tables.is_empty() {
        return Ok(());
    }
    // The session's time zone is UTC.
    let sql = "INSERT INTO shrinkage_reports.touched (tbl, day, op)
        SELECT t, d::date, o FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS n (t, d, o)";
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&tables, Type::TEXT_ARRAY), (&days, Type::TIMESTAMPTZ_ARRAY), (&ops, Type::TEXT_ARRAY)];
    transaction.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
    Ok(())
}

impl PostgresUpstream {
    async fn query(&self, sql: &str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, StoreError> {
        self.client().await?.query_typed(sql, parameters).await.map_err(failed)
    }
}

fn count(row: &Row, at: usize) -> u64 {
    row.get::<_, i64>(at).unsigned_abs()
}

fn total(row: &Row, at: usize) -> Total {
    Total { count: count(row, at), sum: row.get::<_, Option<f64>>(at + 1).unwrap_or(0.0) }
}

fn reader(row: &Row) -> Reader {
    Reader {
        name: row.get(0),
        created_at_ms: row.get::<_, StampMs>(1).0,
        revoked_at_ms: row.get::<_, Option<StampMs>>(2).map(|stamp| stamp.0),
    }
}

#[async_trait]
impl ReportStore for PostgresUpstream {
    async fn refresh(&self, everything: bool) -> Result<u64, StoreError> {
        if !self.query(AGGREGATE, &[]).await?.is_empty() {
            self.client().await?.batch_execute(REFRESH_AGGREGATE).await.map_err(failed)?;
        }
        let sql = "SELECT shrinkage_reports.refresh($1)";
        let rows = self.query(sql, &[(&everything, Type::BOOL)]).await?;
        Ok(rows.first().map_or(0, |row| count(row, 0)))
    }

    async fn freshness(&self) -> Result<Freshness, StoreError> {
        let sql = "SELECT at, EXISTS (SELECT FROM shrinkage_reports.touched) FROM shrinkage_reports.refreshed";
        let rows = self.query(sql, &[]).await?;
        let Some(row) = rows.first() else { return Ok(Freshness { refreshed_at_ms: None, behind: true }) };
        let at = row.get::<_, Option<StampUs>>(0).map(|stamp| stamp.0.div_euclid(1000));
        Ok(Freshness { refreshed_at_ms: at, behind: row.get(1) })
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

    async fn add_reader(&self, name: &str, token_hash: [u8; 32], now_ms: i64) -> Result<bool, StoreError> {
        let sql = "INSERT INTO tidemark.reader (name, token_hash, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&name, Type::TEXT), (&token_hash.as_slice(), Type::BYTEA), (&StampMs(now_ms), Type::TIMESTAMPTZ)];
        Ok(self.client().await?.execute_typed(sql, &parameters).await.map_err(failed)? == 1)
    }

    async fn revoke_reader(&self, name: &str, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE tidemark.reader SET revoked_at = coalesce(revoked_at, $2) WHERE name = $1";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&name, Type::TEXT), (&StampMs(now_ms), Type::TIMESTAMPTZ)];
        Ok(self.client().await?.execute_typed(sql, &parameters).await.map_err(failed)? == 1)
    }

    async fn readers(&self) -> Result<Vec<Reader>, StoreError> {
        Ok(self.query(&format!("{READERS} ORDER BY name"), &[]).await?.iter().map(reader).collect())
    }

    async fn reader_by_token(&self, token_hash: [u8; 32]) -> Result<Option<Reader>, StoreError> {
        let sql = format!("{READERS} WHERE token_hash = $1");
        Ok(self.query(&sql, &[(&token_hash.as_slice(), Type::BYTEA)]).await?.first().map(reader))
    }
}
