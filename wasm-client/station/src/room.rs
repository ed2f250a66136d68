//! The room that is left on a disk: the one place of this program that asks for it.

use std::io;
use std::path::Path;

/// How many bytes this user may still write on the disk of a folder or file, which must exist. On Windows a quota
/// counts.
///
/// # Errors
/// The system's, when there is no such path or the disk does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    fs4::available_space(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_says_how_much_it_has_left_and_a_path_that_is_not_there_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).unwrap() > 0);
        assert!(free_bytes(&folder.path().join("nothing here")).is_err());
    }
}
