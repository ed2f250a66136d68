//! A small log that uses every operation and type, shared by the tests of this crate; not every test uses all of it.

#![allow(dead_code)]

use tidemark_core::batch::{Batch, BatchBuilder, LogRow};
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;
use tidemark_core::value::SqliteValue::{self, Blob, Integer, Null, Real, Text};

pub use tidemark_testkit::schemas::GOLDEN as SCHEMA;

pub fn schema() -> Schema {
    Schema::parse(SCHEMA).expect("the schema of the tests is valid")
}

/// The station of the tests.
pub fn station() -> StationNumber {
    StationNumber::new(5).expect("5 is a station number")
}

/// The chain before the first change.
pub fn chain_start() -> Chain {
    Chain::start(*b"0123456789abcdef")
}

const T1: SqliteValue<'static> = Text(b"2026-01-02 03:04:05.678901");
const UID: SqliteValue<'static> = Text(b"0190f1a2-b3c4-7d5e-8f60-718293a4b5c6");

/// Table, operation and values of every change of the log.
pub fn log() -> Vec<(&'static str, &'static str, Vec<SqliteValue<'static>>)> {
    vec![
        ("site", "I", vec![Integer(1), Text("Мурманск".as_bytes())]),
        (
            "reading",
            "I",
            vec![
                Integer(1),
                Integer(1),
                T1,
                Real(-0.0),
                Integer(i64::MIN),
                Text("🐟".as_bytes()),
                Integer(1),
                Text(b"{\"a\": [1, 2]}"),
                Blob(b"\0\x01\xff"),
            ],
        ),
        (
            "reading",
            "I",
            vec![
                Integer(2),
                Integer(1),
                T1,
                Real(f64::from_bits(1)),
                Integer(i64::MAX),
                Text(b""),
                Integer(0),
                Text(b"null"),
                Blob(b""),
            ],
        ),
        ("reading", "I", vec![Integer(3), Integer(1), T1, Null, Null, Null, Null, Null, Null]),
        ("tag", "I", vec![UID, Text(b"first")]),
        // Rejected on the station: text in a real column. Its number stays.
        ("reading", "I", vec![Integer(4), Integer(1), T1, Text(b"warm"), Null, Null, Null, Null, Null]),
        (
            "reading",
            "U",
            vec![Integer(2), Integer(1), T1, Real(59.9), Integer(0), Text(b"changed"), Integer(1), Null, Null],
        ),
        ("reading", "D", vec![Integer(3), Integer(1), T1, Null, Null, Null, Null, Null, Null]),
        // Void: it never could have travelled, so there is nothing to delete.
        ("reading", "D", vec![Integer(9), Integer(1), Null, Null, Null, Null, Null, Null, Null]),
        ("tag", "D", vec![UID, Text(b"first")]),
        ("ghost", "I", vec![Integer(1)]),
    ]
}

/// The log as one batch.
pub fn batch(schema: &Schema) -> Batch {
    let mut builder = BatchBuilder::new(schema, station(), 1, chain_start());
    for (seq, (table, op, values)) in (1..).zip(log()) {
        let row = LogRow {
            seq,
            at_ms: 1_767_323_045_000 + seq as i64 * 7,
            table: table.as_bytes(),
            op: op.as_bytes(),
            values: &values,
        };
        builder.push(&row);
    }
    builder.finish(1_767_400_000_000)
}
