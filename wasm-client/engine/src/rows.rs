//! The station's rows as upstream should hold them: typed, with keys and references as they are there.

use std::collections::HashSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, Statement};
use tidemark_core::capture::column_list;
use tidemark_core::convert::convert_row;
use tidemark_core::digest::{RowDigest, RowHash};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::idmap::IdMap;
use tidemark_core::ids::LOCAL_ID_MAX;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::value::{SqliteValue, ValueRef, format_uuid};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lacking::Lacking;
use crate::log::{JsonNumbers, sqlite_value};
use crate::meta::{self, Meta};
use crate::pruned::{Pruned, has_key, is_there};
use crate::store::Store;

/// The digest of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDigest {
    /// The table.
    pub table: String,
    /// Over the rows that can travel.
    pub digest: RowDigest,
    /// Rows left out because they cannot: they were rejected on the station.
    pub excluded: u64,
}

/// The rows of one snapshot of the file.
#[derive(Clone)]
pub(crate) struct Rows<'a> {
    db: &'a Connection,
    file: &'a str,
    schema: &'a Schema,
    lacking: &'a Lacking,
    ids: IdMap,
}

/// A row looked up by its upstream identity.
pub(crate) enum Local<'r> {
    /// There is none.
    Absent,
    /// There is one of this key, and it cannot travel.
    Unsendable,
    /// Its values.
    There(&'r [ValueRef<'r>]),
}

impl Local<'_> {
    /// Its hash, if it can travel.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn hash(&self, table: &Table) -> Option<RowHash> {
        let Self::There(values) = self else { return None };
        Some(RowHash::of(&mut Vec::new(), &table.name, values.iter().copied()))
    }
}

impl<'a> Rows<'a> {
    /// # Errors
    /// [`Error::NotJoined`]: without a number there are no upstream ids.
    pub(crate) fn new(db: &'a Connection, file: &'a str, catalog: &'a Catalog, meta: &Meta) -> Result<Self> {
        let number = meta.membership.as_ref().ok_or_else(|| Error::NotJoined { file: file.to_owned() })?.number;
        let schema = &catalog.schema;
        Ok(Self { db, file, schema, lacking: &catalog.lacking, ids: catalog.id_map(schema, number) })
    }

