//! An export of `tidemark-server` against the upstream it was made of, cell by cell, with arithmetic of this file's
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use tidemark_core::value::ColumnType;

use crate::compare::{BLOCK, Cell, Cells, Upstream, differ, station_rows};
use crate::field::Field;

/// What a map file says: by table and station, what is added to a local id.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn map_of(file: &Path) -> Result<BTreeMap<(String, u32), i64>> {
    let mut offsets = BTreeMap::new();
    for line in std::fs::read_to_string(file)?.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [table, station, _, added] = fields[..] else { bail!("{line:?}") };
        offsets.insert((table.to_owned(), station.parse()?), added.parse()?);
    }
    Ok(offsets)
}

/// Checks that an export has exactly the rows of these stations that are upstream, ids and references moved as its map
/// says, no two rows to one id. Returns how many rows.
///
/// # Errors
/// What differs.
pub fn assert_export_equals(field: &Field, out: &Path, map: &Path, of: &dyn Fn(u32) -> bool) -> Result<u64> {
    let offsets = map_of(map)?;
    let upstream = Upstream::open(&field.database)?;
    let (mut differences, mut count) = (Vec::new(), 0);
    for table in field.schema().tables() {
        let mut wanted: Vec<Cells> = Vec::new();
        for (_, mut row) in upstream.all_rows(field.schema(), table)?.into_iter().filter(|&(station, _)| of(station)) {
            for (at, column) in table.columns.iter().enumerate() {
                let parent = match column.references {
                    _ if column.ty != ColumnType::Integer => continue,
                    Some(parent) => &field.schema().tables()[parent],
                    None if at == table.key => table,
                    None => continue,
                };
                if let Cell::Integer(id) = row[at] {
                    let block = u32::try_from(id / BLOCK)?;
                    let added = offsets.get(&(parent.name.clone(), block)).context("the map lacks a block")?;
                    row[at] = Cell::Integer(id % BLOCK + added);
                }
            }
            wanted.push(row);
        }
        wanted.sort();
        let keys: BTreeSet<&Cell> = wanted.iter().map(|row| &row[table.key]).collect();
        ensure!(keys.len() == wanted.len(), "{}: ids meet", table.name);
        count += wanted.len() as u64;
        differ(table, 0, &station_rows(out, table)?, "upstream", &wanted, &mut differences);
    }
    ensure!(differences.is_empty(), "the export differs from upstream: {differences:#?}");
    Ok(count)
}
