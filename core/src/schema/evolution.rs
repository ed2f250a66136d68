//! A schema grows by tables and by nullable columns only: then old batches, old rows and old programs stay good.

use super::{Schema, Table};

/// Lists what an older version has that the newer one has not, or has otherwise. Empty: batches of the older one can
/// still be taken.
#[must_use]
pub fn not_additions(old: &Schema, new: &Schema) -> Vec<String> {
    let mut reasons = Vec::new();
    for before in old.tables() {
        let Some(after) = new.table(&before.name) else {
            reasons.push(format!("table {} is gone", before.name));
            continue;
        };
        let time = |table: &Table| (table.time_column().map(|column| column.name.clone()), table.chunk);
        if before.key_column().name != after.key_column().name || time(before) != time(after) {
            reasons.push(format!("table {} has another key, time column or chunk", before.name));
        }
        if before.append != after.append {
            let (was, is) = if after.append { ("was not", "is") } else { ("was", "is not") };
            let name = &before.name;
            reasons.push(format!("table {name} {was} an append table and now {is}: declare one under another name"));
        }
        for (index, column) in before.columns.iter().enumerate() {
            let Some(at) = after.column_index(&column.name) else {
                reasons.push(format!("column {}.{} is gone", before.name, column.name));
                continue;
            };
            let now = &after.columns[at];
            let parent =
                |schema: &Schema, parent: Option<usize>| parent.map(|parent| schema.tables()[parent].name.clone());
            let same = column.ty == now.ty
                && before.is_not_null(index) == after.is_not_null(at)
                && (column.min, column.max, column.max_bytes) == (now.min, now.max, now.max_bytes)
                && column.default == now.default
                && parent(old, column.references) == parent(new, now.references);
            if !same {
                reasons.push(format!("column {}.{} has another type or rule", before.name, column.name));
            }
        }
        for (index, column) in after.columns.iter().enumerate() {
            if before.column_index(&column.name).is_none() && after.is_not_null(index) {
                reasons.push(format!("column {}.{} is new and required", before.name, column.name));
            }
        }
    }
    reasons
}
