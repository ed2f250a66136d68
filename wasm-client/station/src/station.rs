//! A station on this machine: its file, the machine's clock, and the network.

use std::path::Path;

use tidemark_client::meta::Membership;
use tidemark_client::prune::{self, prune};
use tidemark_client::rusqlite::types::Value;
use tidemark_client::rusqlite::{Params, Transaction};
use tidemark_client::sync::join::{self, Begin};
use tidemark_client::sync::rejoin::{self, Manner, Rejoined, Step};
use tidemark_client::sync::{Config, Drained, Engine, Event, Patience, Transport, drain, say_contact};
use tidemark_client::trust::Trust;
use tidemark_client::verify::{Means, Outcome, Wish, verify};
use tidemark_client::{Error, Result, Status, Store};
use tidemark_core::joincode::JoinCode;
use tidemark_core::schema::Schema;

use crate::bell::Bell;
use crate::cli::words;
use crate::clock::{self, SystemClock};
use crate::courier::Courier;
use crate::disk::free_disk_bytes;
use crate::entropy::{self, NoEntropy};
pub use crate::error::StationError;
use crate::transport::{HttpTransport, Identity, TlsOptions};

/// When a push gives up: after so many failures in a row, or when a server asks for a longer wait.
pub const PATIENCE: Patience = Patience { failures: 4, wait_ms: 30_000 };

/// A station: open its file, write, push.
///
/// Any other program may write to the same file at the same time, and push from it.
///
/// ```
/// use tidemark_station::Station;
/// use tidemark_core::schema::Schema;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("field.db");
/// let schema = Schema::parse(r#"
///     name = "weather"
///     version = 1
///     [tables.reading]
///     time = "measured_at"
///     [tables.reading.columns]
///     id = { type = "integer" }
///     measured_at = { type = "timestamp", default = "now" }
///     temperature = { type = "real", unit = "°C", min = -90, max = 60 }
/// "#).unwrap();
/// let mut station = Station::init(&path, &schema)?;
/// station.insert("reading", &[("temperature", 21.5.into())])?;
/// station.transaction(|tx| {
///     tx.execute("INSERT INTO reading (temperature) VALUES (?1), (?2)", (20.5, 19.75))?;
///     tx.execute("DELETE FROM reading WHERE temperature < 20", [])
/// })?;
/// assert_eq!(station.status()?.pending, 4);
///
/// // With a server: `station.join(&code, None)?;` once, then whenever there is a network:
/// match station.push()? {
///     tidemark_client::sync::Drained::Done(summary) => println!("{} changes are upstream", summary.changes),
///     tidemark_client::sync::Drained::Unreachable { why, .. } => println!("later: {why}"),
///     tidemark_client::sync::Drained::Stopped { stop, .. } => println!("{stop}"), // here: has not joined a server
/// }
/// # Ok::<(), tidemark_station::StationError>(())
/// ```
#[derive(Debug)]
pub struct Station {
    store: Store,
    /// Whom to trust, in place of whom the file says.
    trust: Option<Trust>,
    identity: Option<Identity>,
}

impl From<Store> for Station {
    fn from(store: Store) -> Self {
        Self { store, trust: None, identity: None }
    }
}

impl Station {
    /// Makes a station's file from a schema.
    ///
    /// # Errors
    /// See [`Error`]; nothing is changed then.
    pub fn init(path: impl AsRef<Path>, schema: &Schema) -> std::result::Result<Self, StationError> {
        Ok(Store::init(path, schema, entropy::station_uuid()?)?.into())
    }

