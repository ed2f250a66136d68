//! Isolating what PostgreSQL refuses, without paying for every row.
//!
//! ```text
//! rows ─ COPY ─▶ temporary table without constraints
//!   1. broken: rows that fail a CHECK or NOT NULL, or repeat the unique value of a row that has it;
//!      the others are written set by set
//!   2. when those are refused too: suspects (1, and rows that share a unique value with a row there) are
//!      written one after another by a loop in the database, each in a subtransaction of its own; the
//!      others before, set by set
//!   3. when that finds nothing (a trigger, an exclusion constraint, a foreign key): the steps are halved
//! ```
//!
//! 1 evaluates the table's own conditions ([`Rules`]); 2 and 3 only decide how rows are written, and the database says
//! what it refuses.

use std::collections::{HashMap, HashSet};

use tidemark_core::batch::Group;
use tidemark_core::identity::Identity;
use tidemark_core::postgres::qualified;
use tidemark_core::schema::Table;
use tidemark_core::sqlite::quote;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connect::failed;
use super::copy::copy_rows;
use super::rules::Rules;
use super::transaction::PostgresTransaction;
use super::values::{KeyArray, StampUs, key_cell, key_type};
use super::write::{column_list, copy_sql, on_conflict_sql, owned_list};
use crate::ledger::lineage::Lineage;
use crate::upstream::error::StoreError;
use crate::upstream::rows::Rows as _;
use crate::upstream::writes::{Effect, Isolated, RefusedStep, Step, TableWrites, writes_of};

/// SQLSTATEs that blame the row alone: not_null_violation, check_violation.
const OWN_FAULT: [&str; 2] = ["23502", "23514"];

/// The rows of one table, loaded.
struct Loaded<'s> {
    table: usize,
    rules: Rules,
    /// The steps, with their places, in the order of the temporary table.
    steps: Vec<(usize, &'s Step)>,
    places: HashMap<Identity, usize>,
}

impl Loaded<'_> {
    /// The place of the step whose identity a row of a query begins with.
    fn place(&self, table: &Table, row: &Row) -> Result<Option<usize>, StoreError> {
        Ok(identity_cell(table, row)?.and_then(|identity| self.places.get(&identity).copied()))
    }
}

/// The identity that a row of a query begins with.
fn identity_cell(table: &Table, row: &Row) -> Result<Option<Identity>, StoreError> {
    let Some(key) = key_cell(row, 0, key_type(table))? else { return Ok(None) };
    let time_us = if table.time.is_some() { row.try_get::<_, StampUs>(1).map_err(failed)?.0 } else { 0 };
    Ok(Some(Identity { time_us, key }))
}

