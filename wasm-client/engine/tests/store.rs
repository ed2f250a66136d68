//! Files that are not what they should be, each with its own error; and capture that follows what other programs do to
//! the tables.

use std::path::Path;

use crate::common::{UUID, World, changes, schema};
use tidemark_client::format::PRUNED_FORMAT;
use tidemark_client::rusqlite::Connection;
use tidemark_client::rusqlite::types::Value;
use tidemark_client::{Error, OpenOptions, Store};
use tidemark_core::schema::Schema;

const SOON: OpenOptions = OpenOptions { busy_timeout_ms: 50 };

fn made(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("field.db");
    Store::init(&path, &schema(), UUID).unwrap();
    path
}

#[test]
fn no_file_and_no_folder_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(folder.path().join("none.db")), Err(Error::Missing { .. })));
    assert!(!folder.path().join("none.db").exists(), "opening makes no file");
    let lost = folder.path().join("no/folder.db");
    assert!(matches!(Store::open(&lost), Err(Error::FolderMissing { .. })));
    assert!(matches!(Store::init(&lost, &schema(), UUID), Err(Error::FolderMissing { .. })));
}

#[test]
fn what_is_no_sqlite_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "station,reading\n".repeat(100);
    std::fs::write(&path, &text).unwrap();
    assert!(matches!(Store::open(&path), Err(Error::NotSqlite { .. })));
    assert!(matches!(Store::init(&path, &schema(), UUID), Err(Error::NotSqlite { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert!(matches!(Store::open(folder.path()), Err(Error::NotSqlite { .. })));
}

#[test]
fn an_sqlite_file_of_others_is_no_tidemark_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE a (x)").unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, Error::NotTidemark { .. }));
    assert!(error.to_string().ends_with("not a Tidemark file (it has no table tidemark_station)"), "{error}");
    // Where no table is in the way, init adds to it.
    Store::init(&path, &schema(), UUID).unwrap();
    Connection::open(&path).unwrap().execute("INSERT INTO a VALUES (1)", []).unwrap();
}

#[test]
fn init_changes_nothing_where_something_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = made(folder.path());
    match Store::init(&path, &schema(), [1; 16]).unwrap_err() {
        Error::AlreadyTidemark { schema, version, .. } => assert_eq!((schema.as_str(), version), ("weather", 1)),
        other => panic!("{other}"),
    }
    assert_eq!(Store::open(&path).unwrap().uuid(), UUID);
    let path = folder.path().join("tables.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE Reading (x); CREATE VIEW site AS SELECT 1").unwrap();
    match Store::init(&path, &schema(), UUID).unwrap_err() {
        Error::TablesExist { tables, .. } => assert_eq!(tables, "Reading, site"),
        other => panic!("{other}"),
    }
    let left: i64 =
        Connection::open(&path).unwrap().query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 2);
}

#[test]
fn a_file_of_a_newer_tidemark_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = made(folder.path());
    // Of the newer format this build knows nothing but the number.
    let db = Connection::open(&path).unwrap();
    let newer = PRUNED_FORMAT + 1;
    db.execute_batch(&format!(
        "DROP TABLE tidemark_station; CREATE TABLE tidemark_station (format, more); INSERT INTO tidemark_station VALUES ({newer}, x'00')"
    ))
    .unwrap();
    for error in [Store::open(&path).unwrap_err(), Store::init(&path, &schema(), UUID).unwrap_err()] {
        assert!(matches!(error, Error::Newer { found, known: PRUNED_FORMAT, .. } if found == newer), "{error}");
        assert!(error.to_string().contains("upgrade this program"));
    }
}

