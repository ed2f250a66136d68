//! Conversion: whatever a program wrote either is of its column's type and within its bounds, or is rejected; twice the
//! same.

use arbitrary::{Arbitrary, Unstructured};
use tidemark_core::convert::{check_value, convert_row};
use tidemark_core::idmap::IdMap;
use tidemark_core::ids::{LOCAL_ID_MAX, StationNumber};
use tidemark_core::schema::Schema;
use tidemark_core::value::{ColumnType, ValueRef};

use crate::rows::Cell;

/// A column of a schema.
#[derive(Debug, Arbitrary)]
struct Column {
    ty: u8,
    required: bool,
    references: bool,
    min: Option<i32>,
    max: Option<i32>,
    max_bytes: Option<u8>,
}

/// A table and rows for it.
#[derive(Debug, Arbitrary)]
struct Input {
    station: u32,
    columns: Vec<Column>,
    uuid_key: bool,
    time: Option<u8>,
    rows: Vec<Vec<Cell>>,
}

impl Input {
    /// The schema file; not every one is taken.
    fn schema(&self) -> String {
        let mut tables = "[tables.t.columns]\n".to_owned();
        tables.push_str(if self.uuid_key { "id = { type = 'uuid' }\n" } else { "id = { type = 'integer' }\n" });
        for (n, column) in self.columns.iter().take(12).enumerate() {
            let ty = ColumnType::ALL[usize::from(column.ty) % ColumnType::ALL.len()];
            let mut line = format!("c{n} = {{ type = '{}'", ty.as_str());
            if column.required {
                line.push_str(", required = true");
            }
            if column.references && ty == ColumnType::Integer {
                line.push_str(", references = 'parent'");
            }
            if let (Some(min), ColumnType::Integer | ColumnType::Real) = (column.min, ty) {
                line.push_str(&format!(", min = {min}"));
            }
            if let (Some(max), ColumnType::Integer | ColumnType::Real) = (column.max, ty) {
                line.push_str(&format!(", max = {max}"));
            }
            if let (Some(bytes), ColumnType::Text | ColumnType::Json | ColumnType::Bytes) = (column.max_bytes, ty) {
                line.push_str(&format!(", max_bytes = {}", u32::from(bytes) + 1));
            }
            tables.push_str(&line);
            tables.push_str(" }\n");
        }
        let time = self.time.map_or_else(String::new, |n| format!("[tables.t]\ntime = 'c{}'\n", n % 12));
        format!("name = 'f'\nversion = 1\n[tables.parent.columns]\nid = {{ type = 'integer' }}\n{time}{tables}")
    }
}

/// The bytes are a table and rows for it.
pub fn run(data: &[u8]) {
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(data)) else { return };
    let Ok(schema) = Schema::parse(&input.schema()) else { return };
    let station = StationNumber::new(input.station % 2_097_151 + 1).expect("BUG: it is within the range");
    let at = schema.table_index("t").expect("BUG: it has this table");
    let (table, ids) = (&schema.tables()[at], IdMap::from(station));
    for row in &input.rows {
        let raw: Vec<_> = row.iter().map(Cell::as_sqlite).collect();
        let (mut values, mut again) = (Vec::new(), Vec::new());
        let converted = convert_row(&schema, at, &ids, &raw, 0..table.columns.len(), &mut values);
        let twice = convert_row(&schema, at, &ids, &raw, 0..table.columns.len(), &mut again);
        assert_eq!(converted, twice, "the same row converts differently");
        if let Err(rejection) = converted {
            assert!(!rejection.message.is_empty());
            continue;
        }
        assert_eq!(values, again);
        assert_eq!(values.len(), table.columns.len());
        for (index, value) in values.iter().enumerate() {
            let column = &table.columns[index];
            check_value(table, index, *value).expect("what converts passes the check of the other side");
            let fits = matches!(
                (column.ty, value),
                (_, ValueRef::Null)
                    | (ColumnType::Integer, ValueRef::Integer(_))
                    | (ColumnType::Real, ValueRef::Real(_))
                    | (ColumnType::Text, ValueRef::Text(_))
                    | (ColumnType::Boolean, ValueRef::Boolean(_))
                    | (ColumnType::Timestamp, ValueRef::Timestamp(_))
                    | (ColumnType::Json, ValueRef::Json(_))
                    | (ColumnType::Bytes, ValueRef::Bytes(_))
                    | (ColumnType::Uuid, ValueRef::Uuid(_))
            );
            assert!(fits, "{value:?} in a column of {:?}", column.ty);
            match value {
                ValueRef::Integer(id) if index == table.key => assert!(station.owns(*id), "{id} is not the station's"),
                ValueRef::Integer(id) if column.references.is_some() => {
                    assert!(
                        station.owns(*id) || (1..=LOCAL_ID_MAX).contains(id),
                        "{id} is neither the station's nor HQ's"
                    );
                }
                _ => {}
            }
        }
    }
}
