//! A page's database, without a browser: what its statements do, and what they may not do.

use rusqlite::Connection;
use rusqlite::types::Value;
use tidemark_wasm::calls;
use tidemark_wasm::error::{Code, Failure};
use tidemark_wasm::session::{Options, Session};
use tidemark_wasm::value::Params;

const SCHEMA: &str = r#"
name = "weather"
version = 1
[tables.site.columns]
id = { type = "integer" }
name = { type = "text", required = true }
[tables.reading.columns]
id = { type = "integer" }
site_id = { type = "integer", references = "site" }
temperature = { type = "real", max = 60 }
"#;

fn options(schema: Option<&str>) -> Options {
    let schema = schema.map(str::to_owned);
    Options { name: "field".into(), schema, server: None, uuid: [7; 16], seed: 1, now_ms: 1_800_000_000_000 }
}

fn open() -> Session {
    Session::open(Connection::open_in_memory().unwrap(), &options(Some(SCHEMA))).unwrap()
}

fn at(values: impl IntoIterator<Item = Value>) -> Params {
    Params::Positional(values.into_iter().collect())
}

fn none() -> Params {
    at([])
}

fn one(session: &Session, sql: &str) -> Value {
    let mut found = None;
    let keep = |row: &rusqlite::Row<'_>| {
        found = Some(row.get(0).unwrap());
        Ok(())
    };
    session.query(sql, &none(), |_| (), keep).unwrap();
    found.unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, code: Code, says: &str) {
    let failure = result.unwrap_err();
    assert_eq!(failure.code, code, "{failure}");
    assert!(failure.message.contains(says), "{failure}");
}

#[test]
fn statements_tell_what_they_changed() {
    let mut session = open();
    let site = session.insert("site", &[("name".into(), "A".to_owned().into())]).unwrap();
    let done = session.exec("INSERT INTO reading (site_id) VALUES (?), (?)", &at([site.into(), site.into()])).unwrap();
    assert_eq!((done.changes, done.last_insert_id), (2, 2));
    assert_eq!(
        session
            .exec("UPDATE reading SET temperature = :t", &Params::Named(vec![("t".into(), 1.5.into())]))
            .unwrap()
            .changes,
        2
    );
    assert_eq!(session.exec("SELECT 1", &none()).unwrap().changes, 0, "what does not write changes nothing");
    assert_eq!(session.exec("INSERT INTO site (name) VALUES ('B') RETURNING id", &none()).unwrap().changes, 1);
    assert_eq!(session.exec("DELETE FROM reading WHERE id > 1", &none()).unwrap().changes, 1);
    assert_eq!(session.status().unwrap().pending, 7, "all of it was captured");
}

#[test]
fn only_commits_are_changes() {
    let mut session = open();
    assert!(session.take_changes().is_empty(), "making the database is nobody's change");
    session.begin().unwrap();
    session.insert("site", &[("name".into(), "A".to_owned().into())]).unwrap();
    assert!(session.take_changes().is_empty());
    session.rollback().unwrap();
    assert!(session.take_changes().is_empty());
    session.begin().unwrap();
    session.insert("site", &[("name".into(), "A".to_owned().into())]).unwrap();
    session.insert("reading", &[]).unwrap();
    calls::note(session.store.connection(), "tab", 1, "{}", 0).unwrap();
    session.commit().unwrap();
    assert_eq!(session.take_changes(), ["site", "reading"]);
    assert!(session.take_changes().is_empty());
    refused(
        session
            .exec_many("INSERT INTO site (name) VALUES (?)", [Ok(at([1.into()])), Ok(at([Value::Null]))].into_iter()),
        Code::Constraint,
        "site.name",
    );
    session.insert("reading", &[]).unwrap();
    assert_eq!(session.take_changes(), ["reading"], "what was undone is nobody's change");
}

#[test]
fn a_statement_tells_the_tables_it_reads() {
    let session = open();
    let sql = "SELECT name, (SELECT count(*) FROM reading WHERE site_id = site.id) FROM site";
    for _ in 0..2 {
        let mut tables = session.tables_of(sql).unwrap();
        tables.sort();
        assert_eq!(tables, ["reading", "site"]);
        session.query(sql, &none(), |_| (), |_| Ok(())).unwrap();
    }
    session.exec("CREATE VIEW warm AS SELECT * FROM reading WHERE temperature > 20", &none()).unwrap();
    assert!(session.tables_of("SELECT * FROM warm").unwrap().contains(&"reading".to_owned()));
    refused(session.tables_of("SELECT * FROM nowhere"), Code::Sql, "no such table");
}

