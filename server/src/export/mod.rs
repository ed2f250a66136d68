//! The way back: all rows of an upstream in one SQLite file, in the form the existing system keeps them in.
//!
//! | file | what lives there |
//! |---|---|
//! | `ids` | small ids again: which block of upstream ids comes where |
//! | `file` | the SQLite file: there whole or not at all |
//!
//! A store reads everything on one snapshot, first how far the ids of each table go ([`Export::extents_sql`],
//! [`Export::extent`]), then, after [`Export::settle`], the rows ([`Export::rows_sql`], [`Export::row`]). Rows
//! stream: memory does not grow with them.

mod file;
mod ids;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::timestamp::{FIRST_US, LAST_US};
use tidemark_core::value::{ColumnType, ValueRef};

use self::file::OldFile;
use self::ids::{Extents, id_columns};
pub use self::ids::{Ids, Mapped};

/// An export that is being written.
pub struct Export {
    schema: Arc<Schema>,
    stations: Option<BTreeSet<u32>>,
    extents: Extents,
    ids: Ids,
    file: OldFile,
    /// By table: the columns that hold ids, and of which table.
    id_columns: Vec<Vec<(usize, usize)>>,
    written: Vec<u64>,
}

/// An export that was made.
#[derive(Debug)]
pub struct Exported {
    /// Rows by table, in the schema's order.
    pub rows: Vec<u64>,
    /// The number of references, by table, that name no row of the file.
    pub orphans: Vec<u64>,
    /// The upstream ids and what they became.
    pub ids: Ids,
}

impl Export {
    /// An export of these stations' rows (0 is HQ), or of all, into a file that must not be there yet.
    ///
    /// # Errors
    /// When the file is there or cannot be made.
    pub fn new(schema: Arc<Schema>, stations: Option<BTreeSet<u32>>, to: &Path) -> anyhow::Result<Self> {
        let file = OldFile::create(&schema, to)?;
        let id_columns = (0..schema.tables().len()).map(|table| id_columns(&schema, table)).collect();
        Ok(Self {
            extents: Extents::new(&schema),
            ids: Ids::default(),
            written: vec![0; schema.tables().len()],
            id_columns,
            stations,
            file,
            schema,
        })
    }

    /// The tables to read, by their index in the schema: parents first.
    #[must_use]
    pub fn tables(&self) -> Vec<usize> {
        self.schema.parents_first().to_vec()
    }

    /// The table of an index.
    #[must_use]
    pub fn table(&self, table: usize) -> &Table {
        &self.schema.tables()[table]
    }

    /// Rows of this station are wanted.
    #[must_use]
    pub fn wants(&self, station: u32) -> bool {
        self.stations.as_ref().is_none_or(|stations| stations.contains(&station))
    }

    fn condition(&self) -> String {
        let Some(stations) = &self.stations else { return String::new() };
        let numbers: Vec<String> = stations.iter().map(u32::to_string).collect();
        format!(" WHERE \"station\" IN ({})", numbers.join(", "))
    }

    /// The question how far a table's ids go, the same SQL in both databases; `name` is the table's name there.
    #[must_use]
    pub fn extents_sql(&self, table: usize, name: &str) -> String {
        let (mut select, mut group) = ("count(*)".to_owned(), Vec::new());
        for (nth, &(column, _)) in self.id_columns[table].iter().enumerate() {
            let column = quote(&self.table(table).columns[column].name);
            let low = format!("{column} & {}", ids::LOCAL_MASK);
            select.push_str(&format!(", {column} >> 32, min({low}), max({low})"));
            group.push((2 + nth * 3).to_string());
        }
        let group = if group.is_empty() { group.concat() } else { format!(" GROUP BY {}", group.join(", ")) };
        format!("SELECT {select} FROM {name}{}{group}", self.condition())
    }

    /// The number of columns that [`Export::extents_sql`] gives.
    #[must_use]
    pub fn extent_cells(&self, table: usize) -> usize {
        1 + self.id_columns[table].len() * 3
    }

    /// Takes one row of the answer.
    ///
    /// # Errors
    /// When there are ids that are no station's.
    pub fn extent(&mut self, table: usize, cells: &[Option<i64>]) -> Result<(), String> {
        self.extents.add(&self.schema, table, &self.id_columns[table], cells)
    }

