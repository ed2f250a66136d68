//! Isolating what PostgreSQL refuses, without paying for every row.
//!
//! ```text
//! rows ─ COPY ─▶ temporary table without constraints ─▶ suspects: rows that fail a CHECK or NOT NULL, rows that share a unique value
//! the others: written as ever, set by set
//! suspects:   written one after another by a loop in the database, each in a subtransaction of its own
//! ```
//!
//! Which rows are suspects decides only how they are written: what is refused, the database itself says. Where that does not work (the
//! refusal comes from a trigger, an exclusion constraint, a foreign key), the steps are halved.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::postgres::{primary_key, qualified};
use tidemark_core::schema::Table;
use tidemark_core::sqlite::quote;
use tokio_postgres::types::{ToSql, Type};

use super::copy::copy_rows;
use super::failed;
use super::transaction::{
    KeyArray, PostgresTransaction, StampUs, column_list, copy_sql, key_cell, key_type, owned_list,
};
use crate::ingest::plan::{Effect, Step, TableWrites, writes_of};
use crate::ingest::questions::Identity;
use crate::lines::Line;
use crate::upstream::isolate::{IsolateTransaction, Isolated, RefusedStep};
use crate::upstream::{StoreError, StoreTransaction as _};

/// SQLSTATEs that blame the row alone: not_null_violation, check_violation.
const OWN_FAULT: [&str; 2] = ["23502", "23514"];

/// What a table may refuse a row for.
struct Rules {
    /// Columns that must not be NULL.
    not_null: Vec<String>,
    /// Conditions of CHECK constraints.
    checks: Vec<String>,
    /// Unique indexes besides the primary key: their columns or expressions, and the condition of a partial one.
    unique: Vec<(Vec<String>, Option<String>)>,
}

#[async_trait]
impl IsolateTransaction for PostgresTransaction<'_> {
    async fn write_each(&mut self, line: &Line, groups: &[Group], steps: &[Step]) -> Result<Isolated, StoreError> {
        self.savepoint().await?;
        match self.sift(line, groups, steps).await {
            Ok(Some(isolated)) => {
                self.release_savepoint().await?;
                return Ok(isolated);
            }
            Ok(None) | Err(StoreError::Violation(_)) => {}
            // Not the rows' fault, but of the way: an expression that fails, a language that is not there. The other way needs neither.
            Err(StoreError::Fault(message)) => tracing::debug!("refused rows are looked for by halving: {message}"),
            Err(error) => return Err(error),
        }
        self.rollback_to_savepoint().await?;
        self.halve(line, groups, steps).await
    }
}

