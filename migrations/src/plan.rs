//! The plan: the migrations that a database still needs. Pure: what was applied comes in, what is pending goes out.

use tidemark_core::schema::{Fingerprint, Schema, not_additions, shrinkage};
use tidemark_core::value::hex;

pub use crate::derive::Dialect;
use crate::derive::{create, evolve};
use crate::error::MigrateError;
use crate::shipped::{File, POSTGRES_REPORTS, POSTGRES_SHRINKAGE, POSTGRES_SYSTEM, SQLITE_REPORTS, SQLITE_SYSTEM};

/// The prefix of the names of derived migrations.
const DERIVED: &str = "derived:";

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// `NNNN_name` of a file, `derived:NAME:vVERSION` otherwise.
    pub name: String,
    /// The SQL that makes it.
    pub up: String,
    /// The SQL that takes it away.
    pub down: String,
    /// The schema that is complete once it is applied.
    pub registers: Option<Fingerprint>,
}

impl Migration {
    /// blake3 of both texts, hex.
    #[must_use]
    pub fn checksum(&self) -> String {
        checksum(&self.up, &self.down)
    }
}

fn checksum(up: &str, down: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(up.len() as u64).to_le_bytes()).update(up.as_bytes()).update(down.as_bytes());
    hex(hasher.finalize().as_bytes())
}

/// A migration as the database remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub name: String,
    /// Checksum of its texts when it was applied.
    pub checksum: String,
    /// The text that takes it away.
    pub down: String,
    /// Fingerprint of the schema it completed, hex.
    pub registers: Option<String>,
    /// When, as the database prints it.
    pub applied_at: String,
}

/// A schema as the database remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Fingerprint, hex.
    pub fingerprint: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The file.
    pub toml: String,
    /// `hypertable` or `plain`: what its tables with a time column became.
    pub partitioning: String,
}

/// The place where a database stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The migrations that were applied, in order.
    pub applied: Vec<Applied>,
    /// The migrations that `up` would apply, in order.
    pub pending: Vec<Migration>,
}

/// The migrations that `up` would apply.
///
/// # Errors
/// When an applied file was edited, the database is newer than this program or holds another schema, or the step to
/// this schema is not additive.
pub fn pending(
    dialect: Dialect,
    applied: &[Applied],
    registered: &[Registered],
    schema: &Schema,
) -> Result<Vec<Migration>, MigrateError> {
    let (system, reports) = match dialect {
        Dialect::Postgres => (POSTGRES_SYSTEM, POSTGRES_REPORTS),
        Dialect::Sqlite => (SQLITE_SYSTEM, SQLITE_REPORTS),
    };
    let shipped = if dialect == Dialect::Postgres { POSTGRES_SHRINKAGE } else { &[] };
    for step in applied.iter().filter(|step| !step.name.starts_with(DERIVED)) {
        let file = system.iter().chain(shipped).chain(reports).find(|file| file.name == step.name);
        let now = checksum_of(file.ok_or_else(|| MigrateError::Newer(step.name.clone()))?);
        if now != step.checksum {
            let short = |sum: &str| sum.chars().take(12).collect::<String>();
            return Err(MigrateError::Edited {
                name: step.name.clone(),
                applied: short(&step.checksum),
                now: short(&now),
            });
        }
    }
    let is_applied = |name: &str| applied.iter().any(|step| step.name == name);
    let mut pending: Vec<Migration> =
        system.iter().filter(|file| !is_applied(file.name)).map(|file| from_file(file, None)).collect();
    pending.extend(user_tables(dialect, shipped, &is_applied, registered, schema)?);
    if has_shrinkage_tables(schema) {
        pending.extend(reports.iter().filter(|file| !is_applied(file.name)).map(|file| from_file(file, None)));
    }
    // Files in the order of their numbers, in which they were written. What is derived has no number: it stands before
    // the reports on its tables.
    let (derived, mut pending): (Vec<_>, Vec<_>) = pending.into_iter().partition(|step| step.name.starts_with(DERIVED));
    pending.sort_by(|a, b| a.name.cmp(&b.name));
    let is_report = |step: &Migration| reports.iter().any(|file| file.name == step.name);
    let at = pending.iter().position(is_report).unwrap_or(pending.len());
    pending.splice(at..at, derived);
    Ok(pending)
}

/// True when a schema is the shipped one, or one that adds to it: its tables are what the reports are about.
fn has_shrinkage_tables(schema: &Schema) -> bool {
    let shipped = shrinkage();
    schema.name() == shipped.name() && not_additions(&shipped, schema).is_empty()
}

fn user_tables(
    dialect: Dialect,
    shipped: &[File],
    is_applied: &dyn Fn(&str) -> bool,
    registered: &[Registered],
    schema: &Schema,
) -> Result<Vec<Migration>, MigrateError> {
    if registered.iter().any(|known| known.fingerprint == schema.fingerprint().to_hex()) {
        return Ok(Vec::new());
    }
    let derived = |sql: crate::derive::Sql| Migration {
        name: format!("{DERIVED}{}:v{}", schema.name(), schema.version()),
        up: sql.up,
        down: sql.down,
        registers: Some(schema.fingerprint()),
    };
    let Some(latest) = registered.iter().max_by_key(|known| known.version) else {
        if !shipped.is_empty() && schema.fingerprint() == shrinkage().fingerprint() {
            let last = shipped.len() - 1;
            let files = shipped.iter().enumerate().filter(|(_, file)| !is_applied(file.name));
            let registers = |n| (n == last).then(|| schema.fingerprint());
            return Ok(files.map(|(n, file)| from_file(file, registers(n))).collect());
        }
        if shipped.iter().any(|file| is_applied(file.name)) {
            return Err(MigrateError::OtherSchema {
                there: shrinkage().name().to_owned(),
                wanted: schema.name().to_owned(),
            });
        }
        return Ok(vec![derived(create(schema, dialect))]);
    };
    let name = schema.name().to_owned();
    if latest.name != name {
        return Err(MigrateError::OtherSchema { there: latest.name.clone(), wanted: name });
    }
    match latest.version.cmp(&schema.version()) {
        std::cmp::Ordering::Greater => {
            Err(MigrateError::OlderVersion { name, there: latest.version, wanted: schema.version() })
        }
        std::cmp::Ordering::Equal => Err(MigrateError::SameVersion { name, version: latest.version }),
        std::cmp::Ordering::Less => {
            let old = Schema::parse(&latest.toml).map_err(|error| MigrateError::Recorded {
                name: latest.name.clone(),
                version: latest.version,
                message: error.to_string(),
            })?;
            let sql = evolve(&old, schema, dialect).map_err(|reasons| MigrateError::NotAdditive {
                name,
                from: latest.version,
                version: schema.version(),
                reasons,
            })?;
            Ok(vec![derived(sql)])
        }
    }
}

fn from_file(file: &File, registers: Option<Fingerprint>) -> Migration {
    Migration { name: file.name.to_owned(), up: file.up.to_owned(), down: file.down.to_owned(), registers }
}

fn checksum_of(file: &File) -> String {
    checksum(file.up, file.down)
}
