//! Finds the tables that a file and a schema have in common.

use rusqlite::Connection;
use tidemark_core::schema::Schema;

use crate::error::{Error, Result};

/// The tables of a file and of a schema, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// Those of the schema that the file has: what is captured.
    pub captured: Vec<String>,
    /// Those of the schema that the file has not, until a program makes them.
    pub lacking: Vec<String>,
    /// Those that only the file has.
    pub others: Vec<String>,
}

impl Tables {
    /// The number of tables that the schema has.
    #[must_use]
    pub fn of_schema(&self) -> usize {
        self.captured.len() + self.lacking.len()
    }

    /// # Errors
    /// [`Error::NoTables`] when they have none in common.
    pub fn some(self, file: &str, schema: &Schema) -> Result<Self> {
        if self.captured.is_empty() {
            return Err(Error::NoTables {
                file: file.to_owned(),
                schema: schema.name().to_owned(),
                version: schema.version(),
                wanted: self.lacking,
                there: self.others,
            });
        }
        Ok(self)
    }
}

/// Compares the names. A view counts as a table here: that capture cannot follow it is another matter.
pub(super) fn find(db: &Connection, file: &str, schema: &Schema) -> Result<Tables> {
    let sql = |error| Error::sqlite(file, "read the tables' names", error);
    let names = "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                 AND name NOT LIKE 'tidemark\\_%' ESCAPE '\\' ORDER BY name";
    let mut query = db.prepare(names).map_err(sql)?;
    let there = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)? == "table"))).map_err(sql)?;
    let there: Vec<(String, bool)> = there.collect::<rusqlite::Result<_>>().map_err(sql)?;
    let ours = schema.tables().iter().map(|table| table.name.clone());
    let (captured, lacking) = ours.partition(|name| there.iter().any(|(there, _)| there.eq_ignore_ascii_case(name)));
    let is_other = |name: &str| !schema.tables().iter().any(|table| table.name.eq_ignore_ascii_case(name));
    let others = there.into_iter().filter(|(name, is_table)| *is_table && is_other(name)).map(|(name, _)| name);
    Ok(Tables { captured, lacking, others: others.collect() })
}