#[test]
fn a_locked_file_is_an_error_after_a_bounded_wait() {
    let mut world = World::joined();
    world.write(1);
    let other = Connection::open(world.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let store = Store::open_with(world.path(), SOON).unwrap();
    let error = store.execute("DELETE FROM reading", []).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }) && error.can_retry(), "{error}");
    assert!(error.to_string().contains("locked by another program"));
    // The push notices as well, and goes on afterwards.
    let mut store = Store::open_with(world.path(), SOON).unwrap();
    assert!(matches!(world.engine.next(&mut store, world.clock.0), Err(Error::Locked { .. })));
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(changes(&world.push()), 1);
    // A file locked against reading, as without write-ahead logging.
    let folder = tempfile::tempdir().unwrap();
    let path = made(folder.path());
    let other = Connection::open(&path).unwrap();
    other.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(())).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(Store::open_with(&path, SOON), Err(Error::Locked { .. })));
    assert!(matches!(Store::init_with(&path, &schema(), UUID, SOON), Err(Error::Locked { .. })));
}

#[test]
fn a_damaged_station_row_is_an_error_at_open() {
    for (damage, says) in [
        ("chain = x'00'", "chain is not 32 bytes"),
        ("tidemark = -1", "tidemark is negative"),
        ("sent_seq = 'x'", "sent_seq"),
        ("token = x'00'", "token is not 32 bytes"),
        ("number = 2097152", "not a station number"),
        ("number = 0", "not a station number"),
        ("station_uuid = 'x'", "station_uuid"),
        ("schema = 'name ='", "its schema does not parse"),
        ("schema = replace(schema, 'version = 1', 'version = 2')", "fingerprint"),
        ("schema = CAST(x'ff' AS TEXT)", "utf"),
        ("format = 0", "format 0 never existed"),
        ("chain = CAST('x' AS TEXT)", "chain"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = made(folder.path());
        Connection::open(&path).unwrap().execute(&format!("UPDATE tidemark_station SET {damage}"), []).unwrap();
        match Store::open(&path).map(|_| ()).unwrap_err() {
            Error::StationRow { detail, .. } => assert!(detail.contains(says), "{damage}: {detail}"),
            other => panic!("{damage}: {other:?}"),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = made(folder.path());
    Connection::open(&path).unwrap().execute("DELETE FROM tidemark_station", []).unwrap();
    assert!(matches!(Store::open(&path), Err(Error::NotTidemark { .. })));
}

#[test]
fn a_file_damaged_in_the_middle_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = made(folder.path());
    let whole = std::fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.db");
    let mut errors = 0;
    for page in 0..whole.len() / 4096 {
        let mut bytes = whole.clone();
        // The first page begins with the file's header, which says that it is SQLite at all.
        let from = page * 4096 + if page == 0 { 100 } else { 0 };
        bytes[from..from + 600].fill(0x5a);
        std::fs::write(&damaged, &bytes).unwrap();
        match Store::open(&damaged)
            .and_then(|mut store| store.status().map(|_| store.row_counts()).and_then(|counts| counts))
        {
            Ok(_) => {}
            Err(error) => {
                errors += 1;
                assert!(error.to_string().starts_with(&damaged.display().to_string()), "{error}");
            }
        }
    }
    assert!(errors > 3, "{errors}");
}

#[test]
fn tables_and_columns_that_went_away_are_named() {
    for (change, says) in [
        ("DROP TABLE reading", "the table reading of the schema weather is gone"),
        ("ALTER TABLE reading RENAME TO readings", "the table reading of the schema weather is gone"),
        (
            "DROP TRIGGER tidemark_reading_after_insert; ALTER TABLE reading RENAME COLUMN note TO remark",
            "lost these columns of the schema: note",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = made(folder.path());
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        match Store::open(&path).map(|_| ()).unwrap_err() {
            Error::Lost { what, .. } => assert!(what.contains(says), "{what}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn triggers_that_are_missing_or_altered_are_made_anew_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = made(folder.path());
    let db = Connection::open(&path).unwrap();
    let count = |store: &Store| -> i64 {
        let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'";
        store.connection().query_row(count, [], |row| row.get(0)).unwrap()
    };
    let whole = count(&Store::open(&path).unwrap());
    assert!(Store::open(&path).unwrap().take_repairs().is_empty());
    // As a tool does that rebuilds a table: the triggers go with the old one.
    db.execute_batch("DROP TRIGGER tidemark_reading_after_insert; DROP TRIGGER tidemark_reading_after_delete").unwrap();
    db.execute("INSERT INTO reading (n) VALUES (1)", []).unwrap();
    let mut store = Store::open(&path).unwrap();
    let repairs = store.take_repairs();
    assert_eq!(repairs.len(), 1);
    assert!(repairs[0].to_string().starts_with("table reading: the capture triggers were missing"), "{}", repairs[0]);
    assert_eq!(count(&store), whole);
    db.execute("INSERT INTO reading (n) VALUES (2)", []).unwrap();
    assert_eq!(store.status().unwrap().pending, 1);
}

#[test]
fn capture_follows_unique_indexes_that_programs_add_and_drop() {
    let folder = tempfile::tempdir().unwrap();
    let path = made(folder.path());
    let mut store = Store::open(&path).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE UNIQUE INDEX by_name ON site (name); CREATE UNIQUE INDEX again ON site (name); CREATE INDEX plain ON site (id)")
        .unwrap();
    // Whoever keeps the store open checks from time to time.
    store.check_capture().unwrap();
    assert!(store.take_repairs()[0].to_string().contains("unique indexes have changed"));
    db.execute_batch("INSERT INTO site (name) VALUES ('a'); INSERT OR REPLACE INTO site (name) VALUES ('a')").unwrap();
    let ops: Vec<(String, Value)> =
        store.log(10).unwrap().into_iter().map(|change| (change.op, change.values[0].1.clone())).collect();
    let op = |op: &str, id| (op.to_owned(), Value::Integer(id));
    assert_eq!(ops, [op("I", 1), op("D", 1), op("I", 2)]);
    db.execute_batch("DROP INDEX by_name; DROP INDEX again").unwrap();
    store.check_capture().unwrap();
    assert_eq!(store.take_repairs().len(), 1);
}

#[test]
fn unique_indexes_capture_cannot_follow_are_named() {
    for (index, says) in [
        ("CREATE UNIQUE INDEX odd ON site (name) WHERE id > 3", "a part of the rows"),
        ("CREATE UNIQUE INDEX odd ON site (lower(name))", "over an expression"),
        ("CREATE UNIQUE INDEX odd ON site (name COLLATE NOCASE)", "collation"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = made(folder.path());
        Connection::open(&path).unwrap().execute_batch(index).unwrap();
        match Store::open(&path).map(|_| ()).unwrap_err() {
            Error::Tables { detail, .. } => {
                assert!(detail.contains(says) && detail.contains("unique index odd"), "{detail}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_uuid_key_is_no_further_unique_index() {
    let schema =
        Schema::parse("name='w'\nversion=1\n[tables.t]\nkey='u'\n[tables.t.columns]\nu={type='uuid'}\nv={type='real'}")
            .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("u.db");
    Store::init(&path, &schema, UUID).unwrap();
    assert!(Store::open(&path).unwrap().take_repairs().is_empty());
}

#[test]
fn slips_in_names_of_tables_and_columns_list_what_there_is() {
    let world = World::new();
    let error = world.store.insert("readings", &[]).unwrap_err();
    assert!(error.to_string().contains("its tables are: site, reading"), "{error}");
    let error = world.store.insert("site", &[("nmae", Value::Null)]).unwrap_err();
    assert!(error.to_string().contains("it has: id, name"), "{error}");
    assert_eq!(world.store.insert("reading", &[]).unwrap(), 1);
}

#[test]
fn a_transaction_that_fails_leaves_neither_rows_nor_changes() {
    let mut world = World::new();
    let failed: Result<(), Error> = world.store.transaction(|tx| {
        tx.execute("INSERT INTO site (name) VALUES ('a')", []).unwrap();
        Err(Error::Schema("no".into()))
    });
    failed.unwrap_err();
    assert_eq!(world.store.status().unwrap().last_seq, 0);
    assert_eq!(world.store.row_counts().unwrap()[0], ("site".to_owned(), 0));
}
