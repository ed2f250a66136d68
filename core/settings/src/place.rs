//! Where the file of settings is, its text, and who may read it.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::problem::{Problem, Warning};
use crate::variables::{FILE, Variables, value};

/// Most bytes of a file of settings.
const BYTES_MAX: u64 = 1 << 20;

/// A place where the file may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The path.
    pub path: PathBuf,
    /// It was named: it has to be there.
    pub is_named: bool,
}

/// The places in their order: what the flag names, else what TIDEMARK_CONFIG names, else the working directory and the
/// system's folder. A variable that is set to nothing says that there is no file.
///
/// ```
/// use tidemark_settings::place::candidates;
/// let none = candidates("tidemark.toml", None, &[("TIDEMARK_CONFIG".into(), "".into())]);
/// assert_eq!(none, []);
/// ```
#[must_use]
pub fn candidates(name: &str, flag: Option<&OsString>, variables: &Variables) -> Vec<Candidate> {
    match (flag, value(variables, FILE)) {
        (Some(path), _) => vec![Candidate { path: path.into(), is_named: true }],
        (None, Some(path)) if path.is_empty() => Vec::new(),
        (None, Some(path)) => vec![Candidate { path: path.into(), is_named: true }],
        (None, None) => {
            let system = system_folder(variables).map(|folder| folder.join(name));
            let paths = [Some(PathBuf::from(name)), system];
            paths.into_iter().flatten().map(|path| Candidate { path, is_named: false }).collect()
        }
    }
}

/// The folder of the machine's settings.
fn system_folder(variables: &Variables) -> Option<PathBuf> {
    if cfg!(windows) {
        return value(variables, "PROGRAMDATA").map(|folder| Path::new(folder).join("Tidemark"));
    }
    Some(PathBuf::from("/etc/tidemark"))
}

/// The file that is there, and its text.
///
/// # Errors
/// When it was named and is not there, or cannot be read.
pub fn find(candidates: &[Candidate]) -> Result<Option<(PathBuf, String)>, Box<Problem>> {
    for Candidate { path, is_named } in candidates {
        match text(path) {
            Ok(text) => return Ok(Some((path.clone(), text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => {}
            Err(error) => return Err(Box::new(Problem::Unreadable { file: path.clone(), why: error.to_string() })),
        }
    }
    Ok(None)
}

fn text(path: &Path) -> std::io::Result<String> {
    // A pipe would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut text = String::new();
    std::fs::File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(std::io::Error::other("it has more than 1 MiB"));
    }
    Ok(text)
}

/// A warning when everybody on the machine may read a file.
#[must_use]
pub fn readable(file: &Path) -> Option<Warning> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o7777;
        (mode & 0o004 != 0).then(|| Warning::Readable { file: file.to_owned(), mode })
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_comes_before_the_variable_and_that_before_the_usual_places() {
        let named = |path: &str| vec![Candidate { path: path.into(), is_named: true }];
        let variables = [("TIDEMARK_CONFIG".into(), "v.toml".into())];
        assert_eq!(candidates("n.toml", Some(&"f.toml".into()), &variables), named("f.toml"));
        assert_eq!(candidates("n.toml", None, &variables), named("v.toml"));
        let usual = candidates("n.toml", None, &[]);
        assert_eq!(usual[0], Candidate { path: "n.toml".into(), is_named: false });
        #[cfg(unix)]
        assert_eq!(usual[1], Candidate { path: "/etc/tidemark/n.toml".into(), is_named: false });
    }

    #[test]
    fn a_named_file_has_to_be_there_and_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, is_named| [Candidate { path: folder.path().join(name), is_named }];
        assert_eq!(find(&at("none", false)), Ok(None));
        assert!(find(&at("none", true)).is_err());
        assert!(find(&at("", false)).is_err(), "a folder");
        std::fs::write(folder.path().join("large"), vec![b'#'; BYTES_MAX as usize + 1]).unwrap();
        assert!(find(&at("large", true)).is_err());
        std::fs::write(folder.path().join("a"), "x = 1").unwrap();
        assert_eq!(find(&at("a", true)).unwrap().unwrap().1, "x = 1");
    }
}
