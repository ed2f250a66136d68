//! `tidemark attach`

use std::path::{Path, PathBuf};

use tidemark_client::attach::{self, Difference, Tables};
use tidemark_client::backup::back_up;
use tidemark_client::{Error, Store};
use tidemark_core::schema::{Schema, shrinkage};

use super::init::read_schema;
use super::{Fatal, show};
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
    /// Change nothing: list where the file and the schema differ, and every row that cannot go upstream as it is. Exits 1 when there are
    /// such rows.
    #[arg(long)]
    check: bool,
    /// Where the copy of the file goes that is made before anything is changed; without it, FILE.before-tidemark.
    #[arg(long, value_name = "FILE", conflicts_with = "no_backup")]
    backup: Option<PathBuf>,
    /// Make no copy.
    #[arg(long)]
    no_backup: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let path = args.file.as_deref().unwrap_or(db);
    match Store::open(path) {
        Ok(store) if args.check => {
            let schema = store.schema().clone();
            list_problems(path, &schema, &tables_of(path, &schema)?)
        }
        Ok(store) => go_on(path, store, args),
        Err(Error::NotTidemark { .. }) => {
            let schema = args.schema.as_deref().map_or_else(|| Ok(shrinkage()), read_schema)?;
            let differences = attach::differences(path, &schema)?;
            if args.check {
                show_differences(&differences);
                return list_problems(path, &schema, &attach::tables(path, &schema)?);
            }
            attach_anew(path, &schema, &differences, args)
        }
        Err(error) => Err(error.into()),
    }
}

fn attach_anew(path: &Path, schema: &Schema, differences: &[Difference], args: &Args) -> Result<(), Fatal> {
    let shown = path.display();
    if differences.iter().any(|found| found.stops) {
        show_differences(differences);
        return Err(Fatal::new(format!(
            "{shown}: cannot be attached as it is; see the lines marked «stops». Nothing was changed"
        )));
    }
    if !args.no_backup {
        let backup = args.backup.clone().unwrap_or_else(|| {
            let mut name = path.as_os_str().to_owned();
            name.push(".before-tidemark");
            name.into()
        });
        back_up(path, &backup)?;
        show::line(&format!("{shown}: copied to {}", backup.display()));
    }
    let uuid = entropy::station_uuid().map_err(StationError::from)?;
    let (mut store, attached) = Store::attach(path, schema, uuid)?;
    show_differences(&attached.differences);
    super::backfill(&mut store)?;
    show::line(&format!(
        "{shown}: attached, schema {} version {}, {} captured; {} in the log. Programs go on as ever, what they write is captured; \
         `tidemark attach --check` lists what cannot go upstream, `tidemark join CODE` connects the file to a server",
        schema.name(),
        schema.version(),
        captured(&attach::tables(path, schema)?),
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
            "{error}, once `tidemark --db {} detach` has taken Tidemark's tables out of it",
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
    let logged = super::backfill(&mut store)?;
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

fn list_problems(path: &Path, schema: &Schema, tables: &Tables) -> Result<(), Fatal> {
    let shown = path.display();
    let count = attach::problems::<Error>(path, schema, now_ms(), &mut |problem| {
        show::line(&problem.to_string());
        Ok(())
    })?;
    if count == 0 {
        show::line(&format!("{shown}: every row can go upstream; {} captured", captured(tables)));
        return Ok(());
    }
    Err(Fatal::new(format!(
        "{shown}: {} cannot go upstream unchanged; {} captured. Repair here, with the program that wrote it or in SQL; or attach the file and push: such rows \
         are kept as rejected changes, and `tidemark rejects repair` repairs each later. Nothing was changed",
        show::count(count, "row"),
        captured(tables)
    )))
}
