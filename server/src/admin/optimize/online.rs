//! A hypertable takes a plain table's place while stations push.
//!
//! The copy is the table at some snapshot; whatever commits after it is noted by triggers, which every writer
//! that began since must fire. What is noted is copied again in one snapshot of notes and rows, and at last under a
//! lock, when nobody writes: then both are equal.

use std::time::Duration;

use tidemark_core::amount::count;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::table::{NAMESPACE, OldTable, shape, written_columns};
use crate::admin::failed;
use crate::admin::timescale::Extension;

/// Rows copied in one transaction.
const PIECE: i64 = 20_000;
/// So few notes are worked off under the lock.
const NOTES_UNDER_LOCK: i64 = 1_000;
/// The time a lock is waited for, and so the time writers wait behind that; then they get their turn, and it is tried
/// again.
const LOCK_TIMEOUT: &str = "2s";
/// The time writers are given before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// A lock is tried for so often.
const TRIES: u32 = 240;
/// So many rounds of notes are worked off before the lock is asked for anyway.
const ROUNDS: u32 = 20;

type Say<'a> = &'a mut (dyn FnMut(&str) + Send);

/// The table that a run before began with, and did not end.
pub(super) async fn begun(client: &Client) -> anyhow::Result<Option<String>> {
    let doing = |error| failed("look for a run before", &error);
    let there = format!("SELECT to_regclass('{NAMESPACE}.tidemark_progress') IS NOT NULL");
    if !client.query_one(&there, &[]).await.map_err(doing)?.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = format!("SELECT tbl FROM {NAMESPACE}.tidemark_progress");
    Ok(client.query_opt(&sql, &[]).await.map_err(doing)?.map(|row| row.get(0)))
}

/// Makes a hypertable of a table. Running it again goes on where it was.
///
/// # Errors
/// When the database refuses; what is done stays, and nothing of the table is changed before the swap.
pub(super) async fn convert(
    client: &mut Client,
    extension: &Extension,
    old: &OldTable,
    say: Say<'_>,
) -> anyhow::Result<()> {
    if begun(client).await?.as_deref() == Some(&old.name)
        && shape(client, &old.sql).await? == shape(client, &old.new).await?
    {
        say(&format!("{}: goes on where a run before was broken off", old.name));
    } else {
        begin(client, extension, old).await?;
    }
    let rows = copy(client, old, say).await?;
    for _ in 0..ROUNDS {
        if catch_up(client, old).await? <= NOTES_UNDER_LOCK {
            break;
        }
    }
    let locked = swap(client, old).await?;
    let rows = count(rows.unsigned_abs(), "row");
    say(&format!("{}: is a hypertable, {rows}; writers waited {} ms at most", old.name, locked.as_millis()));
    Ok(())
}

