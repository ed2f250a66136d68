//! A few rows in one statement: each column an array, encoded by hand from column blocks as in [`super::copy`]. A COPY
//! costs a question more, and pays off only with many rows.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use postgres_types::{IsNull, Kind, ToSql, to_sql_checked};
use tidemark_core::batch::Group;
use tidemark_core::columns::Values;
use tidemark_core::postgres::type_name;
use tidemark_core::schema::Table;
use tidemark_core::value::ColumnType;
use tokio_postgres::types::Type;

use super::copy::put_field;
use super::pipeline::{Pipeline, Typed};
use crate::upstream::writes::RowAt;

/// How much goes into one statement: rows, and their bytes, since an array must fit into PostgreSQL's memory, and a COPY
/// need not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Few {
    rows: usize,
    bytes: usize,
}

/// New rows. A COPY of more takes PostgreSQL less time.
pub(super) const FRESH: Few = Few { rows: 50, bytes: 256 << 10 };
/// Rows that may be there. A COPY of them needs a temporary table and a plan besides, and then saves little.
pub(super) const UPSERTS: Few = Few { rows: 2_000, bytes: 1 << 20 };

impl Few {
    /// Whether these rows go into one statement.
    pub(super) fn has(self, groups: &[Group], rows: &[RowAt]) -> bool {
        rows.len() <= self.rows && rows.iter().map(|at| bytes_of(groups, *at)).sum::<usize>() <= self.bytes
    }
}

/// The bytes of a row's texts and the like.
fn bytes_of(groups: &[Group], at: RowAt) -> usize {
    let columns = &groups[at.group as usize].columns;
    let bytes = columns.iter().map(|column| match column.values() {
        Values::Text(v) | Values::Json(v) | Values::Bytes(v) => v.get(at.row as usize).len(),
        _ => 0,
    });
    bytes.sum()
}

/// The source of an INSERT: the rows that [`run`] gives, the table's columns and then the station.
pub(super) fn source_sql(table: &Table, columns: &str) -> String {
    let arrays =
        table.columns.iter().enumerate().map(|(at, column)| format!("${}::{}[]", at + 1, type_name(column.ty)));
    let names = columns.strip_suffix(", \"station\"").unwrap_or(columns);
    format!(
        "(SELECT r.*, ${}::integer AS \"station\" FROM unnest({}) AS r ({names})) AS few",
        table.columns.len() + 1,
        arrays.collect::<Vec<_>>().join(", ")
    )
}

/// Runs a statement over rows; returns how many it wrote. Its parameters are the columns, the station, and `others`.
pub(super) async fn run(
    pipeline: &Pipeline<'_>,
    sql: &str,
    table: &Table,
    station: i32,
    groups: &[Group],
    rows: &[RowAt],
    others: &[Typed<'_>],
) -> Result<u64, tokio_postgres::Error> {
    let columns = columns_of(table, groups, rows);
    let typed = columns.iter().zip(&table.columns);
    let mut parameters: Vec<Typed<'_>> =
        typed.map(|(array, column)| -> Typed<'_> { (array, array_of(column.ty)) }).collect();
    parameters.push((&station, Type::INT4));
    parameters.extend(others.iter().cloned());
    pipeline.execute(sql, &parameters).await
}

/// Sends a statement over rows of the table with this index, and does not wait for its answer. Its parameters are the
/// columns and the station.
pub(super) async fn send(
    pipeline: &Pipeline<'_>,
    sql: &str,
    (index, table): (usize, &Table),
    station: i32,
    groups: &[Group],
    rows: &[RowAt],
) -> Result<(), tokio_postgres::Error> {
    let types: Vec<Type> =
        table.columns.iter().map(|column| array_of(column.ty)).chain(std::iter::once(Type::INT4)).collect();
    let statement = pipeline.statement(sql, || sql.to_owned(), &types).await?;
    let (client, columns) = (pipeline.client, columns_of(table, groups, rows));
    let run = async move {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(columns.len() + 1);
        parameters.extend(columns.iter().map(|array| array as &(dyn ToSql + Sync)));
        parameters.push(&station);
        client.execute(&statement, &parameters).await.map(|_| ())
    };
    pipeline.send_to(Some(index), run).await;
    Ok(())
}

const fn array_of(ty: ColumnType) -> Type {
    match ty {
        ColumnType::Integer => Type::INT8_ARRAY,
        ColumnType::Real => Type::FLOAT8_ARRAY,
        ColumnType::Text => Type::TEXT_ARRAY,
        ColumnType::Boolean => Type::BOOL_ARRAY,
        ColumnType::Timestamp => Type::TIMESTAMPTZ_ARRAY,
        ColumnType::Json => Type::JSON_ARRAY,
        ColumnType::Bytes => Type::BYTEA_ARRAY,
        ColumnType::Uuid => Type::UUID_ARRAY,
    }
}

/// The columns of some rows, each an array.
fn columns_of(table: &Table, groups: &[Group], rows: &[RowAt]) -> Vec<Array> {
    let columns = table.columns.iter().enumerate();
    columns.map(|(at, column)| Array::of(&array_of(column.ty), groups, rows, at)).collect()
}

/// An array as PostgreSQL takes it.
#[derive(Debug)]
struct Array(BytesMut);

impl Array {
    fn of(ty: &Type, groups: &[Group], rows: &[RowAt], column: usize) -> Self {
        let Kind::Array(element) = ty.kind() else { panic!("BUG: a column of rows is an array") };
        let of = |at: &RowAt| &groups[at.group as usize].columns[column];
        let has_null = rows.iter().any(|at| of(at).is_null(at.row as usize));
        let mut out = BytesMut::new();
        // One dimension, whether there are NULLs, the type, and of the dimension its length and first index.
        out.put_i32(1);
        out.put_i32(has_null.into());
        out.put_u32(element.oid());
        out.put_u32(rows.len() as u32);
        out.put_i32(1);
        for at in rows {
            put_field(&mut out, of(at), at.row as usize);
        }
        Self(out)
    }
}

impl ToSql for Array {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}
