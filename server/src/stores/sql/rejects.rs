//! The rejects of the ledger, in SQL.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use tidemark_core::identity::Key;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::RejectedChange;
use tidemark_core::schema::Schema;

use super::value::{Ms, params};
use super::{Each, Param, Record, Sql};
use crate::ledger::lineage::Lineage;
use crate::ledger::rejects::{
    AppliedRow, Reject, RejectFilter, RejectHead, RejectLedger, RejectState, RejectedRow, Settled,
};
use crate::upstream::error::StoreError;

/// Rejects stored by one statement.
const ROWS_PER_STATEMENT: usize = 500;
/// Bytes of their images, beyond which a statement takes no further one.
const BYTES_PER_STATEMENT: usize = 4 << 20;

const COLUMNS: &str =
    "station, seq, at, received_at, tbl, op, code, message, image, origin, state, resolved_at, key, parent";

/// The condition of a [`RejectFilter`] on `tidemark.rejects AS r`: ?1 … ?6, ?8 and ?9.
const FILTER: &str = "(?1 IS NULL OR r.station = ?1) AND (?2 IS NULL OR r.seq {in 2})
    AND (?3 IS NULL OR EXISTS (
        SELECT 1 FROM tidemark.rejects AS p
        JOIN tidemark.rejects AS s ON s.station = p.station AND s.tbl = p.tbl AND s.key = p.key
        WHERE p.station = r.station AND p.seq = r.parent AND s.seq {in 3}))
    AND (?4 IS NULL OR r.tbl = ?4) AND (?5 IS NULL OR r.code = ?5) AND (?6 IS NULL OR r.state = ?6)
    AND (?8 IS NULL OR (r.received_at, r.station, r.seq) < (
        SELECT b.received_at, b.station, b.seq FROM tidemark.rejects AS b WHERE b.station = ?8 AND b.seq = ?9))";

const STORE: Each = Each {
    sql: "INSERT INTO tidemark.rejects (station, seq, at, received_at, tbl, op, code, message, image, origin, state,
              resolved_at, key, parent)
          SELECT * FROM {rows}",
    alias: "n",
    columns: &[
        ("station", "integer"),
        ("seq", "bigint"),
        ("at", "timestamptz"),
        ("received_at", "timestamptz"),
        ("tbl", "text"),
        ("op", "text"),
        ("code", "text"),
        ("message", "text"),
        ("image", "json"),
        ("origin", "text"),
        ("state", "text"),
        ("resolved_at", "timestamptz"),
        ("key", "text"),
        ("parent", "bigint"),
    ],
};

/// ?1 the numbers whose rows the station owns, ?2 its own, ?3 now.
const SUPERSEDE: Each = Each {
    sql: "UPDATE tidemark.rejects AS r SET state = 'superseded', resolved_at = ?3 FROM {rows}
          WHERE r.station {in 1} AND r.state = 'open' AND r.tbl = a.tbl AND r.key = a.key
              AND (r.station <> ?2 OR r.seq < a.seq)",
    alias: "a",
    columns: &[("tbl", "text"), ("key", "text"), ("seq", "bigint")],
};

/// ?1 the station, ?2 now.
const SETTLE: Each = Each {
    sql: "UPDATE tidemark.rejects AS r
          SET state = s.state, resolved_at = CASE WHEN s.state <> 'open' THEN ?2 END, code = coalesce(s.code, r.code),
              message = coalesce(s.message, r.message), parent = CASE WHEN s.code IS NULL THEN r.parent ELSE s.parent END
          FROM {rows} WHERE r.station = ?1 AND r.seq = s.seq AND r.state = 'open'",
    alias: "s",
    columns: &[("seq", "bigint"), ("state", "text"), ("code", "text"), ("message", "text"), ("parent", "bigint")],
};