    /// The same of one row that is at hand, for a store that cannot be asked in SQL.
    ///
    /// # Errors
    /// When it has an id that is no station's.
    pub fn extent_of(&mut self, table: usize, values: &[ValueRef<'_>]) -> Result<(), String> {
        let mut cells = vec![Some(1)];
        for &(column, _) in &self.id_columns[table] {
            let id = if let ValueRef::Integer(id) = values[column] { Some(id) } else { None };
            let low = id.map(|id| id & ids::LOCAL_MASK);
            cells.extend([id.map(|id| id >> 32), low, low]);
        }
        self.extent(table, &cells)
    }

    /// Decides where each block of ids goes, once all extents are known.
    ///
    /// # Errors
    /// When rows reference rows of a station that is not exported.
    pub fn settle(&mut self) -> Result<(), String> {
        self.ids = self.extents.settle(&self.schema, self.stations.as_ref())?;
        Ok(())
    }

    /// The question for a table's rows, in the order of their ids.
    #[must_use]
    pub fn rows_sql(&self, table: usize, name: &str) -> String {
        let it = self.table(table);
        let columns: Vec<String> = it.columns.iter().map(|column| quote(&column.name)).collect();
        let key = quote(&it.key_column().name);
        format!("SELECT {} FROM {name}{} ORDER BY {key}", columns.join(", "), self.condition())
    }

    /// Writes one row.
    ///
    /// # Errors
    /// When a value has no form in SQLite, or the file cannot be written; names table, row and column.
    pub fn row(&mut self, table: usize, values: &[ValueRef<'_>]) -> Result<(), String> {
        let it = &self.schema.tables()[table];
        let place = |column: usize| format!("{}, row {}, column {}", it.name, values[it.key], it.columns[column].name);
        for (at, (column, value)) in it.columns.iter().zip(values).enumerate() {
            if !has_old_form(column.ty, *value) {
                return Err(format!(
                    "{}: {value} has no form in the file; correct the row upstream, and export again",
                    place(at)
                ));
            }
        }
        let mut values = values.to_vec();
        for &(column, of) in &self.id_columns[table] {
            if let ValueRef::Integer(id) = values[column] {
                let id =
                    self.ids.old_id(of, id).ok_or_else(|| format!("{}: {id} is no station's id", place(column)))?;
                values[column] = ValueRef::Integer(id);
            }
        }
        self.file.insert(table, &values).map_err(|error| format!("{}: {error}", place(it.key)))?;
        self.written[table] += 1;
        Ok(())
    }

    /// Checks the file, writes it to disk and gives it its name.
    ///
    /// # Errors
    /// When it is not whole: nothing is there then.
    pub fn finish(self) -> anyhow::Result<Exported> {
        for (table, (&written, &there)) in self.schema.tables().iter().zip(self.written.iter().zip(self.extents.rows()))
        {
            if written != there {
                anyhow::bail!("{}: {written} of {there} rows were read; nothing was exported", table.name);
            }
        }
        let orphans = self.file.finish(&self.schema, &self.written)?;
        Ok(Exported { rows: self.written, orphans, ids: self.ids })
    }
}

/// SQLite keeps the value as a program of the old system expects it: no NaN (SQLite makes it NULL), no time outside the
/// years 1 to 9999, nothing of another type.
fn has_old_form(ty: ColumnType, value: ValueRef<'_>) -> bool {
    match (ty, value) {
        (ColumnType::Real, ValueRef::Real(v)) => !v.is_nan(),
        (ColumnType::Timestamp, ValueRef::Timestamp(us)) => (FIRST_US..=LAST_US).contains(&us),
        (_, ValueRef::Null)
        | (ColumnType::Integer, ValueRef::Integer(_))
        | (ColumnType::Text, ValueRef::Text(_))
        | (ColumnType::Boolean, ValueRef::Boolean(_))
        | (ColumnType::Json, ValueRef::Json(_))
        | (ColumnType::Bytes, ValueRef::Bytes(_))
        | (ColumnType::Uuid, ValueRef::Uuid(_)) => true,
        _ => false,
    }
}
