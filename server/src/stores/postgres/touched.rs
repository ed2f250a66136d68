//! Notes of which days a batch wrote, for the roll-ups of reports.

use std::collections::BTreeSet;

use tidemark_core::batch::Group;
use tidemark_core::schema::Schema;
use tidemark_core::timestamp::DAY_US;
use tidemark_core::value::ValueRef;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::pipeline::Pipeline;
use super::values::StampUs;
use crate::upstream::writes::{RowAt, TableWrites};

/// The tables that the roll-ups are made of.
const SOURCES: [&str; 3] = ["calculation_data", "coefficients", "validation_errors"];

/// Whether the database holds the tables that reports are about.
pub(super) async fn has_reports(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_one("SELECT to_regclass('shrinkage_reports.touched') IS NOT NULL", &[]).await?;
    Ok(row.get(0))
}

/// Notes which days a batch wrote, in its own transaction. The note is sent and not waited for; `false` when there is
/// nothing to note.
pub(super) async fn note_touched(
    pipeline: &Pipeline<'_>,
    schema: &Schema,
    groups: &[Group],
    writes: &[TableWrites],
) -> Result<bool, tokio_postgres::Error> {
    let (mut tables, mut days, mut ops) = (Vec::new(), Vec::new(), Vec::new());
    for write in writes {
        let table = &schema.tables()[write.table];
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
                tables.push(table.name.clone());
                days.push(day.map(|day| StampUs(day * DAY_US)));
                ops.push(op);
            }
        }
    }
    if tables.is_empty() {
        return Ok(false);
    }
    // The session's time zone is UTC.
    let sql = "INSERT INTO shrinkage_reports.touched (tbl, day, op)
        SELECT t, d::date, o FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS n (t, d, o)";
    let types = [Type::TEXT_ARRAY, Type::TIMESTAMPTZ_ARRAY, Type::TEXT_ARRAY];
    let statement = pipeline.statement(sql, || sql.to_owned(), &types).await?;
    let client = pipeline.client;
    let note = async move { client.execute(&statement, &[&tables, &days, &ops]).await.map(|_| ()) };
    pipeline.send(note).await;
    Ok(true)
}
