//! A station's open database, as a page works with it: statements, one transaction at a time, what they changed; and
//! the engine beside it.

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, Row};
use tidemark_client::sync::{Config, Engine, ServerUrl};
use tidemark_client::{Error, Status, Store, insert_statement};
use tidemark_core::limits::CONTACT_EVERY_MS;
use tidemark_core::schema::{Schema, not_additions};

use crate::check::check;
use crate::error::{Code, Failure, Result};
use crate::value::Params;
use crate::watch::Watch;
use crate::{calls, words};

/// Statements that are kept compiled.
const STATEMENTS_KEPT: usize = 64;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, for messages.
    pub name: String,
    /// The schema as TOML; needed when the database is new.
    pub schema: Option<String>,
    /// The server's URL, in place of the one a join code carries.
    pub server: Option<String>,
    /// 16 random bytes: the station's uuid, when it is new.
    pub uuid: [u8; 16],
    /// Any random number: makes stations wait differently after failures.
    pub seed: u64,
    /// This device's clock, milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// The result of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Executed {
    /// Rows inserted, updated or deleted.
    pub changes: u64,
    /// The rowid of the last row inserted.
    pub last_insert_id: i64,
}

/// An open database.
#[derive(Debug)]
pub struct Session {
    /// The station's file.
    pub store: Store,
    /// What pushes it.
    pub engine: Engine,
    watch: Watch,
    server: Option<ServerUrl>,
    status: Option<Status>,
}

impl Session {
    /// Opens the database on this connection, making it when it is new, and follows a newer schema.
    ///
    /// # Errors
    /// A schema that is none, is missing or does not fit; a damaged or newer database; an URL that is none.
    pub fn open(mut db: Connection, options: &Options) -> Result<Self> {
        let server = options.server.as_deref().map(parse_url).transpose()?;
        let schema = options.schema.as_deref().map(parse_schema).transpose()?;
        let watch = Watch::install(&mut db).map_err(Failure::statement)?;
        settle(&db).map_err(Failure::statement)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let file = options.name.clone();
        check(&db, options.now_ms)?;
        let is_new = !is_station(&db)?;
        let store = match &schema {
            Some(schema) if is_new => Store::init_connection(db, file, schema, uuid_v4(options.uuid))?,
            _ => Store::open_connection(db, file)?,
        };
        calls::prepare(store.connection()).map_err(Failure::statement)?;
        let config = Config::daemon(options.seed).in_contact(CONTACT_EVERY_MS);
        let engine = Engine::new(Config { words: words::KEPT, ..config });
        let mut session = Self { store, engine, watch, server, status: None };
        if let Some(schema) = &schema {
            session.follow(schema)?;
        }
        session.move_server_if_told()?;
        session.engine.resume(&session.store)?;
        // What opening wrote is nobody's change.
        session.take_changes();
        Ok(session)
    }

    /// Follows a newer version of the schema. An older one, of which the database's is an addition, is taken as it is:
    /// a page of yesterday goes on working.
    fn follow(&mut self, schema: &Schema) -> Result<()> {
        let current = self.store.schema();
        if schema.name() == current.name()
            && schema.version() < current.version()
            && not_additions(schema, current).is_empty()
        {
            return Ok(());
        }
        self.store.evolve(schema).map(|_| ()).map_err(|error| match error {
            Error::Schema(message) => Failure::new(Code::Schema, message),
            other => other.into(),
        })
    }

    /// Follows a newer schema, given as TOML, as [`Session::open`] does.
    ///
    /// # Errors
    /// As there.
    pub fn evolve(&mut self, schema: &str) -> Result<()> {
        self.outside_transaction("follow a newer schema")?;
        self.follow(&parse_schema(schema)?)
    }

    fn move_server_if_told(&mut self) -> Result<()> {
        let meta = self.store.meta()?;
        match &self.server {
            Some(url) if meta.membership.is_some() && meta.server.as_deref() != Some(url.as_str()) => {
                Ok(self.store.move_server(url)?)
            }
            _ => Ok(()),
        }
    }

