//! Reads the notebook from a folder, once, within bounds.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use bytes::Bytes;

use super::files::{INDEX, Site};

/// Most bytes of all files.
const BYTES_MAX: u64 = 64 << 20;
/// Most files.
const FILES_MAX: usize = 10_000;
/// Deepest folder.
const DEPTH_MAX: usize = 32;
/// A compressed file may be older than its original by so much: copying does not keep the order of a moment.
const SLACK: Duration = Duration::from_secs(2);

impl Site {
    /// Reads the files of a folder and the folders in it, to serve them instead of [`Site::embedded`]: `index.html`
    /// is its first page. Files whose name begins with a dot are left out. A compressed file that is older than what
    /// it was made of is left out, too, with a warning.
    ///
    /// # Errors
    /// When there is no `index.html`, a file cannot be read, or is a link to a place outside the folder; when there
    /// are more than 10,000 files or 64 MiB.
    pub fn read(folder: &Path) -> anyhow::Result<Arc<Self>> {
        let root = fs::canonicalize(folder).with_context(|| format!("web folder {}", folder.display()))?;
        let mut reading = Reading { root: &root, bytes: 0, files: BTreeMap::new(), changed: BTreeMap::new() };
        reading.folder(&root, "", 0).with_context(|| format!("web folder {}", folder.display()))?;
        reading.drop_stale();
        if !reading.files.contains_key(INDEX) {
            let below = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
            let meant: Vec<String> =
                below.filter(|path| path.join(INDEX).is_file()).map(|path| path.display().to_string()).collect();
            let hint = if meant.is_empty() { String::new() } else { format!("; did you mean {}?", meant.join(" or ")) };
            bail!("web folder {} has no {INDEX}{hint}", folder.display());
        }
        Ok(Arc::new(Self::of(reading.files)))
    }
}

struct Reading<'a> {
    root: &'a Path,
    bytes: u64,
    files: BTreeMap<String, Bytes>,
    /// When each file was changed.
    changed: BTreeMap<String, SystemTime>,
}

