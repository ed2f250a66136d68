//! The schema: declared once, as data. A TOML file, read at run time by server, station and browser alike.
//!
//! [`Schema::parse`] reads and checks a file; SQL for both databases, the frame's columns and all validation derive
//! from the result. [`shrinkage`] is the schema this crate ships.

mod check;
mod column;
mod evolution;
mod parse;
mod real;
#[cfg(test)]
mod tests;

use std::fmt;

pub use evolution::not_additions;
pub use parse::{SchemaError, SchemaIssue};

use crate::value::{ColumnType, hex, unhex};

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

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name, the same on both sides.
    pub name: String,
    /// Says what a row is.
    pub doc: Option<String>,
    /// The columns, in file order.
    pub columns: Vec<Column>,
    /// The place of the key column.
    pub key: usize,
    /// The place of the column that partitions the table by time upstream; `None` makes it an ordinary table.
    pub time: Option<usize>,
    /// Width of a chunk, with `time`.
    pub chunk: Option<Chunk>,
}

/// Width of a hypertable's chunks, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The width in seconds.
    pub seconds: u64,
}

impl Chunk {
    /// Seven days, TimescaleDB's own default.
    pub const DEFAULT: Self = Self { seconds: 7 * 86_400 };
}

impl fmt::Display for Chunk {
    /// As a schema file and a PostgreSQL interval say it: `7 days`, `12 hours`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds.is_multiple_of(86_400) {
            write!(f, "{} days", self.seconds / 86_400)
        } else {
            write!(f, "{} hours", self.seconds / 3600)
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name, the same on both sides.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// True when NULL is refused.
    pub required: bool,
    /// The value that SQLite and PostgreSQL fill in when a statement leaves it out.
    pub default: Option<DefaultValue>,
    /// The table whose key this column holds, by index.
    pub references: Option<usize>,
    /// The unit, for people.
    pub unit: Option<String>,
    /// Smallest value allowed (integer and real).
    pub min: Option<Bound>,
    /// Largest value allowed (integer and real).
    pub max: Option<Bound>,
    /// Most bytes allowed (text, json and bytes).
    pub max_bytes: Option<u32>,
    /// The meaning, for people.
    pub doc: Option<String>,
}

/// A bound of a numeric column, in the column's own type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Of an integer column.
    Integer(i64),
    /// Of a real column; finite.
    Real(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(v) => v.fmt(f),
            Self::Real(v) => write!(f, "{v:?}"),
        }
    }
}

impl Bound {
    /// Its form in the fingerprint's text: reals by their bits, so that no two programs print one differently.
    fn canonical(self) -> String {
        match self {
            Self::Integer(v) => v.to_string(),
            Self::Real(v) => format!("{:016x}", v.to_bits()),
        }
    }
}

/// A column's default.
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// The time of the statement (timestamp).
    Now,
    /// A literal.
    Integer(i64),
    /// A literal; finite.
    Real(f64),
    /// A literal.
    Text(String),
    /// A literal.
    Boolean(bool),
}

impl DefaultValue {
    /// Its form in the fingerprint's text: text by its bytes' hex, reals by their bits.
    fn canonical(&self) -> String {
        match self {
            Self::Now => "now".to_owned(),
            Self::Integer(v) => v.to_string(),
            Self::Real(v) => Bound::Real(*v).canonical(),
            Self::Text(v) => format!("text {}", hex(v.as_bytes())),
            Self::Boolean(v) => v.to_string(),
        }
    }
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

impl Table {
    /// The key column.
    #[must_use]
    pub fn key_column(&self) -> &Column {
        &self.columns[self.key]
    }

    /// The time column.
    #[must_use]
    pub fn time_column(&self) -> Option<&Column> {
        self.time.map(|index| &self.columns[index])
    }

    /// The number of the column of this name.
    #[must_use]
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The columns a delete carries: the key and, with one, the time.
    pub fn identity(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        [Some(self.key), self.time].into_iter().flatten()
    }

    /// True when upstream refuses NULL in the column: required, the key, or the time.
    #[must_use]
    pub fn is_not_null(&self, column: usize) -> bool {
        self.columns[column].required || column == self.key || Some(column) == self.time
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
