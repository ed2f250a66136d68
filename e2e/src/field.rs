//! A server and its stations, set up with their command lines as a user would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rusqlite::Connection;
use tidemark_core::schema::{SHRINKAGE_TOML, Schema};

use crate::compare::{Seen, Upstream, assert_log_drained, assert_upstream_equals};
use crate::process::{Ended, Running, ServerProcess, run};
use crate::record::{Plan, season};
use crate::world::Dice;

/// The server cannot be reached (sysexits' EX_TEMPFAIL): nothing is lost, try again.
pub const EXIT_UNREACHABLE: i32 = 75;

/// One deployment: a schema, an upstream database, a folder for everything else.
#[derive(Debug)]
pub struct Field {
    folder: tempfile::TempDir,
    schema: Schema,
    /// The URL of the upstream database.
    pub database: String,
    /// Further arguments of `tidemark-server serve`.
    pub serve_args: Vec<String>,
    env: BTreeMap<String, String>,
}

/// A station of a field.
#[derive(Debug, Clone)]
pub struct Station {
    /// The name it was added with.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    folder: PathBuf,
    env: BTreeMap<String, String>,
}

impl Field {
    /// A field with the schema of a file's text; `database` is the upstream's URL, or `None` for the embedded one.
    ///
    /// # Errors
    /// When the schema is not one, or the folder cannot be made.
    pub fn new(schema: &str, database: Option<String>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tidemark-e2e-").tempdir()?;
        std::fs::write(folder.path().join("schema.toml"), schema)?;
        let embedded = || format!("sqlite:///{}", folder.path().join("upstream.db").display());
        let database = database.unwrap_or_else(embedded);
        Ok(Self { schema: Schema::parse(schema)?, folder, database, serve_args: Vec::new(), env: BTreeMap::new() })
    }

    /// A field with the shipped schema.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn shrinkage(database: Option<String>) -> Result<Self> {
        Self::new(SHRINKAGE_TOML, database)
    }

    /// Gives its programs a variable, those of stations that are made from then on too.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Gives the server another version of the schema, from its next start on.
    ///
    /// # Errors
    /// When it is no schema, or cannot be written.
    pub fn follow(&mut self, schema: &str) -> Result<()> {
        self.schema = Schema::parse(schema)?;
        Ok(std::fs::write(self.folder().join("schema.toml"), schema)?)
    }

    /// The schema.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The folder of schema, stations and embedded upstream.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder when the field is dropped.
    pub fn keep(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// Sets a variable of the environment of all programs started from now on.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.env.insert(key.to_owned(), value.to_owned());
    }

    /// Runs `tidemark-server` with database and schema given.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    pub fn server_command(&self, args: &[&str]) -> Result<Ended> {
        let end = ["--database", self.database.as_str(), "--schema", "schema.toml"];
        run("tidemark-server", &[args, &end].concat(), self.folder(), &self.env)
    }

    /// Migrates the upstream database.
    ///
    /// # Errors
    /// When the migration fails.
    pub fn migrate(&self) -> Result<()> {
        self.server_command(&["migrate", "up"])?.success().map(|_| ())
    }

    /// Starts a server on a free port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn serve(&self) -> Result<ServerProcess> {
        self.serve_on(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts a server on an address.
    ///
    /// # Errors
    /// When it does not start.
    pub fn serve_on(&self, address: SocketAddr) -> Result<ServerProcess> {
        let mut args = vec!["--database", self.database.as_str(), "--schema", "schema.toml"];
        args.extend(self.serve_args.iter().map(String::as_str));
        ServerProcess::start(&args, address, self.folder(), &self.env)
    }

    /// Registers a station and returns its join code.
    ///
    /// # Errors
    /// When the server's command fails.
    pub fn add_station(&self, name: &str) -> Result<String> {
        let args = ["station", "add", name, "--database", self.database.as_str()];
        let ended = run("tidemark-server", &args, self.folder(), &self.env)?.success()?;
        Ok(ended.last_line().trim().to_owned())
    }

    /// Makes the file of a station, without the server's knowledge.
    ///
    /// # Errors
    /// When `tidemark init` fails.
    pub fn init_station(&self, name: &str) -> Result<Station> {
        let station = self.folder_of(name)?;
        station.run(&["init", "--schema", "../schema.toml"])?.success()?;
        Ok(station)
    }

    /// A folder for a station, whose file somebody else makes.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn folder_of(&self, name: &str) -> Result<Station> {
        let folder = self.folder().join(name);
        std::fs::create_dir(&folder)?;
        Ok(Station { name: name.to_owned(), file: folder.join("tidemark.db"), folder, env: self.env.clone() })
    }

    /// Makes the file of a station, registers it and joins it through `url`.
    ///
    /// # Errors
    /// When one of the commands fails.
    pub fn join_station(&self, name: &str, url: &str) -> Result<Station> {
        let station = self.init_station(name)?;
        self.join(&station, url)?;
        Ok(station)
    }

    /// Registers a station and joins it through `url`.
    ///
    /// # Errors
    /// When one of the commands fails.
    pub fn join(&self, station: &Station, url: &str) -> Result<()> {
        let code = self.add_station(&station.name)?;
        station.run(&["join", &code, "--server", url])?.success()?;
        Ok(())
    }

    /// Checks that every log is drained and that upstream equals the stations, each row once.
    ///
    /// # Errors
    /// What differs.
    pub fn assert_upstream_equals(&self, stations: &[&Station]) -> Result<Seen> {
        let mut numbered = Vec::new();
        for station in stations {
            assert_log_drained(&station.file)?;
            numbered.push((station.number()?, station.file.as_path()));
        }
        let seen = assert_upstream_equals(&Upstream::open(&self.database)?, &self.schema, &numbered)?;
        println!("equal: {} rows, {} cells of {} stations", seen.rows, seen.cells, stations.len());
        Ok(seen)
    }
}