    pub(crate) fn table(&self, index: usize) -> &'a Table {
        &self.schema.tables()[index]
    }

    pub(crate) fn sql(&self) -> impl Fn(rusqlite::Error) -> Error + use<'a> {
        let file = self.file;
        move |error| Error::sqlite(file, "read the rows", error)
    }

    /// Converts the columns `wanted` of a row. The only place of this file that knows how ids move; `None` when they
    /// cannot travel.
    fn convert<'v>(
        &self,
        table: usize,
        raw: &[SqliteValue<'v>],
        wanted: impl Iterator<Item = usize>,
        out: &mut Vec<ValueRef<'v>>,
    ) -> Option<()> {
        convert_row(self.schema, table, &self.ids, raw, wanted, out).ok()
    }

    /// The upstream key of a row, from its local one.
    pub(crate) fn upstream_key(&self, index: usize, local: SqliteValue<'_>) -> Option<Key> {
        let table = self.table(index);
        let mut raw = vec![SqliteValue::Null; table.columns.len()];
        raw[table.key] = local;
        let mut out = Vec::with_capacity(1);
        self.convert(index, &raw, std::iter::once(table.key), &mut out)?;
        Key::of(out[0])
    }

    /// The values under which this station knows a row: its key and, with one, its time. `None` when no row of this
    /// station can have the identity.
    pub(crate) fn local_identity(&self, index: usize, identity: &Identity) -> Option<(Value, Option<Value>)> {
        let table = self.table(index);
        let key = local_key(identity.key);
        let time = table.time.map(|_| tidemark_core::timestamp::format(identity.time_us));
        let mut raw = vec![SqliteValue::Null; table.columns.len()];
        raw[table.key] = sqlite_value((&key).into());
        if let (Some(at), Some(time)) = (table.time, &time) {
            raw[at] = SqliteValue::Text(time.as_bytes());
        }
        let mut out = Vec::with_capacity(2);
        self.convert(index, &raw, table.identity(), &mut out)?;
        let time_us = match out.get(1) {
            Some(ValueRef::Timestamp(us)) => *us,
            _ => 0,
        };
        let same = Key::of(out[0]) == Some(identity.key) && time_us == identity.time_us;
        same.then(|| (key, time.map(Value::Text)))
    }

    /// `SELECT` of a table's rows; of a table that the file lacks, none.
    fn select(&self, table: &Table, rest: &str) -> String {
        let columns = column_list(table, "", &self.lacking.columns(table));
        let from = if self.lacking.has(table) {
            quote(&table.name)
        } else {
            format!("(SELECT NULL AS {} WHERE 0)", quote(&table.key_column().name))
        };
        format!("SELECT {columns} FROM {from}{rest}")
    }

    /// Visits every row of a table that can travel, but for those of a number the file had before; returns how many
    /// cannot.
    pub(crate) fn each(
        &self,
        index: usize,
        mut visit: impl FnMut(Identity, &[ValueRef<'_>]) -> Result<()>,
    ) -> Result<u64> {
        let (table, sql) = (self.table(index), self.sql());
        let mut query = self.db.prepare(&self.select(table, "")).map_err(&sql)?;
        let mut rows = query.query([]).map_err(&sql)?;
        let mut excluded = 0;
        while let Some(row) = rows.next().map_err(&sql)? {
            let mut raw = raw_values(table, row).map_err(&sql)?;
            let numbers = JsonNumbers::of(table, &raw);
            numbers.put(&mut raw);
            let mut values = Vec::with_capacity(raw.len());
            let converted = self.convert(index, &raw, 0..raw.len(), &mut values);
            match converted.and_then(|()| Identity::of_row(table, &values)) {
                Some(Identity { key: Key::Integer(id), .. }) if !self.ids.station().owns(id) => {}
                Some(identity) => visit(identity, &values)?,
                None => excluded += 1,
            }
        }
        Ok(excluded)
    }

    /// Reads what was pruned of a table.
    pub(crate) fn pruned(&self, index: usize) -> Result<Pruned> {
        Pruned::read(self.db, self.file, self.table(index), self.schema.fingerprint())
    }

    /// Finds which of these rows upstream were pruned here.
    pub(crate) fn pruned_of(&self, index: usize, rows: impl Iterator<Item = Identity>) -> Result<HashSet<Identity>> {
        let mut pruned = HashSet::new();
        if !is_there(self.db).map_err(self.sql())? {
            return Ok(pruned);
        }
        for identity in rows {
            if has_key(self.db, self.table(index), identity.key).map_err(self.sql())? {
                pruned.insert(identity);
            }
        }
        Ok(pruned)
    }

    /// Visits at most `limit` rows of a table keyed by integers, in the order of their keys from after one on, with
    /// key, identity and hash; without the latter two when the row cannot travel or is of a number the file had before.
    /// Returns the last key, if there was a row.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn scan(
        &self,
        index: usize,
        (after, limit): (i64, usize),
        mut visit: impl FnMut(i64, Option<(Identity, RowHash)>),
    ) -> Result<Option<i64>> {
        let (table, sql) = (self.table(index), self.sql());
        let key = quote(&table.key_column().name);
        let rest = format!(" WHERE {key} > ?1 ORDER BY {key} LIMIT ?2");
        let mut query = self.db.prepare_cached(&self.select(table, &rest)).map_err(&sql)?;
        let mut rows = query.query((after, limit as i64)).map_err(&sql)?;
        let (mut last, mut scratch) = (None, Vec::new());
        while let Some(row) = rows.next().map_err(&sql)? {
            let mut raw = raw_values(table, row).map_err(&sql)?;
            let SqliteValue::Integer(id) = raw[table.key] else { continue };
            last = Some(id);
            let numbers = JsonNumbers::of(table, &raw);
            numbers.put(&mut raw);
            let mut values = Vec::with_capacity(raw.len());
            let converted = self.convert(index, &raw, 0..raw.len(), &mut values);
            let identity = converted.and_then(|()| Identity::of_row(table, &values));
            let own = identity.filter(|found| matches!(found.key, Key::Integer(id) if self.ids.station().owns(id)));
            visit(id, own.map(|own| (own, RowHash::of(&mut scratch, &table.name, values.iter().copied()))));
        }
        Ok(last)
    }

    /// Looks rows of a table up by their upstream identity.
    pub(crate) fn lookup(&self, index: usize) -> Result<Lookup<'a>> {
        let table = self.table(index);
        let key = format!(" WHERE {} = ?1", quote(&table.key_column().name));
        let query = self.db.prepare(&self.select(table, &key)).map_err(self.sql())?;
        Ok(Lookup { rows: self.clone(), index, query })
    }
}