impl Reading<'_> {
    /// Reads a folder; `prefix` is its path below the root, ending in a slash unless it is the root itself.
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> anyhow::Result<()> {
        if depth > DEPTH_MAX {
            bail!("{} lies more than {DEPTH_MAX} folders deep", folder.display());
        }
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry.with_context(|| folder.display().to_string())?;
            let path = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else { bail!("the name of {} is not UTF-8", path.display()) };
            if name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type().with_context(|| path.display().to_string())?;
            let below = format!("{prefix}{name}");
            if kind.is_dir() {
                self.folder(&path, &format!("{below}/"), depth + 1)?;
            } else if kind.is_symlink() {
                let target = self.target(&path)?;
                self.file(&target, below)?;
            } else {
                self.file(&path, below)?;
            }
        }
        Ok(())
    }

    /// The file that a link leads to. Links to folders could lead round in a circle.
    fn target(&self, link: &Path) -> anyhow::Result<PathBuf> {
        let target = fs::canonicalize(link).with_context(|| format!("the link {}", link.display()))?;
        if !target.starts_with(self.root) {
            bail!("{} is a link to {}, outside the folder; put a copy there", link.display(), target.display());
        }
        if target.is_dir() {
            bail!("{} is a link to a folder; put a copy there", link.display());
        }
        Ok(target)
    }

    fn file(&mut self, path: &Path, below: String) -> anyhow::Result<()> {
        let at = || path.display().to_string();
        // Looked at before it is opened: opening a pipe would wait for its other end.
        let metadata = fs::metadata(path).with_context(at)?;
        if !metadata.is_file() {
            bail!("{} is no file", path.display());
        }
        if self.files.len() == FILES_MAX {
            bail!("there are more than {FILES_MAX} files; is this the folder of a web page?");
        }
        let left = BYTES_MAX - self.bytes;
        let mut bytes = Vec::new();
        fs::File::open(path).and_then(|file| file.take(left + 1).read_to_end(&mut bytes)).with_context(at)?;
        if bytes.len() as u64 > left {
            bail!("the files have more than {} MiB; is this the folder of a web page?", BYTES_MAX >> 20);
        }
        self.bytes += bytes.len() as u64;
        if let Ok(changed) = metadata.modified() {
            self.changed.insert(below.clone(), changed);
        }
        self.files.insert(below, Bytes::from(bytes));
        Ok(())
    }

    /// Whoever edits a page's file would get to see the old one, while a compressed copy of it lies beside.
    fn drop_stale(&mut self) {
        let changed = &self.changed;
        self.files.retain(|name, _| {
            let of = name.strip_suffix(".br").or_else(|| name.strip_suffix(".gz"));
            let (Some(of), Some(own)) = (of.and_then(|of| changed.get(of)), changed.get(name)) else { return true };
            let fresh = *own + SLACK >= *of;
            if !fresh {
                tracing::warn!("web folder: {name} is older than the file it was made of, so it is not used");
            }
            fresh
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    #[track_caller]
    fn refused(folder: &Path, said: &str) {
        let error = format!("{:#}", Site::read(folder).unwrap_err());
        assert!(error.contains(said) && error.starts_with("web folder "), "{error}");
    }

    #[test]
    fn a_folder_is_read_with_the_folders_in_it_without_dotfiles() {
        let folder = folder(&[
            ("index.html", b"<p>"),
            ("app/i18n/ru.json", b"{}"),
            ("app/i18n/ru.json.br", b"b"),
            (".git/config", b"x"),
            ("app/.env", b"x"),
        ]);
        let site = Site::read(folder.path()).unwrap();
        assert_eq!(format!("{site:?}"), r#"["app/i18n/ru.json", "index.html"]"#);
        assert_eq!((site.file("index.html"), site.bytes()), (Some(&b"<p>"[..]), 6));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let empty = folder(&[("page.html", b"")]);
        refused(empty.path(), "has no index.html");
        refused(&empty.path().join("none"), "No such file");
        refused(&empty.path().join("page.html"), "Not a directory");
        let above = folder(&[("notebook/index.html", b"")]);
        refused(above.path(), "/notebook?");
        let deep = folder(&[(&format!("{}index.html", "d/".repeat(DEPTH_MAX + 1)), b"")]);
        refused(deep.path(), "folders deep");
    }

    #[test]
    fn it_takes_no_more_memory_than_it_may() {
        let half = vec![0; (BYTES_MAX / 2) as usize];
        let folder = folder(&[("index.html", &half), ("a", &half)]);
        assert_eq!(Site::read(folder.path()).unwrap().bytes() as u64, BYTES_MAX);
        fs::write(folder.path().join("z"), b"x").unwrap();
        refused(folder.path(), "more than 64 MiB");
        fs::write(folder.path().join("a"), b"").unwrap();
        for n in 0..=FILES_MAX {
            fs::write(folder.path().join(n.to_string()), b"").unwrap();
        }
        refused(folder.path(), "more than 10000 files");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_leads_nowhere_outside() {
        use std::os::unix::fs::symlink;
        let outside = folder(&[("secret", b"s")]);
        let site = folder(&[("index.html", b"i"), ("app/a.js", b"a")]);
        let link = site.path().join("link");
        symlink("app/a.js", &link).unwrap();
        assert_eq!(Site::read(site.path()).unwrap().file("link"), Some(&b"a"[..]));
        for (target, said) in [
            (outside.path().join("secret"), "outside the folder"),
            (outside.path().to_owned(), "outside the folder"),
            (PathBuf::from("app"), "link to a folder"),
            (PathBuf::from("."), "link to a folder"),
            (PathBuf::from("gone"), "the link"),
        ] {
            fs::remove_file(&link).unwrap();
            symlink(target, &link).unwrap();
            refused(site.path(), said);
        }
        fs::remove_file(&link).unwrap();
        std::process::Command::new("mkfifo").arg(&link).status().unwrap();
        refused(site.path(), "is no file");
    }

    #[test]
    fn a_compressed_file_older_than_its_file_is_not_served() {
        let folder = folder(&[("index.html", b"new"), ("index.html.br", b"old"), ("index.html.gz", b"z")]);
        let set = |name: &str, seconds| {
            let file = fs::File::options().append(true).open(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        set("index.html", 1000);
        set("index.html.br", 997);
        set("index.html.gz", 999);
        let site = Site::read(folder.path()).unwrap();
        let index = &site.files[INDEX];
        assert!(index.brotli.is_none() && index.gzip.is_some());
    }
}