    /// Opens a station's file.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Store::open(path)?.into())
    }

    /// Trusts these authorities in place of whom its file says, and shows this certificate to a server that asks for
    /// one.
    #[must_use]
    pub fn trusting(self, trust: Option<Trust>, identity: Option<Identity>) -> Self {
        Self { trust, identity, ..self }
    }

    /// The network, with whom to trust.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn transport(&self) -> Result<HttpTransport> {
        let trust = match &self.trust {
            Some(trust) => trust.clone(),
            None => self.store.trust()?,
        };
        Ok(HttpTransport::with(TlsOptions { trust, identity: self.identity.clone() }))
    }

    /// Whom a code, or who uses it, says to trust; `None` when neither says anything.
    fn told_to_trust(&self, code: &str) -> Option<Trust> {
        // What is wrong with a code is said when it is used.
        let pin = JoinCode::decode(code).ok().and_then(|code| code.pin);
        self.trust.clone().or(pin.map(Trust::Pin))
    }

    /// The network to use a code with. Whom to trust is kept once the server has taken the code, and not before: what a
    /// code said that did not join is not held against the next one.
    fn transport_of(&self, told: Option<&Trust>) -> Result<HttpTransport> {
        let trust = told.map_or_else(|| self.store.trust(), |told| Ok(told.clone()))?;
        Ok(HttpTransport::with(TlsOptions { trust, identity: self.identity.clone() }))
    }

    /// The file: schema, log, rejects, digests, and the SQLite connection.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The file, to change it.
    pub const fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Runs one statement; returns how many rows it changed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.store.execute(sql, params)
    }

    /// Inserts a row; returns its rowid. Columns left out take their defaults.
    ///
    /// # Errors
    /// When the schema has no such table or column, or SQLite refuses the row.
    pub fn insert(&self, table: &str, row: &[(&str, Value)]) -> Result<i64> {
        self.store.insert(table, row)
    }

    /// Runs `work` in one write transaction: all of it is committed, or, when it returns an error, nothing.
    ///
    /// # Errors
    /// SQLite's.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> tidemark_client::rusqlite::Result<T>,
    ) -> Result<T> {
        let file = self.store.file().to_owned();
        self.store.transaction(|tx| work(tx).map_err(|error| Error::sqlite(&file, "run a transaction", error)))
    }

    /// The station's status.
    ///
    /// # Errors
    /// SQLite's.
    pub fn status(&mut self) -> Result<Status> {
        self.store.status()
    }

    /// Joins the server that made `code`; `server` overrides the code's URL. After a lost reply the same call repairs
    /// it.
    ///
    /// # Errors
    /// A bad code, an unreachable server, or what the server said.
    pub fn join(&mut self, code: &str, server: Option<&str>) -> std::result::Result<Membership, StationError> {
        let told = self.told_to_trust(code);
        let mut transport = self.transport_of(told.as_ref())?;
        self.join_by(&mut transport, code, server, told.as_ref())
    }

    /// [`Station::join`] over another transport.
    ///
    /// # Errors
    /// As there.
    pub fn join_with(
        &mut self,
        transport: &mut dyn Transport,
        code: &str,
        server: Option<&str>,
    ) -> std::result::Result<Membership, StationError> {
        self.join_by(transport, code, server, None)
    }

    fn join_by(
        &mut self,
        transport: &mut dyn Transport,
        code: &str,
        server: Option<&str>,
        known_by: Option<&Trust>,
    ) -> std::result::Result<Membership, StationError> {
        let request = match join::ask(&mut self.store, code, server, entropy::token()?)? {
            Begin::Joined(membership) => {
                known_by.map_or(Ok(()), |known_by| self.store.keep_trust(known_by))?;
                return Ok(membership);
            }
            Begin::Ask(request) => request,
        };
        match transport.send(&request) {
            Ok(reply) => Ok(join::hear_of(&mut self.store, clock::now_ms(), &reply, known_by)?),
            Err(failure) => Err(StationError::Unreachable(words::failure(&failure))),
        }
    }

    /// Goes on under a new number, with a code made for that. After a lost reply the same call goes on where it was.
    ///
    /// # Errors
    /// A bad code, an unreachable server, what the server said, or histories that cannot be told apart. The file is
    /// what it was then.
    pub fn rejoin(
        &mut self,
        code: &str,
        server: Option<&str>,
        manner: Manner,
    ) -> std::result::Result<Rejoined, StationError> {
        let fresh = (entropy::station_uuid()?, entropy::token()?);
        let (mut rejoin, mut step) = rejoin::begin(&mut self.store, code, server, fresh, manner)?;
        let told = self.told_to_trust(code);
        let mut transport = self.transport_of(told.as_ref())?;
        loop {
            let request = match step {
                Step::Done(rejoined) => {
                    told.map_or(Ok(()), |told| self.store.keep_trust(&told))?;
                    return Ok(rejoined);
                }
                Step::Ask(request) => request,
            };
            let reply =
                transport.send(&request).map_err(|failure| StationError::Unreachable(words::failure(&failure)))?;
            step = rejoin.hear(&mut self.store, clock::now_ms(), &reply)?;
        }
    }

    /// Pushes everything that is in the log now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn push(&mut self) -> std::result::Result<Drained, StationError> {
        let mut courier = Courier::start(self.transport()?, Bell::default());
        self.push_with(&mut courier, &mut |_| ())
    }

    /// [`Station::push`] over another transport; `watch` sees every event.
    ///
    /// # Errors
    /// When the store fails.
    pub fn push_with(
        &mut self,
        transport: &mut dyn Transport,
        watch: &mut dyn FnMut(&Event),
    ) -> std::result::Result<Drained, StationError> {
        self.store.backfill(&mut |_| ())?;
        let mut engine = Engine::new(config()?);
        engine.resume(&self.store)?;
        let mut clock = SystemClock::default();
        let drained = drain(&mut self.store, &mut engine, transport, &mut clock, PATIENCE, watch)?;
        if matches!(drained, Drained::Done(_)) {
            engine.note_free_disk(free_disk_bytes(Path::new(self.store.file())));
            say_contact(&mut self.store, &mut engine, transport, &mut clock)?;
        }
        Ok(drained)
    }

    /// Verifies that upstream equals this station.
    ///
    /// # Errors
    /// When the store fails.
    pub fn verify_with(
        &mut self,
        transport: &mut dyn Transport,
        wish: &Wish,
    ) -> std::result::Result<Outcome, StationError> {
        let config = config()?;
        let mut means = Means { transport, clock: &mut SystemClock::default(), patience: PATIENCE, config };
        Ok(verify(&mut self.store, &mut means, wish)?)
    }

    /// Removes old rows that upstream holds.
    ///
    /// # Errors
    /// When there is no such table, or it has no time column; what the store says.
    pub fn prune_with(
        &mut self,
        transport: &mut dyn Transport,
        wish: &prune::Wish,
    ) -> std::result::Result<prune::Outcome, StationError> {
        let config = config()?;
        let mut means = Means { transport, clock: &mut SystemClock::default(), patience: PATIENCE, config };
        Ok(prune(&mut self.store, &mut means, wish)?)
    }
}

/// Of somebody who watches; a stop is kept in this program's words.
fn config() -> std::result::Result<Config, NoEntropy> {
    Ok(Config { words: words::KEPT, ..Config::interactive(entropy::seed()?) })
}