/// Runs a transaction that needs a lock on the table, as often as the lock is not got in time.
async fn with_lock<T>(
    client: &mut Client,
    old: &OldTable,
    mode: &str,
    work: impl AsyncFn(&Transaction<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let doing = |error| failed(&format!("lock the table {}", old.name), &error);
    for _ in 0..TRIES {
        let transaction = client.transaction().await.map_err(doing)?;
        let lock = format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; LOCK TABLE {} IN {mode} MODE", old.sql);
        match transaction.batch_execute(&lock).await {
            Ok(()) => {
                let done = work(&transaction).await?;
                transaction.commit().await.map_err(doing)?;
                return Ok(done);
            }
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                transaction.rollback().await.map_err(doing)?;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(doing(error)),
        }
    }
    anyhow::bail!(
        "the table {} is in use by a long transaction; end it and run `tidemark-server optimize` again, which goes on from here",
        old.name
    )
}

/// Makes the hypertable beside the table, and the triggers that note what changes from now on.
async fn begin(client: &mut Client, extension: &Extension, old: &OldTable) -> anyhow::Result<()> {
    let OldTable { sql: table, new, key, time, key_type, name, .. } = old;
    let note = |what: &str, rows: &str| {
        format!(
            "CREATE TRIGGER tidemark_optimize_{what} AFTER {what} ON {table} REFERENCING {rows} FOR EACH STATEMENT \
             EXECUTE FUNCTION {NAMESPACE}.tidemark_note();"
        )
    };
    let noted =
        |rows: &str| format!("INSERT INTO {NAMESPACE}.tidemark_changed (key, at) SELECT {key}, {time} FROM {rows};");
    let make = format!(
        "SET LOCAL client_min_messages = warning;
         DROP SCHEMA IF EXISTS {NAMESPACE} CASCADE; CREATE SCHEMA {NAMESPACE};
         CREATE TABLE {NAMESPACE}.tidemark_progress (tbl text PRIMARY KEY, key text, at text, rows bigint NOT NULL DEFAULT 0);
         CREATE TABLE {NAMESPACE}.tidemark_changed
             (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key {key_type} NOT NULL, at timestamptz NOT NULL);
         INSERT INTO {NAMESPACE}.tidemark_progress (tbl) VALUES ('{name}');
         CREATE FUNCTION {NAMESPACE}.tidemark_note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $note$
         BEGIN
             IF TG_OP = 'TRUNCATE' THEN
                 RAISE EXCEPTION 'the table {name} is being made a hypertable: no TRUNCATE until that is done (DELETE works)';
             END IF;
             IF TG_OP <> 'INSERT' THEN {before} END IF;
             IF TG_OP <> 'DELETE' THEN {after} END IF;
             RETURN NULL;
         END $note$;
         {insert} {update} {delete}
         CREATE TRIGGER tidemark_optimize_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {NAMESPACE}.tidemark_note();
         CREATE TABLE {new} (LIKE {table} INCLUDING ALL EXCLUDING INDEXES);",
        before = noted("tidemark_before"),
        after = noted("tidemark_after"),
        insert = note("insert", "NEW TABLE AS tidemark_after"),
        update = note("update", "OLD TABLE AS tidemark_before NEW TABLE AS tidemark_after"),
        delete = note("delete", "OLD TABLE AS tidemark_before"),
    );
    with_lock(client, old, "SHARE ROW EXCLUSIVE", async |tx| {
        let doing = |error| failed(&format!("make a hypertable beside {name}"), &error);
        tx.batch_execute(&make).await.map_err(doing)?;
        // Keys and indexes under the names they have, which stay theirs when the table moves; and the table's comment.
        let keys = "SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', $2::text, c.conname, pg_get_constraintdef(c.oid))
            FROM pg_catalog.pg_constraint c WHERE c.conrelid = to_regclass($1) AND c.contype IN ('p', 'u', 'x')
            UNION ALL SELECT regexp_replace(pg_get_indexdef(i.indexrelid), ' ON (ONLY )?(\"[^\"]+\"|[^ .]+)[.](\"[^\"]+\"|[^ ]+) USING ', \
                format(' ON %s USING ', $2::text))
            FROM pg_catalog.pg_index i WHERE i.indrelid = to_regclass($1)
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x'))
            UNION ALL SELECT format('COMMENT ON TABLE %s IS %L', $2::text, d.text)
            FROM pg_catalog.obj_description(to_regclass($1), 'pg_class') AS d(text) WHERE d.text IS NOT NULL";
        for row in tx.query(keys, &[table, new]).await.map_err(doing)? {
            tx.batch_execute(row.get(0)).await.map_err(doing)?;
        }
        tx.batch_execute(&old.create_hypertable(extension, new, false)).await.map_err(doing)
    })
    .await
}

/// Copies the rows in the order of the key, a piece in each transaction; returns how many there were.
async fn copy(client: &mut Client, old: &OldTable, say: Say<'_>) -> anyhow::Result<i64> {
    let OldTable { sql: table, new, key, time, key_type, name, .. } = old;
    let doing = |error| failed(&format!("copy the rows of {name}"), &error);
    let columns = written_columns(client, table).await?;
    let piece = |after: &str| {
        format!(
            "WITH piece AS MATERIALIZED (SELECT {columns} FROM {table} {after} ORDER BY {key}, {time} LIMIT {PIECE}),
                 put AS (INSERT INTO {new} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM piece ON CONFLICT DO NOTHING)
             SELECT {key}::text, {time}::text, (SELECT count(*) FROM piece) FROM piece ORDER BY piece.{key} DESC, piece.{time} DESC LIMIT 1"
        )
    };
    let first = piece("");
    let next = piece(&format!("WHERE ({key}, {time}) > ($1::text::{key_type}, $2::text::timestamptz)"));
    let read = format!("SELECT key, at, rows FROM {NAMESPACE}.tidemark_progress");
    let write = format!("UPDATE {NAMESPACE}.tidemark_progress SET key = $1, at = $2, rows = $3");
    let mut told = 0;
    loop {
        let transaction = client.transaction().await.map_err(doing)?;
        let row = transaction.query_one(&read, &[]).await.map_err(doing)?;
        let (at_key, at, rows): (Option<String>, Option<String>, i64) = (row.get(0), row.get(1), row.get(2));
        let copied = match (&at_key, &at) {
            (Some(_), Some(_)) => transaction.query_opt(&next, &[&at_key, &at]).await,
            _ => transaction.query_opt(&first, &[]).await,
        };
        let Some(last) = copied.map_err(doing)? else { return Ok(rows) };
        let (at_key, at): (String, String) = (last.get(0), last.get(1));
        let rows = rows + last.get::<_, i64>(2);
        transaction.execute(&write, &[&at_key, &at, &rows]).await.map_err(doing)?;
        transaction.commit().await.map_err(doing)?;
        if rows - told >= 10 * PIECE {
            told = rows;
            say(&format!("{name}: {} of about {} copied", count(rows.unsigned_abs(), "row"), old.rows_about));
        }
    }
}

/// Copies again what was noted, a piece; returns how many notes are left.
async fn catch_up(client: &mut Client, old: &OldTable) -> anyhow::Result<i64> {
    let doing = |error| failed(&format!("copy again what changed in {}", old.name), &error);
    loop {
        // Notes and rows of one snapshot: what commits later has notes of its own.
        let transaction =
            client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.map_err(doing)?;
        let left = renew(&transaction, old).await?;
        transaction.commit().await.map_err(doing)?;
        if left <= NOTES_UNDER_LOCK {
            return Ok(left);
        }
    }
}

/// Makes the rows of a piece of notes equal in both tables, and takes these notes away; returns how many are left.
async fn renew(tx: &Transaction<'_>, old: &OldTable) -> anyhow::Result<i64> {
    let OldTable { sql: table, new, key, time, .. } = old;
    let doing = |error| failed(&format!("copy again what changed in {}", old.name), &error);
    let columns = written_columns(tx, table).await?;
    let changed = format!("{NAMESPACE}.tidemark_changed");
    let selected: Vec<String> = columns.split(", ").map(|column| format!("t.{column}")).collect();
    let sql = format!(
        "SET LOCAL client_min_messages = warning; DROP TABLE IF EXISTS pg_temp.tidemark_piece;
         CREATE TEMPORARY TABLE tidemark_piece ON COMMIT DROP AS SELECT n, key, at FROM {changed} ORDER BY n LIMIT {PIECE};
         DELETE FROM {changed} c USING pg_temp.tidemark_piece p WHERE c.n = p.n;
         DELETE FROM {new} t USING pg_temp.tidemark_piece p WHERE t.{key} = p.key AND t.{time} = p.at;
         INSERT INTO {new} ({columns}) OVERRIDING SYSTEM VALUE SELECT {} FROM {table} t
             JOIN (SELECT DISTINCT key, at FROM pg_temp.tidemark_piece) p ON t.{key} = p.key AND t.{time} = p.at",
        selected.join(", ")
    );
    tx.batch_execute(&sql).await.map_err(doing)?;
    Ok(tx.query_one(&format!("SELECT count(*) FROM {changed}"), &[]).await.map_err(doing)?.get(0))
}

/// Puts the hypertable in the table's place; returns how long the table was locked.
async fn swap(client: &mut Client, old: &OldTable) -> anyhow::Result<Duration> {
    let start = std::cell::Cell::new(tokio::time::Instant::now());
    with_lock(client, old, "ACCESS EXCLUSIVE", async |tx| {
        start.set(tokio::time::Instant::now());
        let doing = |error| failed(&format!("put the hypertable in the place of {}", old.name), &error);
        if shape(tx, &old.sql).await? != shape(tx, &old.new).await? {
            anyhow::bail!("the columns of {} were changed meanwhile; run `tidemark-server optimize` again", old.name);
        }
        while renew(tx, old).await? > 0 {}
        for statement in carried(tx, old).await? {
            tx.batch_execute(&statement).await.map_err(doing)?;
        }
        let sql = format!(
            "DROP TABLE {}; ALTER TABLE {} SET SCHEMA {}; SET LOCAL client_min_messages = warning; DROP SCHEMA {NAMESPACE} CASCADE",
            old.sql, old.new, old.namespace
        );
        let reports = "SELECT to_regproc('shrinkage_reports.connect') IS NOT NULL";
        let has_reports: bool = tx.query_one(reports, &[]).await.map_err(doing)?.get(0);
        if has_reports {
            tx.execute("SELECT shrinkage_reports.disconnect($1)", &[&old.name]).await.map_err(doing)?;
        }
        tx.batch_execute(&sql).await.map_err(doing)?;
        if has_reports {
            tx.execute("SELECT shrinkage_reports.connect($1)", &[&old.name]).await.map_err(doing)?;
        }
        Ok(())
    })
    .await?;
    Ok(start.get().elapsed())
}

/// Gives a copy of a table what it does not have by itself: where its numbering stands, its owner, who may use it.
async fn carried(tx: &Transaction<'_>, old: &OldTable) -> anyhow::Result<Vec<String>> {
    let doing = |error| failed(&format!("read the rights on {}", old.name), &error);
    let mut statements = Vec::new();
    let sql = "SELECT pg_get_serial_sequence($1, a.attname), pg_get_serial_sequence($2, a.attname) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = to_regclass($1) AND a.attidentity <> ''";
    for row in tx.query(sql, &[&old.sql, &old.new]).await.map_err(doing)? {
        let (from, to): (String, String) = (row.get(0), row.get(1));
        statements.push(format!("SELECT setval('{}', last_value, is_called) FROM {from}", to.replace('\'', "''")));
    }
    let sql = "SELECT format('ALTER TABLE %s OWNER TO %I', $2::text, pg_get_userbyid(c.relowner)) FROM pg_catalog.pg_class c
            WHERE c.oid = to_regclass($1) AND c.relowner <> (SELECT o.oid FROM pg_catalog.pg_roles o WHERE o.rolname = current_user)
        UNION ALL SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, $2::text,
                CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM pg_catalog.pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass($1) AND a.grantee <> c.relowner";
    let rights = tx.query(sql, &[&old.sql, &old.new]).await.map_err(doing)?;
    statements.extend(rights.iter().map(|row| row.get::<_, String>(0)));
    Ok(statements)
}
