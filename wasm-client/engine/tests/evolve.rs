//! A station's file follows a newer schema: nothing of what waits in its log changes, whoever has the file open.

use crate::common::{SCHEMA, World, schema};
use tidemark_client::ack::{Ack, acknowledge};
use tidemark_client::outbox::{Caps, Cut, cut};
use tidemark_client::rusqlite::types::Value;
use tidemark_client::{Error, Store};
use tidemark_core::batch::{Batch, Op};
use tidemark_core::decision::Cursor;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;
use tidemark_core::value::ValueRef;

const CAPS: Caps = Caps { rows: 1000, body_bytes: 1 << 20, cells: 1 << 16 };

/// One more table, and columns in the middle of those there are, so that the layout of the log shifts.
fn newer() -> Schema {
    let toml = SCHEMA.replace("version = 1", "version = 2").replace(
        "n = { type",
        "quality = { type = \"integer\", default = 3 }\nchecked = { type = \"boolean\" }\nn = { type",
    ) + "[tables.visit.columns]\nid = { type = \"integer\" }\nsite_id = { type = \"integer\", references = \"site\" }\n";
    Schema::parse(&toml).unwrap()
}

fn waiting(store: &mut Store) -> Option<Batch> {
    cut(store, &CAPS, 0).unwrap().map(|cut| cut.batch)
}

/// Takes the next batch upstream.
fn pass(store: &mut Store) -> Batch {
    let Cut { batch, base, rejected, .. } = cut(store, &CAPS, 0).unwrap().unwrap();
    let upto = Cursor { seq: batch.span().last_seq(), chain: batch.chain_after };
    let ack = Ack {
        base,
        upto,
        largest_ids: &[],
        rejected_here: &rejected,
        rejected_by_server: &[],
        limits: FrameLimits::DEFAULT,
        now_ms: 0,
    };
    acknowledge(store, &ack).unwrap();
    batch
}

fn column<'a>(batch: &'a Batch, schema: &Schema, table: &str, column: &str, op: Op) -> ValueRef<'a> {
    let index = schema.table_index(table).unwrap();
    let group = batch.groups.iter().find(|group| group.table == index as u32 && group.op == op).unwrap();
    group.columns[schema.tables()[index].column_index(column).unwrap()].get(0)
}

#[test]
fn what_waits_is_sent_as_it_would_have_been() {
    let mut world = World::joined();
    world.write(3);
    world.store.execute("UPDATE reading SET note = 'seen' WHERE id = 2", ()).unwrap();
    let before = waiting(&mut world.store).unwrap();

    let done = world.store.evolve(&newer()).unwrap().unwrap();
    assert_eq!(done.tables, ["visit"]);
    assert_eq!(done.columns, ["reading.quality", "reading.checked"]);
    assert_eq!((done.without_default, done.backfilled), (vec!["reading.quality".to_owned()], 0));
    assert_eq!(world.store.evolve(&newer()).unwrap(), None, "it follows that already");

    world.store.execute("INSERT INTO visit (site_id) VALUES (NULL)", ()).unwrap();
    world.store.execute("UPDATE reading SET checked = 1, n = 77 WHERE id = 3", ()).unwrap();
    let shown = world.store.log(10).unwrap();
    assert_eq!(shown[0].values.len(), 8, "an old change is shown by the old schema");
    assert_eq!(shown[5].values[4], ("checked".to_owned(), Value::Integer(1)));

    // Chain and bytes of what waited are those it had: it may have been sent, and its acknowledgement lost.
    assert_eq!(waiting(&mut world.store).unwrap(), before);
    assert_eq!(pass(&mut world.store), before);
    let after = pass(&mut world.store);
    assert_eq!((after.fingerprint, after.first_seq), (newer().fingerprint(), 5));
    assert_eq!(after.chain_before, before.chain_after);
    assert_eq!(column(&after, &newer(), "reading", "checked", Op::Update), ValueRef::Boolean(true));
    assert_eq!(column(&after, &newer(), "reading", "n", Op::Update), ValueRef::Integer(77));
    assert_eq!(column(&after, &newer(), "reading", "quality", Op::Update), ValueRef::Null);
    assert_eq!(waiting(&mut world.store), None);
}

#[test]
fn a_process_that_had_the_file_open_follows_too() {
    let mut world = World::joined();
    world.write(1);
    let mut other = Store::open(world.path()).unwrap();
    let before = waiting(&mut other).unwrap();
    world.store.evolve(&newer()).unwrap();
    world.store.execute("INSERT INTO visit (id) VALUES (5)", ()).unwrap();

    other.check_capture().unwrap();
    assert_eq!(other.take_repairs(), [], "the triggers are the new schema's, and stay");
    assert_eq!(waiting(&mut other).unwrap(), before);
    pass(&mut other);
    assert_eq!(waiting(&mut other).unwrap().fingerprint, newer().fingerprint());
    world.store.execute("INSERT INTO visit (id) VALUES (6)", ()).unwrap();
    assert_eq!(other.status().unwrap().pending, 2);
}

