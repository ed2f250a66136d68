//! Schema files: any text is answered; from any schema that is taken, all SQL derives, and SQLite takes its share of
//! it.

use tidemark_client::Store;
use tidemark_client::rusqlite::Connection;
use tidemark_core::postgres::{TimePartitioning, create_all};
use tidemark_core::schema::Schema;
use tidemark_core::sqlite::{create_upstream_indexes, create_upstream_table};

/// The bytes are a schema file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(schema) = Schema::parse(text) else { return };
    let again = Schema::parse(schema.source()).expect("its own source parses");
    assert_eq!(again.fingerprint(), schema.fingerprint());
    for partitioning in [TimePartitioning::Hypertable, TimePartitioning::Plain] {
        assert!(!create_all(&schema, partitioning).is_empty());
    }
    let upstream = Connection::open_in_memory().expect("a database in memory");
    for table in schema.tables() {
        upstream.execute_batch(&create_upstream_table(table)).expect("SQLite takes the upstream's table");
        for index in create_upstream_indexes(&schema, table) {
            upstream.execute_batch(&index).expect("SQLite takes the upstream's index");
        }
    }
    let station = Connection::open_in_memory().expect("a database in memory");
    if let Err(error) = Store::init_connection(station, "memory".into(), &schema, [1; 16]) {
        panic!("SQLite does not take the station's tables: {error}");
    }
}
