//! The forms that the capture triggers have had: files that have an earlier one get today's without a word and without
//! a gap. And what today's leave between statements: stale notes, which are never logged.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tidemark_client::Store;
use tidemark_core::capture::{Form, create_triggers_of, trigger_names};
use tidemark_core::schema::Schema;
use tidemark_core::sqlite::quote;

use crate::common::{UUID, schema};

/// The triggers in a file, by name.
fn triggers(path: &Path) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let mut query = db.prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name").unwrap();
    query.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// The log as operation and key, in order.
fn ops(db: &Connection) -> Vec<String> {
    let mut query = db.prepare("SELECT op || coalesce(c0, '') FROM tidemark_log ORDER BY seq").unwrap();
    query.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// Gives a table the triggers of an earlier program, which left a stale note there.
fn set_back(path: &Path, schema: &Schema, table: &str, unique: &[Vec<String>], absent: &[usize]) {
    let db = Connection::open(path).unwrap();
    let table = schema.table(table).unwrap();
    for name in trigger_names(table) {
        db.execute_batch(&format!("DROP TRIGGER IF EXISTS {}", quote(&name))).unwrap();
    }
    for trigger in create_triggers_of(Form::First, table, unique, absent) {
        db.execute_batch(&trigger).unwrap();
    }
    db.execute("INSERT INTO tidemark_ousted (tbl, c0) VALUES (?1, 77)", [&table.name]).unwrap();
}

/// Opens a file whose triggers have an earlier form: today's are there then, nobody is warned, nothing is logged.
#[track_caller]
fn opens_without_a_word(path: &Path, today: &[String]) {
    assert_ne!(triggers(path), today);
    assert!(Store::look(path, |store| store.is_captured()).unwrap(), "all changes are captured before, too");
    let mut store = Store::open(path).unwrap();
    let last = store.last_seq().unwrap();
    assert_eq!(store.take_repairs(), []);
    assert_eq!(triggers(path), today);
    assert!(store.is_captured().unwrap());
    let notes = "SELECT count(*) FROM tidemark_ousted";
    assert_eq!(store.connection().query_row(notes, [], |row| row.get::<_, i64>(0)), Ok(0));
    assert_eq!(store.last_seq().unwrap(), last);
}

#[test]
fn files_made_by_earlier_programs_get_todays_triggers_without_a_word() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/golden");
    let folder = tempfile::tempdir().unwrap();
    let schema = Schema::parse(&std::fs::read_to_string(golden.join("schema.toml")).unwrap()).unwrap();
    let new = folder.path().join("new.db");
    Store::init(&new, &schema, UUID).unwrap();
    for format in ["v1", "v2"] {
        let path = folder.path().join(format);
        std::fs::copy(golden.join(format).join("embedded/never-joined.db"), &path).unwrap();
        // The first form as it is derived here is what those programs wrote, to the letter.
        let mut first: Vec<String> =
            schema.tables().iter().flat_map(|table| create_triggers_of(Form::First, table, &[], &[])).collect();
        first.sort();
        let mut there = triggers(&path);
        there.sort();
        assert_eq!(there, first);
        if format == "v2" {
            opens_without_a_word(&path, &triggers(&new));
        } else {
            assert_eq!(Store::open(&path).unwrap().take_repairs(), []);
            assert_eq!(triggers(&path), triggers(&new));
        }
    }
}