    /// The server's URL that was given at open.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.server.as_ref().map(ServerUrl::as_str)
    }

    /// The server answers at another URL now.
    ///
    /// # Errors
    /// An URL that is none; when the station has not joined.
    pub fn move_server(&mut self, url: &str) -> Result<()> {
        let url = parse_url(url)?;
        self.store.move_server(&url)?;
        self.engine.resume(&self.store)?;
        Ok(())
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        !self.store.connection().is_autocommit()
    }

    /// # Errors
    /// While a transaction is open.
    pub fn outside_transaction(&self, what: &str) -> Result<()> {
        if self.in_transaction() {
            return Err(Failure::new(Code::Bug, format!("BUG: cannot {what} while a transaction is open")));
        }
        Ok(())
    }

    fn batch(&self, sql: &str) -> Result<()> {
        self.store.connection().execute_batch(sql).map_err(Failure::statement)
    }

    /// Begins a write transaction.
    ///
    /// # Errors
    /// When one is open.
    pub fn begin(&self) -> Result<()> {
        self.outside_transaction("begin a transaction")?;
        self.batch("BEGIN IMMEDIATE")
    }

    /// Commits the open transaction; when that fails, it is rolled back.
    ///
    /// # Errors
    /// SQLite's; `rolled-back` when none is open, since SQLite ends one by itself when the disk is full.
    pub fn commit(&self) -> Result<()> {
        if !self.in_transaction() {
            return Err(Failure::new(
                Code::RolledBack,
                "the transaction was rolled back before it could be committed; run it again",
            ));
        }
        self.batch("COMMIT").inspect_err(|_| {
            let _ = self.rollback();
        })
    }

    /// Rolls the open transaction back, if there is one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rollback(&self) -> Result<()> {
        if self.in_transaction() { self.batch("ROLLBACK") } else { Ok(()) }
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>> {
        if !self.in_transaction() {
            self.watch.forget_uncommitted();
        }
        let (prepared, refused) = self.watch.guarding(|| self.store.connection().prepare_cached(sql));
        match (prepared, refused) {
            (Ok(statement), _) => Ok(statement),
            (Err(_), Some(why)) => Err(Failure::new(Code::Sql, why)),
            (Err(rusqlite::Error::MultipleStatement), None) => Err(Failure::argument(
                "one statement at a time; run them one by one, in transaction(fn) if they belong together",
            )),
            (Err(error), None) => Err(Failure::statement(error)),
        }
    }

    fn run(&self, statement: &mut CachedStatement<'_>, params: &Params) -> Result<u64> {
        let db = self.store.connection();
        bind(statement, params)?;
        let before = db.total_changes();
        let mut rows = statement.raw_query();
        // To its end, also when it returns rows: RETURNING has done nothing until then.
        while rows.next().map_err(Failure::statement)?.is_some() {}
        drop(rows);
        Ok(if db.total_changes() == before { 0 } else { db.changes() })
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// A statement that is none or is refused, parameters that do not fit, SQLite's.
    pub fn exec(&self, sql: &str, params: &Params) -> Result<Executed> {
        let changes = self.run(&mut self.prepare(sql)?, params)?;
        Ok(Executed { changes, last_insert_id: self.store.connection().last_insert_rowid() })
    }

    /// Runs one statement with each of `rows`: all or nothing.
    ///
    /// # Errors
    /// As [`Session::exec`], with which of the rows it was.
    pub fn exec_many(&self, sql: &str, rows: impl Iterator<Item = Result<Params>>) -> Result<Executed> {
        let (begin, end, undo) = if self.in_transaction() {
            ("SAVEPOINT tidemark_many", "RELEASE tidemark_many", "ROLLBACK TO tidemark_many; RELEASE tidemark_many")
        } else {
            ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
        };
        self.batch(begin)?;
        let all = || {
            let mut statement = self.prepare(sql)?;
            let mut changes = 0;
            for (at, row) in rows.enumerate() {
                changes += row
                    .and_then(|row| self.run(&mut statement, &row))
                    .map_err(|error| Failure::new(error.code, format!("row {at}: {}", error.message)))?;
            }
            drop(statement);
            self.batch(end)?;
            Ok(Executed { changes, last_insert_id: self.store.connection().last_insert_rowid() })
        };
        all().inspect_err(|_| {
            // SQLite itself may have ended the transaction.
            if self.in_transaction() {
                let _ = self.batch(undo);
            }
        })
    }

    /// Reads rows; `columns` is told their names first, then `visit` each row.
    ///
    /// # Errors
    /// A statement that writes, and as [`Session::exec`].
    pub fn query(
        &self,
        sql: &str,
        params: &Params,
        columns: impl FnOnce(Vec<&str>),
        mut visit: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.prepare(sql)?;
        if !statement.readonly() {
            return Err(Failure::argument("query only reads; run what writes with exec"));
        }
        bind(&mut statement, params)?;
        columns(statement.column_names().collect());
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(Failure::statement)? {
            visit(row)?;
        }
        Ok(())
    }

    /// Visits the pages of the whole database in order, each with how many bytes all have: a file that any SQLite
    /// opens. It holds the station's token, so whoever has it can push as this station.
    ///
    /// # Errors
    /// SQLite's.
    pub fn export_database(&self, mut visit: impl FnMut(u64, &[u8])) -> Result<()> {
        self.outside_transaction("export")?;
        let db = self.store.connection();
        let mut read = || {
            let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            let bytes = pragma("page_count")?.unsigned_abs() * pragma("page_size")?.unsigned_abs();
            let mut pages = db.prepare("SELECT data FROM sqlite_dbpage ORDER BY pgno")?;
            let mut pages = pages.query([])?;
            let mut is_first = true;
            while let Some(row) = pages.next()? {
                let mut data: Vec<u8> = row.get(0)?;
                if std::mem::take(&mut is_first) {
                    // These bytes of the header ask for write-ahead logging, which is only how the file is kept here.
                    data[18..20].fill(1);
                }
                visit(bytes, &data);
            }
            Ok(())
        };
        read().map_err(Failure::statement)
    }

    /// Inserts a row and returns its rowid; columns left out take their defaults.
    ///
    /// # Errors
    /// When the schema has no such table or column, or SQLite refuses the row.
    pub fn insert(&self, table: &str, row: &[(String, Value)]) -> Result<i64> {
        let sql = insert_statement(self.store.table(table)?, row.iter().map(|(column, _)| column.as_str()))?;
        let mut statement = self.prepare(&sql)?;
        for (at, (_, value)) in row.iter().enumerate() {
            statement.raw_bind_parameter(at + 1, value).map_err(Failure::statement)?;
        }
        statement.raw_execute().map_err(Failure::statement)?;
        Ok(self.store.connection().last_insert_rowid())
    }

    /// Takes the tables that commits have changed since the last call, Tidemark's own left out.
    pub fn take_changes(&mut self) -> Vec<String> {
        self.watch.take_changed()
    }

    /// The tables a statement reads.
    ///
    /// # Errors
    /// As [`Session::exec`].
    pub fn tables_of(&self, sql: &str) -> Result<Vec<String>> {
        // Not from the cache: what is compiled already is not authorised again.
        let prepare = || self.watch.guarding(|| self.store.connection().prepare(sql).map(|_| ()));
        let ((prepared, refused), tables) = self.watch.reading(prepare);
        match (prepared, refused) {
            (Ok(()), _) => Ok(tables),
            (Err(_), Some(why)) => Err(Failure::new(Code::Sql, why)),
            (Err(error), None) => Err(Failure::statement(error)),
        }
    }

    /// The station's status; while a transaction is open, where it stood before.
    ///
    /// # Errors
    /// SQLite's.
    pub fn status(&mut self) -> Result<&Status> {
        if !self.in_transaction() || self.status.is_none() {
            self.outside_transaction("read the status for the first time")?;
            self.status = None;
        }
        match &mut self.status {
            Some(status) => Ok(status),
            none => Ok(none.insert(self.store.status()?)),
        }
    }
}

