//! The migrations that are files, embedded in the order of their numbers.

/// One file pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// The folder's name, `NNNN_name`.
    pub name: &'static str,
    /// `up.sql`.
    pub up: &'static str,
    /// `down.sql`.
    pub down: &'static str,
}

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(File {
            name: $name,
            up: include_str!(concat!("../", $folder, "/", $name, "/up.sql")),
            down: include_str!(concat!("../", $folder, "/", $name, "/down.sql")),
        }),*]
    };
}

/// Tidemark's own tables on PostgreSQL.
pub const POSTGRES_SYSTEM: &[File] = files!("sql": "0001_tidemark", "0004_rejects", "0005_history", "0006_readers", "0008_upkeep", "0009_fleet", "0010_append");

/// The shipped schema's tables on PostgreSQL.
pub const POSTGRES_SHRINKAGE: &[File] = files!("sql": "0002_shrinkage_tables", "0003_shrinkage_hypertables");

/// Tidemark's own tables in the embedded upstream; user tables there are always derived.
pub const SQLITE_SYSTEM: &[File] =
    files!("sqlite": "0001_tidemark", "0002_rejects", "0003_history", "0004_readers", "0006_upkeep", "0007_fleet");

/// The reports on the shipped schema's tables, on PostgreSQL; they come after the tables.
pub const POSTGRES_REPORTS: &[File] = files!("sql": "0007_shrinkage_reports");

/// The reports on the shipped schema's tables, in the embedded upstream.
pub const SQLITE_REPORTS: &[File] = files!("sqlite": "0005_shrinkage_reports");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_on_disk_is_embedded() {
        for (folder, embedded) in [
            ("sql", [POSTGRES_SYSTEM, POSTGRES_SHRINKAGE, POSTGRES_REPORTS].concat()),
            ("sqlite", [SQLITE_SYSTEM, SQLITE_REPORTS].concat()),
        ] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let mut on_disk: Vec<String> = std::fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            on_disk.sort();
            let mut names: Vec<&str> = embedded.iter().map(|file| file.name).collect();
            names.sort_unstable();
            assert_eq!(names, on_disk, "{folder}");
            assert!(
                [POSTGRES_SYSTEM, POSTGRES_SHRINKAGE, SQLITE_SYSTEM]
                    .iter()
                    .all(|files| files.is_sorted_by_key(|file| file.name))
            );
        }
    }
}
