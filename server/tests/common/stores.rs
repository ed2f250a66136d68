//! The stores that a contract is run against, each new and empty, each with one constraint beyond the schema.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tidemark_core::batch::Batch;
use tidemark_core::digest::RowDigest;
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::{Problem, PushReply};
use tidemark_core::schema::Schema;
use tidemark_core::value::Value;
use tidemark_memory::{MemoryUpstream, Moment};
use tidemark_server::config::{ClockWindow, DatabaseUrl};
use tidemark_server::ingest::Ingest;
use tidemark_server::ledger::rejects::Reject;
use tidemark_server::stations::{JoinAsk, JoinOutcome, NewStation};
use tidemark_server::stores::postgres::PostgresUpstream;
use tidemark_server::stores::sqlite::SqliteUpstream;
use tidemark_server::survey::Survey;
use tidemark_server::upstream::{StoreError, Upstream};

use super::cluster::{Cluster, connect};
use super::station::{Station, frame};
use super::{NOON_MS, TestClock, field};

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Sqlite,
    PlainPostgres,
    Timescale,
}

/// A store, and the server's ingest over it.
pub struct Store {
    pub kind: Kind,
    pub schema: Arc<Schema>,
    pub upstream: Arc<dyn Upstream>,
    pub ingest: Arc<Ingest>,
    pub clock: Arc<TestClock>,
    pub url: Option<String>,
    pub poison_allowed: Arc<AtomicBool>,
    pub folder: tempfile::TempDir,
    memory: Option<MemoryUpstream>,
    /// Where the store in memory fails.
    fails_at: Arc<Mutex<Option<Moment>>>,
}

/// The note that a constraint beyond the schema refuses.
pub const POISON: &str = "poison";

pub async fn migrate(url: &str, schema: &Schema) {
    let mut client = connect(url).await;
    tidemark_migrations::postgres::up(&mut client, schema, &mut |_| {}).await.unwrap();
}

/// A migrated database of a cluster, with a store over it that `adapt` made different.
pub async fn on_postgres(
    cluster: &Cluster,
    schema: &Arc<Schema>,
    adapt: impl FnOnce(PostgresUpstream) -> PostgresUpstream,
) -> Store {
    let database = cluster.database().await;
    migrate(&database, schema).await;
    let upstream: Arc<dyn Upstream> = Arc::new(adapt(open_postgres(&database, schema).await.unwrap()));
    let clock = TestClock::new();
    let ingest = ingest(&upstream, schema, &clock);
    let (poison_allowed, folder) = (Arc::default(), tempfile::tempdir().unwrap());
    let (kind, schema, url) = (Kind::Timescale, Arc::clone(schema), Some(database));
    let (memory, fails_at) = (None, Arc::default());
    Store { kind, schema, upstream, ingest, clock, url, poison_allowed, folder, memory, fails_at }
}

pub async fn open_postgres(url: &str, schema: &Arc<Schema>) -> anyhow::Result<PostgresUpstream> {
    let DatabaseUrl::Postgres(config) = url.parse()? else { panic!("not a PostgreSQL URL") };
    PostgresUpstream::open(&config, Arc::clone(schema), 12).await
}

pub fn ingest(upstream: &Arc<dyn Upstream>, schema: &Arc<Schema>, clock: &Arc<TestClock>) -> Arc<Ingest> {
    let clock: Arc<dyn tidemark_server::clock::Clock> = Arc::<TestClock>::clone(clock);
    Arc::new(Ingest::new(Arc::clone(upstream), Arc::clone(schema), ClockWindow::DEFAULT, FrameLimits::DEFAULT, clock))
}

impl Store {
    /// One that serves the tests' own schema.
    pub async fn of_field(kind: Kind) -> Self {
        Self::open(kind, &[field()]).await
    }