impl PostgresTransaction<'_> {
    /// Writes all steps but those refused; `None` when no suspect is found.
    async fn sift(&mut self, line: &Line, groups: &[Group], steps: &[Step]) -> Result<Option<Isolated>, StoreError> {
        let mut suspects: HashMap<usize, HashSet<Identity>> = HashMap::new();
        for &table in self.schema.parents_first() {
            let of_table: Vec<&Step> =
                steps.iter().filter(|step| step.table == table && step.effect != Effect::Delete).collect();
            if !of_table.is_empty() {
                suspects.insert(table, self.suspects(line, groups, table, &of_table).await?);
            }
        }
        if suspects.values().all(HashSet::is_empty) {
            return Ok(None);
        }
        let is_suspect = |step: &Step| suspects.get(&step.table).is_some_and(|set| set.contains(&step.identity));
        let calm: Vec<Step> = steps.iter().filter(|step| !is_suspect(step)).copied().collect();
        let (mut refused, mut deletes) = (Vec::new(), Vec::new());
        let mut calm = writes_of(self.schema, &calm);
        for &table in self.schema.parents_first() {
            let mut rows = calm.iter_mut().find(|writes| writes.table == table).map(std::mem::take).unwrap_or_default();
            rows.table = table;
            deletes.push(TableWrites { table, deletes: std::mem::take(&mut rows.deletes), ..TableWrites::default() });
            match self.write(line, groups, &[rows]).await {
                // A row that references one of those refused.
                Err(StoreError::Violation(_)) if !refused.is_empty() => {
                    return Ok(Some(Isolated { refused, complete: false }));
                }
                written => written?,
            }
            let apart = steps.iter().enumerate().filter(|(_, step)| step.table == table && is_suspect(step)).collect();
            refused.extend(self.write_apart(line, table, apart).await?);
        }
        match self.write(line, groups, &deletes).await {
            Err(StoreError::Violation(_)) if !refused.is_empty() => Ok(Some(Isolated { refused, complete: false })),
            written => written.map(|()| Some(Isolated { refused, complete: true })),
        }
    }

    /// Loads the rows of a table into a temporary one, and finds those that the table may refuse: with them the rows, there or here, whose
    /// unique values they share.
    async fn suspects(
        &self,
        line: &Line,
        groups: &[Group],
        index: usize,
        steps: &[&Step],
    ) -> Result<HashSet<Identity>, StoreError> {
        let table = &self.schema.tables()[index];
        let target = qualified(self.schema, table);
        let rules = self.rules(&target).await?;
        let rows = loaded(index);
        self.run(&format!(
            "DROP TABLE IF EXISTS pg_temp.{rows}; \
             CREATE TEMPORARY TABLE {rows} (LIKE {target} INCLUDING DEFAULTS INCLUDING GENERATED) ON COMMIT DROP"
        ))
        .await?;
        if !rules.not_null.is_empty() {
            let drops: Vec<String> =
                rules.not_null.iter().map(|name| format!("ALTER COLUMN {name} DROP NOT NULL")).collect();
            self.run(&format!("ALTER TABLE pg_temp.{rows} {}", drops.join(", "))).await?;
        }
        let number = line.station.get().cast_signed();
        let all = steps.iter().filter_map(|step| match step.effect {
            Effect::Fresh(at) | Effect::Upsert(at) => Some(at),
            Effect::Delete => None,
        });
        copy_rows(self.inner, &copy_sql(&format!("pg_temp.{rows}"), table), number, groups, all)
            .await
            .map_err(failed)?;
        let identity = identity_columns(table);
        let mut queries = Vec::new();
        let fails = rules.checks.iter().map(|check| format!("({check}) IS FALSE"));
        let fails: Vec<String> = fails.chain(rules.not_null.iter().map(|name| format!("{name} IS NULL"))).collect();
        if !fails.is_empty() {
            queries.push(format!("SELECT {identity} FROM pg_temp.{rows} WHERE {}", fails.join(" OR ")));
        }
        queries.extend(rules.unique.iter().map(|(columns, condition)| {
            sharing(&format!("pg_temp.{rows}"), &target, table, columns, condition.as_deref())
        }));
        let times = steps.iter().map(|step| step.identity.time_us);
        let (first, last) = (StampUs(times.clone().min().unwrap_or(0)), StampUs(times.max().unwrap_or(0)));
        let mut found = HashSet::new();
        for query in queries {
            let times: [(&(dyn ToSql + Sync), Type); 2] = [(&first, Type::TIMESTAMPTZ), (&last, Type::TIMESTAMPTZ)];
            let parameters = if query.contains("$1") { &times[..] } else { &[] };
            for row in self.inner.query_typed(&query, parameters).await.map_err(failed)? {
                let Some(key) = key_cell(&row, 0, key_type(table))? else { continue };
                let time_us = if table.time.is_some() { row.try_get::<_, StampUs>(1).map_err(failed)?.0 } else { 0 };
                found.insert(Identity { time_us, key });
            }
        }
        Ok(found)
    }

    async fn rules(&self, target: &str) -> Result<Rules, StoreError> {
        let texts = |sql: &'static str| async move {
            let rows = self.inner.query_typed(sql, &[(&target, Type::TEXT)]).await.map_err(failed)?;
            Ok::<Vec<String>, StoreError>(rows.iter().map(|row| row.get(0)).collect())
        };
        let not_null = texts(
            "SELECT quote_ident(attname) FROM pg_attribute
             WHERE attrelid = $1::text::regclass AND attnum > 0 AND attnotnull AND NOT attisdropped AND attidentity = ''",
        );
        let checks = texts(
            "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'c'",
        );
        let (not_null, checks) = (not_null.await?, checks.await?);
        let sql = "SELECT ARRAY(SELECT pg_get_indexdef(indexrelid, n, true) FROM generate_series(1, indnkeyatts) AS n ORDER BY n),
                pg_get_expr(indpred, indrelid)
            FROM pg_index WHERE indrelid = $1::text::regclass AND indisunique AND NOT indisprimary";
        let unique = self.inner.query_typed(sql, &[(&target, Type::TEXT)]).await.map_err(failed)?;
        let unique = unique.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(Rules { not_null, checks, unique })
    }

    /// Writes loaded rows, and deletes, one after another, each in a subtransaction; returns those refused. Steps come with their places.
    async fn write_apart(
        &self,
        line: &Line,
        index: usize,
        apart: Vec<(usize, &Step)>,
    ) -> Result<Vec<RefusedStep>, StoreError> {
        if apart.is_empty() {
            return Ok(Vec::new());
        }
        let table = &self.schema.tables()[index];
        let keys = KeyArray::new(key_type(table), apart.iter().map(|(_, step)| &step.identity.key));
        self.run(&queue_sql(index, table)).await?;
        let (queue, refused) = (queue(index), refused(index));
        let fill = format!(
            "INSERT INTO pg_temp.{queue} SELECT * FROM unnest($1::bigint[], $2::{}, $3::timestamptz[], $4::boolean[])",
            keys.sql_type()
        );
        let places: Vec<i64> = apart.iter().map(|(place, _)| *place as i64).collect();
        let times: Vec<StampUs> = apart.iter().map(|(_, step)| StampUs(step.identity.time_us)).collect();
        let gone: Vec<bool> = apart.iter().map(|(_, step)| step.effect == Effect::Delete).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&places, Type::INT8_ARRAY),
            keys.parameter(),
            (&times, Type::TIMESTAMPTZ_ARRAY),
            (&gone, Type::BOOL_ARRAY),
        ];
        self.inner.execute_typed(&fill, &parameters).await.map_err(failed)?;
        self.run(&loop_sql(&qualified(self.schema, table), index, table, line)).await?;
        let rows = self
            .inner
            .query_typed(&format!("SELECT place, state, name, message FROM pg_temp.{refused} ORDER BY place"), &[])
            .await
            .map_err(failed)?;
        let step_of = |row: &tokio_postgres::Row| {
            let (state, name, message): (&str, &str, &str) = (row.get(1), row.get(2), row.get(3));
            let constraint = if name.is_empty() { String::new() } else { format!("constraint {name}, ") };
            RefusedStep {
                step: row.get::<_, i64>(0).unsigned_abs() as usize,
                message: format!("{message} ({constraint}SQLSTATE {state})"),
                own: OWN_FAULT.contains(&state),
            }
        };
        Ok(rows.iter().map(step_of).collect())
    }

    /// Halves the steps down to those refused.
    async fn halve(&mut self, line: &Line, groups: &[Group], steps: &[Step]) -> Result<Isolated, StoreError> {
        let mut refused = Vec::new();
        let mut ranges = vec![(0, steps.len())];
        while let Some((low, high)) = ranges.pop() {
            self.savepoint().await?;
            match self.write(line, groups, &writes_of(self.schema, &steps[low..high])).await {
                Ok(()) => self.release_savepoint().await?,
                Err(StoreError::Violation(message)) => {
                    self.rollback_to_savepoint().await?;
                    if high - low == 1 {
                        refused.push(RefusedStep { step: low, message, own: false });
                    } else {
                        let middle = low.midpoint(high);
                        ranges.extend([(middle, high), (low, middle)]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Isolated { refused, complete: true })
    }
}

/// The temporary table of a table's rows.
fn loaded(index: usize) -> String {
    format!("\"tidemark_apart_{index}\"")
}

/// The temporary table of the steps to take one by one.
fn queue(index: usize) -> String {
    format!("\"tidemark_queue_{index}\"")
}

/// The temporary table of the steps refused.
fn refused(index: usize) -> String {
    format!("\"tidemark_refused_{index}\"")
}

/// Key and time.
fn identity_columns(table: &Table) -> String {
    table.identity().map(|at| quote(&table.columns[at].name)).collect::<Vec<_>>().join(", ")
}

/// Identities of rows of `rows` that share a unique value with each other or with another row of `target`, and of those rows. $1 and $2 are
/// the range of the rows' times, where the table has a time column.
fn sharing(rows: &str, target: &str, table: &Table, columns: &[String], condition: Option<&str>) -> String {
    let values: Vec<String> = (0..columns.len()).map(|n| format!("u{n}")).collect();
    let named: Vec<String> =
        columns.iter().zip(&values).map(|(column, value)| format!("({column}) AS {value}")).collect();
    let key = quote(&table.key_column().name);
    let time = table.time_column().map(|time| quote(&time.name));
    let stamp = time.as_deref().unwrap_or("NULL::timestamptz");
    let select = format!("SELECT {}, {key} AS k, {stamp} AS t", named.join(", "));
    let condition = condition.map_or_else(|| "true".to_owned(), |condition| format!("({condition})"));
    let range = time.as_deref().map_or_else(String::new, |time| format!(" AND {time} BETWEEN $1 AND $2"));
    let values = values.join(", ");
    format!(
        "WITH n AS ({select} FROM {rows} WHERE {condition}), o AS ({select} FROM {target} WHERE {condition}{range}),
             pair AS (SELECT n.k AS nk, n.t AS nt, o.k AS ok, o.t AS ot FROM n JOIN o USING ({values})
                      WHERE (n.k, n.t) IS DISTINCT FROM (o.k, o.t)),
             twin AS (SELECT k, t, count(*) OVER (PARTITION BY {values}) AS others FROM n WHERE num_nulls({values}) = 0)
         SELECT nk, nt FROM pair UNION SELECT ok, ot FROM pair UNION SELECT k, t FROM twin WHERE others > 1"
    )
}

/// The temporary tables of [`loop_sql`].
fn queue_sql(index: usize, table: &Table) -> String {
    let (queue, refused) = (queue(index), refused(index));
    let key = tidemark_core::postgres::type_name(table.key_column().ty);
    format!(
        "DROP TABLE IF EXISTS pg_temp.{queue}, pg_temp.{refused}; \
         CREATE TEMPORARY TABLE {queue} (place bigint, key {key}, time timestamptz, gone boolean) ON COMMIT DROP; \
         CREATE TEMPORARY TABLE {refused} (place bigint, state text, name text, message text) ON COMMIT DROP"
    )
}

/// The loop over the queue: each step in a subtransaction, each refusal noted.
fn loop_sql(target: &str, index: usize, table: &Table, line: &Line) -> String {
    let (rows, queue, refused) = (loaded(index), queue(index), refused(index));
    let names: Vec<String> =
        table.columns.iter().map(|column| quote(&column.name)).chain(["\"station\"".to_owned()]).collect();
    let at = |of: &str| {
        let mut identity = vec![format!("{of}.{} = tidemark_step.key", quote(&table.key_column().name))];
        identity.extend(table.time_column().map(|time| format!("{of}.{} = tidemark_step.time", quote(&time.name))));
        identity.join(" AND ")
    };
    let columns = column_list(table);
    let conflict: Vec<String> = primary_key(table).into_iter().map(quote).collect();
    let sets: Vec<String> = names.iter().map(|name| format!("{name} = EXCLUDED.{name}")).collect();
    format!(
        "DO $tidemark$
         #variable_conflict use_column
         DECLARE tidemark_step record; tidemark_state text; tidemark_name text;
         BEGIN
             FOR tidemark_step IN SELECT * FROM pg_temp.{queue} ORDER BY place LOOP
                 BEGIN
                     IF tidemark_step.gone THEN
                         DELETE FROM {target} AS t WHERE {target_at} AND t.\"station\" IN ({owned});
                     ELSE
                         INSERT INTO {target} AS t ({columns}) SELECT {columns} FROM pg_temp.{rows} AS n WHERE {rows_at}
                         ON CONFLICT ({conflict}) DO UPDATE SET {sets} WHERE t.\"station\" IN ({owned});
                         IF NOT FOUND THEN
                             RAISE EXCEPTION 'the row belongs to another station';
                         END IF;
                     END IF;
                 EXCEPTION WHEN integrity_constraint_violation OR data_exception OR with_check_option_violation
                     OR plpgsql_error OR program_limit_exceeded THEN
                     GET STACKED DIAGNOSTICS tidemark_state = RETURNED_SQLSTATE, tidemark_name = CONSTRAINT_NAME;
                     INSERT INTO pg_temp.{refused} VALUES (tidemark_step.place, tidemark_state, tidemark_name, SQLERRM);
                 END;
             END LOOP;
         END $tidemark$",
        target_at = at("t"),
        rows_at = at("n"),
        conflict = conflict.join(", "),
        sets = sets.join(", "),
        owned = owned_list(line),
    )
}
