//! `tidemark attach`

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use tidemark_client::attach::{self, Difference, Tables};
use tidemark_client::backup::back_up;
use tidemark_client::{Error, Store};
use tidemark_core::schema::{Schema, shrinkage};

use super::fatal::Fatal;
use super::init::read_schema;
use super::{show, words};
use crate::clock::now_ms;
use crate::entropy;
use crate::station::StationError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database of another system; without it, the file of --db.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The schema file; without it, the shipped schema of the shrinkage system.
    #[arg(long, env = "TIDEMARK_SCHEMA", value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Change nothing: list where the file and the schema differ, and every row that cannot go upstream as it is. Exits
    /// 1 when there are such rows.
    #[arg(long)]
    check: bool,
    /// Where the copy of the file goes that is made before anything is changed; without it, FILE.before-tidemark.
    #[arg(long, value_name = "FILE", conflicts_with = "no_backup")]
    backup: Option<PathBuf>,
    /// Make no copy.
    #[arg(long)]
    no_backup: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let path = args.file.as_deref().unwrap_or(db);
    match Store::open(path) {
        Ok(store) if args.check => {
            let schema = store.schema().clone();
            list_problems(path, &schema, &tables_of(path, &schema)?, &[], args.json)
        }
        Ok(store) => go_on(path, store, args),
        Err(Error::NotTidemark { .. }) => {
            let schema = args.schema.as_deref().map_or_else(|| Ok(shrinkage()), read_schema)?;
            let differences = attach::differences(path, &schema)?;
            if args.check {
                return list_problems(path, &schema, &attach::tables(path, &schema)?, &differences, args.json);
            }
            attach_anew(path, &schema, &differences, args)
        }
        Err(Error::Missing { file }) => Err(Fatal::new(format!(
            "{file}: no such file; name the database that the other system writes: `tidemark attach FILE`. Nothing was changed"
        ))),
        Err(error) => Err(error.into()),
    }
}

fn attach_anew(path: &Path, schema: &Schema, differences: &[Difference], args: &Args) -> Result<(), Fatal> {
    let shown = path.display();
    if differences.iter().any(|found| found.stops) {
        if args.json {
            show::json(&facts("refused", path, schema, &attach::tables(path, schema)?, differences));
        } else {
            show_differences(differences);
        }
        return Err(Fatal::new(format!(
            "{shown}: cannot be attached as it is; see the lines marked «stops». Nothing was changed"
        )));
    }
    let mut copy = None;
    if !args.no_backup {
        let backup = args.backup.clone().unwrap_or_else(|| {
            let mut name = path.as_os_str().to_owned();
            name.push(".before-tidemark");
            name.into()
        });
        back_up(path, &backup)?;
        if !args.json {
            show::line(&format!("{shown}: copied to {}", backup.display()));
        }
        copy = Some(backup);
    }
    let uuid = entropy::station_uuid().map_err(StationError::from)?;
    let (mut store, attached) = Store::attach(path, schema, uuid)?;
    if !args.json {
        show_differences(&attached.differences);
    }
    super::file::backfill(&mut store)?;
    let tables = attach::tables(path, schema)?;
    if args.json {
        let mut facts = facts("attached", path, schema, &tables, &attached.differences);
        facts["rows"] = attached.rows.into();
        facts["copy"] = json!(copy);
        show::json(&facts);
        return Ok(());
    }
    show::line(&format!(
        "{shown}: attached, schema {} version {}, {} captured; {} in the log. Programs go on as ever, what they write is captured; \
         `tidemark attach --check` lists what cannot go upstream, `tidemark join CODE` connects the file to a server",
        schema.name(),
        schema.version(),
        captured(&tables),
        show::count_with(attached.rows, "row", ["that was there is", "that were there are"])
    ));
    Ok(())
}

/// How many of the schema's tables are captured.
fn captured(tables: &Tables) -> String {
    format!("{} of {}", tables.captured.len(), show::count(tables.of_schema() as u64, "table"))
}

/// The tables of a file that was attached before; one without any, by an older version.
fn tables_of(path: &Path, schema: &Schema) -> Result<Tables, Fatal> {
    attach::tables(path, schema).map_err(|error| match error {
        Error::NoTables { .. } => Fatal::new(format!(
            "{}, once `tidemark --db {} detach` has taken Tidemark's tables out of it",
            words::error(&error.into()),
            path.display()
        )),
        other => other.into(),
    })
}

/// A file that is attached, or made by `init`, already.
fn go_on(path: &Path, mut store: Store, args: &Args) -> Result<(), Fatal> {
    let shown = path.display();
    if let Some(schema) = args.schema.as_deref().map(read_schema).transpose()?
        && schema.fingerprint() != store.schema().fingerprint()
    {
        return Err(Fatal::new(format!(
            "{shown}: is a station's file already and follows {} version {}; `tidemark upgrade --schema FILE` lets it follow a newer version",
            store.schema().name(),
            store.schema().version()
        )));
    }
    let tables = tables_of(path, &store.schema().clone())?;
    let logged = super::file::backfill(&mut store)?;
    if args.json {
        let mut facts = facts("was-attached", path, store.schema(), &tables, &[]);
        facts["rows"] = logged.into();
        show::json(&facts);
        return Ok(());
    }
    let what = if logged > 0 {
        format!(
            "; {} in the log now, too",
            show::count_with(logged, "row", ["that was there is", "that were there are"])
        )
    } else {
        String::new()
    };
    show::line(&format!("{shown}: is a station's file already, {} captured{what}", captured(&tables)));
    Ok(())
}

fn show_differences(differences: &[Difference]) {
    for found in differences {
        show::line(&format!("  {} {found}", if found.stops { "stops:" } else { "differs:" }));
    }
}

/// The facts of the file, for programs.
fn facts(state: &str, path: &Path, schema: &Schema, tables: &Tables, differences: &[Difference]) -> Json {
    let differences = differences
        .iter()
        .map(|found| json!({ "table": found.table, "column": found.column, "what": found.what, "stops": found.stops }));
    json!({
        "state": state,
        "file": path,
        "schema": { "name": schema.name(), "version": schema.version() },
        "captured": tables.captured,
        "lacking": tables.lacking,
        "differences": differences.collect::<Vec<_>>(),
    })
}

fn list_problems(
    path: &Path,
    schema: &Schema,
    tables: &Tables,
    differences: &[Difference],
    as_json: bool,
) -> Result<(), Fatal> {
    let shown = path.display();
    if !as_json {
        show_differences(differences);
    }
    let count = attach::problems::<Error>(path, schema, now_ms(), &mut |problem| {
        if as_json {
            let facts = json!({
                "table": problem.table, "key": problem.key, "code": problem.code.as_str(), "reason": problem.reason,
            });
            show::line(&facts.to_string());
        } else {
            show::line(&problem.to_string());
        }
        Ok(())
    })?;
    if as_json {
        let mut facts = facts("checked", path, schema, tables, differences);
        facts["problems"] = count.into();
        show::line(&facts.to_string());
    } else if count == 0 {
        show::line(&format!("{shown}: every row can go upstream; {} captured", captured(tables)));
    }
    if count == 0 {
        return Ok(());
    }
    Err(Fatal::new(format!(
        "{shown}: {} cannot go upstream unchanged; {} captured. Repair here, with the program that wrote it or in SQL; or attach the file and push: such rows \
         are kept as rejected changes, and `tidemark rejects repair` repairs each later. Nothing was changed",
        show::count(count, "row"),
        captured(tables)
    )))
}
