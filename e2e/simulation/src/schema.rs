//! The schema of the simulation: small, with every kind of table and reference there is.

use std::sync::Arc;

use tidemark_core::schema::Schema;
use tidemark_core::value::Value;
use tidemark_memory::Constraint;

use super::faults::{Fault, FaultSet};

/// A table that references itself, one with a time column, one keyed by uuids that all stations share, one that
/// references a table with a time column, and one that takes inserts only.
pub const SCHEMA: &str = r#"
name = "tides"
version = 1

[tables.site.columns]
id = { type = "integer" }
name = { type = "text", required = true, max_bytes = 60 }
parent_id = { type = "integer", references = "site" }

[tables.reading]
time = "measured_at"
[tables.reading.columns]
id = { type = "integer" }
site_id = { type = "integer", references = "site" }
measured_at = { type = "timestamp", default = "now" }
level = { type = "real", min = -50, max = 50, unit = "m" }
note = { type = "text", max_bytes = 300 }

[tables.tag]
key = "uid"
[tables.tag.columns]
uid = { type = "uuid" }
site_id = { type = "integer", references = "site" }
label = { type = "text" }

[tables.sample.columns]
id = { type = "integer" }
reading_id = { type = "integer", references = "reading" }
count = { type = "integer", min = 0, max = 1000 }
raw = { type = "bytes" }

[tables.visit]
time = "at"
append = true
[tables.visit.columns]
id = { type = "integer" }
site_id = { type = "integer", references = "site" }
at = { type = "timestamp", default = "now" }
who = { type = "text", max_bytes = 60 }
"#;

/// A unique index that a program of the station made: what `INSERT OR REPLACE` ousts rows through.
pub const UNIQUE_INDEX: &str = "CREATE UNIQUE INDEX site_name ON site (name)";

/// The note that the database's constraint beyond the schema refuses.
pub const POISON: &str = "poison";

/// The notes of rows that cannot be written while a fault lasts, one for each such fault.
pub const UNWRITABLE: [(Fault, &str); 5] = [
    (Fault::Constraint, POISON),
    (Fault::TupleLimit, "too many tuples"),
    (Fault::SlowRow, "slow"),
    (Fault::BrokenTrigger, "broken"),
    (Fault::Panic, "panic"),
];

/// The notes of rows that cannot be written in a world with these faults.
#[must_use]
pub fn unwritable(faults: FaultSet) -> Vec<&'static str> {
    UNWRITABLE.iter().filter(|(fault, _)| faults.has(*fault)).map(|(_, note)| *note).collect()
}

/// The schema, parsed.
#[must_use]
pub fn tides() -> Arc<Schema> {
    Arc::new(Schema::parse(SCHEMA).expect("BUG: the simulation's schema is one"))
}

/// The constraint beyond the schema.
#[must_use]
pub fn no_poison() -> Constraint {
    Arc::new(|table, values| {
        let poisoned = table.name == "reading" && values.contains(&Value::Text(POISON.to_owned()));
        if poisoned { Err("poison is not allowed".to_owned()) } else { Ok(()) }
    })
}
