//! Attaching: whatever programs write while the rows that were there are logged, the log replayed gives the tables, and
//! has no gap.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::Connection;
use tidemark_client::outbox::{self, Caps};
use tidemark_client::{Error, Store};
use tidemark_core::schema::Schema;

const TOML: &str = "name = 'plant'\nversion = 1\n\
    [tables.site.columns]\nid = { type = 'integer' }\nname = { type = 'text' }\nabove_id = { type = 'integer', references = 'site' }\n\
    [tables.reading]\ntime = 'at'\n[tables.reading.columns]\nid = { type = 'integer' }\nat = { type = 'timestamp' }\nvalue = { type = 'real' }\n\
    [tables.tag]\nkey = 'uid'\n[tables.tag.columns]\nuid = { type = 'uuid' }\nlabel = { type = 'text' }";
const THEIRS: &str = "CREATE TABLE site (id INTEGER NOT NULL, name VARCHAR, above_id INTEGER, PRIMARY KEY (id));
    CREATE TABLE reading (id INTEGER PRIMARY KEY, at DATETIME, value FLOAT);
    CREATE TABLE tag (uid CHAR(36) PRIMARY KEY, label TEXT)";
/// Ids that are drawn, also where no row is.
const IDS: i64 = 9;

/// Something a program does, to a row of this id.
#[derive(Debug, Clone)]
enum Write {
    Insert(usize, i64),
    Replace(usize, i64),
    Update(usize, i64),
    Move(i64),
    Delete(usize, i64),
    /// A piece of the backfill of so many rows.
    Piece(u32),
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let of = (0_usize..3, 1..=IDS);
    let write = prop_oneof![
        of.clone().prop_map(|(table, id)| Write::Insert(table, id)),
        of.clone().prop_map(|(table, id)| Write::Replace(table, id)),
        of.clone().prop_map(|(table, id)| Write::Update(table, id)),
        (1..=IDS).prop_map(Write::Move),
        of.prop_map(|(table, id)| Write::Delete(table, id)),
        (1_u32..4).prop_map(Write::Piece),
    ];
    prop::collection::vec(write, 0..60)
}

fn uid(id: i64) -> String {
    format!("00000000-0000-0000-0000-{id:012}")
}

fn program(db: &Connection, write: &Write, n: usize) {
    let sql = |verb: &str, table: usize, id: i64| match table {
        0 => format!("{verb} INTO site VALUES ({id}, 'n{n}', {})", id - 1),
        1 => format!("{verb} INTO reading VALUES ({id}, '2024-01-01 00:00:0{}', {n})", n % 10),
        _ => format!("{verb} INTO tag VALUES ('{}', 'n{n}')", uid(id)),
    };
    let sql = match *write {
        Write::Insert(table, id) => sql("INSERT OR IGNORE", table, id),
        Write::Replace(table, id) => sql("INSERT OR REPLACE", table, id),
        Write::Update(0, id) => format!("UPDATE site SET name = 'u{n}' WHERE id = {id}"),
        Write::Update(1, id) => format!("UPDATE reading SET value = {n}.5 WHERE id = {id}"),
        Write::Update(_, id) => format!("UPDATE tag SET label = 'u{n}' WHERE uid = '{}'", uid(id)),
        Write::Move(id) => format!("UPDATE reading SET at = '2024-02-01 00:00:0{}' WHERE id = {id}", n % 10),
        Write::Delete(0, id) => format!("DELETE FROM site WHERE id = {id}"),
        Write::Delete(1, id) => format!("DELETE FROM reading WHERE id = {id}"),
        Write::Delete(_, id) => format!("DELETE FROM tag WHERE uid = '{}'", uid(id)),
        Write::Piece(_) => return,
    };
    db.execute_batch(&sql).unwrap();
}

type Rows = BTreeMap<String, String>;

