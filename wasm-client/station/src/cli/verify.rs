//! `tidemark verify`

use std::path::Path;

use serde_json::{Value as Json, json};
use tidemark_client::verify::{Difference, Kind, Outcome, Repaired, Report, Wish};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::ids::LOCAL_ID_MAX;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::timestamp;

use super::fatal::{EXIT_UNREACHABLE, Fatal};
use super::trust::TrustArgs;
use super::{show, words};

/// The comparison could not be made. (1 says that there are differences, as `cmp` and `diff` do.)
const EXIT_TROUBLE: u8 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Send what differs once more, as new changes, and compare again.
    #[arg(long)]
    repair: bool,
    /// Do not push first what waits in the log; nothing may wait then.
    #[arg(long, conflicts_with = "repair")]
    no_push: bool,
    /// Only this table.
    #[arg(long, value_name = "T")]
    table: Option<String>,
    /// How many differing rows to show.
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args, trust: &TrustArgs) -> Result<(), Fatal> {
    let trouble = |fatal: Fatal| if fatal.code == 1 { Fatal { code: EXIT_TROUBLE, ..fatal } } else { fatal };
    let (schema, report, repaired) = compare(db, args, trust).map_err(trouble)?;
    if args.json {
        show::line(&format!("{:#}", json_of(&schema, &report, repaired.as_ref(), args.limit)));
    } else {
        print(&schema, &report, repaired.as_ref(), args.limit);
    }
    if report.is_equal() {
        return Ok(());
    }
    let count = show::count(report.found(), "difference");
    Err(Fatal::new(match (report.complete, args.repair) {
        (false, _) => format!("upstream does not equal the station: at least {count}, the comparison ended there"),
        (true, false) => format!(
            "upstream does not equal the station: {count} (`tidemark verify --repair` sends these rows once more)"
        ),
        (true, true) => {
            format!("upstream does not equal the station: {count} left after the repair; ask the server's operator")
        }
    }))
}

fn compare(db: &Path, args: &Args, trust: &TrustArgs) -> Result<(Schema, Report, Option<Repaired>), Fatal> {
    let mut station = trust.station(super::file::open_whole(db)?)?;
    let wish = Wish { table: args.table.clone(), push: !args.no_push, repair: args.repair, detailed: args.limit };
    let mut transport = station.transport()?;
    let bar = show::bar(None, "{spinner} comparing with upstream, {elapsed}");
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let outcome = station.verify_with(&mut transport, &wish);
    bar.finish_and_clear();
    match outcome? {
        Outcome::Compared { report, repaired } => Ok((station.store().schema().clone(), report, repaired)),
        Outcome::Waiting(pending) => Err(Fatal::new(format!(
            "{} not pushed yet, so nothing was compared; run it without --no-push, or `tidemark push` first",
            show::count_is(pending, "change")
        ))),
        Outcome::Unreachable(message) => Err(Fatal {
            code: EXIT_UNREACHABLE,
            message: format!("{message}. The comparison did not come to its end; nothing is lost, try again later"),
        }),
        Outcome::Stopped(stop) => Err(Fatal::new(words::stop(&stop))),
    }
}

fn print(schema: &Schema, report: &Report, repaired: Option<&Repaired>, limit: usize) {
    if let Some(repaired) = repaired {
        show::line(&repair_line(repaired));
    }
    show::line(&format!(
        "{:<32} {:>10} {:>7} {:>9} {:>7} {:>9}  {}",
        "table", "rows", "ranges", "missing", "extra", "changed", ""
    ));
    for table in &report.tables {
        let mut notes = Vec::new();
        for (count, what) in [
            (table.known, "differ by a rejected change"),
            (table.unsendable, "cannot travel"),
            (table.pending, "on their way"),
            (table.pruned, "pruned here"),
        ] {
            if count > 0 {
                notes.push(format!("{count} {what}"));
            }
        }
        show::line(
            format!(
                "{:<32} {:>10} {:>7} {:>9} {:>7} {:>9}  {}",
                table.table,
                table.rows,
                table.ranges,
                table.missing,
                table.extra,
                table.changed,
                notes.join(", ")
            )
            .trim_end(),
        );
    }
    if report.tables.iter().any(|table| table.known + table.unsendable > 0) {
        show::line("(`tidemark rejects` shows the rejected changes)");
    }
    for found in report.differences.iter().take(limit) {
        show::line(&difference_line(schema, found));
        for cell in &found.cells {
            show::line(&format!("    {}: {} here, {} upstream", cell.column, cell.here, cell.upstream));
        }
    }
    for day in report.pruned.iter().take(limit) {
        let why = if day.upstream == day.here { "with other values" } else { "not those" };
        show::line(&format!(
            "{}, {}: {} pruned here, {} of them upstream, {why}; only the server's operator can mend them",
            schema.tables()[day.table].name,
            &timestamp::format(day.day_us)[..10],
            show::count(day.here, "row"),
            day.upstream
        ));
    }
    if report.differences.len() > limit {
        show::line(&format!("… and {} more; --limit N shows more", report.differences.len() - limit));
    }
    if let Some(agreed) = report.agreed {
        let chain = &agreed.chain.to_hex()[..12];
        show::line(&format!(
            "log: {} upstream, the same chain on both sides ({chain}…)",
            show::count(agreed.seq, "change")
        ));
    }
    if report.is_equal() {
        show::line("upstream equals the station");
    }
}