#[test]
fn what_makes_commits_durable_is_not_a_pages_to_change() {
    let session = open();
    for sql in ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ATTACH ':memory:' AS a"] {
        refused(session.exec(sql, &none()), Code::Sql, "");
        refused(session.query(sql, &none(), |_| (), |_| Ok(())), Code::Sql, "");
    }
    for pragma in ["journal_mode = off", "synchronous = 0", "locking_mode = normal", "Writable_Schema = 1"] {
        refused(session.exec(&format!("PRAGMA {pragma}"), &none()), Code::Sql, "fixed");
    }
    for sql in [
        "DELETE FROM tidemark_log",
        "UPDATE tidemark_station SET sent_seq = 0",
        "INSERT INTO tidemark_calls VALUES ('', 1, '')",
        "DROP TABLE tidemark_rejects",
        "ALTER TABLE tidemark_log ADD COLUMN x",
    ] {
        refused(session.exec(sql, &none()), Code::Sql, "Tidemark's own");
    }
    assert_eq!(one(&session, "SELECT count(*) FROM tidemark_station"), Value::Integer(1), "reading is allowed");
    session.exec("VACUUM", &none()).unwrap();
    session.exec("CREATE TABLE scratch (a)", &none()).unwrap();
    session.exec("PRAGMA foreign_key_check", &none()).unwrap();
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let session = open();
    refused(session.exec("", &none()), Code::Argument, "no statement");
    refused(session.exec("-- nothing", &none()), Code::Argument, "no statement");
    refused(session.exec("SELECT 1; SELECT 2", &none()), Code::Argument, "one statement");
    refused(session.exec("SELEC 1", &none()), Code::Sql, "SELEC");
    refused(session.exec("SELECT ?", &none()), Code::Argument, "1 parameters, and 0 were given");
    refused(session.exec("SELECT ?", &at([1.into(), 2.into()])), Code::Argument, "2 were given");
    let named = Params::Named(vec![("a".into(), 1.into())]);
    refused(session.exec("SELECT :a, :b", &named), Code::Argument, "\"b\"");
    refused(session.exec("SELECT ?", &named), Code::Argument, "array");
    session.exec("SELECT :a, $a, @a", &named).unwrap();
    refused(session.insert("sites", &[]), Code::Argument, "its tables are: site, reading");
    refused(session.insert("site", &[("nome".into(), 1.into())]), Code::Argument, "it has: id, name");
    refused(session.insert("reading", &[("temperature".into(), 99.0.into())]), Code::Constraint, "temperature");
    refused(session.query("DELETE FROM site", &none(), |_| (), |_| Ok(())), Code::Argument, "exec");
}

#[test]
fn many_rows_are_all_or_none_in_a_transaction_and_outside() {
    let session = open();
    let rows = |bad: bool| (0..3).map(move |n| Ok(at([if bad && n == 1 { Value::Null } else { n.into() }])));
    let sql = "INSERT INTO site (name) VALUES (?)";
    assert_eq!(session.exec_many(sql, rows(false)).unwrap().changes, 3);
    refused(session.exec_many(sql, rows(true)), Code::Constraint, "row 1: ");
    assert!(!session.in_transaction());
    session.begin().unwrap();
    session.exec_many(sql, rows(false)).unwrap();
    refused(session.exec_many(sql, rows(true)), Code::Constraint, "row 1: ");
    refused(session.exec_many("SELEC", rows(false)), Code::Sql, "SELEC");
    session.commit().unwrap();
    assert_eq!(one(&session, "SELECT count(*) FROM site"), Value::Integer(6));
}

#[test]
fn a_transaction_that_is_over_or_cannot_be_committed_is_rolled_back() {
    let session = open();
    refused(session.commit(), Code::RolledBack, "run it again");
    session.rollback().unwrap();
    session.begin().unwrap();
    refused(session.begin(), Code::Bug, "BUG");
    session.rollback().unwrap();
    session.exec("CREATE TABLE child (a REFERENCES site (id) DEFERRABLE INITIALLY DEFERRED)", &none()).unwrap();
    session.begin().unwrap();
    session.insert("reading", &[]).unwrap();
    session.exec("INSERT INTO child VALUES (9)", &none()).unwrap();
    refused(session.commit(), Code::Constraint, "FOREIGN KEY");
    assert!(!session.in_transaction());
    assert_eq!(one(&session, "SELECT count(*) FROM reading"), Value::Integer(0));
}

