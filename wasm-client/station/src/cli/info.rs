//! `tidemark info`

use std::path::Path;

use super::{Fatal, show};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the schema file instead.
    #[arg(long, conflicts_with = "sql")]
    schema: bool,
    /// Print the SQL of the schema's tables instead.
    #[arg(long)]
    sql: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let mut store = super::open(db)?;
    if args.schema {
        show::line(store.schema().source().trim_end());
        return Ok(());
    }
    if args.sql {
        let schema = store.schema();
        for &index in schema.parents_first() {
            show::line(&format!("{};", tidemark_core::sqlite::create_table(schema, &schema.tables()[index])));
        }
        return Ok(());
    }
    let status = store.status()?;
    let schema = store.schema();
    let line = |name: &str, value: &str| show::line(&format!("{name:<14}{value}"));
    line("file", store.file());
    let size = |suffix: &str| {
        let mut path = db.as_os_str().to_owned();
        path.push(suffix);
        std::fs::metadata(path).map_or(0, |metadata| metadata.len())
    };
    line("size", &format!("{} KiB, write-ahead log {} KiB", size("").div_ceil(1024), size("-wal").div_ceil(1024)));
    line("uuid", &tidemark_core::value::format_uuid(store.uuid()));
    line(
        "schema",
        &format!("{} version {}, fingerprint {}", schema.name(), schema.version(), schema.fingerprint().to_hex()),
    );
    // `open` has checked the triggers, and made anew what was missing.
    line("capture", &format!("on, for {}", show::count(schema.tables().len() as u64, "table")));
    line("log", &format!("{} pending of {} ever", status.pending, show::count(status.last_seq, "change")));
    line("rejects", &status.rejects.to_string());
    let pruned = store.pruned_rows()?;
    if pruned > 0 {
        line("pruned", &format!("{}, upstream only", show::count(pruned, "row")));
    }
    show::line("");
    let width = schema.tables().iter().map(|table| table.name.len()).max().unwrap_or(0).max(5) + 2;
    show::line(&format!("{:<width$}{:>12}  key, time", "table", "rows"));
    for ((name, rows), table) in store.row_counts()?.iter().zip(schema.tables()) {
        let time = table.time_column().map(|time| format!(", {}", time.name)).unwrap_or_default();
        show::line(&format!("{name:<width$}{rows:>12}  {}{time}", table.key_column().name));
    }
    Ok(())
}
