//! `tidemark info`

use std::path::Path;

use serde_json::{Value as Json, json};
use tidemark_client::{Status, Store};
use tidemark_core::amount;
use tidemark_core::schema::Schema;

use super::fatal::Fatal;
use super::show;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the schema file instead.
    #[arg(long, conflicts_with_all = ["sql", "json"])]
    schema: bool,
    /// Print the SQL of the schema's tables instead.
    #[arg(long, conflicts_with = "json")]
    sql: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// The facts to show, read at one moment.
struct Facts {
    file: String,
    uuid: String,
    schema: Schema,
    status: Status,
    captured: bool,
    pruned: u64,
    rows: Vec<(String, u64)>,
}

fn look(store: &mut Store) -> Result<Facts, Fatal> {
    Ok(Facts {
        file: store.file().to_owned(),
        uuid: tidemark_core::value::format_uuid(store.uuid()),
        schema: store.schema().clone(),
        captured: store.is_captured()?,
        pruned: store.pruned_rows()?,
        rows: store.row_counts()?,
        status: store.status()?,
    })
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let facts = Store::look(db, look)?;
    let schema = &facts.schema;
    if args.schema {
        show::line(schema.source().trim_end());
    } else if args.sql {
        for &index in schema.parents_first() {
            show::line(&format!("{};", tidemark_core::sqlite::create_table(schema, &schema.tables()[index])));
        }
    } else {
        let size = |suffix: &str| {
            let mut path = db.as_os_str().to_owned();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |metadata| metadata.len())
        };
        let sizes = (size(""), size("-wal"));
        if args.json {
            show::json(&json_of(&facts, sizes));
        } else {
            print(&facts, sizes);
        }
    }
    Ok(())
}

fn json_of(facts: &Facts, (bytes, wal_bytes): (u64, u64)) -> Json {
    let Facts { schema, status, .. } = facts;
    let tables: Vec<Json> = facts
        .rows
        .iter()
        .zip(schema.tables())
        .map(|((name, rows), table)| {
            let time = table.time_column().map(|time| &time.name);
            json!({ "name": name, "rows": rows, "key": table.key_column().name, "time": time })
        })
        .collect();
    json!({
        "file": facts.file,
        "bytes": bytes,
        "wal_bytes": wal_bytes,
        "uuid": facts.uuid,
        "schema": { "name": schema.name(), "version": schema.version(), "fingerprint": schema.fingerprint().to_hex() },
        "captured": facts.captured,
        "pending": status.pending,
        "last_seq": status.last_seq,
        "rejects": status.rejects,
        "pruned_rows": facts.pruned,
        "tables": tables,
    })
}

fn print(facts: &Facts, (bytes, wal_bytes): (u64, u64)) {
    let Facts { schema, status, .. } = facts;
    let line = |name: &str, value: &str| show::line(&format!("{name:<14}{value}"));
    line("file", &facts.file);
    line("size", &format!("{}, write-ahead log {}", amount::bytes(bytes), amount::bytes(wal_bytes)));
    line("uuid", &facts.uuid);
    line(
        "schema",
        &format!("{} version {}, fingerprint {}", schema.name(), schema.version(), schema.fingerprint().to_hex()),
    );
    let tables = show::count(schema.tables().len() as u64, "table");
    let capture = if facts.captured { "on" } else { "not whole (`tidemark status` says more)" };
    line("capture", &format!("{capture}, for {tables}"));
    line("log", &format!("{} pending of {} ever", status.pending, show::count(status.last_seq, "change")));
    line("rejects", &status.rejects.to_string());
    if facts.pruned > 0 {
        line("pruned", &format!("{}, upstream only", show::count(facts.pruned, "row")));
    }
    show::line("");
    let width = schema.tables().iter().map(|table| table.name.len()).max().unwrap_or(0).max(5) + 2;
    show::line(&format!("{:<width$}{:>12}  key, time", "table", "rows"));
    for ((name, rows), table) in facts.rows.iter().zip(schema.tables()) {
        let time = table.time_column().map(|time| format!(", {}", time.name)).unwrap_or_default();
        show::line(&format!("{name:<width$}{rows:>12}  {}{time}", table.key_column().name));
    }
}
