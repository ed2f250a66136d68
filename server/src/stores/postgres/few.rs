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

/// So many rows are few.
const ROWS_MAX: usize = 50;
/// Unless they have more bytes than this: an array must fit into PostgreSQL's memory, and a COPY need not.
const BYTES_MAX: usize = 256 << 10;

/// Whether these rows go into one statement.
pub(super) fn are_few(groups: &[Group], rows: &[RowAt]) -> bool {
    rows.len() <= ROWS_MAX && rows.iter().map(|at| bytes_of(groups, *at)).sum::<usize>() <= BYTES_MAX
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
    let columns: Vec<Column<'_>> = (0..table.columns.len()).map(|column| Column { groups, rows, column }).collect();
    let typed =
        columns.iter().zip(&table.columns).map(|(values, column)| -> Typed<'_> { (values, array_of(column.ty)) });
    let mut parameters: Vec<Typed<'_>> = typed.collect();
    parameters.push((&station, Type::INT4));
    parameters.extend(others.iter().cloned());
    pipeline.execute(sql, &parameters).await
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

/// One column of some rows, as an array.
#[derive(Debug)]
struct Column<'a> {
    groups: &'a [Group],
    rows: &'a [RowAt],
    column: usize,
}

impl ToSql for Column<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Kind::Array(element) = ty.kind() else { return Err("a column of rows is an array".into()) };
        let of = |at: &RowAt| &self.groups[at.group as usize].columns[self.column];
        let has_null = self.rows.iter().any(|at| of(at).is_null(at.row as usize));
        // One dimension, whether there are NULLs, the type, and of the dimension its length and first index.
        out.put_i32(1);
        out.put_i32(has_null.into());
        out.put_u32(element.oid());
        out.put_u32(self.rows.len() as u32);
        out.put_i32(1);
        for at in self.rows {
            put_field(out, of(at), at.row as usize);
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}
