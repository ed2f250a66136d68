//! Free room on the disk of a file: the one place that asks the system.

use std::path::Path;

/// Free room for this process on the disk of a file, in bytes; `None` where it is not known. On Windows a quota counts.
#[must_use]
pub fn free_disk_bytes(file: &Path) -> Option<u64> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs4::available_space(folder).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_says_how_much_it_has_left_and_a_folder_that_is_not_there_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_disk_bytes(&folder.path().join("station.db")).unwrap() > 0);
        assert!(free_disk_bytes(Path::new("station.db")).is_some());
        assert_eq!(free_disk_bytes(&folder.path().join("no folder/station.db")), None);
    }
}
