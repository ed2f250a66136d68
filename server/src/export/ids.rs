//! Small ids again. Upstream id = `station << 32 | local id`; programs of the old system want ids as small as they
//! were.
//!
//! In each table the blocks of the stations are laid one behind the other: the lowest station number first, so that a
//! single plant's rows keep the ids they had; then HQ's own rows, which the plant's programs may have written after
//! their switch; then the other stations by number. Old id = local id + offset, the offset being the sum of the
//! highest local ids of the blocks before. That is injective, keeps the order within a block and needs no memory per
//! row. References move with the block of the row they name; a reference to a row that is not there counts as an id
//! of that row's block, so that it meets no other row.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_core::ids::{LOCAL_ID_MAX, STATION_NUMBER_MAX};
use tidemark_core::schema::Schema;
use tidemark_core::value::ColumnType;

/// The bits of the local id.
pub(super) const LOCAL_MASK: i64 = LOCAL_ID_MAX;

/// The columns of a table that hold ids that move, each with the table whose ids they are.
pub(super) fn id_columns(schema: &Schema, table: usize) -> Vec<(usize, usize)> {
    let it = &schema.tables()[table];
    let columns = it.columns.iter().enumerate().filter(|(_, column)| column.ty == ColumnType::Integer);
    columns
        .filter_map(|(at, column)| {
            let of = if at == it.key { Some(table) } else { column.references };
            of.map(|of| (at, of))
        })
        .collect()
}

/// The extent of ids.
pub(super) struct Extents {
    rows: Vec<u64>,
    /// By table: the highest local id of each block.
    highest: Vec<BTreeMap<u32, i64>>,
    /// Blocks that rows lie in.
    authors: BTreeSet<u32>,
    /// Blocks that are referenced, each with the first column that does.
    referenced: BTreeMap<u32, String>,
}

/// The place a block of a table's ids went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// The table, by its index in the schema.
    pub table: usize,
    /// The block: a station's number, 0 for HQ.
    pub station: u32,
    /// The highest local id in it.
    pub highest: i64,
    /// The number that is added to a local id.
    pub offset: i64,
}

/// From upstream ids to old ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ids {
    order: Vec<u32>,
    /// By table, by block: highest local id and offset.
    tables: Vec<BTreeMap<u32, (i64, i64)>>,
}

impl Extents {
    pub(super) fn new(schema: &Schema) -> Self {
        let tables = schema.tables().len();
        Self {
            rows: vec![0; tables],
            highest: vec![BTreeMap::new(); tables],
            authors: BTreeSet::new(),
            referenced: BTreeMap::new(),
        }
    }

    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// `cells`: how many rows; then for each id column the block, the lowest and the highest local id, or NULL.
    pub(super) fn add(
        &mut self,
        schema: &Schema,
        table: usize,
        columns: &[(usize, usize)],
        cells: &[Option<i64>],
    ) -> Result<(), String> {
        let it = &schema.tables()[table];
        self.rows[table] += cells.first().copied().flatten().unwrap_or(0).unsigned_abs();
        for (&(column, of), cells) in columns.iter().zip(cells[1..].chunks_exact(3)) {
            let &[Some(block), Some(low), Some(high)] = cells else { continue };
            let name = || format!("{}.{}", it.name, it.columns[column].name);
            let block = u32::try_from(block).ok().filter(|&block| low > 0 && block <= STATION_NUMBER_MAX);
            let block = block.ok_or_else(|| {
                format!(
                    "{} holds ids that are no station's (station × 2³² + 1 … 2³² − 1, HQ's are 1 … 2³² − 1); \
                     correct them upstream, and export again",
                    name()
                )
            })?;
            let highest = self.highest[of].entry(block).or_default();
            *highest = high.max(*highest);
            if column == it.key {
                self.authors.insert(block);
            } else {
                self.referenced.entry(block).or_insert_with(name);
            }
        }
        Ok(())
    }

    pub(super) fn settle(&self, schema: &Schema, chosen: Option<&BTreeSet<u32>>) -> Result<Ids, String> {
        if let Some(chosen) = chosen {
            let known = |block: &u32| self.authors.contains(block) || chosen.contains(block);
            if let Some((block, column)) = self.referenced.iter().find(|(block, _)| !known(block)) {
                let whose = if *block == 0 { "HQ (station 0)".to_owned() } else { format!("station {block}") };
                return Err(format!(
                    "{column} references rows of {whose}, which is not to be exported; add --station {block}"
                ));
            }
        }
        let blocks: BTreeSet<u32> = self.authors.iter().chain(self.referenced.keys()).copied().collect();
        // A block's bits are its place: the lowest station, HQ, the others.
        let first = blocks.iter().copied().find(|&block| block > 0);
        let rest = blocks.iter().copied().filter(|&block| Some(block) != first);
        let order: Vec<u32> = first.into_iter().chain(rest).collect();
        let tables = self.highest.iter().zip(schema.tables()).map(|(highest, table)| {
            let mut offset = 0_i64;
            let mut mapped = BTreeMap::new();
            for block in &order {
                let Some(&high) = highest.get(block) else { continue };
                mapped.insert(*block, (high, offset));
                offset += high;
            }
            if offset > LOCAL_ID_MAX {
                return Err(format!(
                    "{}: the ids of all its stations together reach {offset}, and a station's file has at most {LOCAL_ID_MAX}; \
                     export some of the stations, with --station",
                    table.name
                ));
            }
            Ok(mapped)
        });
        Ok(Ids { tables: tables.collect::<Result<_, _>>()?, order })
    }
}

