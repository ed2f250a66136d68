//! The rules by which a table refuses rows, beyond the schema: read from PostgreSQL's catalogue, and asked of rows that
//! are loaded into a temporary table without constraints.

use tidemark_core::schema::Table;
use tidemark_core::sqlite::quote;
use tokio_postgres::types::Type;

use super::connect::failed;
use super::pipeline::Pipeline;
use crate::upstream::error::StoreError;

/// A unique index besides the primary key.
pub(super) struct Unique {
    name: String,
    /// Columns and expressions.
    values: Vec<String>,
    /// The condition of a partial one.
    condition: Option<String>,
}

/// The rules by which a table refuses rows.
pub(super) struct Rules {
    relation: String,
    /// Columns that must not be NULL.
    not_null: Vec<String>,
    /// CHECK constraints: name and condition.
    checks: Vec<(String, String)>,
    unique: Vec<Unique>,
    /// Whether triggers of the operator's see, and may change, a row before the rules do.
    has_triggers: bool,
}

/// A rule that a row breaks by itself.
pub(super) struct OwnFault {
    /// When it does.
    condition: String,
    /// The database's words for it.
    pub message: String,
}

impl Rules {
    /// Reads the rules of a table; `target` is its qualified name.
    pub(super) async fn read(pipeline: &Pipeline<'_>, target: &str, table: &Table) -> Result<Self, StoreError> {
        let ask =
            |sql: &'static str| async move { pipeline.query_once(sql, &[(&target, Type::TEXT)]).await.map_err(failed) };
        let not_null = ask(
            "SELECT attname::text FROM pg_attribute
             WHERE attrelid = $1::text::regclass AND attnum > 0 AND attnotnull AND NOT attisdropped AND attidentity = ''",
        );
        let checks = ask("SELECT conname::text, pg_get_expr(conbin, conrelid) FROM pg_constraint
             WHERE conrelid = $1::text::regclass AND contype = 'c' ORDER BY conname");
        let unique = ask("SELECT indexrelid::regclass::text, pg_get_expr(indpred, indrelid),
                 ARRAY(SELECT pg_get_indexdef(indexrelid, n, true) FROM generate_series(1, indnkeyatts) AS n ORDER BY n)
             FROM pg_index WHERE indrelid = $1::text::regclass AND indisunique AND NOT indisprimary");
        // TimescaleDB's own trigger keeps rows out of the root table; chunks have none.
        let triggers = ask(
            "SELECT FROM pg_trigger WHERE tgrelid = $1::text::regclass AND NOT tgisinternal AND tgname <> 'ts_insert_blocker'",
        );
        Ok(Self {
            relation: table.name.clone(),
            not_null: not_null.await?.iter().map(|row| row.get(0)).collect(),
            checks: checks.await?.iter().map(|row| (row.get(0), row.get(1))).collect(),
            unique: unique
                .await?
                .iter()
                .map(|row| Unique { name: row.get(0), condition: row.get(1), values: row.get(2) })
                .collect(),
            has_triggers: !triggers.await?.is_empty(),
        })
    }

    /// `ALTER TABLE` that lets the temporary table take what the rules forbid.
    pub(super) fn relax_sql(&self, rows: &str) -> Option<String> {
        let drops: Vec<String> =
            self.not_null.iter().map(|name| format!("ALTER COLUMN {} DROP NOT NULL", quote(name))).collect();
        (!drops.is_empty()).then(|| format!("ALTER TABLE {rows} {}", drops.join(", ")))
    }

    /// The rules that a row breaks by itself.
    pub(super) fn own_faults(&self) -> Vec<OwnFault> {
        let checks = self.checks.iter().map(|(name, check)| {
            let message = format!(
                "new row for relation \"{}\" violates check constraint \"{name}\" (constraint {name}, SQLSTATE 23514)",
                self.relation
            );
            OwnFault { condition: format!("({check}) IS FALSE"), message }
        });
        let not_null = self.not_null.iter().map(|name| {
            let message = format!(
                "null value in column \"{name}\" of relation \"{}\" violates not-null constraint (SQLSTATE 23502)",
                self.relation
            );
            OwnFault { condition: format!("{} IS NULL", quote(name)), message }
        });
        not_null.chain(checks).collect()
    }

    /// A query for the identities of rows that break a rule of their own, and the place in [`Rules::own_faults`] of
    /// which. `None` when there are no such rules, or triggers may change a row before they see it.
    pub(super) fn broken_sql(&self, rows: &str, table: &Table) -> Option<String> {
        let faults = self.own_faults();
        if faults.is_empty() || self.has_triggers {
            return None;
        }
        let cases = faults.iter().enumerate().map(|(n, fault)| format!(" WHEN {} THEN {n}", fault.condition));
        let cases: String = cases.collect();
        Some(format!("SELECT {}, CASE{cases} END FROM {rows} WHERE {}", identity_columns(table), any_of(&faults)))
    }

    /// A query for the identities of rows that break no rule of their own, but have the unique value of another such
    /// row, which has it already in `target` or was loaded before them; and what is said then. `None` when triggers, or
    /// several unique indexes, leave open who is refused.
    pub(super) fn repeated_sql(&self, rows: &str, target: &str, table: &Table) -> Option<(String, String)> {
        let [unique] = self.unique.as_slice() else { return None };
        if self.has_triggers {
            return None;
        }
        let named = |prefix: &str| -> String {
            let values = unique.values.iter().enumerate();
            values.map(|(n, value)| format!("({value}) AS {prefix}{n}")).collect::<Vec<_>>().join(", ")
        };
        let each = |of: &dyn Fn(usize) -> String, between: &str| {
            (0..unique.values.len()).map(of).collect::<Vec<_>>().join(between)
        };
        let values = each(&|n| format!("u{n}"), ", ");
        let held = each(&|n| format!("h{n} = u{n}"), " AND ");
        let key = quote(&table.key_column().name);
        let time = table.time_column().map(|time| quote(&time.name));
        let (identity, stamp) = match &time {
            Some(time) => (format!("{key} AS k, {time} AS t"), ", t"),
            None => (format!("{key} AS k"), ""),
        };
        let at_time = time.as_ref().map(|time| format!(" AND {time} = tidemark_twin.t")).unwrap_or_default();
        // A fresh table's rows lie in the order in which they were loaded.
        let sql = format!(
            "WITH one AS (SELECT {identity}, {}, ctid AS place FROM {rows} WHERE {} AND ({}) IS NOT TRUE),
                 twin AS (SELECT * FROM one WHERE ({values}) IN (SELECT {values} FROM one GROUP BY {values} HAVING count(*) > 1)),
                 held AS (SELECT *, EXISTS (
                              SELECT FROM (SELECT {} FROM {target} WHERE {key} = tidemark_twin.k{at_time}) AS h WHERE {held}) AS holds
                          FROM twin AS tidemark_twin),
                 ranked AS (SELECT *, row_number() OVER (PARTITION BY {values} ORDER BY holds DESC, place) AS nth FROM held)
             SELECT k{stamp} FROM ranked WHERE nth > 1",
            named("u"),
            unique.condition(),
            any_of(&self.own_faults()),
            named("h"),
        );
        Some((sql, unique.message()))
    }

    /// Per unique index, a query for the identities of rows that claim a value which another row of `target` has, and
    /// whether that one keeps it as far as the loaded rows say; and what is said then. Parameters as of
    /// [`Rules::suspects_sql`]. `None` when triggers may change the values.
    pub(super) fn claims_sql(&self, rows: &str, target: &str, table: &Table) -> Option<Vec<(String, String)>> {
        let claims = self.unique.iter().map(|unique| (unique.claims_sql(rows, target, table), unique.message()));
        (!self.has_triggers).then(|| claims.collect())
    }

    /// Queries for the identities of all rows that may be refused: rows that break a rule of their own, rows that share
    /// a unique value with each other or with a row of `target`, and those rows there. $1 and $2 are the range of the
    /// rows' times, where the table has a time column.
    pub(super) fn suspects_sql(&self, rows: &str, target: &str, table: &Table) -> Vec<String> {
        let mut queries = Vec::new();
        let faults = self.own_faults();
        if !faults.is_empty() {
            queries.push(format!("SELECT {} FROM {rows} WHERE {}", identity_columns(table), any_of(&faults)));
        }
        queries.extend(self.unique.iter().map(|unique| unique.sharing_sql(rows, target, table)));
        queries
    }
}

/// Key and time.
fn identity_columns(table: &Table) -> String {
    table.identity().map(|at| quote(&table.columns[at].name)).collect::<Vec<_>>().join(", ")
}

/// A condition that one of the faults is there.
fn any_of(faults: &[OwnFault]) -> String {
    let conditions: Vec<&str> = faults.iter().map(|fault| fault.condition.as_str()).collect();
    if conditions.is_empty() { "false".to_owned() } else { conditions.join(" OR ") }
}

impl Unique {
    fn condition(&self) -> String {
        self.condition.as_ref().map_or_else(|| "true".to_owned(), |condition| format!("({condition})"))
    }

    /// The database's words for a row that it refuses.
    fn message(&self) -> String {
        let name = &self.name;
        format!("duplicate key value violates unique constraint \"{name}\" (constraint {name}, SQLSTATE 23505)")
    }

    /// The names that the queries give to the values.
    fn value_names(&self) -> String {
        (0..self.values.len()).map(|n| format!("u{n}")).collect::<Vec<_>>().join(", ")
    }

    /// The beginning of a `WITH`: `n`, the loaded rows, with values and identities, and `pair`, such a row and another
    /// of `target`, in the range of times, that has its values.
    fn pairs_sql(&self, rows: &str, target: &str, table: &Table) -> String {
        let named = self.values.iter().enumerate().map(|(n, value)| format!("({value}) AS u{n}"));
        let key = quote(&table.key_column().name);
        let time = table.time_column().map(|time| quote(&time.name));
        let stamp = time.as_deref().unwrap_or("NULL::timestamptz");
        let select = format!("SELECT {}, {key} AS k, {stamp} AS t", named.collect::<Vec<_>>().join(", "));
        let range = time.as_deref().map_or_else(String::new, |time| format!(" AND {time} BETWEEN $1 AND $2"));
        let (condition, values) = (self.condition(), self.value_names());
        // The planner knows nothing of the loaded rows and would rather hash all that every station has in the range:
        // their first and last value let it leave out most of it, and behind an OR the rest is looked up in a hash of
        // the loaded ones.
        let end = |order: &str| format!("(SELECT u0 FROM n ORDER BY u0 {order} LIMIT 1)");
        format!(
            "WITH n AS (SELECT * FROM ({select} FROM {rows} WHERE {condition}) AS n WHERE num_nulls({values}) = 0),
                 o AS MATERIALIZED (SELECT * FROM ({select} FROM {target} WHERE {condition}{range}) AS o
                                    WHERE u0 BETWEEN {} AND {} AND (false OR ({values}) IN (SELECT {values} FROM n))),
                 pair AS (SELECT n.k AS nk, n.t AS nt, o.k AS ok, o.t AS ot, {values} FROM n JOIN o USING ({values})
                          WHERE (n.k, n.t) IS DISTINCT FROM (o.k, o.t))",
            end("ASC"),
            end("DESC"),
        )
    }

    /// A holder that is loaded keeps the values when it is loaded with them.
    fn claims_sql(&self, rows: &str, target: &str, table: &Table) -> String {
        let key = quote(&table.key_column().name);
        let time = table.time_column().map(|time| quote(&time.name));
        let (stamp, loaded, holder, n) = match &time {
            Some(time) => (", nt", format!("{key}, {time}"), "ok, ot", "k, t"),
            None => ("", key, "ok", "k"),
        };
        let values = self.value_names();
        format!(
            "{}
             SELECT nk{stamp}, ({holder}) NOT IN (SELECT {loaded} FROM {rows}) OR ({holder}, {values}) IN (SELECT {n}, {values} FROM n)
             FROM pair",
            self.pairs_sql(rows, target, table),
        )
    }

    fn sharing_sql(&self, rows: &str, target: &str, table: &Table) -> String {
        let values = self.value_names();
        format!(
            "{},
                 twin AS (SELECT k, t, count(*) OVER (PARTITION BY {values}) AS others FROM n)
             SELECT nk, nt FROM pair UNION SELECT ok, ot FROM pair UNION SELECT k, t FROM twin WHERE others > 1",
            self.pairs_sql(rows, target, table)
        )
    }
}