    /// Schemas are applied in order; the last is served.
    pub async fn open(kind: Kind, schemas: &[Arc<Schema>]) -> Self {
        let schema = Arc::clone(schemas.last().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut url = None;
        let poison_allowed = Arc::new(AtomicBool::new(false));
        let (mut in_memory, fails_at) = (None, Arc::<Mutex<Option<Moment>>>::default());
        let upstream: Arc<dyn Upstream> = match kind {
            Kind::Memory => {
                let allowed = Arc::clone(&poison_allowed);
                let mut memory =
                    MemoryUpstream::new(Arc::clone(&schema)).with_constraint(Arc::new(move |table, values| {
                        let note = table.column_index("note").filter(|_| table.name == "reading");
                        let bad = note.is_some_and(|at| values[at] == Value::Text(POISON.into()));
                        let bad = bad && !allowed.load(Ordering::Relaxed);
                        if bad { Err("poison is not allowed".into()) } else { Ok(()) }
                    }));
                for older in &schemas[..schemas.len() - 1] {
                    memory = memory.knowing(older);
                }
                let failing = Arc::clone(&fails_at);
                memory = memory.with_faults(Arc::new(move |moment| {
                    let fails = *failing.lock().unwrap() == Some(moment);
                    if fails { Err(StoreError::Violation("not today".into())) } else { Ok(()) }
                }));
                in_memory = Some(memory.clone());
                Arc::new(memory)
            }
            Kind::Sqlite => {
                let path = folder.path().join("upstream.db");
                for schema in schemas {
                    let mut connection = tidemark_server::stores::sqlite::connect(&path).unwrap();
                    tidemark_migrations::sqlite::up(&mut connection, schema).unwrap();
                }
                let connection = tidemark_server::stores::sqlite::connect(&path).unwrap();
                if schema.table("reading").is_some() {
                    connection
                        .execute_batch(
                            "CREATE TRIGGER no_poison BEFORE INSERT ON reading WHEN NEW.note = 'poison'
                             BEGIN SELECT RAISE(ABORT, 'poison is not allowed'); END",
                        )
                        .unwrap();
                }
                Arc::new(SqliteUpstream::open(&path, Arc::clone(&schema)).unwrap())
            }
            Kind::PlainPostgres | Kind::Timescale => {
                let cluster = if kind == Kind::Timescale { Cluster::timescale() } else { Cluster::plain() };
                let database = cluster.database().await;
                for schema in schemas {
                    migrate(&database, schema).await;
                }
                if schema.table("reading").is_some() {
                    let sql = format!(
                        "ALTER TABLE {}.reading ADD CONSTRAINT no_poison CHECK (note <> 'poison')",
                        schema.name()
                    );
                    connect(&database).await.batch_execute(&sql).await.unwrap();
                }
                let upstream = open_postgres(&database, &schema).await.unwrap();
                url = Some(database);
                Arc::new(upstream)
            }
        };
        let clock = TestClock::new();
        let ingest = ingest(&upstream, &schema, &clock);
        let memory = in_memory;
        Self { kind, schema, upstream, ingest, clock, url, poison_allowed, folder, memory, fails_at }
    }

    /// The same store, into which another ingest writes.
    pub fn with_ingest(self, ingest: Arc<Ingest>) -> Self {
        Self { ingest, ..self }
    }

    /// Runs statements in PostgreSQL.
    pub async fn run(&self, sql: &str) {
        connect(self.url.as_deref().unwrap()).await.batch_execute(sql).await.unwrap();
    }

    /// A trigger of PostgreSQL's on a table of the ledger, which does something when it is written.
    pub async fn trigger(&self, table: &str, does: &str) {
        let sql = format!(
            "CREATE FUNCTION public.odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NEW; END $$;
             CREATE TRIGGER odd BEFORE INSERT OR UPDATE ON tidemark.{table} FOR EACH ROW EXECUTE FUNCTION public.odd()"
        );
        self.run(&sql).await;
    }

    /// Takes it away.
    pub async fn drop_trigger(&self) {
        self.run("DROP FUNCTION public.odd CASCADE").await;
    }

    /// The database refuses what is written to a table of the ledger: `history` or `cursor`.
    pub async fn refuse(&self, table: &str) {
        match self.kind {
            Kind::Memory => {
                let moment = if table == "history" { Moment::KeepHistory } else { Moment::Advance };
                *self.fails_at.lock().unwrap() = Some(moment);
            }
            Kind::Sqlite => {
                let on = |what: &str| {
                    format!(
                        "CREATE TRIGGER odd_{what} BEFORE {what} ON tidemark_{table}
                         BEGIN SELECT RAISE(ABORT, 'not today'); END;"
                    )
                };
                self.embedded().execute_batch(&(on("insert") + &on("update"))).unwrap();
            }
            Kind::PlainPostgres | Kind::Timescale => self.trigger(table, "RAISE EXCEPTION 'not today'").await,
        }
    }

    /// It refuses nothing any more.
    pub async fn relent(&self) {
        match self.kind {
            Kind::Memory => *self.fails_at.lock().unwrap() = None,
            Kind::Sqlite => {
                self.embedded().execute_batch("DROP TRIGGER odd_insert; DROP TRIGGER odd_update").unwrap();
            }
            Kind::PlainPostgres | Kind::Timescale => self.drop_trigger().await,
        }
    }

    /// Somebody alters tables for which statements may be prepared.
    pub async fn alter_tables(&self) {
        match self.kind {
            Kind::Memory => self.memory.as_ref().unwrap().alter_tables(),
            Kind::Sqlite => self.embedded().execute_batch("ALTER TABLE site ADD COLUMN depth INTEGER").unwrap(),
            Kind::PlainPostgres | Kind::Timescale => {
                // What is asked of the second has another type from now on: PostgreSQL refuses who asks as before.
                let sql = "ALTER TABLE field.site ADD COLUMN depth bigint;
                    ALTER TABLE tidemark.line ALTER COLUMN former TYPE bigint";
                self.run(sql).await;
            }
        }
    }

    /// Takes the constraint beyond the schema away.
    pub async fn allow_poison(&self) {
        match self.kind {
            Kind::Memory => self.poison_allowed.store(true, Ordering::Relaxed),
            Kind::Sqlite => {
                let file = tidemark_server::stores::sqlite::connect(&self.folder.path().join("upstream.db")).unwrap();
                file.execute_batch("DROP TRIGGER no_poison").unwrap();
            }
            Kind::PlainPostgres | Kind::Timescale => {
                self.run("ALTER TABLE field.reading DROP CONSTRAINT no_poison").await;
            }
        }
    }

    /// The embedded store's file, to write to it by hand.
    pub fn embedded(&self) -> rusqlite::Connection {
        assert_eq!(self.kind, Kind::Sqlite);
        tidemark_server::stores::sqlite::connect(&self.folder.path().join("upstream.db")).unwrap()
    }

    /// A station that has joined.
    pub async fn join(&self, name: &str) -> Station {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..16]);
        let code_hash = *blake3::hash(format!("code of {name}").as_bytes()).as_bytes();
        let token_hash = *blake3::hash(format!("token of {name}").as_bytes()).as_bytes();
        let invited =
            NewStation { name: name.to_owned(), code_hash, code_expires_at_ms: NOON_MS + 1000, now_ms: NOON_MS };
        assert!(self.upstream.add_station(&invited).await.unwrap());
        let ask = JoinAsk { code_hash, uuid, token_hash, now_ms: NOON_MS };
        match self.upstream.join(&ask).await.unwrap() {
            JoinOutcome::Joined { number, .. } => Station::new(&self.schema, number.get(), uuid),
            other => panic!("{other:?}"),
        }
    }

    pub async fn push(&self, batch: &Batch) -> Result<PushReply, Problem> {
        self.ingest.push(batch.station, &frame(batch)).await
    }

    /// Pushes a batch that is taken; the codes of its rejected changes by seq.
    #[track_caller]
    pub fn pushed<'a>(&'a self, batch: &'a Batch) -> impl Future<Output = Vec<(u64, &'static str)>> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.push(batch).await.unwrap_or_else(|problem| panic!("{caller}: {problem:?}"));
            assert_eq!(reply.tidemark, batch.span().last_seq(), "{caller}");
            assert_eq!(reply.chain, batch.chain_after, "{caller}");
            reply.rejected.iter().map(|rejected| (rejected.seq, rejected.code.as_str())).collect()
        }
    }

    /// Compares a station's rows of a table upstream, bit for bit.
    #[track_caller]
    pub fn has<'a>(
        &'a self,
        station: &'a Station,
        table: &'a str,
        rows: &'a [Vec<Value>],
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let there = self.digest(station, table).await;
            let wanted = station.digest(table, rows);
            assert_eq!(there.rows(), wanted.rows(), "{caller}: rows of {table} on {:?}", self.kind);
            assert_eq!(there, wanted, "{caller}: {table} on {:?} holds other values", self.kind);
        }
    }

    /// The digest of a station's rows of a table.
    pub async fn digest(&self, station: &Station, table: &str) -> RowDigest {
        let survey = Survey::whole(Arc::clone(&self.schema));
        let (_, survey) = self.upstream.survey(station.number, survey).await.unwrap();
        survey.digests()[self.schema.table_index(table).unwrap()]
    }

    pub async fn rejects(&self, station: StationNumber) -> Vec<Reject> {
        let mut rejects = self.upstream.rejects(Some(station), 1000).await.unwrap();
        rejects.sort_by_key(|reject| reject.seq);
        rejects
    }
}