#[test]
fn unique_indexes_and_columns_that_a_file_lacks_stay_known_when_its_triggers_get_todays_form() {
    let toml = "name = 'plant'\nversion = 1\n\
        [tables.site.columns]\nid = { type = 'integer' }\nname = { type = 'text' }\nnote = { type = 'text' }\n\
        [tables.reading]\ntime = 'at'\n[tables.reading.columns]\nid = { type = 'integer' }\nat = { type = 'timestamp' }";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plant.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE site (id INTEGER PRIMARY KEY, name VARCHAR UNIQUE); CREATE TABLE reading (id INTEGER PRIMARY KEY, at DATETIME)")
        .unwrap();
    let schema = Schema::parse(toml).unwrap();
    let mut store = Store::attach(&path, &schema, UUID).unwrap().0;
    store.backfill(&mut |_| ()).unwrap();
    let today = triggers(&path);
    let name = [vec!["name".to_owned()]];
    set_back(&path, &schema, "site", &name, &[2]);
    // Of one table only, as no program leaves it; and whoever keeps a store open finds it.
    store.check_capture().unwrap();
    assert_eq!((store.take_repairs(), triggers(&path)), (vec![], today.clone()));
    set_back(&path, &schema, "site", &name, &[2]);
    set_back(&path, &schema, "reading", &[], &[]);
    opens_without_a_word(&path, &today);
    // The program adds what was lacking before today's program opens the file: that is told, as ever.
    set_back(&path, &schema, "site", &name, &[2]);
    db.execute_batch("ALTER TABLE site ADD COLUMN note VARCHAR; INSERT INTO site VALUES (1, 'a', 'b')").unwrap();
    let told: Vec<String> = Store::open(&path).unwrap().take_repairs().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["site.note is there now and captured; 1 change is logged for the rows that have it already"]);
}

#[test]
fn triggers_of_an_earlier_form_that_were_altered_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("field.db");
    Store::init(&path, &schema(), UUID).unwrap();
    set_back(&path, &schema(), "reading", &[], &[]);
    Connection::open(&path).unwrap().execute_batch("DROP TRIGGER tidemark_reading_after_delete").unwrap();
    assert!(!Store::look(&path, |store| store.is_captured()).unwrap());
    assert_eq!(Store::open(&path).unwrap().take_repairs().len(), 1);
}

/// A station's file with notes that are stale: rows 1 and 2 of `reading` are there, and noted.
fn with_stale_notes(folder: &Path) -> (PathBuf, Connection) {
    let path = folder.join("field.db");
    Store::init(&path, &schema(), UUID).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "INSERT INTO reading (id, at) VALUES (1, '2026-01-01'), (2, '2026-01-01');
         CREATE TEMP TABLE notes AS SELECT * FROM tidemark_ousted WHERE 0;
         INSERT OR IGNORE INTO reading (id) VALUES (1); INSERT INTO notes SELECT * FROM tidemark_ousted;
         INSERT OR IGNORE INTO reading (id) VALUES (2); INSERT INTO tidemark_ousted SELECT * FROM notes;
         DELETE FROM tidemark_log",
    )
    .unwrap();
    assert_eq!(db.query_row("SELECT count(*) FROM tidemark_ousted", [], |row| row.get::<_, i64>(0)), Ok(2));
    (path, db)
}

