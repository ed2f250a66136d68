//! Secrets in files of their own: a password, a URL with one.
//!
//! systemd puts such files where only the service can read them and names the folder in `CREDENTIALS_DIRECTORY`: a path
//! may begin with that variable.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::variables::{Variables, value};

/// Most bytes of a secret.
const BYTES_MAX: u64 = 64 << 10;
/// The variable in which systemd names the folder of a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The path of a file, where it may begin with `$CREDENTIALS_DIRECTORY/`.
#[must_use]
pub fn path(said: &Path, variables: &Variables) -> PathBuf {
    let Some(text) = said.to_str() else { return said.to_owned() };
    let rest = text.strip_prefix("$CREDENTIALS_DIRECTORY/").or_else(|| text.strip_prefix("${CREDENTIALS_DIRECTORY}/"));
    match (rest, value(variables, CREDENTIALS)) {
        (Some(rest), Some(folder)) => Path::new(folder).join(rest),
        _ => said.to_owned(),
    }
}

/// The secret in a file: its text without the line break at its end.
///
/// # Errors
/// What is wrong with the file, in words; never what is in it.
pub fn read(said: &Path, variables: &Variables) -> Result<String, String> {
    let path = path(said, variables);
    let shown = path.display();
    let mut text = String::new();
    let cannot = |error: std::io::Error| format!("the file {shown} cannot be read: {error}");
    if !std::fs::metadata(&path).map_err(cannot)?.is_file() {
        return Err(format!("{shown} is no file"));
    }
    std::fs::File::open(&path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text)).map_err(cannot)?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    match text {
        "" => Err(format!("the file {shown} is empty")),
        text if text.len() as u64 > BYTES_MAX => Err(format!("the file {shown} has more than 64 KiB")),
        text if text.contains('\n') => Err(format!("the file {shown} has more than one line")),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_line_of_a_file_also_of_systemds_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("one", "s3cr3t\n");
        write("two", "a\nb\n");
        write("none", "\n");
        let variables = [(CREDENTIALS.into(), folder.path().into())];
        assert_eq!(read(Path::new("$CREDENTIALS_DIRECTORY/one"), &variables).unwrap(), "s3cr3t");
        assert_eq!(read(Path::new("${CREDENTIALS_DIRECTORY}/one"), &variables).unwrap(), "s3cr3t");
        assert!(read(Path::new("$CREDENTIALS_DIRECTORY/one"), &[]).is_err());
        assert_eq!(read(&folder.path().join("one"), &[]).unwrap(), "s3cr3t");
        for (name, says) in
            [("two", "more than one line"), ("none", "is empty"), ("gone", "cannot be read"), ("", "is no file")]
        {
            let error = read(&folder.path().join(name), &[]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
