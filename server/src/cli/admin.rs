//! `info`, `test`, `timescale`, `optimize`, `vacuum`.

use anyhow::bail;
use clap::Args;
use tidemark_core::schema::Schema;

use super::{Place, print_table};
use crate::admin::info::{Info, TableInfo, info};
use crate::admin::timescale::{HOW_TO_GET, extension, hypertables};
use crate::admin::{check, connect, optimize, shown_bytes, vacuum};
use crate::config::{DatabaseUrl, load_schema};
use crate::server::schema_of_database;

#[derive(Args)]
pub(super) struct InfoArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(super) struct OptimizeArgs {
    /// Only say what would be done.
    #[arg(long)]
    plan: bool,
    /// Take back what a run left that was broken off, instead of going on with it.
    #[arg(long, conflicts_with = "plan")]
    undo: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(super) struct VacuumArgs {
    /// PostgreSQL: rewrite the tables, which gives the room back to the disk; each is locked meanwhile, and stations wait.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    place: Place,
}

/// The schema the database was migrated to, and the one to go by: the file's, else the database's, else the shipped one.
async fn schemas(place: &Place) -> anyhow::Result<(DatabaseUrl, Option<Schema>, Schema)> {
    let database = place.database()?;
    if let DatabaseUrl::Sqlite(path) = &database {
        // Looking at a database does not make it.
        crate::admin::open_file(path)?;
    }
    let recorded = schema_of_database(&database).await?;
    let schema = match (&place.schema, &recorded) {
        (None, Some(recorded)) => recorded.clone(),
        (file, _) => load_schema(file.as_deref())?,
    };
    Ok((database, recorded, schema))
}

pub(super) async fn show_info(args: InfoArgs) -> anyhow::Result<()> {
    let (database, recorded, schema) = schemas(&args.place).await?;
    let info = info(&database, recorded.as_ref(), &schema).await?;
    if args.json {
        say!("{}", serde_json::to_string(&info)?);
    } else {
        print_info(&info);
    }
    Ok(())
}

fn print_info(info: &Info) {
    let line = |name: &str, value: &str| say!("{name:<14}{value}");
    let kind = if info.kind == "sqlite" { "SQLite" } else { "PostgreSQL" };
    line("database", &info.database);
    line("kind", &format!("{kind} {}", info.version));
    if info.kind != "sqlite" {
        let timescale = info.timescaledb.as_ref();
        line(
            "timescaledb",
            &timescale.map_or("none".to_owned(), |it| format!("{}, licence {}", it.version, it.licence)),
        );
    }
    line("size", &shown_bytes(info.bytes));
    match &info.schema {
        Some(schema) => {
            line("schema", &format!("{} version {}, fingerprint {}", schema.name, schema.version, schema.fingerprint));
        }
        None => line("schema", "none yet: `tidemark-server migrate up` makes the tables"),
    }
    let pending = match info.migrations_pending.as_slice() {
        [] => String::new(),
        pending => format!("; to come: {}", pending.join(", ")),
    };
    line("migrations", &format!("{} applied{pending}", info.migrations_applied.len()));
    if let Some(stations) = info.stations {
        line(
            "stations",
            &format!("{} joined, {} invited, {} revoked", stations.joined, stations.invited, stations.revoked),
        );
        line("open rejects", &info.open_rejects.to_string());
    }
    for (head, tables) in [("table", &info.tables), ("tidemark's own", &info.own_tables)] {
        if !tables.is_empty() {
            say!("");
            print_table(&[head, "rows", "size", "hypertable"], &tables.iter().map(table_line).collect::<Vec<_>>());
        }
    }
}

fn table_line(table: &TableInfo) -> Vec<String> {
    let chunks = |chunks: u64| format!("yes, {chunks} chunk{}", if chunks == 1 { "" } else { "s" });
    vec![
        table.name.clone(),
        table.rows.to_string(),
        table.bytes.map_or_else(|| "-".to_owned(), shown_bytes),
        table.chunks.map_or_else(|| "-".to_owned(), chunks),
    ]
}

pub(super) async fn test(place: Place) -> anyhow::Result<()> {
    let (database, _, schema) = schemas(&place).await?;
    let points = check::check(&database, &schema).await;
    for point in &points {
        say!("{:<5} {:<12} {}", if point.good { "ok" } else { "FAIL" }, point.name, point.found);
    }
    match points.iter().filter(|point| !point.good).count() {
        0 => Ok(()),
        1 => bail!("{database}: one point failed, see above"),
        failed => bail!("{database}: {failed} points failed, see above"),
    }
}

pub(super) async fn timescale(place: Place) -> anyhow::Result<()> {
    let config = match place.database()? {
        DatabaseUrl::Postgres(config) => config,
        database @ DatabaseUrl::Sqlite(_) => {
            say!(
                "{database} is an embedded SQLite database: it has no hypertables. Name a PostgreSQL database with --database"
            );
            return Ok(());
        }
    };
    let client = connect(&config).await?;
    let Some(extension) = extension(&client).await? else {
        say!("no TimescaleDB in this database: {HOW_TO_GET}");
        return Ok(());
    };
    say!("TimescaleDB {}, licence {}", extension.version, extension.licence);
    let hypertables = hypertables(&client, &extension).await?;
    let rows = hypertables.iter().map(|it| {
        let dimensions = it.dimensions.iter().map(|dimension| match (&dimension.interval, dimension.parts) {
            (Some(interval), _) => format!("{} by {interval}", dimension.column),
            (None, Some(parts)) => format!("{} in {parts} parts", dimension.column),
            (None, None) => dimension.column.clone(),
        });
        vec![
            format!("{}.{}", it.schema, it.table),
            dimensions.collect::<Vec<_>>().join(", "),
            it.chunks.to_string(),
            shown_bytes(it.bytes),
            shown_bytes(it.largest_chunk_bytes),
        ]
    });
    print_table(&["hypertable", "dimensions", "chunks", "size", "largest chunk"], &rows.collect::<Vec<_>>());
    Ok(())
}

pub(super) async fn optimize(args: OptimizeArgs) -> anyhow::Result<()> {
    let (database, _, schema) = schemas(&args.place).await?;
    let mut say = |line: &str| say!("{line}");
    match (args.plan, args.undo) {
        (true, _) => optimize::plan(&database, &schema, &mut say).await,
        (_, true) => optimize::undo(&database, &mut say).await,
        _ => optimize::run(&database, &schema, &mut say).await,
    }
}

pub(super) async fn vacuum(args: VacuumArgs) -> anyhow::Result<()> {
    let (database, _, _) = schemas(&args.place).await?;
    let sizes = vacuum::vacuum(&database, args.full, &mut |table| say!("vacuumed {table}")).await?;
    say!("{database}: {}, was {}", shown_bytes(sizes.after), shown_bytes(sizes.before));
    Ok(())
}
