//! Who is compared, and what about each is not like for like.

/// One way to bring rows into a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// What the rows are: it is compared within a group.
    pub group: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// What is not like for like; empty when nothing is.
    pub unlike: &'static str,
    /// The most rows it is given: the slow ones would take hours.
    pub rows_max: u64,
}

const ALL: u64 = u64::MAX;
const IN_MEMORY: &str = "rows in memory at the start; no log, no exactly-once";

/// The rows of the table, ours first in each group.
pub const OURS: Contender = Contender {
    group: "inserts",
    name: "Tidemark push",
    what: "station's file → acknowledged and trimmed",
    unlike: "",
    rows_max: ALL,
};
pub const COPY: Contender = Contender {
    group: "inserts",
    name: "binary COPY",
    what: "a file on the database's machine, one transaction",
    unlike: "no client, no log, no exactly-once",
    rows_max: ALL,
};
pub const REPLICATION: Contender = Contender {
    group: "inserts",
    name: "PostgreSQL logical replication",
    what: "subscription enabled → all rows flushed at the subscriber",
    unlike: "a plain table; PostgreSQL at both ends, always on",
    rows_max: ALL,
};
pub const PSQL: Contender = Contender {
    group: "inserts",
    name: "psql, temporary table + upsert",
    what: "\\copy of a CSV file, INSERT … ON CONFLICT DO UPDATE, one transaction",
    unlike: "no log; a second try changes nothing",
    rows_max: ALL,
};
pub const ASYNCPG: Contender = Contender {
    group: "inserts",
    name: "asyncpg, COPY to temporary + insert",
    what: "50,000 rows to a transaction, ON CONFLICT DO NOTHING",
    unlike: "rows in memory at the start; no log; a second try changes nothing",
    rows_max: ALL,
};
pub const BULK: Contender = Contender {
    group: "inserts",
    name: "SQLAlchemy 2 + psycopg, bulk insert",
    what: "execute(insert(table), rows), 50,000 to a transaction",
    unlike: IN_MEMORY,
    rows_max: 100_000,
};
pub const ORM: Contender = Contender {
    group: "inserts",
    name: "SQLAlchemy 2 + psycopg, ORM",
    what: "objects added to a session, 50,000 to a transaction",
    unlike: IN_MEMORY,
    rows_max: 50_000,
};
pub const INFLUX: Contender = Contender {
    group: "inserts",
    name: "line protocol into InfluxDB 1",
    what: "POST /write, 5,000 lines to a request, fsync for each",
    unlike: "another database: no SQL, no keys, no transactions; rows in memory at the start",
    rows_max: 200_000,
};
pub const COUCH: Contender = Contender {
    group: "inserts",
    name: "pouchdb-server, _bulk_docs",
    what: "1,000 documents to a request, LevelDB",
    unlike: "a document store; rows in memory at the start",
    rows_max: 10_000,
};
pub const ZERO: Contender = Contender {
    group: "inserts",
    name: "Rocicorp Zero, mutations",
    what: "one mutation a row, 50 on their way, until the server confirmed",
    unlike: "a plain table; made for single edits, not for bulk; client in memory",
    rows_max: 300,
};
pub const OURS_APPEND: Contender = Contender {
    group: "append",
    name: "Tidemark push",
    what: "the same rows into a table that is declared append = true",
    unlike: "",
    rows_max: ALL,
};
pub const COPY_KEYED: Contender = Contender {
    group: "append",
    name: "binary COPY, table with its key",
    what: COPY.what,
    unlike: "a unique index more; no client, no log, no exactly-once",
    rows_max: ALL,
};
pub const COPY_APPEND: Contender = Contender {
    group: "append",
    name: "binary COPY, append table",
    what: COPY.what,
    unlike: COPY.unlike,
    rows_max: ALL,
};
pub const OURS_UPSERT: Contender = Contender {
    group: "upserts",
    name: "Tidemark push",
    what: "the same rows, each edited once at the station",
    unlike: "",
    rows_max: ALL,
};
pub const PSQL_UPSERT: Contender = Contender {
    group: "upserts",
    name: "psql, temporary table + upsert",
    what: PSQL.what,
    unlike: PSQL.unlike,
    rows_max: ALL,
};
pub const ASYNCPG_UPSERT: Contender = Contender {
    group: "upserts",
    name: "asyncpg, COPY to temporary + upsert",
    what: "50,000 rows to a transaction, ON CONFLICT DO UPDATE",
    unlike: ASYNCPG.unlike,
    rows_max: ALL,
};
pub const OURS_MIXED: Contender = Contender {
    group: "mixed",
    name: "Tidemark push",
    what: "70 % inserts, 20 % updates, 10 % deletes over the 18 tables of the shrinkage schema",
    unlike: "",
    rows_max: 200_000,
};
pub const COPY_MIXED: Contender = Contender {
    group: "mixed",
    name: "binary COPY",
    what: "the rows of the 18 tables afterwards, each table from a file, one transaction",
    unlike: "inserts only; by rows a second, for they are not as many",
    rows_max: ALL,
};
