//! CSV files: all of one is imported, and all of that can travel, or nothing is.

use tidemark_client::Store;
use tidemark_client::outbox::{Caps, cut};
use tidemark_station::import::import_csv;

use crate::station::{PENDING, with};

fn counts(store: &Store, table: &str) -> (i64, i64) {
    let count = |sql: &str| store.connection().query_row(sql, [], |row| row.get(0)).expect("the tables are there");
    (count(&format!("SELECT count(*) FROM {table}")), count("SELECT count(*) FROM tidemark_log"))
}

/// The first byte chooses the table, the others are the file.
pub fn run(data: &[u8]) {
    let Some((&which, file)) = data.split_first() else { return };
    let table = ["reading", "site", "tag"][usize::from(which) % 3];
    with(|store| {
        let before = counts(store, table);
        let imported = import_csv(store, table, "file", file, |_, _| ());
        let after = counts(store, table);
        let Ok(rows) = imported else {
            assert_eq!(after, before, "refused, but something was imported");
            return;
        };
        assert_eq!(after, (before.0 + rows as i64, before.1 + rows as i64), "rows and changes");
        let caps = Caps { rows: 100_000, body_bytes: 1 << 30, cells: 1 << 30 };
        let cut = cut(store, &caps, 0).expect("the log is whole").expect("changes are pending");
        assert_eq!(cut.batch.span().count as u64, PENDING + rows);
        assert!(cut.rejected.is_empty(), "imported, but it cannot travel: {:?}", cut.rejected);
    });
}
