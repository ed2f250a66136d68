//! Append tables: the SQL that is derived for them, and what a station does not send of them.

use tidemark_core::batch::{BatchBuilder, LogRow, Op};
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;
use tidemark_core::postgres::{TimePartitioning, create_all};
use tidemark_core::schema::Schema;
use tidemark_core::sqlite::{create_table, create_upstream_indexes, create_upstream_table};
use tidemark_core::value::SqliteValue::{Integer, Null, Text};

fn schema() -> Schema {
    Schema::parse(
        "name = 'w'\nversion = 1\n[tables.site.columns]\nid = { type = 'integer' }\n[tables.level]\ntime = 'at'\nappend = true\n\
         [tables.level.columns]\nid = { type = 'integer' }\nat = { type = 'timestamp' }\nsite_id = { type = 'integer', references = 'site' }\n\
         [tables.event]\nappend = true\n[tables.event.columns]\nid = { type = 'integer' }\nsite_id = { type = 'integer', references = 'site' }",
    )
    .unwrap()
}

#[test]
fn an_append_table_has_no_index_on_its_key() {
    let schema = schema();
    let created = create_all(&schema, TimePartitioning::Hypertable);
    let of =
        |name: &str| -> Vec<&String> { created.iter().filter(|sql| sql.contains(&format!("\"{name}\""))).collect() };
    assert!(of("level").iter().all(|sql| !sql.contains("CREATE INDEX")), "{created:#?}");
    assert!(of("level").iter().chain(&of("event")).all(|sql| !sql.contains("PRIMARY KEY") && !sql.contains("UNIQUE")));
    // An ordinary one holds its parents as every ordinary table does, which takes an index.
    assert!(created.contains(&"CREATE INDEX \"event_site_id_idx\" ON \"w\".\"event\" (\"site_id\")".to_owned()));
    assert!(created.iter().any(|sql| sql.contains("event_site_id_fkey")));
    // On a station, and in the embedded upstream, the key is where the row lies: there is nothing to save.
    let event = schema.table("event").unwrap();
    assert!(create_table(&schema, event).contains("\"id\" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"));
    assert!(create_upstream_table(event).contains("\"id\" INTEGER NOT NULL PRIMARY KEY"));
    assert_eq!(create_upstream_indexes(&schema, event).len(), 1);
}

#[test]
fn updates_and_deletes_in_an_append_table_stay_on_the_station() {
    let schema = schema();
    let mut builder = BatchBuilder::new(&schema, StationNumber::new(3).unwrap(), 1, Chain::start([7; 16]));
    let at = Text(b"2026-01-01 00:00:00");
    let changes: [(&[u8], &[u8], Vec<_>); 8] = [
        (b"level", b"I", vec![Integer(1), at, Null]),
        (b"level", b"U", vec![Integer(1), at, Integer(2)]),
        (b"level", b"D", vec![Integer(1), at, Integer(2)]),
        // It could never travel: whatever it is, its delete has nothing to do.
        (b"level", b"D", vec![Integer(1), Null, Null]),
        (b"event", b"U", vec![Integer(5_000_000_000), Text(b"x")]),
        (b"event", b"I", vec![Integer(1), Text(b"x")]),
        (b"site", b"U", vec![Integer(1)]),
        (b"site", b"D", vec![Integer(1)]),
    ];
    for (seq, (table, op, values)) in (1..).zip(&changes) {
        builder.push(&LogRow { seq, at_ms: 0, table, op, values });
    }
    let rejected: Vec<(u64, &str)> = builder.rejected().iter().map(|(seq, why)| (*seq, why.code.as_str())).collect();
    assert_eq!(rejected, [(2, "append-only"), (3, "append-only"), (5, "append-only"), (6, "type")]);
    assert!(builder.rejected()[0].1.message.contains("the row 1 stays as it was inserted"));
    let batch = builder.finish(0);
    let ops: Vec<Op> = batch.changes().map(|change| batch.groups[change.group].op).collect();
    assert_eq!(ops, [Op::Insert, Op::Void, Op::Void, Op::Void, Op::Void, Op::Void, Op::Update, Op::Delete]);
}
