//! What a service may read and write: what a station needs, for this service alone, and taken back with it.
//!
//! Windows has a number for each service, made of its name (its *service SID*). What is given to that number is given
//! neither to other services of the same account, nor to the account. Installing writes down where something was given,
//! with the service's own parameters in the registry, which go with the service.

use std::path::{Path, PathBuf};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// A folder or file that the service needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// SQLite makes and removes files beside the station's, and the log is put aside.
    WriteIn(PathBuf),
    /// Settings, certificates, keys.
    Read(PathBuf),
}

impl Need {
    /// Where it is.
    #[cfg(windows)]
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::WriteIn(path) | Self::Read(path) => path,
        }
    }

    /// What `icacls /grant` takes for it. In a folder: to list it and to make files, and for each file that lies in it
    /// directly to change and delete it; nothing below, and not the folder itself.
    pub(super) fn grants(&self, number: &str) -> Vec<String> {
        match self {
            Self::WriteIn(_) => vec![format!("*{number}:(RD,X,REA,RA,RC,S,WD)"), format!("*{number}:(OI)(NP)(IO)M")],
            Self::Read(_) => vec![format!("*{number}:R")],
        }
    }
}

/// What a station needs: the folders of its file and of the log, and the files that it was told to read.
pub(super) fn needs(db: &Path, log: &Path, reads: &[PathBuf]) -> Vec<Need> {
    let folder = |file: &Path| Need::WriteIn(file.parent().unwrap_or(file).to_owned());
    let mut all = vec![folder(db), folder(log)];
    all.extend(reads.iter().cloned().map(Need::Read));
    all.dedup();
    all
}

/// The number of a service by its name: S-1-5-80 and the SHA-1 of the name in capitals, in UTF-16.
pub(super) fn number(name: &str) -> String {
    let capital = |c: char| {
        let mut upper = c.to_uppercase();
        // One for one, as Windows does.
        if upper.len() == 1 { upper.next().unwrap_or(c) } else { c }
    };
    let units = name.chars().map(capital).collect::<String>();
    let bytes: Vec<u8> = units.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let (words, _) = hash.as_ref().as_chunks::<4>();
    words.iter().fold("S-1-5-80".to_owned(), |number, word| format!("{number}-{}", u32::from_le_bytes(*word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_service_is_what_windows_gives_it() {
        // As Windows' documentation and every Windows have them.
        for (name, known) in [
            ("TrustedInstaller", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"),
            ("mssqlserver", "S-1-5-80-3880718306-3832830129-1677859214-2598158968-1052248003"),
        ] {
            assert_eq!(number(name), known);
        }
    }

    #[test]
    fn a_service_writes_beside_its_file_and_its_log_and_reads_what_it_was_told() {
        let [db, log, ca] = ["/plant/plant.db", "/logs/plant.log", "/keys/ca.pem"].map(PathBuf::from);
        let [plant, logs] = ["/plant", "/logs"].map(|folder| Need::WriteIn(folder.into()));
        assert_eq!(needs(&db, &log, std::slice::from_ref(&ca)), [plant.clone(), logs, Need::Read(ca.clone())]);
        assert_eq!(needs(&db, &db.with_extension("log"), &[]), std::slice::from_ref(&plant));
        let files = plant.grants("S-1").pop().unwrap();
        assert_eq!(files, "*S-1:(OI)(NP)(IO)M", "of the folder's own files, and nothing below");
        assert_eq!(Need::Read(ca).grants("S-1"), ["*S-1:R"]);
    }
}
