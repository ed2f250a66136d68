//! The settings of a PostgreSQL that matter to a server: what they are, whether that is well, and what to set. None of
//! them keeps a server from working; what is not well is a warning.

use tokio_postgres::Client;

use super::point::{Point, good, warns};
use crate::stores::postgres::message_of;

/// Locks that a transaction takes on a chunk: on the chunk itself, its key, and what else it has of indexes.
const LOCKS_PER_CHUNK: i64 = 4;
/// Connections that are left for operators and other programs.
const SPARE_CONNECTIONS: i64 = 5;
/// Below this much WAL, in MiB, a fleet that pushes makes the database write checkpoints all the time.
const WAL_MIB_MIN: i64 = 1024;
/// As often as this, in seconds, checkpoints cost more than they save.
const CHECKPOINT_S_MIN: i64 = 60;

/// The settings as they are, with how many chunks there are.
#[derive(Debug, Clone)]
struct Settings {
    fsync: bool,
    full_page_writes: bool,
    synchronous_commit: String,
    max_connections: i64,
    /// Of them, those that only a superuser, or a role with the right, may take.
    reserved_connections: i64,
    max_prepared_transactions: i64,
    max_locks_per_transaction: i64,
    max_wal_mib: i64,
    checkpoint_s: i64,
    wal_level: String,
    /// Chunks of hypertables.
    chunks: i64,
}

/// Looks at them, and judges them by a server that takes up to so many connections, as one does by default.
pub(super) async fn points(client: &Client, pool_max: usize) -> Vec<Point> {
    match read(client).await {
        Ok(settings) => judge(&settings, i64::try_from(pool_max).unwrap_or(i64::MAX)),
        Err(error) => vec![warns("settings", format!("they cannot be read: {}", message_of(&error)))],
    }
}

async fn read(client: &Client) -> Result<Settings, tokio_postgres::Error> {
    const NAMED: &str = "SELECT current_setting('fsync')::bool, current_setting('full_page_writes')::bool, \
        current_setting('synchronous_commit'), current_setting('max_connections')::bigint, \
        current_setting('superuser_reserved_connections')::bigint \
            + coalesce(current_setting('reserved_connections', true)::bigint, 0), \
        current_setting('max_prepared_transactions')::bigint, current_setting('max_locks_per_transaction')::bigint, \
        pg_catalog.pg_size_bytes(current_setting('max_wal_size')) / 1048576, \
        extract(epoch FROM current_setting('checkpoint_timeout')::interval)::bigint, current_setting('wal_level'), \
        (SELECT count(*) FROM pg_catalog.pg_inherits i \
            JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = '_timescaledb_internal' AND c.relkind = 'r')";
    let row = client.query_one(NAMED, &[]).await?;
    Ok(Settings {
        fsync: row.try_get(0)?,
        full_page_writes: row.try_get(1)?,
        synchronous_commit: row.try_get(2)?,
        max_connections: row.try_get(3)?,
        reserved_connections: row.try_get(4)?,
        max_prepared_transactions: row.try_get(5)?,
        max_locks_per_transaction: row.try_get(6)?,
        max_wal_mib: row.try_get(7)?,
        checkpoint_s: row.try_get(8)?,
        wal_level: row.try_get(9)?,
        chunks: row.try_get(10)?,
    })
}

fn judge(settings: &Settings, pool_max: i64) -> Vec<Point> {
    vec![durability(settings), connections(settings, pool_max), locks(settings), wal(settings)]
}

/// What the database says is committed is trimmed from the stations' logs.
fn durability(settings: &Settings) -> Point {
    const NAME: &str = "durability";
    let off: Vec<&str> = [("fsync", settings.fsync), ("full_page_writes", settings.full_page_writes)]
        .into_iter()
        .filter(|(_, on)| !on)
        .map(|(name, _)| name)
        .collect();
    if off.is_empty() {
        let commit = &settings.synchronous_commit;
        return good(
            NAME,
            format!("fsync = on, full_page_writes = on; synchronous_commit = {commit}, and on for what stations push"),
        );
    }
    let list = |value: &str| off.iter().map(|name| format!("{name} = {value}")).collect::<Vec<_>>().join(", ");
    warns(
        NAME,
        format!(
            "{}: when the database's machine fails, rows are lost or torn that stations have trimmed since; set {} and \
             reload",
            list("off"),
            list("on")
        ),
    )
}