impl PostgresTransaction<'_> {
    pub(super) async fn isolate(
        &mut self,
        lineage: &Lineage,
        groups: &[Group],
        steps: &[Step],
    ) -> Result<Isolated, StoreError> {
        self.savepoint().await?;
        // What is loaded to look for them stands behind it.
        self.at_savepoint = false;
        match self.sift(lineage, groups, steps).await {
            Ok(Some(isolated)) if isolated.complete => {
                self.release_savepoint().await?;
                return Ok(isolated);
            }
            // What was refused last has left the transaction unusable but for going back.
            Ok(Some(isolated)) => {
                self.rollback_to_savepoint().await?;
                return Ok(isolated);
            }
            Ok(None) | Err(StoreError::Violation(_)) => {}
            // Not the rows' fault, but of the way: an expression that fails, a language that is not there. The other
            // way needs neither.
            Err(StoreError::Fault(message)) => tracing::debug!("refused rows are looked for by halving: {message}"),
            Err(StoreError::Refused { cause, message }) if !cause.depends_on_load() => {
                tracing::debug!("refused rows are looked for by halving: {message}");
            }
            Err(error) => return Err(error),
        }
        self.rollback_to_savepoint().await?;
        self.halve(lineage, groups, steps).await
    }

    /// Writes all steps but those refused; `None` when no suspect is found.
    async fn sift(
        &mut self,
        lineage: &Lineage,
        groups: &[Group],
        steps: &[Step],
    ) -> Result<Option<Isolated>, StoreError> {
        let mut loaded = Vec::new();
        for &table in self.schema.parents_first() {
            let is_row = |(_, step): &(usize, &Step)| step.table == table && step.effect != Effect::Delete;
            let of_table: Vec<(usize, &Step)> = steps.iter().enumerate().filter(is_row).collect();
            if !of_table.is_empty() {
                loaded.push(self.load(lineage, groups, table, of_table).await?);
            }
        }
        if let Some(isolated) = self.write_unbroken(lineage, groups, steps, &loaded).await? {
            return Ok(Some(isolated));
        }
        let mut suspects: HashMap<usize, HashSet<Identity>> = HashMap::new();
        for of_table in &loaded {
            suspects.insert(of_table.table, self.suspects(of_table).await?);
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
            match self.write(lineage, groups, &[rows]).await {
                // A row that references one of those refused.
                Err(StoreError::Violation(_)) if !refused.is_empty() => {
                    return Ok(Some(Isolated { refused, complete: false }));
                }
                written => written?,
            }
            let apart = steps.iter().enumerate().filter(|(_, step)| step.table == table && is_suspect(step)).collect();
            refused.extend(self.write_apart(lineage, table, apart).await?);
        }
        match self.write(lineage, groups, &deletes).await {
            Err(StoreError::Violation(_)) if !refused.is_empty() => Ok(Some(Isolated { refused, complete: false })),
            written => written.map(|()| Some(Isolated { refused, complete: true })),
        }
    }

    /// Writes all rows but those that the loaded rows themselves show to be refused; `None` when there are none, the
    /// others cannot be written for another reason, or the order matters.
    async fn write_unbroken(
        &mut self,
        lineage: &Lineage,
        groups: &[Group],
        steps: &[Step],
        loaded: &[Loaded<'_>],
    ) -> Result<Option<Isolated>, StoreError> {
        let mut refused = Vec::new();
        for of_table in loaded {
            refused.extend(self.broken(of_table).await?);
        }
        if !refused.is_empty() && self.write_others(lineage, groups, steps, &refused).await? {
            return Ok(Some(Isolated { refused, complete: true }));
        }
        let broken = refused.len();
        // A row that lets go of a unique value has its place in the order: then only claims to what is kept are decided
        // here.
        let only_fresh = steps.iter().all(|step| matches!(step.effect, Effect::Fresh(_)));
        let known: HashSet<usize> = refused.iter().map(|refused| refused.step).collect();
        for of_table in loaded {
            let found =
                if only_fresh { Some(self.repeated(of_table).await?) } else { self.claimed(of_table, steps).await? };
            let Some(found) = found else { return Ok(None) };
            refused.extend(found.into_iter().filter(|found| !known.contains(&found.step)));
        }
        let complete = refused.len() > broken && self.write_others(lineage, groups, steps, &refused).await?;
        Ok(complete.then_some(Isolated { refused, complete }))
    }

    /// Rows that break a rule by themselves.
    async fn broken(&self, of: &Loaded<'_>) -> Result<Vec<RefusedStep>, StoreError> {
        let table = &self.schema.tables()[of.table];
        let Some(sql) = of.rules.broken_sql(&rows_of(of.table), table) else { return Ok(Vec::new()) };
        let faults = of.rules.own_faults();
        let mut refused = Vec::new();
        for row in self.pipeline.query_once(&sql, &[]).await.map_err(failed)? {
            let fault: i32 = row.get(row.len() - 1);
            let message = faults[fault.unsigned_abs() as usize].message.clone();
            refused.extend(of.place(table, &row)?.map(|step| RefusedStep { step, message, own: true }));
        }
        Ok(refused)
    }

    /// Rows that repeat the unique value of one before them.
    async fn repeated(&self, of: &Loaded<'_>) -> Result<Vec<RefusedStep>, StoreError> {
        let table = &self.schema.tables()[of.table];
        let target = qualified(self.schema, table);
        let Some((sql, message)) = of.rules.repeated_sql(&rows_of(of.table), &target, table) else {
            return Ok(Vec::new());
        };
        let mut refused = Vec::new();
        for row in self.pipeline.query_once(&sql, &[]).await.map_err(failed)? {
            let message = message.clone();
            refused.extend(of.place(table, &row)?.map(|step| RefusedStep { step, message, own: false }));
        }
        Ok(refused)
    }

    /// Rows that claim a unique value which another row has and keeps; `None` when a row may let go of a value that
    /// another claims, so that the order decides.
    async fn claimed(&self, of: &Loaded<'_>, steps: &[Step]) -> Result<Option<Vec<RefusedStep>>, StoreError> {
        let table = &self.schema.tables()[of.table];
        if steps.iter().any(|step| step.table == of.table && step.effect == Effect::Delete) {
            return Ok(None);
        }
        let target = qualified(self.schema, table);
        let Some(queries) = of.rules.claims_sql(&rows_of(of.table), &target, table) else { return Ok(None) };
        let (mut refused, mut open) = (HashMap::new(), HashSet::new());
        for (sql, message) in queries {
            for row in self.ask_in_range(of, &sql).await? {
                let Some(step) = of.place(table, &row)? else { return Ok(None) };
                if row.get(row.len() - 1) {
                    let message = message.clone();
                    refused.entry(step).or_insert(RefusedStep { step, message, own: false });
                } else {
                    open.insert(step);
                }
            }
        }
        let decided = open.iter().all(|step| refused.contains_key(step));
        Ok(decided.then(|| refused.into_values().collect()))
    }

    /// Asks with the range of the rows' times as $1 and $2, where the query has them.
    async fn ask_in_range(&self, of: &Loaded<'_>, sql: &str) -> Result<Vec<Row>, StoreError> {
        let times = of.steps.iter().map(|(_, step)| step.identity.time_us);
        let (first, last) = (StampUs(times.clone().min().unwrap_or(0)), StampUs(times.max().unwrap_or(0)));
        let times: [(&(dyn ToSql + Sync), Type); 2] = [(&first, Type::TIMESTAMPTZ), (&last, Type::TIMESTAMPTZ)];
        let parameters = if sql.contains("$1") { &times[..] } else { &[] };
        self.pipeline.query_once(sql, parameters).await.map_err(failed)
    }

    /// Writes all steps but those refused, as ever; `false`, and nothing, when the database refuses others.
    async fn write_others(
        &mut self,
        lineage: &Lineage,
        groups: &[Group],
        steps: &[Step],
        refused: &[RefusedStep],
    ) -> Result<bool, StoreError> {
        let places: HashSet<usize> = refused.iter().map(|refused| refused.step).collect();
        let others = steps.iter().enumerate().filter(|(place, _)| !places.contains(place));
        let others: Vec<Step> = others.map(|(_, step)| *step).collect();
        self.savepoint().await?;
        match self.write(lineage, groups, &writes_of(self.schema, &others)).await {
            Ok(()) => self.release_savepoint().await.map(|()| true),
            Err(StoreError::Violation(_)) => self.rollback_to_savepoint().await.map(|()| false),
            Err(error) => Err(error),
        }
    }

    /// Loads the rows of a table into a temporary one.
    async fn load<'s>(
        &self,
        lineage: &Lineage,
        groups: &[Group],
        index: usize,
        steps: Vec<(usize, &'s Step)>,
    ) -> Result<Loaded<'s>, StoreError> {
        let table = &self.schema.tables()[index];
        let target = qualified(self.schema, table);
        let rules = Rules::read(&self.pipeline, &target, table).await?;
        let rows = rows_of(index);
        self.send(&format!(
            "DROP TABLE IF EXISTS {rows}; \
             CREATE TEMPORARY TABLE {} (LIKE {target} INCLUDING DEFAULTS INCLUDING GENERATED) ON COMMIT DROP",
            rows.trim_start_matches("pg_temp.")
        ))
        .await;
        if let Some(relax) = rules.relax_sql(&rows) {
            self.send(&relax).await;
        }
        let number = lineage.station.get().cast_signed();
        let all = steps.iter().filter_map(|(_, step)| match step.effect {
            Effect::Fresh(at) | Effect::Upsert(at) => Some(at),
            Effect::Delete => None,
        });
        copy_rows(&self.pipeline, &copy_sql(&rows, table), number, groups, all).await.map_err(failed)?;
        let places = steps.iter().map(|(place, step)| (step.identity, *place)).collect();
        Ok(Loaded { table: index, rules, steps, places })
    }

    /// Rows that the table may refuse, with the rows, there or here, whose unique values they share.
    async fn suspects(&self, of: &Loaded<'_>) -> Result<HashSet<Identity>, StoreError> {
        let table = &self.schema.tables()[of.table];
        let mut found = HashSet::new();
        for query in of.rules.suspects_sql(&rows_of(of.table), &qualified(self.schema, table), table) {
            for row in self.ask_in_range(of, &query).await? {
                found.extend(identity_cell(table, &row)?);
            }
        }
        Ok(found)
    }

    /// Writes loaded rows, and deletes, one after another, each in a subtransaction; returns those refused. Steps come
    /// with their places.
    async fn write_apart(
        &self,
        lineage: &Lineage,
        index: usize,
        apart: Vec<(usize, &Step)>,
    ) -> Result<Vec<RefusedStep>, StoreError> {
        if apart.is_empty() {
            return Ok(Vec::new());
        }
        let table = &self.schema.tables()[index];
        let keys = KeyArray::new(key_type(table), apart.iter().map(|(_, step)| &step.identity.key));
        self.send(&queue_sql(index, table)).await;
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
        self.pipeline.execute_once(&fill, &parameters).await.map_err(failed)?;
        self.send(&loop_sql(&qualified(self.schema, table), index, table, lineage)).await;
        let rows = self
            .pipeline
            .query_once(&format!("SELECT place, state, name, message FROM pg_temp.{refused} ORDER BY place"), &[])
            .await
            .map_err(failed)?;
        let step_of = |row: &Row| {
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
    async fn halve(&mut self, lineage: &Lineage, groups: &[Group], steps: &[Step]) -> Result<Isolated, StoreError> {
        let mut refused = Vec::new();
        let mut ranges = vec![(0, steps.len())];
        while let Some((low, high)) = ranges.pop() {
            self.savepoint().await?;
            match self.write(lineage, groups, &writes_of(self.schema, &steps[low..high])).await {
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
fn rows_of(index: usize) -> String {
    format!("pg_temp.\"tidemark_apart_{index}\"")
}

/// The temporary table of the steps to take one by one.
fn queue(index: usize) -> String {
    format!("\"tidemark_queue_{index}\"")
}

/// The temporary table of the steps refused.
fn refused(index: usize) -> String {
    format!("\"tidemark_refused_{index}\"")
}

/// The temporary tables of [`loop_sql`].
fn queue_sql(index: usize, table: &Table) -> String {
    let (queue, refused) = (queue(index), refused(index));
    let key = tidemark_core::postgres::type_name(table.key_column().ty);
    format!(
        "DROP TABLE IF EXISTS pg_temp.{queue}, pg_temp.{refused}; \
         CREATE TEMPORARY TABLE {queue} (tidemark_place bigint, tidemark_key {key}, tidemark_time timestamptz, \
         tidemark_gone boolean) ON COMMIT DROP; \
         CREATE TEMPORARY TABLE {refused} (place bigint, state text, name text, message text) ON COMMIT DROP"
    )
}

/// The loop over the queue: each step in a subtransaction, each refusal noted.
fn loop_sql(target: &str, index: usize, table: &Table, lineage: &Lineage) -> String {
    let (rows, queue, refused) = (rows_of(index), queue(index), refused(index));
    let key = quote(&table.key_column().name);
    let time = table.time_column().map(|time| quote(&time.name));
    let at = |of: &str, step: &str| {
        let time = time.as_ref().map(|time| format!(" AND {of}.{time} = {step}.tidemark_time")).unwrap_or_default();
        format!("{of}.{key} = {step}.tidemark_key{time}")
    };
    let names: Vec<String> =
        table.columns.iter().map(|column| quote(&column.name)).chain(["\"station\"".to_owned()]).collect();
    let list = |of: &str| names.iter().map(|name| format!("{of}.{name}")).collect::<Vec<_>>().join(", ");
    let owned = owned_list(lineage);
    format!(
        "DO $tidemark$
         #variable_conflict use_column
         DECLARE tidemark_step record; tidemark_state text; tidemark_name text;
         BEGIN
             FOR tidemark_step IN SELECT q.*, {loaded} FROM pg_temp.{queue} AS q
                 LEFT JOIN {rows} AS n ON {same} ORDER BY q.tidemark_place
             LOOP
                 BEGIN
                     IF tidemark_step.tidemark_gone THEN
                         DELETE FROM {target} AS t WHERE {stored} AND t.\"station\" IN ({owned});
                     ELSE
                         INSERT INTO {target} AS t ({columns}) VALUES ({values})
                         {on_conflict};
                         IF NOT FOUND THEN
                             RAISE EXCEPTION 'the row belongs to another station';
                         END IF;
                     END IF;
                 EXCEPTION WHEN integrity_constraint_violation OR data_exception OR with_check_option_violation
                     OR plpgsql_error OR program_limit_exceeded THEN
                     GET STACKED DIAGNOSTICS tidemark_state = RETURNED_SQLSTATE, tidemark_name = CONSTRAINT_NAME;
                     INSERT INTO pg_temp.{refused} VALUES (tidemark_step.tidemark_place, tidemark_state, tidemark_name, SQLERRM);
                 END;
             END LOOP;
         END $tidemark$",
        loaded = list("n"),
        same = at("n", "q"),
        stored = at("t", "tidemark_step"),
        columns = column_list(table),
        values = list("tidemark_step"),
        on_conflict = on_conflict_sql(table, &format!("IN ({owned})")),
    )
}