/// A prepared look-up of rows of one table; [`Rows::lookup`] makes it.
pub(crate) struct Lookup<'a> {
    rows: Rows<'a>,
    index: usize,
    query: Statement<'a>,
}

impl Lookup<'_> {
    /// Hands `visit` the row of this identity.
    pub(crate) fn get<R>(&mut self, identity: &Identity, visit: impl FnOnce(Local<'_>) -> R) -> Result<R> {
        let Self { rows: all, index, query } = self;
        let (table, sql) = (all.table(*index), all.sql());
        let mut rows = query.query([local_key(identity.key)]).map_err(&sql)?;
        let Some(row) = rows.next().map_err(&sql)? else { return Ok(visit(Local::Absent)) };
        let mut raw = raw_values(table, row).map_err(&sql)?;
        let numbers = JsonNumbers::of(table, &raw);
        numbers.put(&mut raw);
        let mut values = Vec::with_capacity(raw.len());
        if all.convert(*index, &raw, 0..raw.len(), &mut values).is_none() {
            let same = all.upstream_key(*index, raw[table.key]) == Some(identity.key);
            return Ok(visit(if same { Local::Unsendable } else { Local::Absent }));
        }
        let same = Identity::of_row(table, &values).as_ref() == Some(identity);
        Ok(visit(if same { Local::There(&values) } else { Local::Absent }))
    }
}

fn raw_values<'r>(table: &Table, row: &'r Row<'_>) -> rusqlite::Result<Vec<SqliteValue<'r>>> {
    (0..table.columns.len()).map(|n| row.get_ref(n).map(sqlite_value)).collect()
}

/// The local key that a row would have; converting it back shows whether it has.
fn local_key(key: Key) -> Value {
    match key {
        Key::Integer(id) => Value::Integer(id & LOCAL_ID_MAX),
        Key::Uuid(uuid) => Value::Text(format_uuid(uuid)),
    }
}

impl Store {
    /// Digests every table, as upstream should hold it.
    ///
    /// A row the *server* rejected is in the station's digest but not upstream; [`Store::rejects`] lists those.
    ///
    /// # Errors
    /// [`Error::NotJoined`], SQLite's.
    pub fn digests(&mut self) -> Result<Vec<TableDigest>> {
        let (tx, file, catalog) = self.read()?;
        let rows = Rows::new(&tx, file, catalog, &meta::read(&tx, file)?)?;
        let mut scratch = Vec::new();
        let tables = catalog.schema.tables().iter().enumerate();
        tables
            .map(|(index, table)| {
                let mut digest = RowDigest::default();
                let excluded = rows.each(index, |_, values| {
                    digest.add(&RowHash::of(&mut scratch, &table.name, values.iter().copied()));
                    Ok(())
                })?;
                Ok(TableDigest { table: table.name.clone(), digest, excluded })
            })
            .collect()
    }
}
