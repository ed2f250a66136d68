//! `info`, `test`, `timescale`, `optimize`, `vacuum`.

use anyhow::bail;
use clap::Args;
use serde_json::json;
use tidemark_core::amount::{bytes, count};
use tidemark_core::schema::{Schema, shrinkage};
use tidemark_migrations::postgres::timescale as timescale_state;

use super::place::{Look, Place};
use super::terminal::{print_json, print_table};
use crate::admin::check::Point;
use crate::admin::info::{Info, TableInfo, info};
use crate::admin::optimize::Plan;
use crate::admin::timescale::{extension, how_to_get, hypertables};
use crate::admin::{check, connect, optimize, vacuum};
use crate::config::{DatabaseUrl, load_schema};
use crate::server::schema_of_database;

#[derive(Args)]
pub(super) struct OptimizeArgs {
    /// Only say what would be done.
    #[arg(long)]
    plan: bool,
    /// Take back what a run left that was broken off, instead of going on with it.
    #[arg(long, conflicts_with = "plan")]
    undo: bool,
    /// With --plan: as JSON, for programs.
    #[arg(long, requires = "plan")]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(super) struct VacuumArgs {
    /// PostgreSQL: rewrite the tables, which gives the room back to the disk; each is locked meanwhile, and stations
    /// wait.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    look: Look,
}

/// The schema the database was migrated to, and the one to go by: the file's, else the database's, else the shipped
/// one.
async fn schemas(place: &Place) -> anyhow::Result<(DatabaseUrl, Option<Schema>, Schema)> {
    let database = place.database()?;
    if let DatabaseUrl::Sqlite(path) = &database {
        // Looking at a database does not make it.
        crate::admin::open_file(path)?;
    }
    let recorded = schema_of_database(&database).await?;
    let schema = match (&place.schema, &recorded) {
        (Some(file), _) => load_schema(file)?,
        (None, Some(recorded)) => recorded.clone(),
        (None, None) => shrinkage(),
    };
    Ok((database, recorded, schema))
}

pub(super) async fn show_info(look: Look) -> anyhow::Result<()> {
    let (database, recorded, schema) = schemas(&look.place).await?;
    let info = info(&database, recorded.as_ref(), &schema).await?;
    if look.json {
        return print_json(&info);
    }
    print_info(&info);
    Ok(())
}

fn print_info(info: &Info) {
    let line = |name: &str, value: &str| say!("{name:<14}{value}");
    let kind = if info.kind == "sqlite" { "SQLite" } else { "PostgreSQL" };
    line("database", &info.database);
    line("kind", &format!("{kind} {}", info.version));
    if let Some(connection) = &info.connection {
        line("connection", connection);
    }
    if info.kind != "sqlite" {
        let timescale = info.timescaledb.as_ref();
        line(
            "timescaledb",
            &timescale.map_or("none".to_owned(), |it| format!("{}, licence {}", it.version, it.licence)),
        );
    }
    line("size", &bytes(info.bytes));
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
    let chunks = |chunks: u64| format!("yes, {}", count(chunks, "chunk"));
    vec![
        table.name.clone(),
        table.rows.to_string(),
        table.bytes.map_or_else(|| "-".to_owned(), bytes),
        table.chunks.map_or_else(|| "-".to_owned(), chunks),
    ]
}

pub(super) async fn test(look: Look) -> anyhow::Result<()> {
    let database = look.place.database()?;
    let wanted = look.place.schema.as_deref().map(load_schema).transpose()?;
    let points = check::check(&database, wanted).await;
    let failed: Vec<&Point> = points.iter().filter(|point| !point.good).collect();
    if look.json {
        print_json(&json!({ "ok": failed.is_empty(), "database": database.to_string(), "checks": points }))?;
    } else {
        for point in &points {
            let sql = point.sql.as_ref().map(|sql| format!(": {sql}")).unwrap_or_default();
            say!("{:<5} {:<12} {}{sql}", verdict(point), point.name, point.found);
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        // Nothing could be looked at: what is in the way is all there is to say.
        [only] if points.len() == 1 => bail!("{}", only.found),
        failed => bail!("{database}: {} failed, see above", count(failed.len() as u64, "point")),
    }
}

const fn verdict(point: &Point) -> &'static str {
    match (point.good, point.warns) {
        (false, _) => "FAIL",
        (true, true) => "warn",
        (true, false) => "ok",
    }
}

