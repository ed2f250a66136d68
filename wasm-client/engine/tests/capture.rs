//! Capture, driven by random statements: whatever programs do to the tables, replaying the log gives the same tables,
//! bit for bit.
//!
//! The statements run over several connections, with savepoints, rollbacks, `OR REPLACE`, `OR IGNORE`, upserts, updates
//! of keys and time columns, on tables with and without time columns and with UNIQUE constraints that the schema does
//! not know, and with triggers of the program's own that refuse rows or write to other tables.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;
use tidemark_core::capture::{create_log, create_ousted, create_triggers};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite;

const SCHEMA: &str = r#"
name = "capture"
version = 1
[tables.plain.columns]
id = { type = "integer" }
a = { type = "text" }
b = { type = "real" }
[tables.timed]
time = "at"
[tables.timed.columns]
id = { type = "integer" }
at = { type = "timestamp", default = "now" }
v = { type = "real" }
n = { type = "integer" }
raw = { type = "bytes" }
[tables.twin.columns]
id = { type = "integer" }
name = { type = "text" }
x = { type = "integer" }
y = { type = "integer" }
[tables.tag]
key = "uid"
[tables.tag.columns]
uid = { type = "uuid" }
label = { type = "text" }
"#;

fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

/// The unique indexes a program made besides the keys.
fn unique(table: &Table) -> Vec<Vec<String>> {
    match table.name.as_str() {
        "twin" => vec![vec!["name".into()], vec!["x".into(), "y".into()]],
        _ => Vec::new(),
    }
}

fn create(path: &Path) -> Connection {
    let schema = schema();
    let db = open(path);
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db.execute_batch(&format!("{};{}", create_log(&schema), create_ousted(&schema))).unwrap();
    for table in schema.tables() {
        db.execute_batch(&sqlite::create_table(&schema, table)).unwrap();
        for (n, columns) in unique(table).iter().enumerate() {
            db.execute_batch(&format!(
                "CREATE UNIQUE INDEX {}_{n} ON {} ({})",
                table.name,
                table.name,
                columns.join(",")
            ))
            .unwrap();
        }
        for trigger in create_triggers(table, &unique(table), &[]) {
            db.execute_batch(&trigger).unwrap();
        }
    }
    db.execute_batch(OWN_TRIGGERS).unwrap();
    db
}

/// What a program's own triggers may do between our notes and our log: refuse a row without a word, or with one but
/// keeping the rows before it, and write to another table that has notes of its own.
const OWN_TRIGGERS: &str = "
    CREATE TRIGGER own_ignores BEFORE INSERT ON timed WHEN NEW.n = 1 BEGIN SELECT RAISE(IGNORE); END;
    CREATE TRIGGER own_fails BEFORE INSERT ON timed WHEN NEW.n = 2 BEGIN SELECT RAISE(FAIL, 'not this one'); END;
    CREATE TRIGGER own_skips BEFORE UPDATE ON twin WHEN NEW.x = 5 BEGIN SELECT RAISE(IGNORE); END;
    CREATE TRIGGER own_writes BEFORE INSERT ON twin WHEN NEW.y = 4 BEGIN
        INSERT OR REPLACE INTO timed (id, at) VALUES (NEW.x, '2026-01-09 00:00:00.000000');
    END;";

fn open(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "synchronous", "off").unwrap();
    db.pragma_update(None, "foreign_keys", "off").unwrap();
    db
}

/// A value that compares by its bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Bits {
    Null,
    Integer(i64),
    Real(u64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl From<rusqlite::types::ValueRef<'_>> for Bits {
    fn from(value: rusqlite::types::ValueRef<'_>) -> Self {
        use rusqlite::types::ValueRef as V;
        match value {
            V::Null => Self::Null,
            V::Integer(v) => Self::Integer(v),
            V::Real(v) => Self::Real(v.to_bits()),
            V::Text(v) => Self::Text(v.to_vec()),
            V::Blob(v) => Self::Blob(v.to_vec()),
        }
    }
}

type Rows = BTreeMap<Bits, Vec<Bits>>;

fn read(db: &Connection, sql: &str, columns: usize) -> Vec<Vec<Bits>> {
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| (0..columns).map(|n| Ok(row.get_ref(n)?.into())).collect()).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn tables_of(db: &Connection) -> BTreeMap<String, Rows> {
    let schema = schema();
    let table = |table: &Table| {
        let columns: Vec<String> = table.columns.iter().map(|c| sqlite::quote(&c.name)).collect();
        let rows =
            read(db, &format!("SELECT {} FROM {}", columns.join(","), sqlite::quote(&table.name)), columns.len());
        (table.name.clone(), rows.into_iter().map(|row| (row[table.key].clone(), row)).collect())
    };
    schema.tables().iter().map(table).collect()
}