/// No statement may change the file behind SQLite's back, and a row without its parent is refused at once and not by
/// the server.
fn settle(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true).map(|_| ())
}

fn parse_url(url: &str) -> Result<ServerUrl> {
    ServerUrl::parse(url).map_err(|error| Failure::argument(error.to_string()))
}

fn parse_schema(toml: &str) -> Result<Schema> {
    Schema::parse(toml).map_err(|error| Failure::new(Code::Schema, format!("the schema: {error}")))
}

fn is_station(db: &Connection) -> Result<bool> {
    db.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'tidemark_station')", [], |row| row.get(0))
        .map_err(Failure::statement)
}

/// Random bytes as a uuid of version 4 (RFC 9562).
const fn uuid_v4(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

fn bind(statement: &mut CachedStatement<'_>, params: &Params) -> Result<()> {
    let count = statement.parameter_count();
    match params {
        Params::Positional(values) => {
            if values.len() != count {
                return Err(Failure::argument(format!(
                    "the statement has {count} parameters, and {} were given",
                    values.len()
                )));
            }
            for (at, value) in values.iter().enumerate() {
                statement.raw_bind_parameter(at + 1, value).map_err(Failure::statement)?;
            }
        }
        Params::Named(values) => {
            for at in 1..=count {
                let name = statement.parameter_name(at).and_then(|name| name.get(1..)).unwrap_or_default().to_owned();
                let Some((_, value)) = values.iter().find(|(given, _)| *given == name) else {
                    return Err(Failure::argument(if name.is_empty() {
                        "the statement has parameters without a name (?); give them as an array".to_owned()
                    } else {
                        format!("the statement's parameter {name:?} was not given")
                    }));
                };
                statement.raw_bind_parameter(at, value).map_err(Failure::statement)?;
            }
        }
    }
    Ok(())
}
