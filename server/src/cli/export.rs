//! `export`: the way back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value as Json, json};
use tidemark_core::amount::count;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;

use super::place::Look;
use super::terminal::{print_json, print_table};
use crate::config::DatabaseUrl;
use crate::export::{Export, Exported};
use crate::stations::StationSummary;
use crate::upstream::Upstream;

#[derive(Args)]
pub(super) struct ExportArgs {
    /// The new file: sqlite:///relative.db or sqlite:////absolute.db.
    #[arg(long, value_name = "URL")]
    to: String,
    /// Only the rows of this station, by name or number, and of those that it replaced; 0 is headquarters. May be
    /// given more than once.
    #[arg(long = "station", value_name = "NAME|N")]
    stations: Vec<String>,
    /// Writes down which upstream ids became which: table, station, the highest id in the station's block, what is
    /// added to it.
    #[arg(long, value_name = "FILE.csv")]
    map: Option<PathBuf>,
    #[command(flatten)]
    look: Look,
}

pub(super) async fn run(args: ExportArgs) -> anyhow::Result<()> {
    let to = match args.to.parse()? {
        DatabaseUrl::Sqlite(path) => path,
        other @ DatabaseUrl::Postgres(_) => {
            bail!(
                "--to {other}: an export is a SQLite file; write --to sqlite:///file.db or --to sqlite:////absolute/file.db"
            )
        }
    };
    if let DatabaseUrl::Sqlite(path) = args.look.place.database()?
        && !path.exists()
    {
        bail!("there is no database file {}; name the upstream with --database", path.display());
    }
    let (config, upstream) = args.look.place.open().await?;
    let summaries = upstream.stations().await?;
    let chosen = choose(&args.stations, &summaries, &*upstream).await?;
    let map = args.map.as_ref().map(|path| {
        File::create_new(path)
            .with_context(|| format!("cannot write {} (a file that is there is left alone)", path.display()))
    });
    let map = map.transpose()?;
    let exported = write(&config.schema, chosen.clone(), &to, &*upstream).await;
    let exported = match exported {
        Ok(exported) => exported,
        Err(error) => {
            if let Some(path) = &args.map {
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
    };
    if let (Some(file), Some(path)) = (map, &args.map) {
        write_map(file, &config.schema, &exported).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.look.json {
        return print_json(&facts(&config.schema, &exported, &to, chosen.as_ref(), &summaries));
    }
    report(&config.schema, &exported, &to.display().to_string(), chosen.as_ref(), &summaries);
    Ok(())
}

async fn write(
    schema: &Arc<Schema>,
    chosen: Option<BTreeSet<u32>>,
    to: &std::path::Path,
    upstream: &dyn Upstream,
) -> anyhow::Result<Exported> {
    let export = Export::new(Arc::clone(schema), chosen, to)?;
    upstream.export(export).await.context("nothing was exported")?.finish()
}

/// The numbers that were asked for, each with those whose rows it owns; `None` for all.
async fn choose(
    asked: &[String],
    summaries: &[StationSummary],
    upstream: &dyn Upstream,
) -> anyhow::Result<Option<BTreeSet<u32>>> {
    if asked.is_empty() {
        return Ok(None);
    }
    let replaced: HashMap<StationNumber, StationNumber> = upstream
        .lineages()
        .await?
        .into_iter()
        .filter_map(|of| of.former.filter(|former| former.owned).map(|former| (of.station, former.number)))
        .collect();
    let mut chosen = BTreeSet::new();
    for word in asked {
        let named = summaries.iter().find(|station| station.record.name == *word);
        let number = match named {
            Some(station) => match station.record.number {
                Some(number) => number.get(),
                None => bail!("--station {word:?} has not joined yet: it has no rows upstream"),
            },
            None => match word.parse::<u32>() {
                Ok(number)
                    if number == 0 || summaries.iter().any(|s| s.record.number.is_some_and(|n| n.get() == number)) =>
                {
                    number
                }
                _ => bail!(
                    "--station {word:?}: there is no such station; `tidemark-server station list` shows all, 0 is headquarters"
                ),
            },
        };
        chosen.insert(number);
        let mut next = StationNumber::new(number).ok();
        while let Some(former) = next.and_then(|number| replaced.get(&number)).copied() {
            next = chosen.insert(former.get()).then_some(former);
        }
    }
    Ok(Some(chosen))
}

fn write_map(file: File, schema: &Schema, exported: &Exported) -> std::io::Result<()> {
    let mut out = BufWriter::new(file);
    writeln!(out, "table,station,highest_local_id,added")?;
    for mapped in exported.ids.mapped() {
        let table = &schema.tables()[mapped.table].name;
        writeln!(out, "{table},{},{},{}", mapped.station, mapped.highest, mapped.offset)?;
    }
    out.into_inner()?.sync_all()
}

/// Changes of the chosen stations that could not be applied, and so are not in the file.
fn rejected(chosen: Option<&BTreeSet<u32>>, summaries: &[StationSummary]) -> u64 {
    let is_chosen = |station: &&StationSummary| {
        let number = station.record.number.map(StationNumber::get);
        chosen.is_none_or(|chosen| number.is_some_and(|number| chosen.contains(&number)))
    };
    summaries.iter().filter(is_chosen).map(|station| station.rejects).sum()
}

fn facts(
    schema: &Schema,
    exported: &Exported,
    to: &Path,
    chosen: Option<&BTreeSet<u32>>,
    summaries: &[StationSummary],
) -> Json {
    let rows = schema.tables().iter().zip(exported.rows.iter().zip(&exported.orphans));
    let tables: Vec<Json> = rows
        .map(|(table, (rows, orphans))| json!({ "name": table.name, "rows": rows, "references_to_nothing": orphans }))
        .collect();
    json!({
        "file": to,
        "rows": exported.rows.iter().sum::<u64>(),
        "tables": tables,
        "stations": exported.ids.order(),
        "rejected": rejected(chosen, summaries),
    })
}

fn report(
    schema: &Schema,
    exported: &Exported,
    to: &str,
    chosen: Option<&BTreeSet<u32>>,
    summaries: &[StationSummary],
) {
    let rows = schema.tables().iter().zip(exported.rows.iter().zip(&exported.orphans));
    let rows: Vec<Vec<String>> =
        rows.map(|(table, (rows, orphans))| vec![table.name.clone(), rows.to_string(), orphans.to_string()]).collect();
    print_table(&["table", "rows", "references to nothing"], &rows);
    let names: BTreeMap<u32, &str> = summaries
        .iter()
        .filter_map(|station| Some((station.record.number?.get(), station.record.name.as_str())))
        .collect();
    let name = |number: &u32| match (number, names.get(number)) {
        (0, _) => "headquarters (0)".to_owned(),
        (_, Some(name)) => format!("{name} ({number})"),
        (_, None) => format!("station {number}"),
    };
    let order: Vec<String> = exported.ids.order().iter().map(name).collect();
    let total: u64 = exported.rows.iter().sum();
    let (rows, tables) = (count(total, "row"), count(schema.tables().len() as u64, "table"));
    say!("{to}: {rows} in {tables}, checked: every page, and every table's count");
    match order.as_slice() {
        [] => {}
        [only] => say!("ids: those of {only} as they were written there"),
        [first, rest @ ..] => say!(
            "ids: those of {first} as they were written there; after them, moved up in each table: {} (--map FILE.csv says by how much)",
            rest.join(", ")
        ),
    }
    let rejects = rejected(chosen, summaries);
    if rejects > 0 {
        say!(
            "not in it: {} that could not be applied upstream (tidemark-server rejects list)",
            count(rejects, "change")
        );
    }
}