/// What upstream would hold: its key is key and time, so a row whose time changed without a logged delete would stand
/// there twice.
fn replay(db: &Connection) -> Result<BTreeMap<String, Rows>, String> {
    let schema = schema();
    let width = 4 + schema.columns_max();
    let mut upstream: BTreeMap<String, BTreeMap<Vec<Bits>, Vec<Bits>>> =
        schema.tables().iter().map(|table| (table.name.clone(), BTreeMap::new())).collect();
    let log = read(db, "SELECT * FROM tidemark_log ORDER BY seq", width);
    let first = match log.first() {
        Some(row) => row[0].clone(),
        None => Bits::Integer(1),
    };
    let Bits::Integer(first) = first else { return Err("seq is an integer".into()) };
    for (seq, row) in (first..).zip(&log) {
        if row[0] != Bits::Integer(seq) {
            return Err(format!("the log has a gap: {:?} where {seq} was due", row[0]));
        }
        let (Bits::Text(name), Bits::Text(op)) = (&row[2], &row[3]) else {
            return Err("table and operation are text".into());
        };
        let table = schema.table(std::str::from_utf8(name).unwrap()).unwrap();
        let values = row[4..4 + table.columns.len()].to_vec();
        let identity: Vec<Bits> = table.identity().map(|index| values[index].clone()).collect();
        let rows = upstream.get_mut(&table.name).unwrap();
        match op.as_slice() {
            b"I" => {
                rows.insert(identity, values);
            }
            b"U" => {
                if rows.insert(identity.clone(), values).is_none() {
                    return Err(format!("an update of a row that is not there: {identity:?}"));
                }
            }
            b"D" => {
                if rows.remove(&identity).is_none() {
                    return Err(format!("a delete of a row that is not there: {} {identity:?}", table.name));
                }
            }
            other => return Err(format!("operation {other:?}")),
        }
    }
    let mut tables = BTreeMap::new();
    for table in schema.tables() {
        let rows = &upstream[&table.name];
        let by_key: Rows = rows.values().map(|row| (row[table.key].clone(), row.clone())).collect();
        if by_key.len() != rows.len() {
            return Err(format!(
                "{} rows of {} became {}: a key stands there with two times",
                rows.len(),
                table.name,
                by_key.len()
            ));
        }
        tables.insert(table.name.clone(), by_key);
    }
    Ok(tables)
}

/// One step of a run: a statement on one of the connections.
#[derive(Debug, Clone)]
struct Step {
    connection: usize,
    sql: String,
    values: Vec<Value>,
}

fn any_real() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<f64>().prop_filter("SQLite stores NaN as NULL", |v| !v.is_nan()),
        Just(-0.0),
        Just(0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::from_bits(1)),
        Just(f64::MIN_POSITIVE / 2.0),
        Just(1e15),
        Just(-3.0),
    ]
    .prop_map(Value::Real)
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        2 => prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), 0..3_i64].prop_map(Value::Integer),
        3 => any_real(),
        2 => prop_oneof![Just(String::new()), Just("🐟 рыба".to_owned()), Just("12".to_owned()), Just("1e3".to_owned()), Just("a\0b".to_owned()), "[a-z]{0,4}"].prop_map(Value::Text),
        1 => prop_oneof![Just(vec![]), Just(vec![0]), proptest::collection::vec(any::<u8>(), 0..9)].prop_map(Value::Blob),
    ]
}

fn time() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (0..4).prop_map(|day| Value::Text(format!("2026-01-0{} 00:00:00.000000", day + 1))),
        1 => Just(Value::Null),
        1 => any_value(),
    ]
}

fn small() -> impl Strategy<Value = Value> {
    prop_oneof![8 => (1..6_i64).prop_map(Value::Integer), 1 => Just(Value::Null), 1 => (-2..1_i64).prop_map(Value::Integer)]
}

fn word() -> impl Strategy<Value = Value> {
    prop_oneof![4 => "[a-c]".prop_map(Value::Text), 1 => Just(Value::Null)]
}

fn uid() -> impl Strategy<Value = Value> {
    (0..4).prop_map(|n| Value::Text(format!("00000000-0000-4000-8000-00000000000{n}")))
}