#[test]
fn a_stale_note_is_never_logged_whatever_takes_its_row_away() {
    for (takes_away, logged) in [
        ("DELETE FROM reading WHERE id = 1", &["D1", "I3"][..]),
        ("UPDATE reading SET id = 9 WHERE id = 1", &["D1", "I9", "I3"]),
        ("UPDATE OR REPLACE reading SET id = 2 WHERE id = 1", &["D2", "D1", "I2", "I3"]),
        ("INSERT OR REPLACE INTO reading (id, at) VALUES (1, '2026-02-02')", &["D1", "I1", "I3"]),
        ("INSERT INTO reading (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 8", &["D1", "I8", "I3"]),
        (
            "UPDATE reading SET at = '2026-02-02' WHERE id = 1; DELETE FROM reading WHERE id = 1",
            &["D1", "I1", "D1", "I3"],
        ),
        ("PRAGMA recursive_triggers = 1; INSERT OR REPLACE INTO reading (id) VALUES (1)", &["D1", "I1", "I3"]),
        (
            "BEGIN; DELETE FROM reading; ROLLBACK; BEGIN; SAVEPOINT s; UPDATE reading SET id = id + 10; ROLLBACK TO s; COMMIT",
            &["I3"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (_, db) = with_stale_notes(folder.path());
        db.execute_batch(takes_away).unwrap();
        db.execute_batch("INSERT INTO reading (id) VALUES (3)").unwrap();
        assert_eq!(ops(&db), logged, "{takes_away}");
    }
}

/// Other systems' tables may have rows without a key, which go nowhere; a note of one is no delete either.
#[test]
fn a_stale_note_of_a_row_without_a_key_is_not_logged() {
    let toml = "name = 'plant'\nversion = 1\n\
        [tables.tag]\nkey = 'uid'\n[tables.tag.columns]\nuid = { type = 'uuid' }\nlabel = { type = 'text' }";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plant.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE tag (uid CHAR(36) PRIMARY KEY, label TEXT UNIQUE)").unwrap();
    Store::attach(&path, &Schema::parse(toml).unwrap(), UUID).unwrap();
    db.execute_batch("INSERT INTO tag VALUES (NULL, 'a'); INSERT OR IGNORE INTO tag VALUES ('u', 'a'); INSERT INTO tag VALUES ('v', 'b')")
        .unwrap();
    assert_eq!(ops(&db), ["I", "Iv"]);
}

/// A program's own trigger may write to another table between our note and our log.
#[test]
fn a_row_is_ousted_while_a_trigger_of_the_program_notes_rows_of_another_table() {
    for (n, order) in ["before ours", "behind ours"].into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("field.db");
        let db = Connection::open(&path).unwrap();
        let own = "CREATE TRIGGER own BEFORE INSERT ON reading BEGIN INSERT INTO site (id, name) VALUES (NEW.site_id, 'x') ON CONFLICT DO NOTHING; END";
        Store::init(&path, &schema(), UUID).unwrap();
        db.execute_batch("CREATE UNIQUE INDEX by_name ON site (name)").unwrap();
        Store::open(&path).unwrap();
        if n == 0 {
            // SQLite asks the triggers made last first, which it does not promise.
            db.execute_batch(own).unwrap();
        } else {
            let ours = "SELECT sql FROM sqlite_schema WHERE name = 'tidemark_reading_before_insert'";
            let ours: String = db.query_row(ours, [], |row| row.get(0)).unwrap();
            db.execute_batch(&format!("DROP TRIGGER tidemark_reading_before_insert; {own}; {ours}")).unwrap();
        }
        db.execute_batch(
            "INSERT INTO reading (id, site_id, at) VALUES (1, 1, '2026-01-01'); DELETE FROM tidemark_log;
             INSERT OR REPLACE INTO reading (id, site_id, at) VALUES (1, 1, '2026-01-02')",
        )
        .unwrap();
        assert!(ops(&db).ends_with(&["D1".to_owned(), "I1".to_owned()]), "{order}: {:?}", ops(&db));
        let readings = "SELECT group_concat(op || c0 || c2, ' ') FROM tidemark_log WHERE tbl = 'reading'";
        let readings: String = db.query_row(readings, [], |row| row.get(0)).unwrap();
        assert_eq!(readings, "D12026-01-01 I12026-01-02", "{order}");
    }
}

/// The clock's expression gives the same millisecond as the one before it, and SQLite's own.
#[test]
fn the_clock_is_that_of_the_first_form_to_the_millisecond() {
    let db = Connection::open_in_memory().unwrap();
    let forms = "SELECT CAST(round((?1 - 2440587.5) * 86400000.0) AS INTEGER), CAST(?1 * 86400000.0 - 210866759999999.5 AS INTEGER)";
    let mut forms = db.prepare(forms).unwrap();
    let mut check = |ms: i64| {
        // As SQLite computes it: <https://www.sqlite.org/src/file/src/date.c>.
        let julian = (ms + 210_866_760_000_000) as f64 / 86_400_000.0;
        let both = forms.query_row([julian], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(both, Ok((ms, ms)));
    };
    let days = |day: i64| day * 86_400_000;
    (0..20_000).for_each(|n| check(1_790_000_000_000 + n));
    (0..80_000).for_each(|n| check(n * 37_000_003));
    (0..3).for_each(|n| [0, days(1), days(20_000), 253_402_300_799_997].into_iter().for_each(|ms| check(ms + n)));
    let now = "SELECT CAST(julianday() * 86400000.0 - 210866759999999.5 AS INTEGER), CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)";
    let (today, first): (i64, i64) = db.query_row(now, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(today, first, "one statement has one time");
    assert!(
        create_triggers_of(Form::Current, &schema().tables()[0], &[], &[])[0]
            .contains("CAST(julianday() * 86400000.0 - 210866759999999.5 AS INTEGER)")
    );
}
