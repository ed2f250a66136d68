//! A batch of an older schema, as the current one sees it: matched by names; what the older one lacks is NULL.

use tidemark_core::batch::{Batch, Group, NO_TABLE, Op};
use tidemark_core::columns::ColumnBlock;
use tidemark_core::schema::{Schema, not_additions};

/// Says why batches of `old` cannot be taken any more; `None` when they can.
#[must_use]
pub fn incompatible(old: &Schema, current: &Schema) -> Option<String> {
    let reasons = not_additions(old, current);
    (!reasons.is_empty()).then(|| {
        format!(
            "the batch is of schema {} version {}, the server serves version {}, which does more than add to it: {}",
            old.name(),
            old.version(),
            current.version(),
            reasons.join("; ")
        )
    })
}

/// The groups of a batch of `old`, by `current`. Groups keep their places and their rows.
///
/// # Errors
/// When `current` does more than add to `old`.
pub fn project(batch: &Batch, old: &Schema, current: &Schema) -> Result<Vec<Group>, String> {
    if let Some(reason) = incompatible(old, current) {
        return Err(reason);
    }
    Ok(batch.groups.iter().map(|group| project_group(group, old, current)).collect())
}

fn project_group(group: &Group, old: &Schema, current: &Schema) -> Group {
    let Some(before) = old.tables().get(group.table as usize) else { return group.clone() };
    let table = current.table_index(&before.name);
    let columns = match (group.op, table) {
        (Op::Insert | Op::Update, Some(table)) => current.tables()[table]
            .columns
            .iter()
            .map(|column| match before.column_index(&column.name) {
                Some(at) => group.columns[at].clone(),
                None => ColumnBlock::all_null(column.ty, group.rows),
            })
            .collect(),
        _ => group.columns.clone(),
    };
    let table = table.map_or(NO_TABLE, |table| table as u32);
    Group { table, op: group.op, rows: group.rows, columns }
}
