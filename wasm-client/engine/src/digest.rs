//! Digests of the station's own rows as upstream holds them: equal on both sides when everything is upstream.

use tidemark_core::convert::convert_row;
use tidemark_core::digest::RowDigest;
use tidemark_core::sqlite::quote;

use crate::error::{Error, Result};
use crate::log::sqlite_value;
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

impl Store {
    /// Digests every table, as upstream values: typed, with keys and references in the station's id block.
    ///
    /// A row the *server* rejected is in the station's digest but not upstream; [`Store::rejects`] lists those.
    ///
    /// # Errors
    /// [`Error::NotJoined`], SQLite's.
    pub fn digests(&mut self) -> Result<Vec<TableDigest>> {
        let (tx, file, identity) = self.read()?;
        let sql = |error| Error::sqlite(file, "read the rows", error);
        let meta = crate::meta::read(&tx, file)?;
        let number = meta.membership.ok_or_else(|| Error::NotJoined { file: file.to_owned() })?.number;
        let mut digests = Vec::new();
        let mut scratch = Vec::new();
        let ids = identity.former.ids(&identity.schema, number);
        for (index, table) in identity.schema.tables().iter().enumerate() {
            let names: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
            let mut query =
                tx.prepare(&format!("SELECT {} FROM {}", names.join(", "), quote(&table.name))).map_err(sql)?;
            let mut rows = query.query([]).map_err(sql)?;
            let (mut digest, mut excluded) = (RowDigest::default(), 0);
            while let Some(row) = rows.next().map_err(sql)? {
                let mut raw = Vec::with_capacity(names.len());
                for n in 0..names.len() {
                    raw.push(sqlite_value(row.get_ref(n).map_err(sql)?));
                }
                let mut values = Vec::with_capacity(names.len());
                match convert_row(&identity.schema, index, &ids, &raw, 0..names.len(), &mut values) {
                    Ok(()) => digest.add(&mut scratch, &table.name, values.into_iter()),
                    Err(_) => excluded += 1,
                }
            }
            digests.push(TableDigest { table: table.name.clone(), digest, excluded });
        }
        Ok(digests)
    }
}