fn repair_line(repaired: &Repaired) -> String {
    let mut line = format!(
        "repaired: {} found; {} sent once more, {} deleted upstream",
        show::count(repaired.differences, "difference"),
        show::count(repaired.rewritten, "row"),
        show::count(repaired.removed, "row")
    );
    if repaired.rejected > 0 {
        line.push_str(&format!(", {} of these changes rejected (`tidemark rejects`)", repaired.rejected));
    }
    if repaired.out_of_reach > 0 {
        line.push_str(&format!(
            ", {} upstream only that no change of this station can name",
            show::count(repaired.out_of_reach, "row")
        ));
    }
    if repaired.append_only > 0 {
        line.push_str(&format!(
            ", {} of append tables left as they are upstream",
            show::count(repaired.append_only, "row")
        ));
    }
    line
}

/// The row as the station knows it; only upstream's own key where the station has none.
fn local_key(found: &Difference) -> Option<i64> {
    match found.identity.key {
        Key::Integer(id) if found.kind != Kind::Extra => Some(id & LOCAL_ID_MAX),
        _ => None,
    }
}

fn time_of(table: &Table, identity: &Identity) -> Option<String> {
    table.time.map(|_| timestamp::format(identity.time_us))
}

fn difference_line(schema: &Schema, found: &Difference) -> String {
    let table = &schema.tables()[found.table];
    let what = match found.kind {
        Kind::Missing => "missing upstream",
        Kind::Extra => "upstream only",
        Kind::Changed => "changed",
    };
    let row = local_key(found).map(|key| format!("row {key}, ")).unwrap_or_default();
    let time = time_of(table, &found.identity).map(|time| format!(", {time}")).unwrap_or_default();
    format!("{}, {row}upstream {}{time}: {what}", table.name, found.identity.key)
}

fn json_of(schema: &Schema, report: &Report, repaired: Option<&Repaired>, limit: usize) -> Json {
    let tables: Vec<Json> = report
        .tables
        .iter()
        .map(|table| {
            json!({
                "table": table.table,
                "rows": table.rows,
                "ranges": table.ranges,
                "missing": table.missing,
                "extra": table.extra,
                "changed": table.changed,
                "rejected": table.known,
                "unsendable": table.unsendable,
                "pending": table.pending,
                "pruned": table.pruned,
            })
        })
        .collect();
    let differences: Vec<Json> = report
        .differences
        .iter()
        .take(limit)
        .map(|found| {
            let table = &schema.tables()[found.table];
            let cells: Vec<Json> = found
                .cells
                .iter()
                .map(|cell| json!({ "column": cell.column, "here": cell.here, "upstream": cell.upstream }))
                .collect();
            json!({
                "table": table.name,
                "kind": found.kind.as_str(),
                "row": local_key(found),
                "upstream_key": found.identity.key,
                "time": time_of(table, &found.identity),
                "cells": cells,
            })
        })
        .collect();
    let pruned: Vec<Json> = report
        .pruned
        .iter()
        .take(limit)
        .map(|day| {
            json!({
                "table": schema.tables()[day.table].name,
                "day": timestamp::format(day.day_us)[..10],
                "here": day.here,
                "upstream": day.upstream,
            })
        })
        .collect();
    json!({
        "equal": report.is_equal(),
        "complete": report.complete,
        "tidemark": report.agreed.map(|cursor| cursor.seq),
        "chain": report.agreed.map(|cursor| cursor.chain.to_hex()),
        "tables": tables,
        "differences_found": report.found(),
        "differences": differences,
        "pruned_differences": pruned,
        "repaired": repaired.map(|repaired| json!({
            "differences": repaired.differences,
            "rewritten": repaired.rewritten,
            "removed": repaired.removed,
            "rejected": repaired.rejected,
            "out_of_reach": repaired.out_of_reach,
            "append_only": repaired.append_only,
        })),
        "requests": report.requests,
    })
}