/// The rows of a table, by key.
fn rows(db: &Connection, select: &str) -> Rows {
    let mut query = db.prepare(select).unwrap();
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// What upstream would hold after the log: a row is known by key and time there.
fn replayed(db: &Connection, table: &str, key: &str, image: &str) -> Rows {
    let select = format!("SELECT op, {key}, {image} FROM tidemark_log WHERE tbl = '{table}' ORDER BY seq");
    let mut query = db.prepare(&select).unwrap();
    let changes = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let mut rows = Rows::new();
    for change in changes {
        let (op, key, image): (String, String, Option<String>) = change.unwrap();
        match op.as_str() {
            "D" => drop(rows.remove(&key)),
            _ => drop(rows.insert(key, image.unwrap())),
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_log_replayed_gives_the_tables_whatever_is_written_meanwhile(before in writes(), meanwhile in writes()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plant.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(&format!("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; {THEIRS}")).unwrap();
        for (n, write) in before.iter().enumerate() {
            program(&db, write, n);
        }
        let (mut store, attached) = Store::attach(&path, &Schema::parse(TOML).unwrap(), [7; 16]).unwrap();
        store.connection().execute_batch("PRAGMA synchronous = OFF").unwrap();
        let there: i64 = db
            .query_row("SELECT (SELECT count(*) FROM site) + (SELECT count(*) FROM reading) + (SELECT count(*) FROM tag)", [], |row| row.get(0))
            .unwrap();
        prop_assert_eq!(attached.rows, there as u64);
        for (n, write) in meanwhile.iter().enumerate() {
            match write {
                Write::Piece(rows) => store.backfill_piece(*rows).unwrap(),
                write => program(&db, write, 1000 + n),
            }
        }
        if store.backfill_open().unwrap() > 0 {
            let refused = outbox::cut(&mut store, &Caps { rows: 10, body_bytes: 1 << 20, cells: 1 << 20 }, 0);
            // Not joined is told first.
            prop_assert!(matches!(refused, Err(Error::NotJoined { .. } | Error::Backfill { .. })), "{:?}", refused);
        }
        store.backfill(&mut |_| ()).unwrap();
        prop_assert_eq!(store.backfill_open().unwrap(), 0);
        let seqs: (i64, i64, i64) = db
            .query_row("SELECT count(*), coalesce(min(seq), 1), coalesce(max(seq), 0) FROM tidemark_log", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        prop_assert_eq!((seqs.0, 1), (seqs.2, seqs.1), "the log has a gap");
        let site = rows(&db, "SELECT CAST(id AS TEXT), coalesce(name, '') || '/' || above_id FROM site");
        prop_assert_eq!(replayed(&db, "site", "CAST(c0 AS TEXT)", "c1 || '/' || c2"), site);
        let reading = rows(&db, "SELECT id || ' ' || at, CAST(value AS TEXT) FROM reading");
        prop_assert_eq!(replayed(&db, "reading", "c0 || ' ' || c1", "CAST(c2 AS TEXT)"), reading);
        prop_assert_eq!(replayed(&db, "tag", "c0", "c1"), rows(&db, "SELECT uid, label FROM tag"));
        // And again: nothing is left to do.
        let last = store.last_seq().unwrap();
        store.backfill(&mut |_| ()).unwrap();
        prop_assert_eq!(store.last_seq().unwrap(), last);
    }
}

/// An append table takes no deletes: the places of rows that went before they were logged tell of none.
#[test]
fn a_row_of_an_append_table_that_goes_before_it_is_logged_leaves_an_empty_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plant.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(THEIRS).unwrap();
    db.execute_batch("INSERT INTO reading (at) VALUES ('2024-01-01'), ('2024-01-02'), ('2024-01-03')").unwrap();
    let toml = TOML.replace("time = 'at'", "time = 'at'\nappend = true");
    let (mut store, _) = Store::attach(&path, &Schema::parse(&toml).unwrap(), [7; 16]).unwrap();
    db.execute_batch("DELETE FROM reading WHERE id = 2; INSERT INTO reading (at) VALUES ('2024-01-04')").unwrap();
    store.backfill(&mut |_| ()).unwrap();
    let mut query = db.prepare("SELECT seq, op, c0 FROM tidemark_log ORDER BY seq").unwrap();
    let log = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let log: Vec<(i64, String, Option<i64>)> = log.unwrap().map(Result::unwrap).collect();
    let line = |seq, op: &str, key| (seq, op.to_owned(), key);
    let wanted = [
        line(1, "I", Some(1)),
        line(2, "I", Some(3)),
        line(3, "D", None),
        line(4, "D", Some(2)),
        line(5, "I", Some(4)),
    ];
    assert_eq!(log, wanted);
}

/// JSON that is a number: SQLite keeps it as one, since a column declared JSON has numeric affinity. It travels as JSON
/// all the same.
#[test]
fn json_that_is_a_number_can_go_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plant.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE note (id INTEGER PRIMARY KEY, data JSON);
             INSERT INTO note (data) VALUES ('7'), ('-0.25'), ('1e300'), ('[1]'), ('null'), ('broken'), (x'00')",
        )
        .unwrap();
    let schema = "name = 'n'\nversion = 1\n[tables.note.columns]\nid = { type = 'integer' }\ndata = { type = 'json' }";
    let mut bad = Vec::new();
    let count = tidemark_client::attach::problems::<Error>(&path, &Schema::parse(schema).unwrap(), 0, &mut |problem| {
        bad.push(problem.to_string());
        Ok(())
    });
    assert_eq!(count.unwrap(), 2, "{bad:?}");
    assert!(bad[0].starts_with("note 6: ") && bad[1].starts_with("note 7: "), "{bad:?}");
}