#[test]
fn the_batch_ends_where_the_schema_does_without_a_check_in_between() {
    let mut world = World::joined();
    world.write(2);
    let mut other = Store::open(world.path()).unwrap();
    world.store.evolve(&newer()).unwrap();
    world.store.execute("UPDATE reading SET checked = 0 WHERE id = 1", ()).unwrap();
    // Neither opened anew nor told.
    assert_eq!(pass(&mut other).fingerprint, schema().fingerprint());
    let after = pass(&mut other);
    assert_eq!(column(&after, &newer(), "reading", "checked", Op::Update), ValueRef::Boolean(false));
}

#[test]
fn what_a_program_added_itself_is_taken_over_with_what_it_holds() {
    let mut world = World::joined();
    world.write(2);
    world
        .store
        .connection()
        .execute_batch(
            "ALTER TABLE reading ADD COLUMN checked BOOLEAN; UPDATE reading SET checked = 1 WHERE id = 2;
             CREATE TABLE visit (id INTEGER PRIMARY KEY, site_id INTEGER, more TEXT); INSERT INTO visit (id) VALUES (9), (8)",
        )
        .unwrap();
    pass(&mut world.store);
    let done = world.store.evolve(&newer()).unwrap().unwrap();
    assert_eq!((done.tables.len(), done.columns, done.backfilled), (0, vec!["reading.quality".to_owned()], 3));
    let batch = pass(&mut world.store);
    assert_eq!(column(&batch, &newer(), "reading", "checked", Op::Update), ValueRef::Boolean(true));
    let inserted = batch.groups.iter().find(|group| group.op == Op::Insert).unwrap();
    let keys: Vec<i64> = (0..inserted.rows)
        .filter_map(|row| match inserted.columns[0].get(row) {
            ValueRef::Integer(id) => Some(id & 0xffff_ffff),
            _ => None,
        })
        .collect();
    assert_eq!(keys, [8, 9]);
    world.store.execute("DELETE FROM visit WHERE id = 8", ()).unwrap();
    assert_eq!(world.store.status().unwrap().pending, 1);
}

#[test]
fn two_upgrades_in_a_row_keep_the_first_layout() {
    let mut world = World::joined();
    world.write(1);
    let before = waiting(&mut world.store).unwrap();
    world.store.evolve(&newer()).unwrap();
    let third = Schema::parse(
        &newer()
            .source()
            .replace("version = 2", "version = 3")
            .replace("x = { type", "y = { type = \"text\" }\nx = { type"),
    )
    .unwrap();
    world.store.evolve(&third).unwrap();
    world.restart();
    assert_eq!(pass(&mut world.store), before);
    world.store.execute("UPDATE reading SET y = 'third'", ()).unwrap();
    let batch = pass(&mut world.store);
    assert_eq!(column(&batch, &third, "reading", "y", Op::Update), ValueRef::Text("third"));
}

#[test]
fn what_is_no_addition_changes_nothing() {
    let mut world = World::joined();
    world.write(1);
    let refused = |world: &mut World, toml: &str, says: &str| {
        let error = world.store.evolve(&Schema::parse(toml).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Schema(_)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    };
    let before = waiting(&mut world.store).unwrap();
    refused(
        &mut world,
        &SCHEMA.replace("n = { type = \"integer\" }\n", "").replace("version = 1", "version = 2"),
        "column reading.n is gone",
    );
    refused(
        &mut world,
        newer().source().replace("version = 2", "version = 1").as_str(),
        "its version 1 is not above 1",
    );
    refused(
        &mut world,
        newer().source().replace("\"weather\"", "\"climate\"").as_str(),
        "follows the schema weather, not climate",
    );
    refused(
        &mut world,
        newer()
            .source()
            .replace("checked = { type = \"boolean\" }", "checked = { type = \"boolean\", required = true }")
            .as_str(),
        "column reading.checked is new and required",
    );
    assert_eq!(world.store.schema().fingerprint(), schema().fingerprint());
    assert_eq!(waiting(&mut world.store).unwrap(), before);
    // A table that a program made otherwise: all or nothing.
    world.store.connection().execute_batch("CREATE TABLE visit (id INTEGER PRIMARY KEY)").unwrap();
    let error = world.store.evolve(&newer()).unwrap_err();
    assert!(error.to_string().contains("has lost these columns of the schema: site_id"), "{error}");
    let columns: i64 = world
        .store
        .connection()
        .query_row("SELECT count(*) FROM pragma_table_info('reading')", [], |row| row.get(0))
        .unwrap();
    assert_eq!(columns, 8);
}
