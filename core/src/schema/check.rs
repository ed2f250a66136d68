//! Checks on names and on the tables as a whole.

use super::model::Table;
use crate::limits::NAME_BYTES_MAX;

/// The kind of thing a name names, for its message and its reserved words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameOf {
    Schema,
    Table,
    Column,
}

/// Says what is wrong with a name; names reach SQL, so nothing but plain identifiers passes.
pub(super) fn name_problem(name: &str, of: NameOf) -> Option<String> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !plain || name.as_bytes()[0].is_ascii_digit() {
        return Some(format!(
            "the name {name:?} is not an identifier: letters a-z, digits and _, not beginning with a digit"
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("the name {name:?} has {} bytes, PostgreSQL takes {NAME_BYTES_MAX}", name.len()));
    }
    let lower = name.to_ascii_lowercase();
    let prefixes: &[&str] = match of {
        NameOf::Schema => &["tidemark", "pg_", "_timescaledb", "timescaledb"],
        NameOf::Table => &["tidemark", "sqlite_", "pg_"],
        NameOf::Column => &["tidemark"],
    };
    if let Some(prefix) = prefixes.iter().find(|prefix| lower.starts_with(*prefix)) {
        return Some(format!("the name {name:?} begins with {prefix:?}, which is reserved"));
    }
    let words: &[&str] = match of {
        NameOf::Schema => &["public", "information_schema", "toolkit_experimental"],
        NameOf::Table => &[],
        // `station` is ours upstream; the others are SQLite's rowid and PostgreSQL's system columns.
        NameOf::Column => &["station", "rowid", "oid", "_rowid_", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"],
    };
    words.contains(&lower.as_str()).then(|| format!("the name {name:?} is reserved"))
}

/// Orders tables so that each comes after those it references, in file order where that is free.
///
/// # Errors
/// The tables of a reference cycle longer than one (a table may reference itself).
pub(super) fn parents_first(tables: &[Table]) -> Result<Vec<usize>, Vec<usize>> {
    let mut order = Vec::with_capacity(tables.len());
    let mut placed = vec![false; tables.len()];
    while order.len() < tables.len() {
        let before = order.len();
        for (index, table) in tables.iter().enumerate() {
            let ready = table
                .columns
                .iter()
                .filter_map(|column| column.references)
                .all(|parent| parent == index || placed[parent]);
            if !placed[index] && ready {
                placed[index] = true;
                order.push(index);
            }
        }
        if order.len() == before {
            return Err((0..tables.len()).filter(|&index| !placed[index]).collect());
        }
    }
    Ok(order)
}