/// A reject; `None` of a row whose station is none.
fn reject_of(mut row: Record) -> Result<Option<Reject>, StoreError> {
    let Some(station) = row.station()? else { return Ok(None) };
    Ok(Some(Reject {
        station,
        seq: row.column()?,
        at_ms: row.column::<Ms>()?.0,
        received_at_ms: row.column::<Ms>()?.0,
        table: row.column()?,
        op: row.column()?,
        code: row.column()?,
        message: row.column()?,
        image: row.column()?,
        origin: row.column()?,
        state: RejectState::from_text(&row.column::<String>()?).unwrap_or(RejectState::Open),
        resolved_at_ms: row.column::<Option<Ms>>()?.map(|at| at.0),
        key: row.column()?,
        parent: row.column()?,
    }))
}

/// A reject's head; `None` of a row whose station is none, or of a state that a newer server knows.
fn head_of(mut row: Record) -> Result<Option<RejectHead>, StoreError> {
    let (station, seq, state) = (row.station()?, row.column()?, row.column::<String>()?);
    let image_bytes = row.column()?;
    let known = station.zip(RejectState::from_text(&state));
    Ok(known.map(|(station, state)| RejectHead { station, seq, state, image_bytes }))
}

fn row_of(reject: Reject) -> Vec<Param> {
    params![
        reject.station,
        reject.seq,
        Param::ms(reject.at_ms),
        Param::ms(reject.received_at_ms),
        reject.table,
        reject.op,
        reject.code,
        reject.message,
        Param::Json(reject.image),
        reject.origin,
        reject.state.as_str(),
        Param::Ms(reject.resolved_at_ms),
        reject.key,
        reject.parent,
    ]
}

/// The next rejects: not too many, and not too large, since images may be.
fn take_some(rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Vec<Vec<Param>> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while some.len() < ROWS_PER_STATEMENT && bytes < BYTES_PER_STATEMENT {
        let Some(reject) = rejects.next() else { break };
        bytes += reject.image.as_ref().map_or(0, String::len);
        some.push(row_of(reject));
    }
    some
}

/// Rows of `tidemark.rejects AS r`, restricted by a filter.
async fn select(
    sql: &mut (impl Sql + ?Sized),
    columns: &str,
    order: &str,
    filter: &RejectFilter,
) -> Result<Vec<Record>, StoreError> {
    let text = format!("SELECT {columns} FROM tidemark.rejects AS r WHERE {FILTER} ORDER BY {order} LIMIT ?7");
    let seqs = |seqs: &Option<Vec<u64>>| seqs.as_deref().map_or(Param::Ints(None), Param::seqs);
    let params = params![
        filter.station,
        seqs(&filter.seqs),
        seqs(&filter.children_of),
        filter.table.clone(),
        filter.code.clone(),
        filter.state.map(RejectState::as_str),
        filter.limit.map_or(i64::MAX, i64::from),
        filter.before.map(|(station, _)| station),
        filter.before.map(|(_, seq)| seq),
    ];
    sql.query(&text, params).await
}

/// Those rows that have open rejects of one of these numbers; all of them, when looking is more work than it saves.
async fn rejected_among(
    sql: &mut (impl Sql + ?Sized),
    schema: &Schema,
    numbers: &[u32],
    rows: &[AppliedRow],
) -> Result<Vec<AppliedRow>, StoreError> {
    let text = "SELECT tbl, key FROM tidemark.rejects WHERE station {in 1} AND state = 'open' LIMIT ?2";
    let open = sql.query(text, params![Param::Numbers(numbers.to_vec()), rows.len() as u64]).await?;
    if open.len() == rows.len() {
        return Ok(rows.to_vec());
    }
    let mut keys: HashMap<String, HashSet<String>> = HashMap::new();
    for mut row in open {
        let (table, key) = (row.column()?, row.column::<Option<String>>()?);
        keys.entry(table).or_default().extend(key);
    }
    let has_open = |row: &&AppliedRow| {
        let of_table = keys.get(&schema.tables()[row.table].name);
        of_table.is_some_and(|keys| keys.contains(&row.key.to_string()))
    };
    Ok(rows.iter().filter(has_open).copied().collect())
}

