//! Binary COPY, encoded by hand from column blocks: the driver's own writer boxes every value.
//!
//! The form is PostgreSQL's ("COPY", section "Binary Format"): a signature, then per row the number of fields, each
//! with its length and its bytes in network order, then −1.

use std::pin::Pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::SinkExt as _;
use tidemark_core::batch::Group;
use tidemark_core::columns::{ColumnBlock, Values};
use tokio_postgres::{Client, CopyInSink, Statement};

use super::pipeline::Pipeline;
use crate::upstream::writes::RowAt;

/// How much is gathered before it is handed on.
const CHUNK_BYTES: usize = 256 << 10;
/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
pub(super) const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// COPYs rows into what `sql` names: the group's columns, then the station.
///
/// All before it is waited for. For when a COPY fails at its very beginning, as it does behind another failure, the
/// driver ends the COPY that did not begin, and from then on takes every answer for the one to the question before.
pub(super) async fn copy_rows(
    pipeline: &Pipeline<'_>,
    sql: &str,
    station: i32,
    groups: &[Group],
    rows: impl Iterator<Item = RowAt>,
) -> Result<u64, tokio_postgres::Error> {
    let mut sink = begun(pipeline, sql, station, groups, rows).await?;
    pipeline.told(sink.as_mut().finish()).await
}

/// The same without waiting for its answer, into the table with this index. That it begins is waited for.
pub(super) async fn send_rows(
    pipeline: &Pipeline<'_>,
    sql: &str,
    index: usize,
    station: i32,
    groups: &[Group],
    rows: impl Iterator<Item = RowAt>,
) -> Result<(), tokio_postgres::Error> {
    let mut sink = begun(pipeline, sql, station, groups, rows).await?;
    pipeline.send_to(Some(index), async move { sink.as_mut().finish().await.map(|_| ()) }).await;
    Ok(())
}

/// A COPY that has begun and was given all its rows.
async fn begun(
    pipeline: &Pipeline<'_>,
    sql: &str,
    station: i32,
    groups: &[Group],
    rows: impl Iterator<Item = RowAt>,
) -> Result<Sink, tokio_postgres::Error> {
    pipeline.done().await?;
    let statement = pipeline.statement(sql, || sql.to_owned(), &[]).await?;
    pipeline.told(given(pipeline.client, &statement, station, groups, rows)).await
}

type Sink = Pin<Box<CopyInSink<Bytes>>>;

async fn given(
    client: &Client,
    statement: &Statement,
    station: i32,
    groups: &[Group],
    rows: impl Iterator<Item = RowAt>,
) -> Result<Sink, tokio_postgres::Error> {
    let mut sink = Box::pin(client.copy_in::<_, Bytes>(statement).await?);
    let mut buffer = BytesMut::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 2));
    buffer.put_slice(b"PGCOPY\n\xff\r\n\0");
    buffer.put_u64(0);
    for at in rows {
        let columns = &groups[at.group as usize].columns;
        put_row(&mut buffer, columns, at.row as usize, station);
        if buffer.len() >= CHUNK_BYTES {
            sink.send(buffer.split().freeze()).await?;
            buffer.reserve(CHUNK_BYTES + (CHUNK_BYTES >> 2));
        }
    }
    buffer.put_i16(-1);
    sink.send(buffer.freeze()).await?;
    Ok(sink)
}

/// A row in COPY's binary form: the columns, then the station. Public for scripts/bench-check, which counts its cost.
pub fn put_row(buffer: &mut BytesMut, columns: &[ColumnBlock], row: usize, station: i32) {
    buffer.put_u16(columns.len() as u16 + 1);
    for column in columns {
        put_field(buffer, column, row);
    }
    buffer.put_u32(4);
    buffer.put_i32(station);
}

/// A value with its length, as COPY and arrays have it.
#[inline(always)] // called by itself it costs a COPY a fifth more instructions
pub(super) fn put_field(buffer: &mut BytesMut, column: &ColumnBlock, row: usize) {
    if column.is_null(row) {
        buffer.put_i32(-1);
        return;
    }
    match column.values() {
        Values::Integer(v) => {
            buffer.put_u32(8);
            buffer.put_i64(v[row]);
        }
        Values::Timestamp(v) => {
            buffer.put_u32(8);
            // Checked to lie within the years 1 to 9999.
            buffer.put_i64(v[row] - EPOCH_2000_US);
        }
        Values::Real(v) => {
            buffer.put_u32(8);
            buffer.put_f64(v[row]);
        }
        Values::Boolean(v) => {
            buffer.put_u32(1);
            buffer.put_u8(u8::from(v[row]));
        }
        Values::Uuid(v) => {
            buffer.put_u32(16);
            buffer.put_slice(&v[row]);
        }
        Values::Text(v) | Values::Json(v) | Values::Bytes(v) => {
            let bytes = v.get(row);
            buffer.put_u32(bytes.len() as u32);
            buffer.put_slice(bytes);
        }
    }
}