pub(super) async fn timescale(look: Look) -> anyhow::Result<()> {
    let config = match look.place.database()? {
        DatabaseUrl::Postgres(config) => config,
        database @ DatabaseUrl::Sqlite(_) => {
            let why = format!(
                "{database} is an embedded SQLite database: it has no hypertables. Name a PostgreSQL database with --database"
            );
            return no_hypertables(look.json, &why);
        }
    };
    let client = connect(&config).await?;
    let Some(extension) = extension(&client).await? else {
        let how = how_to_get(&timescale_state(&client).await?);
        return no_hypertables(look.json, &format!("no TimescaleDB in this database: {how}"));
    };
    let hypertables = hypertables(&client, &extension).await?;
    if look.json {
        return print_json(&json!({ "timescaledb": extension, "why": null, "hypertables": hypertables }));
    }
    say!("TimescaleDB {}, licence {}", extension.version, extension.licence);
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
            bytes(it.bytes),
            bytes(it.largest_chunk_bytes),
        ]
    });
    print_table(&["hypertable", "dimensions", "chunks", "size", "largest chunk"], &rows.collect::<Vec<_>>());
    Ok(())
}

fn no_hypertables(json: bool, why: &str) -> anyhow::Result<()> {
    if json {
        return print_json(&json!({ "timescaledb": null, "why": why, "hypertables": [] }));
    }
    say!("{why}");
    Ok(())
}

pub(super) async fn optimize(args: OptimizeArgs) -> anyhow::Result<()> {
    let (database, _, schema) = schemas(&args.place).await?;
    let mut say = |line: &str| say!("{line}");
    if args.plan {
        let plan = optimize::plan(&database, &schema).await?;
        if args.json {
            return print_json(&plan);
        }
        print_plan(&plan);
        return Ok(());
    }
    if args.undo {
        optimize::undo(&database, &mut say).await
    } else {
        optimize::run(&database, &schema, &mut say).await
    }
}

fn print_plan(plan: &Plan) {
    if !plan.can_have_hypertables {
        say!("an embedded SQLite database has no hypertables; its statistics would be renewed");
        return;
    }
    if let Some(how) = &plan.get_timescaledb {
        say!("no TimescaleDB in this database; it would be created if that can be done. {how}");
    }
    if plan.was_broken_off {
        say!("a run before was broken off; it would go on where it was");
    }
    for table in &plan.tables {
        let way = match table.in_place_for.as_slice() {
            [] => "online: copied in pieces while stations push, then swapped under a short lock".to_owned(),
            reasons => format!("in place, locked until it is done: {}", reasons.join("; ")),
        };
        say!("{}: about {}, {}; {way}", table.table, count(table.rows_about, "row"), bytes(table.bytes));
    }
    if plan.tables.is_empty() {
        say!("every table with a time column is a hypertable; the statistics would be renewed");
    }
}

pub(super) async fn vacuum(args: VacuumArgs) -> anyhow::Result<()> {
    let (database, _, _) = schemas(&args.look.place).await?;
    let json = args.look.json;
    let mut tables = Vec::new();
    let mut told = |table: &str| {
        tables.push(table.to_owned());
        if !json {
            say!("vacuumed {table}");
        }
    };
    let sizes = vacuum::vacuum(&database, args.full, &mut told).await?;
    if json {
        let database = database.to_string();
        return print_json(
            &json!({ "database": database, "tables": tables, "bytes_before": sizes.before, "bytes": sizes.after }),
        );
    }
    say!("{database}: {}, was {}", bytes(sizes.after), bytes(sizes.before));
    Ok(())
}