#[async_trait]
impl<T: Sql> RejectLedger for T {
    async fn store_rejects(&mut self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Result<(), StoreError> {
        loop {
            let some = take_some(rejects);
            if some.is_empty() {
                return Ok(());
            }
            self.execute_each(&STORE, Vec::new(), some).await?;
        }
    }

    async fn rejected_between(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<RejectedChange>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM tidemark.rejects
             WHERE station = ?1 AND seq BETWEEN ?2 AND ?3 AND origin = 'server' ORDER BY seq"
        );
        let rows = self.query(&sql, params![station, first_seq, last_seq]).await?;
        let rejects = rows.into_iter().filter_map(|row| reject_of(row).transpose());
        rejects.map(|reject| Ok(reject?.verdict())).collect()
    }

    async fn list_rejects(&mut self, filter: &RejectFilter) -> Result<Vec<Reject>, StoreError> {
        let order = "received_at DESC, station DESC, seq DESC";
        let imageless;
        let columns = if filter.without_images {
            imageless = COLUMNS.replace(", image,", ", CAST(NULL AS text),");
            imageless.as_str()
        } else {
            COLUMNS
        };
        let rows = select(self, columns, order, filter).await?;
        rows.into_iter().filter_map(|row| reject_of(row).transpose()).collect()
    }

    async fn reject_heads(&mut self, filter: &RejectFilter) -> Result<Vec<RejectHead>, StoreError> {
        let heads = select(self, "station, seq, state, {bytes image}", "station, seq", filter).await?;
        heads.into_iter().filter_map(|row| head_of(row).transpose()).collect()
    }

    async fn open_by_code(&mut self) -> Result<Vec<(String, u64)>, StoreError> {
        let sql = "SELECT code, count(*) FROM tidemark.rejects WHERE state = 'open' GROUP BY code ORDER BY code";
        let rows = self.query(sql, Vec::new()).await?;
        rows.into_iter().map(|mut row| Ok((row.column()?, row.column()?))).collect()
    }

    async fn rejected_rows(
        &mut self,
        schema: &Schema,
        station: StationNumber,
        keys: &BTreeMap<usize, BTreeSet<Key>>,
    ) -> Result<HashMap<(usize, Key), RejectedRow>, StoreError> {
        let sql = "SELECT key, seq, code FROM tidemark.rejects
            WHERE station = ?1 AND seq IN (
                SELECT max(n.seq) FROM tidemark.rejects AS n WHERE n.station = ?1 AND n.tbl = ?2 AND n.key {in 3}
                    AND n.state = 'open' AND n.op <> 'delete' GROUP BY n.key)";
        let mut rows = HashMap::new();
        for (&table, keys) in keys {
            let by_text: HashMap<String, Key> = keys.iter().map(|key| (key.to_string(), *key)).collect();
            let texts = Param::Texts(by_text.keys().cloned().collect());
            for mut row in self.query(sql, params![station, &schema.tables()[table].name, texts]).await? {
                if let Some(&key) = by_text.get(&row.column::<String>()?) {
                    rows.insert((table, key), RejectedRow { seq: row.column()?, code: row.column()? });
                }
            }
        }
        Ok(rows)
    }

    async fn supersede(
        &mut self,
        schema: &Schema,
        lineage: &Lineage,
        applied: &[AppliedRow],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let owned: Vec<u32> = lineage.owned().collect();
        let applied = rejected_among(self, schema, &owned, applied).await?;
        if applied.is_empty() {
            return Ok(());
        }
        let row = |row: &AppliedRow| params![&schema.tables()[row.table].name, row.key.to_string(), row.seq];
        let shared = params![Param::Numbers(owned), lineage.station, Param::ms(now_ms)];
        self.execute_each(&SUPERSEDE, shared, applied.iter().map(row).collect()).await
    }

    async fn settle(&mut self, station: StationNumber, settled: &[Settled], now_ms: i64) -> Result<(), StoreError> {
        let row = |settled: &Settled| {
            let (code, message) = settled.reason.clone().unzip();
            params![settled.seq, settled.state.as_str(), code, message, settled.parent]
        };
        if settled.is_empty() {
            return Ok(());
        }
        self.execute_each(&SETTLE, params![station, Param::ms(now_ms)], settled.iter().map(row).collect()).await
    }
}