fn statement() -> impl Strategy<Value = (String, Vec<Value>)> {
    let verb = || prop_oneof![3 => Just("INSERT"), 2 => Just("INSERT OR REPLACE"), 2 => Just("INSERT OR IGNORE"), 1 => Just("INSERT OR FAIL"), 1 => Just("INSERT OR ROLLBACK"), 1 => Just("REPLACE")];
    let update = || prop_oneof![3 => Just("UPDATE"), 2 => Just("UPDATE OR REPLACE"), 1 => Just("UPDATE OR IGNORE")];
    let fixed = |sql: &str| (sql.to_owned(), Vec::new());
    prop_oneof![
        4 => (verb(), small(), any_value(), any_value()).prop_map(|(verb, id, a, b)| (format!("{verb} INTO plain (id, a, b) VALUES (?, ?, ?)"), vec![id, a, b])),
        2 => (verb(), small(), small(), any_real()).prop_map(|(verb, i, j, b)| (format!("{verb} INTO plain (id, b) VALUES (?1, ?3), (?2, ?3), (NULL, ?3)"), vec![i, j, b])),
        6 => (verb(), small(), time(), any_value(), any_value(), any_value()).prop_map(|(verb, id, at, v, n, raw)| (format!("{verb} INTO timed VALUES (?, ?, ?, ?, ?)"), vec![id, at, v, n, raw])),
        2 => any_real().prop_map(|v| ("INSERT INTO timed (v) VALUES (?)".to_owned(), vec![v])),
        3 => (small(), time(), any_real()).prop_map(|(id, at, v)| ("INSERT INTO timed (id, at, v) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at, v = excluded.v".to_owned(), vec![id, at, v])),
        1 => (small(), time()).prop_map(|(id, at)| ("INSERT INTO timed (id, at) VALUES (?, ?) ON CONFLICT DO NOTHING".to_owned(), vec![id, at])),
        1 => (small(), small()).prop_map(|(id, to)| ("INSERT INTO timed (id) VALUES (?) ON CONFLICT (id) DO UPDATE SET id = ?".to_owned(), vec![id, to])),
        1 => (small(), time()).prop_map(|(id, at)| ("INSERT INTO timed (id, at) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE v = 1".to_owned(), vec![id, at])),
        2 => (verb(), small(), small(), time(), 0..4_i64).prop_map(|(verb, i, j, at, n)| (format!("{verb} INTO timed (id, at, n) VALUES (?1, ?3, 0), (?2, ?3, ?4)"), vec![i, j, at, Value::Integer(n)])),
        1 => Just(fixed("INSERT OR IGNORE INTO timed SELECT * FROM timed")),
        6 => (verb(), small(), word(), small(), small()).prop_map(|(verb, id, name, x, y)| (format!("{verb} INTO twin VALUES (?, ?, ?, ?)"), vec![id, name, x, y])),
        2 => (small(), word(), small()).prop_map(|(id, name, x)| ("INSERT INTO twin (id, name, x) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET x = excluded.x, y = id".to_owned(), vec![id, name, x])),
        1 => (word(), small()).prop_map(|(name, id)| ("INSERT INTO twin (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET id = ?".to_owned(), vec![name, id])),
        1 => word().prop_map(|name| ("INSERT OR IGNORE INTO twin (name) VALUES (?)".to_owned(), vec![name])),
        3 => (verb(), uid(), word()).prop_map(|(verb, uid, label)| (format!("{verb} INTO tag VALUES (?, ?)"), vec![uid, label])),
        3 => (update(), small(), small()).prop_map(|(update, to, from)| (format!("{update} plain SET id = ? WHERE id = ?"), vec![to, from])),
        3 => (update(), small(), small()).prop_map(|(update, to, from)| (format!("{update} timed SET id = ?, v = 1 WHERE id = ?"), vec![to, from])),
        2 => (update(), time(), small()).prop_map(|(update, at, id)| (format!("{update} timed SET at = ? WHERE id >= ?"), vec![at, id])),
        2 => (update(), time()).prop_map(|(update, at)| (format!("{update} timed SET id = id + 1, at = ?"), vec![at])),
        4 => (update(), word(), small(), small()).prop_map(|(update, name, x, id)| (format!("{update} twin SET name = ?, x = ? WHERE id = ?"), vec![name, x, id])),
        2 => (update(), small(), small(), word()).prop_map(|(update, id, y, name)| (format!("{update} twin SET id = ?, y = ? WHERE name = ?"), vec![id, y, name])),
        2 => (update(), uid(), uid()).prop_map(|(update, to, from)| (format!("{update} tag SET uid = ? WHERE uid = ?"), vec![to, from])),
        1 => any_value().prop_map(|v| ("UPDATE plain SET a = ?".to_owned(), vec![v])),
        2 => small().prop_map(|id| ("DELETE FROM timed WHERE id = ?".to_owned(), vec![id])),
        2 => small().prop_map(|id| ("DELETE FROM twin WHERE id <= ?".to_owned(), vec![id])),
        1 => Just(fixed("DELETE FROM plain")),
        1 => Just(fixed("INSERT INTO timed (at, v) SELECT at, v FROM timed")),
        2 => Just(fixed("BEGIN IMMEDIATE")),
        2 => Just(fixed("COMMIT")),
        1 => Just(fixed("ROLLBACK")),
        2 => Just(fixed("SAVEPOINT s")),
        1 => Just(fixed("ROLLBACK TO s")),
        1 => Just(fixed("RELEASE s")),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (0..3_usize, statement()).prop_map(|(connection, (sql, values))| Step { connection, sql, values })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn replaying_the_log_gives_the_tables_bit_for_bit(steps in proptest::collection::vec(step(), 1..60), recursive in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("station.db");
        let connections = [create(&path), open(&path), open(&path)];
        for db in &connections {
            db.busy_timeout(std::time::Duration::ZERO).unwrap();
        }
        // A connection that asks for it gets delete triggers on REPLACE; the log must not say such a delete twice.
        connections[2].pragma_update(None, "recursive_triggers", recursive).unwrap();
        for step in &steps {
            // Refused statements (a constraint, a lock, no open transaction) are part of the game.
            let _ = connections[step.connection].execute(&step.sql, rusqlite::params_from_iter(&step.values));
        }
        for db in &connections {
            let _ = db.execute("ROLLBACK", []);
        }
        let replayed = replay(&connections[0]);
        prop_assert_eq!(replayed, Ok(tables_of(&connections[0])));
    }
}

#[test]
fn a_row_ousted_by_replace_is_logged_as_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let db = create(&folder.path().join("s.db"));
    db.execute_batch(
        "INSERT INTO twin VALUES (1, 'a', 1, 1), (2, 'b', 2, 2); INSERT OR REPLACE INTO twin VALUES (3, 'a', 2, 2);",
    )
    .unwrap();
    let log: Vec<String> = db
        .prepare("SELECT op || c0 FROM tidemark_log ORDER BY seq")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(log, ["I1", "I2", "D1", "D2", "I3"]);
}

