//! CSV files into tables: streaming, strict, all or nothing.

mod bounded;
pub(crate) mod field;

use std::io::Read;

use csv::{Position, StringRecord};
use tidemark_client::rusqlite::{self, params_from_iter};
use tidemark_client::{Error, Store, insert_statement};
use tidemark_core::schema::Table;

use bounded::{Bounded, Meter};

/// Why a file could not be imported; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error(transparent)]
    Store(#[from] Error),
    /// The header does not fit the table.
    #[error("{source_name}, line 1: {message}")]
    Header {
        /// The CSV file.
        source_name: String,
        /// The fault.
        message: String,
    },
    /// A row does not.
    #[error("{source_name}, line {line}, column {column}: {message}")]
    Field {
        /// The CSV file.
        source_name: String,
        /// The line the row begins on, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// The fault.
        message: String,
    },
    /// A row as a whole does not.
    #[error("{source_name}, line {line}: {message}")]
    Row {
        /// The CSV file.
        source_name: String,
        /// The line the row begins on, from 1.
        line: u64,
        /// The fault.
        message: String,
    },
    /// The CSV file cannot be read.
    #[error("{source_name}: cannot read it: {message}")]
    Read {
        /// The CSV file.
        source_name: String,
        /// The fault.
        message: String,
    },
}

/// The columns a header names, in its order.
fn header_columns(table: &Table, header: &StringRecord) -> Result<Vec<usize>, String> {
    let mut columns = Vec::with_capacity(header.len());
    let mut unknown = Vec::new();
    for (n, name) in header.iter().enumerate() {
        let name = if n == 0 { name.trim_start_matches('\u{feff}') } else { name };
        match table.column_index(name) {
            Some(index) if columns.contains(&index) => return Err(format!("the column {name} is there twice")),
            Some(index) => columns.push(index),
            None => unknown.push(format!("{name:?}")),
        }
    }
    let known = || table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    if !unknown.is_empty() {
        return Err(format!(
            "the table {} has no column {}; it has: {}. The first line must name the columns",
            table.name,
            unknown.join(", "),
            known()
        ));
    }
    // An integer key is numbered by SQLite; a default fills in what is left out.
    let missing: Vec<&str> = (0..table.columns.len())
        .filter(|&index| {
            let column = &table.columns[index];
            let numbered = index == table.key && column.ty == tidemark_core::value::ColumnType::Integer;
            table.is_not_null(index) && column.default.is_none() && !numbered && !columns.contains(&index)
        })
        .map(|index| table.columns[index].name.as_str())
        .collect();
    if !missing.is_empty() {
        return Err(format!("required columns of the table {} are missing: {}", table.name, missing.join(", ")));
    }
    Ok(columns)
}

/// Imports a CSV file in one transaction; returns the number of rows. `progress` is told rows and bytes now and then.
///
/// The header names columns of the table; `NA` and empty fields are NULL; a row that does not fit is reported with line
/// and column.
///
/// ```
/// use tidemark_core::schema::Schema;
/// use tidemark_station::{Station, import::import_csv};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("station.db");
/// let toml = "name = 'w'\nversion = 1\n[tables.site.columns]\nid = { type = 'integer' }\nheight = { type = 'real' }";
/// let mut station = Station::init(&path, &Schema::parse(toml).unwrap())?;
/// let csv = "id,height\n1,4.5\n2,NA\n";
/// assert_eq!(import_csv(station.store_mut(), "site", "sites.csv", csv.as_bytes(), |_, _| ()).unwrap(), 2);
/// let bad = import_csv(station.store_mut(), "site", "more.csv", "height\ntall\n".as_bytes(), |_, _| ());
/// assert!(bad.unwrap_err().to_string().contains("tall"));
/// assert_eq!(station.status()?.pending, 2); // what the first import logged
/// # Ok::<(), tidemark_station::StationError>(())
/// ```
///
/// # Errors
/// See [`ImportError`]; nothing is imported then.
pub fn import_csv(
    store: &mut Store,
    table: &str,
    source_name: &str,
    input: impl Read,
    mut progress: impl FnMut(u64, u64),
) -> Result<u64, ImportError> {
    /// Rows between two reports of progress.
    const REPORT_ROWS: u64 = 1_000;
    let table = store.table(table)?.clone();
    let meter = Meter::default();
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(Bounded::new(input, meter.clone()));
    let named = || source_name.to_owned();
    let header = reader.headers().map_err(|error| csv_error(source_name, &error))?.clone();
    if header.is_empty() {
        return Err(ImportError::Header {
            source_name: named(),
            message: "the file is empty; its first line must name the columns".into(),
        });
    }
    let columns =
        header_columns(&table, &header).map_err(|message| ImportError::Header { source_name: named(), message })?;
    let statement = insert_statement(&table, columns.iter().map(|&index| table.columns[index].name.as_str()))?;
    let file = store.file().to_owned();
    store.transaction(|tx| {
        let mut insert = tx.prepare(&statement).map_err(|error| Error::sqlite(&file, "import", error))?;
        let mut record = StringRecord::new();
        let mut values = Vec::with_capacity(columns.len());
        let mut rows = 0_u64;
        meter.record_ended();
        while reader.read_record(&mut record).map_err(|error| csv_error(source_name, &error))? {
            meter.record_ended();
            let line = record.position().map_or(0, Position::line);
            values.clear();
            for (&index, text) in columns.iter().zip(record.iter()) {
                let value = field::convert(&table, index, text).map_err(|message| ImportError::Field {
                    source_name: named(),
                    line,
                    column: table.columns[index].name.clone(),
                    message,
                })?;
                values.push(value);
            }
            insert.execute(params_from_iter(&values)).map_err(|error| match error {
                rusqlite::Error::SqliteFailure(failure, message)
                    if failure.code == rusqlite::ErrorCode::ConstraintViolation =>
                {
                    let message = message.unwrap_or_else(|| failure.to_string());
                    ImportError::Row { source_name: named(), line, message }
                }
                other => Error::sqlite(&file, "import", other).into(),
            })?;
            rows += 1;
            if rows.is_multiple_of(REPORT_ROWS) {
                progress(rows, meter.bytes_read());
            }
        }
        Ok(rows)
    })
}

fn csv_error(source_name: &str, error: &csv::Error) -> ImportError {
    let source_name = source_name.to_owned();
    let line = error.position().map(Position::line);
    match (error.kind(), line) {
        (csv::ErrorKind::UnequalLengths { expected_len, len, .. }, Some(line)) => ImportError::Row {
            source_name,
            line,
            message: format!("{len} fields, but the first line names {expected_len} columns"),
        },
        (csv::ErrorKind::Utf8 { err, .. }, Some(line)) => ImportError::Row {
            source_name,
            line,
            message: format!("field {} is not UTF-8; save the file as UTF-8", err.field() + 1),
        },
        (csv::ErrorKind::Io(error), _) => ImportError::Read { source_name, message: error.to_string() },
        _ => ImportError::Read { source_name, message: error.to_string() },
    }
}
