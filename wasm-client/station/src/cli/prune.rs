//! `tidemark prune`

use std::path::Path;

use serde_json::{Value as Json, json};
use tidemark_client::prune::{Outcome, TableReport, Wish};
use tidemark_core::timestamp;

use super::fatal::{EXIT_UNREACHABLE, Fatal};
use super::trust::TrustArgs;
use super::{show, words};
use crate::clock::now_ms;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Rows whose time lies further back than this go: 90d, 12w, 36h or 2y.
    #[arg(long, value_name = "SPAN", env = "TIDEMARK_PRUNE_OLDER_THAN", value_parser = span_ms)]
    older_than: i64,
    /// Only of this table.
    #[arg(long, value_name = "T")]
    table: Option<String>,
    /// Change nothing; ask the server, and say what would go.
    #[arg(long)]
    dry_run: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// A span of time in milliseconds.
pub(super) fn span_ms(text: &str) -> Result<i64, String> {
    const HOUR_MS: i64 = 3_600_000;
    let bad = || format!("{text:?} is no span of time: write a whole number and h, d, w or y, such as 90d");
    let unit = text.chars().next_back().ok_or_else(bad)?;
    let unit_ms = match unit {
        'h' => HOUR_MS,
        'd' => 24 * HOUR_MS,
        'w' => 7 * 24 * HOUR_MS,
        'y' => 365 * 24 * HOUR_MS,
        _ => return Err(bad()),
    };
    let number = text.strip_suffix(unit).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let number: i64 = number.and_then(|number| number.parse().ok()).filter(|number| *number > 0).ok_or_else(bad)?;
    number
        .checked_mul(unit_ms)
        .filter(|ms| *ms <= 10_000 * 365 * 24 * HOUR_MS)
        .ok_or_else(|| format!("{text} is too long"))
}

pub(super) fn run(db: &Path, args: &Args, trust: &TrustArgs) -> Result<(), Fatal> {
    let before_us = now_ms().saturating_sub(args.older_than).saturating_mul(1000);
    let wish = Wish { before_us, table: args.table.clone(), dry_run: args.dry_run };
    let bar = show::bar(None, "{spinner} pruning, {elapsed}");
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let reports = prune(db, &wish, trust);
    bar.finish_and_clear();
    let reports = reports?;
    if args.json {
        show::line(&format!("{:#}", json_of(&reports, before_us, args.dry_run)));
    } else {
        print(&reports, before_us, args.dry_run);
    }
    Ok(())
}

/// Removes old rows of a file.
pub(super) fn prune(db: &Path, wish: &Wish, trust: &TrustArgs) -> Result<Vec<TableReport>, Fatal> {
    let mut station = trust.station(super::file::open_whole(db)?)?;
    let mut transport = station.transport()?;
    match station.prune_with(&mut transport, wish)? {
        Outcome::Pruned(reports) => Ok(reports),
        Outcome::Unreachable(message) => Err(Fatal {
            code: EXIT_UNREACHABLE,
            message: format!("{message}. Only rows go that the server says it holds; nothing is lost, try again later"),
        }),
        Outcome::Stopped(stop) => Err(Fatal::new(words::stop(&stop))),
    }
}

fn print(reports: &[TableReport], before_us: i64, dry_run: bool) {
    let what = if dry_run { "would go" } else { "pruned" };
    show::line(&format!("{:<32} {what:>10}", "table"));
    for report in reports {
        let kept = report.kept;
        let mut notes: Vec<String> = report.refused.iter().cloned().collect();
        for (count, why) in [
            (kept.pending, "with changes on their way"),
            (kept.rejected, "with rejected changes"),
            (kept.referenced, "that other rows here reference"),
            (kept.differing, "that upstream does not hold as they are here (`tidemark verify`)"),
            (kept.newest, "with the highest key"),
        ] {
            if count > 0 {
                notes.push(format!("{count} {why}"));
            }
        }
        let stay = if notes.is_empty() { String::new() } else { format!("  stay: {}", notes.join(", ")) };
        show::line(&format!("{:<32} {:>10}{stay}", report.table, report.pruned));
    }
    let pruned: u64 = reports.iter().map(|report| report.pruned).sum();
    let before = timestamp::format(before_us);
    show::line(&format!(
        "{} from before {} UTC {}",
        show::count(pruned, "row"),
        &before[..19],
        if dry_run {
            "would go, and then those that only these reference; nothing was changed"
        } else {
            "removed here; upstream has them (`tidemark vacuum` gives the room back to the disk)"
        }
    ));
}

fn json_of(reports: &[TableReport], before_us: i64, dry_run: bool) -> Json {
    let tables: Vec<Json> = reports
        .iter()
        .map(|report| {
            let kept = report.kept;
            json!({
                "table": report.table,
                "pruned": report.pruned,
                "kept": {
                    "pending": kept.pending,
                    "rejected": kept.rejected,
                    "referenced": kept.referenced,
                    "differing": kept.differing,
                    "newest": kept.newest,
                },
                "refused": report.refused,
            })
        })
        .collect();
    json!({
        "before": timestamp::format(before_us),
        "dry_run": dry_run,
        "pruned": reports.iter().map(|report| report.pruned).sum::<u64>(),
        "tables": tables,
    })
}

#[cfg(test)]
mod tests {
    use super::span_ms;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        let day = 86_400_000;
        for (text, ms) in [("90d", 90 * day), ("36h", day * 3 / 2), ("2w", 14 * day), ("1y", 365 * day)] {
            assert_eq!(span_ms(text), Ok(ms));
        }
        for bad in [
            "",
            "d",
            "90",
            "0d",
            "-1d",
            "+1d",
            "1.5d",
            "90 d",
            "90m",
            "٣d",
            "99999999999999999999d",
            "11000y",
            "dd",
            "9ü",
        ] {
            assert!(span_ms(bad).is_err(), "{bad}");
        }
    }
}