#[test]
fn an_ignored_insert_leaves_nothing_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let db = create(&folder.path().join("s.db"));
    db.execute_batch(
        "INSERT INTO timed (id, at) VALUES (1, '2026-01-01'); INSERT OR IGNORE INTO timed (id, at) VALUES (1, '2026-01-02');
         DELETE FROM timed; INSERT INTO timed (id, at) VALUES (2, '2026-01-03');",
    ).unwrap();
    let log: Vec<String> = db
        .prepare("SELECT op || c0 || ' ' || c1 FROM tidemark_log ORDER BY seq")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(log, ["I1 2026-01-01", "D1 2026-01-01", "I2 2026-01-03"]);
}

#[test]
fn seq_goes_on_after_the_log_is_trimmed_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let db = create(&path);
    db.execute_batch("INSERT INTO plain (a) VALUES (1), (2), (3); DELETE FROM tidemark_log;").unwrap();
    drop(db);
    let db = open(&path);
    db.execute_batch("BEGIN; INSERT INTO plain (a) VALUES (4); ROLLBACK; INSERT INTO plain (a) VALUES (5);").unwrap();
    assert_eq!(
        db.query_row("SELECT group_concat(seq) FROM tidemark_log", [], |row| row.get::<_, String>(0)).unwrap(),
        "4"
    );
}

#[test]
fn large_and_odd_values_are_copied_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let db = create(&folder.path().join("s.db"));
    let megabyte = "я".repeat(1 << 19);
    let values: Vec<Value> = vec![
        Value::Text(megabyte),
        Value::Text(String::new()),
        Value::Text("👩‍🚀".into()),
        Value::Blob(vec![0, 1, 0]),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Real(f64::INFINITY),
        Value::Real(f64::from_bits(1)),
        Value::Null,
    ];
    for value in &values {
        db.execute("INSERT INTO timed (at, raw) VALUES ('2026-01-01', ?)", [value]).unwrap();
    }
    // The literal that overflows to infinity, as a program would write it.
    db.execute_batch("INSERT INTO timed (at, v) VALUES ('2026-01-01', 9e999), ('2026-01-01', -9e999)").unwrap();
    assert_eq!(replay(&db), Ok(tables_of(&db)));
}