fn connections(settings: &Settings, pool_max: i64) -> Point {
    const NAME: &str = "connections";
    let (max, reserved) = (settings.max_connections, settings.reserved_connections);
    let free = max - reserved;
    let found = format!(
        "max_connections = {max}, {reserved} of them reserved; judged by a server with the default --pool-max {pool_max}"
    );
    if free >= pool_max + SPARE_CONNECTIONS {
        return good(NAME, found);
    }
    let wanted = pool_max + reserved + SPARE_CONNECTIONS;
    let fits = (free - SPARE_CONNECTIONS).max(1);
    warns(
        NAME,
        format!("{found}: set max_connections = {wanted} and restart, or start the server with --pool-max {fits}"),
    )
}

/// One table of locks for all transactions.
fn locks(settings: &Settings) -> Point {
    const NAME: &str = "locks";
    let backends = (settings.max_connections + settings.max_prepared_transactions).max(1);
    let room = settings.max_locks_per_transaction * backends;
    let needed = settings.chunks * LOCKS_PER_CHUNK;
    let found = format!(
        "max_locks_per_transaction = {}, room for {room}; a transaction over all {} chunks takes about {needed}",
        settings.max_locks_per_transaction, settings.chunks
    );
    // Others hold some, too.
    if needed * 2 <= room {
        return good(NAME, found);
    }
    let wanted = (needed * 2 + backends - 1) / backends;
    warns(NAME, format!("{found}: set max_locks_per_transaction = {wanted} and restart"))
}

fn wal(settings: &Settings) -> Point {
    const NAME: &str = "wal";
    let Settings { max_wal_mib, checkpoint_s, wal_level, .. } = settings;
    let found =
        format!("max_wal_size = {max_wal_mib}MB, checkpoint_timeout = {checkpoint_s}s, wal_level = {wal_level}");
    let mut set = Vec::new();
    if *max_wal_mib < WAL_MIB_MIN {
        set.push(format!("max_wal_size = {WAL_MIB_MIN}MB"));
    }
    if *checkpoint_s < CHECKPOINT_S_MIN {
        set.push("checkpoint_timeout = 300s".to_owned());
    }
    if set.is_empty() {
        return good(NAME, found);
    }
    warns(NAME, format!("{found}: checkpoints come too often while stations push; set {} and reload", set.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Settings {
        Settings {
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".into(),
            max_connections: 100,
            reserved_connections: 3,
            max_prepared_transactions: 0,
            max_locks_per_transaction: 64,
            max_wal_mib: 1024,
            checkpoint_s: 300,
            wal_level: "replica".into(),
            chunks: 200,
        }
    }

    #[test]
    fn the_defaults_of_postgresql_are_well() {
        for point in judge(&well(), 30) {
            assert!(point.good && !point.warns, "{point:?}");
        }
        // A server may take more, and is not asked.
        let found = &judge(&well(), 30)[1].found;
        assert!(found.ends_with("; judged by a server with the default --pool-max 30"), "{found}");
    }

    #[test]
    fn each_setting_that_is_not_well_says_what_to_set() {
        for (settings, said) in [
            (Settings { fsync: false, ..well() }, "set fsync = on and reload"),
            (Settings { full_page_writes: false, ..well() }, "set full_page_writes = on and reload"),
            (
                Settings { max_connections: 30, ..well() },
                "set max_connections = 38 and restart, or start the server with --pool-max 22",
            ),
            (Settings { chunks: 4_000, ..well() }, "set max_locks_per_transaction = 320 and restart"),
            (Settings { max_wal_mib: 256, ..well() }, "set max_wal_size = 1024MB and reload"),
            (Settings { checkpoint_s: 30, ..well() }, "set checkpoint_timeout = 300s and reload"),
        ] {
            let warned: Vec<Point> = judge(&settings, 30).into_iter().filter(|point| point.warns).collect();
            assert_eq!(warned.len(), 1, "{settings:?}: {warned:?}");
            assert!(warned[0].good && warned[0].found.ends_with(said), "{said}: {}", warned[0].found);
        }
    }
}