impl Ids {
    /// The blocks in the order they were laid.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The id in the file of an upstream id of a table; `None` of one that was not met before.
    #[must_use]
    pub fn old_id(&self, table: usize, id: i64) -> Option<i64> {
        let (_, offset) = self.tables.get(table)?.get(&u32::try_from(id >> 32).ok()?)?;
        Some((id & LOCAL_MASK) + offset)
    }

    /// Every block of every table.
    pub fn mapped(&self) -> impl Iterator<Item = Mapped> + '_ {
        self.tables.iter().enumerate().flat_map(|(table, blocks)| {
            blocks.iter().map(move |(&station, &(highest, offset))| Mapped { table, station, highest, offset })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::parse(
            "name = 'w'\nversion = 1\n[tables.site.columns]\nid = { type = 'integer' }\nup = { type = 'integer', references = 'site' }\n\
             n = { type = 'integer' }\n[tables.tag]\nkey = 'uid'\n[tables.tag.columns]\nuid = { type = 'uuid' }\n\
             site = { type = 'integer', references = 'site' }\nof = { type = 'uuid', references = 'tag' }",
        )
        .unwrap()
    }

    /// The cells of one row of `site`.
    fn site(block: i64, id: i64, up: Option<(i64, i64)>) -> Vec<Option<i64>> {
        let of = |id: Option<(i64, i64)>| [id.map(|id| id.0), id.map(|id| id.1), id.map(|id| id.1)];
        [&[Some(1)], of(Some((block, id))).as_slice(), of(up).as_slice()].concat()
    }

    fn extents(rows: &[Vec<Option<i64>>]) -> Result<Extents, String> {
        let schema = schema();
        let mut extents = Extents::new(&schema);
        rows.iter().try_for_each(|cells| extents.add(&schema, 0, &id_columns(&schema, 0), cells))?;
        Ok(extents)
    }

    #[test]
    fn only_integer_keys_and_what_references_them_move() {
        assert_eq!(id_columns(&schema(), 0), [(0, 0), (1, 0)]);
        assert_eq!(id_columns(&schema(), 1), [(1, 0)]);
    }

    #[test]
    fn the_first_station_keeps_its_ids_and_no_two_meet() {
        let rows = [site(0, 4, None), site(7, 3, Some((0, 9))), site(2, 10, None), site(2, 6, Some((2, 12)))];
        let ids = extents(&rows).unwrap().settle(&schema(), None).unwrap();
        assert_eq!(ids.order(), [2, 0, 7]);
        // A reference to row 12 of station 2, which is not there, keeps its room, and so does one to HQ's row 9.
        for (block, local, old) in [(2, 1, 1), (2, 12, 12), (0, 1, 13), (0, 9, 21), (7, 1, 22), (7, 3, 24)] {
            assert_eq!(ids.old_id(0, (block << 32) + local), Some(old), "{block}, {local}");
        }
        assert_eq!(ids.old_id(0, 3 << 32 | 1), None);
        assert_eq!(ids.mapped().count(), 3);
    }

    #[test]
    fn hq_alone_keeps_its_ids() {
        let ids = extents(&[site(0, 4, Some((0, 2)))]).unwrap().settle(&schema(), None).unwrap();
        assert_eq!((ids.order(), ids.old_id(0, 4)), (&[0][..], Some(4)));
    }

    #[test]
    fn a_reference_to_what_is_not_exported_is_refused_with_what_to_do() {
        let extents = extents(&[site(1, 1, Some((0, 1)))]).unwrap();
        let error = extents.settle(&schema(), Some(&[1].into())).unwrap_err();
        assert!(error.contains("site.up references rows of HQ") && error.contains("--station 0"), "{error}");
        assert!(extents.settle(&schema(), Some(&[0, 1].into())).is_ok());
    }

    #[test]
    fn ids_of_no_station_and_too_many_ids_are_refused() {
        for (block, local) in [(-1, LOCAL_ID_MAX), (1, 0), (i64::from(STATION_NUMBER_MAX) + 1, 1)] {
            let error = extents(&[site(block, local, None)]).map(|_| ()).unwrap_err();
            assert!(error.contains("site.id"), "{error}");
        }
        let full = extents(&[site(1, LOCAL_ID_MAX, None), site(2, 1, None)]).unwrap();
        assert!(full.settle(&schema(), None).unwrap_err().contains("4294967296"));
    }
}
