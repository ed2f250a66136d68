//! The schema: declared once, as data. A TOML file, read at run time by server, station and browser alike.
//!
//! [`Schema::parse`] reads and checks a file; SQL for both databases, the frame's columns and all validation derive
//! from the result. [`shrinkage`] is the schema this crate ships.

mod check;
mod column;
mod evolution;
mod issues;
mod model;
mod parse;
mod real;
#[cfg(test)]
mod tests;

use std::fmt;

pub use evolution::not_additions;
pub use issues::{SchemaError, SchemaIssue};
pub use model::{Bound, Chunk, Column, DefaultValue, Table};

use crate::value::{hex, unhex};

/// The text of the shipped schema: the 18 tables of the shrinkage system.
pub const SHRINKAGE_TOML: &str = include_str!("../../schemas/shrinkage.toml");

/// The shipped schema.
///
/// ```
/// assert_eq!(tidemark_core::schema::shrinkage().tables().len(), 18);
/// ```
#[must_use]
pub fn shrinkage() -> Schema {
    Schema::parse(SHRINKAGE_TOML).expect("BUG: the shipped schema is valid")
}

/// A hash of what a schema means: names, order, types and rules, without its documentation and units.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Lower-case hex.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Reads what [`Fingerprint::to_hex`] wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

impl fmt::Display for Fingerprint {
    /// The first 12 digits: enough to tell schemas apart in a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..6]))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self}…)")
    }
}

/// A checked schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    name: String,
    version: u32,
    tables: Vec<Table>,
    parents_first: Vec<usize>,
    fingerprint: Fingerprint,
    source: String,
}

impl Schema {
    /// Reads and checks a schema file.
    ///
    /// ```
    /// use tidemark_core::schema::Schema;
    /// let schema = Schema::parse(r#"
    ///     name = "weather"
    ///     version = 1
    ///     [tables.site.columns]
    ///     id = { type = "integer" }
    ///     name = { type = "text", required = true }
    /// "#).unwrap();
    /// assert_eq!(schema.table("site").unwrap().columns[1].name, "name");
    /// let error = Schema::parse("name = 'w'\nversion = 1\n[tables.t.columns]\nid = { type = 'number' }").unwrap_err();
    /// assert!(error.to_string().starts_with("line 4, tables.t.columns.id: unknown type \"number\""));
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong with the file at once, each with line, table and column.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let draft = parse::parse(text)?;
        let parents_first =
            check::parents_first(&draft.tables).map_err(|cycle| SchemaError::of(text, draft.cycle_issue(&cycle)))?;
        let fingerprint =
            Fingerprint(*blake3::hash(canonical(&draft.name, draft.version, &draft.tables).as_bytes()).as_bytes());
        Ok(Self {
            name: draft.name,
            version: draft.version,
            tables: draft.tables,
            parents_first,
            fingerprint,
            source: text.to_owned(),
        })
    }

    /// The schema's name; upstream it is the PostgreSQL schema that holds the tables.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version its author gave it.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The tables, in file order; the index of a table here is its number in a frame.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The table of this name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.table_index(name).map(|index| &self.tables[index])
    }

    /// The number of the table of this name.
    #[must_use]
    pub fn table_index(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.name == name)
    }

    /// Table numbers in an order in which every table comes after those it references.
    #[must_use]
    pub fn parents_first(&self) -> &[usize] {
        &self.parents_first
    }

    /// The hash of what the schema means.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The file's text, as parsed.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The most columns any table has.
    #[must_use]
    pub fn columns_max(&self) -> usize {
        self.tables.iter().map(|table| table.columns.len()).max().unwrap_or(0)
    }
}

/// The text the fingerprint is a hash of: one line per fact, in file order (docs/FORMAT.md, "Fingerprint").
fn canonical(name: &str, version: u32, tables: &[Table]) -> String {
    use fmt::Write as _;
    let mut out = format!("tidemark-schema 1\nname {name}\nversion {version}\n");
    for table in tables {
        let _ = writeln!(out, "table {} key {}", table.name, table.key_column().name);
        if let (Some(time), Some(chunk)) = (table.time_column(), table.chunk) {
            let _ = writeln!(out, "time {} chunk {}", time.name, chunk.seconds);
        }
        if table.append {
            out.push_str("append\n");
        }
        for column in &table.columns {
            let _ = write!(out, "column {} {}", column.name, column.ty.as_str());
            if column.required {
                out.push_str(" required");
            }
            if let Some(parent) = column.references {
                let _ = write!(out, " references {}", tables[parent].name);
            }
            if let Some(default) = &column.default {
                let _ = write!(out, " default {}", default.canonical());
            }
            if let Some(min) = column.min {
                let _ = write!(out, " min {}", min.canonical());
            }
            if let Some(max) = column.max {
                let _ = write!(out, " max {}", max.canonical());
            }
            if let Some(max_bytes) = column.max_bytes {
                let _ = write!(out, " max_bytes {max_bytes}");
            }
            out.push('\n');
        }
    }
    out
}
