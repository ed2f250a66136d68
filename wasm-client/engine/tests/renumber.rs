//! One key that is too large takes all later ones along, until the rows are renumbered.

use crate::common::{World, changes};
use tidemark_client::{RejectState, Renumbered};
use tidemark_core::batch::Op;

fn keys(world: &World, sql: &str) -> Vec<i64> {
    let mut query = world.store.connection().prepare(sql).unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn write(world: &World, sql: &str) {
    world.store.connection().execute_batch(sql).unwrap();
}

/// Two sites that travel, one of them deleted again; one with a key that does not, and after it one that SQLite
/// numbered, each with a reading.
fn ran_away() -> World {
    let mut world = World::joined();
    write(&world, "PRAGMA foreign_keys = ON; INSERT INTO site (name) VALUES ('a'), ('b')");
    changes(&world.push());
    write(&world, "DELETE FROM site WHERE name = 'b'");
    changes(&world.push());
    write(
        &world,
        "INSERT INTO site (id, name) VALUES (5000000000, 'far'); INSERT INTO site (name) VALUES ('after');
         INSERT INTO reading (site_id, n) VALUES (1, 1), (5000000000, 2), (5000000001, 3)",
    );
    changes(&world.push());
    assert_eq!(world.store.rejects_count().unwrap(), 4, "two sites, two readings");
    world
}

#[test]
fn keys_that_ran_away_are_renumbered_with_what_references_them() {
    let mut world = ran_away();
    let done = world.store.renumber(1).unwrap();
    let site = Renumbered { table: "site".into(), rows: 2, references: 2, last: 4 };
    assert_eq!(done, [site], "3 and 4: 2 was upstream once");
    assert_eq!(keys(&world, "SELECT id FROM site ORDER BY id"), [1, 3, 4]);
    assert_eq!(keys(&world, "SELECT site_id FROM reading ORDER BY id"), [1, 3, 4]);
    assert_eq!(keys(&world, "SELECT count(*) FROM pragma_foreign_key_check"), [0]);
    assert_eq!(world.store.rejects_count().unwrap(), 0);

    // Later rows are numbered on from there.
    write(&world, "INSERT INTO site (name) VALUES ('later')");
    assert_eq!(keys(&world, "SELECT max(id) FROM site"), [5]);
    let before = world.store.status().unwrap().tidemark;
    changes(&world.push());
    assert_eq!(world.store.rejects_count().unwrap(), 0);
    for seq in 5..=before {
        let state = world.store.reject(seq).unwrap().map(|reject| reject.state);
        assert!(matches!(state, None | Some(RejectState::Requeued | RejectState::Resolved)), "{seq}: {state:?}");
    }
    let ops: Vec<Op> = world.server.applied.range(before + 1..).map(|(_, (_, op))| *op).collect();
    assert_eq!(ops.iter().filter(|op| **op == Op::Insert).count(), 3, "two moved sites and the later one: {ops:?}");
    assert_eq!(ops.iter().filter(|op| **op == Op::Update).count(), 2, "their readings: {ops:?}");
    assert_eq!(world.store.renumber(2).unwrap(), [], "once is enough");
}

#[test]
fn a_numbering_that_ran_away_alone_is_set_back() {
    let mut world = ran_away();
    write(&world, "DELETE FROM reading; DELETE FROM site WHERE id > 1");
    changes(&world.push());
    assert_eq!(world.store.rejects_count().unwrap(), 0, "what never was upstream is deleted");
    let [done] = world.store.renumber(1).unwrap().try_into().unwrap();
    assert_eq!(done, Renumbered { table: "site".into(), rows: 0, references: 0, last: 2 });
    write(&world, "INSERT INTO site (name) VALUES ('later')");
    assert_eq!(keys(&world, "SELECT max(id) FROM site"), [3]);
}

#[test]
fn a_table_without_keys_left_is_left_as_it_is() {
    let mut world = ran_away();
    write(&world, "INSERT INTO site (id, name) VALUES (4294967294, 'last but one')");
    let error = world.store.renumber(1).unwrap_err().to_string();
    assert!(error.contains("site has no keys left"), "{error}");
    assert_eq!(keys(&world, "SELECT id FROM site ORDER BY id"), [1, 4_294_967_294, 5_000_000_000, 5_000_000_001]);
    assert_eq!(keys(&world, "SELECT site_id FROM reading ORDER BY id"), [1, 5_000_000_000, 5_000_000_001]);
}
