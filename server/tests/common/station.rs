//! A station's log as a test sees it: changes in, batches out, the chain kept. Values are written as they travel, so
//! that what no honest station would send can be sent too.

use std::sync::Arc;

use tidemark_core::batch::{Batch, Group, NO_TABLE, Op};
use tidemark_core::chain::Chain;
use tidemark_core::digest::{RowDigest, RowHash};
use tidemark_core::frame::{self, Compression};
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;
use tidemark_core::value::{Value, ValueRef};

use super::NOON_MS;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub table: u32,
    pub op: Op,
    pub values: Vec<Value>,
}

/// A station.
#[derive(Clone)]
pub struct Station {
    pub schema: Arc<Schema>,
    pub number: StationNumber,
    pub uuid: [u8; 16],
    pub seq: u64,
    pub chain: Chain,
}

pub fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// Microseconds of a day in January 2026, at noon.
pub fn day(day: i64) -> i64 {
    NOON_MS * 1000 + (day - 15) * tidemark_core::timestamp::DAY_US
}

impl Station {
    pub fn new(schema: &Arc<Schema>, number: u32, uuid: [u8; 16]) -> Self {
        let number = StationNumber::new(number).unwrap();
        Self { schema: Arc::clone(schema), number, uuid, seq: 0, chain: Chain::start(uuid) }
    }

    /// The upstream id of a local one.
    pub fn id(&self, local: i64) -> Value {
        Value::Integer(self.number.upstream_id(local).unwrap())
    }

    fn table(&self, name: &str) -> u32 {
        self.schema.table_index(name).unwrap() as u32
    }

    /// A row with its key and the columns named; the others are NULL.
    pub fn row(&self, table: &str, key: Value, set: &[(&str, Value)]) -> Vec<Value> {
        let table = self.schema.table(table).unwrap();
        let mut values = vec![Value::Null; table.columns.len()];
        values[table.key] = key;
        for (name, value) in set {
            values[table.column_index(name).unwrap()] = value.clone();
        }
        values
    }

    pub fn insert(&self, table: &str, local: i64, set: &[(&str, Value)]) -> Change {
        Change { table: self.table(table), op: Op::Insert, values: self.row(table, self.id(local), set) }
    }

    pub fn update(&self, table: &str, local: i64, set: &[(&str, Value)]) -> Change {
        Change { op: Op::Update, ..self.insert(table, local, set) }
    }

    pub fn delete(&self, table: &str, local: i64) -> Change {
        Change { table: self.table(table), op: Op::Delete, values: vec![self.id(local)] }
    }

    pub fn delete_at(&self, table: &str, local: i64, time_us: i64) -> Change {
        Change { table: self.table(table), op: Op::Delete, values: vec![self.id(local), Value::Timestamp(time_us)] }
    }

    pub fn site(&self, local: i64) -> Change {
        self.insert("site", local, &[("name", text("pond"))])
    }

    pub fn reading(&self, local: i64, time_us: i64, set: &[(&str, Value)]) -> Change {
        let mut set = set.to_vec();
        set.push(("measured_at", Value::Timestamp(time_us)));
        self.insert("reading", local, &set)
    }

    pub fn tag(&self, op: Op, uid: [u8; 16], label: &str) -> Change {
        let values = match op {
            Op::Delete => vec![Value::Uuid(uid)],
            _ => self.row("tag", Value::Uuid(uid), &[("label", text(label))]),
        };
        Change { table: self.table("tag"), op, values }
    }

    pub fn void(&self, table: Option<&str>, code: &str, message: &str) -> Change {
        let table = table.map_or(NO_TABLE, |table| self.table(table));
        Change { table, op: Op::Void, values: vec![text(code), text(message)] }
    }

    /// Appends changes to the log and cuts them as one batch.
    pub fn cut(&mut self, changes: &[Change]) -> Batch {
        let batch = self.peek(changes);
        self.seq = batch.span().last_seq();
        self.chain = batch.chain_after;
        batch
    }

    /// The batch of these changes, without appending them.
    pub fn peek(&self, changes: &[Change]) -> Batch {
        let mut batch = Batch {
            fingerprint: self.schema.fingerprint(),
            station: self.number,
            first_seq: self.seq + 1,
            chain_before: self.chain,
            chain_after: self.chain,
            sent_at_ms: NOON_MS,
            groups: Vec::new(),
            order: Vec::new(),
            at_ms: Vec::new(),
        };
        for change in changes {
            let found = batch.groups.iter().position(|group| (group.table, group.op) == (change.table, change.op));
            let at = found.unwrap_or_else(|| {
                batch.groups.push(Group::new(&self.schema, change.table, change.op));
                batch.groups.len() - 1
            });
            let values: Vec<ValueRef<'_>> = change.values.iter().map(Value::as_ref).collect();
            batch.groups[at].push(&values);
            batch.order.push(at as u32);
            batch.at_ms.push(NOON_MS);
        }
        batch.chain_after = batch.chain_at(&self.schema, batch.span().last_seq());
        batch
    }

    /// The digest of rows of one table, as upstream should have it.
    pub fn digest(&self, table: &str, rows: &[Vec<Value>]) -> RowDigest {
        let mut digest = RowDigest::default();
        for row in rows {
            digest.add(&RowHash::of(&mut Vec::new(), table, row.iter().map(Value::as_ref)));
        }
        digest
    }
}

pub fn frame(batch: &Batch) -> Vec<u8> {
    frame::encode(batch, Compression::Zstd).unwrap()
}