impl Station {
    /// The same station with another file: what a copied or restored database is.
    #[must_use]
    pub fn with_file(&self, file: PathBuf) -> Self {
        Self { file, ..self.clone() }
    }

    /// Runs `tidemark` on this station's file.
    ///
    /// # Errors
    /// When it cannot be started or does not end in time.
    pub fn run(&self, args: &[&str]) -> Result<Ended> {
        self.start(args)?.wait()
    }

    /// Starts `tidemark` on this station's file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, args: &[&str]) -> Result<Running> {
        let file = self.file.to_str().context("the path of a station is text")?;
        Running::start("tidemark", &[args, &["--db", file]].concat(), &self.folder, &self.env)
    }

    /// Starts `tidemark` in this station's folder; which file it takes, its settings say.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_by_settings(&self, args: &[&str]) -> Result<Running> {
        Running::start("tidemark", args, &self.folder, &self.env)
    }

    /// The folder it runs in, where its settings may be.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Pushes until the log is drained, as often as the server cannot be reached meanwhile; returns how often it was
    /// run.
    ///
    /// # Errors
    /// When it fails in another way, or 50 runs were not enough.
    pub fn push_until_drained(&self) -> Result<u32> {
        for runs in 1..=50 {
            let ended = self.run(&["push"])?;
            match ended.code {
                Some(0) => return Ok(runs),
                Some(EXIT_UNREACHABLE) => {}
                _ => return ended.success().map(|_| runs),
            }
        }
        bail!("{}: 50 pushes did not drain the log", self.name)
    }

    /// Records inventory of the shrinkage schema, twenty records to a commit.
    ///
    /// # Errors
    /// SQLite's.
    pub fn record(&self, dice: &mut Dice, records: u32) -> Result<()> {
        season(&mut self.open()?, dice, Plan { records, records_per_commit: 20 }, |_| ())
    }

    /// How many changes wait in the log.
    ///
    /// # Errors
    /// SQLite's.
    pub fn waiting(&self) -> Result<u64> {
        let count: i64 = self.open()?.query_row("SELECT count(*) FROM tidemark_log", [], |row| row.get(0))?;
        Ok(u64::try_from(count)?)
    }

    /// Opens the file as any program would: plain SQLite, which does not enforce references unless told to.
    ///
    /// # Errors
    /// SQLite's.
    pub fn open(&self) -> Result<Connection> {
        let file = Connection::open(&self.file)?;
        file.busy_timeout(std::time::Duration::from_secs(20))?;
        // The library bundled here was built with another default than SQLite's own.
        file.pragma_update(None, "foreign_keys", false)?;
        Ok(file)
    }

    /// `tidemark status --json`.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn status(&self) -> Result<serde_json::Value> {
        let ended = self.run(&["status", "--json"])?.success()?;
        serde_json::from_str(&ended.stdout).with_context(|| format!("status --json printed {:?}", ended.stdout))
    }

    /// The number the server gave it.
    ///
    /// # Errors
    /// When it has not joined.
    pub fn number(&self) -> Result<u32> {
        let status = self.status()?;
        let number =
            status.get("station").and_then(serde_json::Value::as_u64).context("status has no station number")?;
        Ok(number.try_into()?)
    }
}
