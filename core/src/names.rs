//! Names in derived SQL, the same for both databases.

/// Quotes a checked name.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{name}\"")
}

/// `table_column_suffix`, shortened behind a hash where PostgreSQL would cut it silently.
#[must_use]
pub fn derived_name(table: &str, column: &str, suffix: &str) -> String {
    let name = if column.is_empty() { format!("{table}_{suffix}") } else { format!("{table}_{column}_{suffix}") };
    if name.len() <= crate::limits::NAME_BYTES_MAX {
        return name;
    }
    let hash = crate::value::hex(&blake3::hash(name.as_bytes()).as_bytes()[..4]);
    let keep = crate::limits::NAME_BYTES_MAX - suffix.len() - hash.len() - 2;
    format!("{}_{hash}_{suffix}", &name[..keep])
}
