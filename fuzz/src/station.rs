//! A joined station in memory, set back to the same state before every input.

use std::cell::RefCell;

use tidemark_client::rusqlite::Connection;
use tidemark_client::sync::Reply;
use tidemark_client::sync::join::{self, Begin};
use tidemark_client::{Secret, Store};
use tidemark_core::batch::{BatchBuilder, LogRow};
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;
use tidemark_core::joincode::JoinCode;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::JoinReply;
use tidemark_core::value::SqliteValue;

use crate::rows::schema;

/// The uuid of the file.
pub const UUID: [u8; 16] = [7; 16];
/// The station's token.
pub const TOKEN: [u8; 32] = [5; 32];
/// The number of changes that wait in its log.
pub const PENDING: u64 = 12;

/// The number the server gave it.
pub fn number() -> StationNumber {
    StationNumber::new(3).expect("BUG: 3 is a station number")
}

/// The code it joins with.
pub fn code() -> String {
    JoinCode { url: "http://127.0.0.1:1".into(), secret: [9; 32], pin: None }.encode()
}

fn joined() -> Store {
    let memory = Connection::open_in_memory().expect("a database in memory");
    let mut store = Store::init_connection(memory, "memory".into(), &schema(), UUID).expect("a new file");
    let begun = join::ask(&mut store, &code(), None, Secret(TOKEN)).expect("the code is one");
    assert!(matches!(begun, Begin::Ask(_)));
    let reply = JoinReply { station: number(), name: "alpha".into(), limits: FrameLimits::DEFAULT };
    let body = serde_json::to_vec(&reply).expect("a reply serialises");
    join::hear(&mut store, 0, &Reply { status: 200, retry_after: None, body }).expect("the reply is good");
    store
}

/// The chain after each of the pending changes, from the one before the first on.
pub fn chains() -> Vec<Chain> {
    let schema = schema();
    let mut chains = vec![Chain::start(UUID)];
    let mut builder = BatchBuilder::new(&schema, number(), 1, chains[0]);
    for seq in 1..=PENDING {
        let values = [SqliteValue::Integer(seq as i64), SqliteValue::Text(b"pond")];
        builder.push(&LogRow { seq, at_ms: 0, table: b"site", op: b"I", values: &values });
        chains.push(builder.chain());
    }
    chains
}

/// Runs `work` on a joined station; every call finds the same state: [`PENDING`] changes, nothing upstream.
pub fn with<T>(work: impl FnOnce(&mut Store) -> T) -> T {
    thread_local!(static STATION: RefCell<Store> = RefCell::new(joined()));
    STATION.with_borrow_mut(|store| {
        reset(store);
        work(store)
    })
}

fn reset(store: &Store) {
    let sql = "DELETE FROM tidemark_log; DELETE FROM tidemark_rejects; DELETE FROM reading; DELETE FROM site; DELETE FROM tag;
        DELETE FROM tidemark_log; DELETE FROM sqlite_sequence;
        UPDATE tidemark_station SET number = 3, name = 'alpha', tidemark = 0, sent_seq = 0, limits = NULL, forked = NULL,
            last_contact_ms = NULL, last_error = NULL, last_error_ms = NULL;";
    store.connection().execute_batch(sql).expect("the tables are there");
    store.execute("UPDATE tidemark_station SET chain = ?1", [Chain::start(UUID).0]).expect("the row is there");
    let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO tidemark_log (seq, at, tbl, op, c0, c1) SELECT n, 0, 'site', 'I', n, 'pond' FROM n";
    store.execute(sql, [PENDING as i64]).expect("the log takes rows");
}

/// Checks that a tidemark stands on the station's own chain, and that exactly the log behind it is left.
pub fn check_tidemark(store: &Store, chains: &[Chain]) {
    let tidemark = store.meta().expect("the row is whole").tidemark;
    assert_eq!(chains.get(tidemark.seq as usize), Some(&tidemark.chain), "the tidemark is not on the station's chain");
    let left = store.log(PENDING + 1).expect("the log is there");
    assert_eq!(left.len() as u64, PENDING - tidemark.seq, "the log was trimmed beside the tidemark");
}