#[test]
fn a_row_without_its_parent_is_refused_at_once() {
    let session = open();
    refused(session.insert("reading", &[("site_id".into(), 9.into())]), Code::Constraint, "FOREIGN KEY");
}

#[test]
fn the_status_of_an_open_transaction_is_that_before_it() {
    let mut session = open();
    session.insert("reading", &[]).unwrap();
    assert_eq!(session.status().unwrap().pending, 1);
    session.begin().unwrap();
    session.insert("reading", &[]).unwrap();
    assert_eq!(session.status().unwrap().pending, 1);
    session.commit().unwrap();
    assert_eq!(session.status().unwrap().pending, 2);
}

#[test]
fn a_call_is_answered_once_it_is_committed_and_until_its_tab_has_the_answer() {
    let session = open();
    let db = session.store.connection();
    session.begin().unwrap();
    calls::note(db, "a", 1, "one", 0).unwrap();
    session.rollback().unwrap();
    assert_eq!(calls::answer_of(db, "a", 1).unwrap(), None);
    calls::note(db, "a", 1, "one", 0).unwrap();
    calls::note(db, "a", 2, "two", 0).unwrap();
    calls::note(db, "b", 1, "other", 0).unwrap();
    assert!(calls::note(db, "a", 2, "again", 0).is_err(), "a call is done once");
    calls::note(db, "a", 3, "three", 1).unwrap();
    assert_eq!(calls::answer_of(db, "a", 1).unwrap(), None);
    assert_eq!(calls::answer_of(db, "a", 2).unwrap().as_deref(), Some("two"));
    calls::forget_tab(db, "a").unwrap();
    assert_eq!(calls::answer_of(db, "a", 3).unwrap(), None);
    assert_eq!(calls::answer_of(db, "b", 1).unwrap().as_deref(), Some("other"));
}

/// Opens what lies in a file.
fn reopen(file: &std::path::Path, schema: Option<&str>) -> Result<Session, Failure> {
    Session::open(Connection::open(file).unwrap(), &options(schema))
}

#[test]
fn a_newer_schema_is_followed_and_an_older_one_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("field.db");
    refused(reopen(&file, None), Code::Schema, "needs a schema");
    refused(reopen(&file, Some("nonsense")), Code::Schema, "the schema: ");
    reopen(&file, Some(SCHEMA)).unwrap().insert("reading", &[]).unwrap();
    let newer = SCHEMA.replace("version = 1", "version = 2") + "wind = { type = \"real\" }\n";
    let session = reopen(&file, Some(&newer)).unwrap();
    session.insert("reading", &[("wind".into(), 3.0.into())]).unwrap();
    drop(session);
    for schema in [None, Some(SCHEMA), Some(&*newer)] {
        let session = reopen(&file, schema).unwrap();
        assert_eq!(session.store.schema().version(), 2);
        assert_eq!(one(&session, "SELECT count(*) FROM reading"), Value::Integer(2));
    }
    refused(reopen(&file, Some(&SCHEMA.replace("weather", "tides"))), Code::Schema, "tides");
    refused(reopen(&file, Some(&SCHEMA.replace("temperature", "heat"))), Code::Schema, "Nothing was changed");
    // A tab that came with the newer page asks the owner, which came with the older one.
    let other = folder.path().join("other.db");
    let mut session = reopen(&other, Some(SCHEMA)).unwrap();
    session.evolve(&newer).unwrap();
    session.evolve(SCHEMA).unwrap();
    assert_eq!(session.store.schema().version(), 2);
}

#[test]
fn a_database_that_was_begun_and_not_finished_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("field.db");
    std::fs::write(&file, []).unwrap();
    reopen(&file, Some(SCHEMA)).unwrap().insert("reading", &[]).unwrap();
}

#[test]
fn a_damaged_database_is_found_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("field.db");
    let session = reopen(&file, Some(SCHEMA)).unwrap();
    session
        .exec_many("INSERT INTO site (name) VALUES (?)", (0..3000).map(|n| Ok(at([format!("site {n}").into()]))))
        .unwrap();
    // What a row holds is not damage of the file.
    session.exec("PRAGMA ignore_check_constraints = 1", &none()).unwrap();
    session.insert("reading", &[("temperature".into(), 99.0.into())]).unwrap();
    session.store.connection().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(session);
    reopen(&file, None).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 200].fill(0xA5);
    std::fs::write(&file, &bytes).unwrap();
    refused(reopen(&file, None), Code::Corrupt, "damaged");
    std::fs::write(&file, "not a database, but long enough to have been one".repeat(99)).unwrap();
    refused(reopen(&file, None), Code::Corrupt, "not an SQLite database");
}
