//! Looking at a file: what is read while others write, and that it is read again when it changed.

use std::path::Path;

use rusqlite::Connection;
use tidemark_client::{Error, Store};
use tidemark_core::schema::Schema;

fn schema() -> Schema {
    Schema::parse("name = 'w'\nversion = 1\n[tables.site.columns]\nid = { type = 'integer' }\nname = { type = 'text' }")
        .unwrap()
}

fn sites(store: &mut Store) -> Result<u64, Error> {
    Ok(store.row_counts()?[0].1)
}

fn write(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute("INSERT INTO site (name) VALUES ('a')", []).unwrap();
    db
}

#[test]
fn a_file_that_changes_while_it_is_read_without_locks_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("field.db");
    drop(Store::init(&path, &schema(), [7; 16]).unwrap());
    let mut reads = 0;
    let seen = Store::look(&path, |store| {
        reads += 1;
        if reads < 3 {
            // Opened, written and closed: all of it is in the file, and nothing beside it tells of it.
            std::thread::sleep(std::time::Duration::from_millis(20));
            drop(write(&path));
        }
        sites(store)
    });
    assert_eq!((seen.unwrap(), reads), (2, 3));
    // Who never leaves it alone is said to hold it.
    let never = Store::look(&path, |store| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(write(&path));
        sites(store)
    });
    assert!(matches!(never, Err(Error::Locked { .. })), "{never:?}");
}

#[test]
fn what_is_committed_is_seen_and_what_is_not_is_not() {
    let folder = tempfile::tempdir().unwrap();
    // Every byte of a name is taken as it is.
    let path = folder.path().join("поле 1?mode=rw#%20.db");
    drop(Store::init(&path, &schema(), [7; 16]).unwrap());
    assert_eq!(Store::look(&path, sites).unwrap(), 0);
    let writer = write(&path);
    assert_eq!(Store::look(&path, sites).unwrap(), 1, "it is in the write-ahead log only");
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO site (name) VALUES ('b')").unwrap();
    assert_eq!(Store::look(&path, sites).unwrap(), 1);
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(Store::look(&path, sites).unwrap(), 2);
    drop(writer);
    assert_eq!(Store::look(&path, sites).unwrap(), 2);
    // An attached file may keep a journal of the other kind.
    let writer = Connection::open(&path).unwrap();
    writer.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(())).unwrap();
    writer.execute_batch("INSERT INTO site (name) VALUES ('c')").unwrap();
    assert_eq!(Store::look(&path, sites).unwrap(), 3);
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO site (name) VALUES ('d')").unwrap();
    assert_eq!(Store::look(&path, sites).unwrap(), 3);
}

#[test]
fn a_store_that_is_looked_at_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("field.db");
    drop(Store::init(&path, &schema(), [7; 16]).unwrap());
    let insert = |store: &mut Store| store.insert("site", &[("name", "a".to_owned().into())]);
    let still = Store::look(&path, insert);
    let _open = write(&path);
    let shared = Store::look(&path, insert);
    for refused in [still, shared] {
        assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    }
}

#[test]
fn looking_succeeds_while_programs_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("field.db");
    drop(Store::init(&path, &schema(), [7; 16]).unwrap());
    let writer = {
        let path = path.clone();
        std::thread::spawn(move || {
            for _ in 0..150 {
                drop(write(&path));
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        })
    };
    let (mut seen, mut looks) = (0, 0);
    while !writer.is_finished() {
        let now = Store::look(&path, sites).unwrap();
        assert!(now >= seen, "{now} rows after {seen}");
        (seen, looks) = (now, looks + 1);
    }
    writer.join().unwrap();
    assert!(looks > 10, "{looks} looks");
    assert_eq!(Store::look(&path, sites).unwrap(), 150);
}
