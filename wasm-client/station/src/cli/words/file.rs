//! The words of a terminal for errors of the station's file: what the engine says, and the command that helps.

use tidemark_client::halt::Halt;
use tidemark_client::{Error, RejectProblem};

use super::halt::halt;

/// An error of the file, and what to do.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Missing { .. } => format!("{error}; make one with `tidemark init --db FILE`, or name another with --db"),
        Error::FolderMissing { .. } => format!("{error}; make the folder first, or name another file with --db"),
        Error::NotSqlite { .. } => format!("{error}; name another file with --db"),
        Error::NotTidemark { .. } => format!(
            "{error}; make one with `tidemark init`, or capture what another system writes to this one with `tidemark attach`"
        ),
        Error::AlreadyTidemark { .. } => format!("{error}. `tidemark upgrade` follows a newer version"),
        Error::TablesExist { .. } => format!("{error}. Name a new file with --db"),
        Error::NoCopy { file, detail } => {
            format!("{file}: {detail}; name a copy that `tidemark backup` made. Nothing was changed")
        }
        Error::Lost { .. } => format!("{error}; bring it back as `tidemark info --sql` shows it, then try again"),
        Error::NoTables { .. } => format!("{error}; name the schema of this file's tables with --schema FILE"),
        Error::NotAttached { file } => {
            format!("{file}: was made by `tidemark init`, not attached; there is nothing to detach")
        }
        Error::LogTampered { file, detail } => halt(&Halt::Tampered { file: file.clone(), detail: detail.clone() }),
        Error::Backfill { .. } => format!("{error}; run `tidemark attach` again, which goes on where it was"),
        Error::NotJoined { .. } => {
            format!("{error}; run `tidemark join CODE` (the server's operator makes the code)")
        }
        Error::Reject(problem) => reject(problem),
        Error::Newer { .. }
        | Error::ReadOnly { .. }
        | Error::Unreadable { .. }
        | Error::Exposed { .. }
        | Error::Locked { .. }
        | Error::Full { .. }
        | Error::Corrupt { .. }
        | Error::StationRow { .. }
        | Error::Tables { .. }
        | Error::Schema(_)
        | Error::Frame(_)
        | Error::Sqlite { .. } => error.to_string(),
    }
}

fn reject(problem: &RejectProblem) -> String {
    match problem {
        RejectProblem::Unknown { .. } => format!("{problem}; `tidemark rejects` shows those that were"),
        RejectProblem::RowGone { seq, .. } => format!(
            "{problem}. `tidemark rejects show {seq}` shows what it was, `tidemark rejects discard {seq}` gives it up"
        ),
        RejectProblem::NoTable { seq, .. } => format!("{problem}, `tidemark rejects discard {seq}` gives it up"),
        RejectProblem::Settled { .. } | RejectProblem::NoKeys { .. } => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_file_name_the_command_that_helps() {
        let file = || "field.db".to_owned();
        for (error, said) in [
            (
                Error::Missing { file: file() },
                "field.db: no such file; make one with `tidemark init --db FILE`, or name another with --db",
            ),
            (
                Error::AlreadyTidemark { file: file(), schema: "weather".into(), version: 2 },
                "field.db: a Tidemark file already, of schema weather version 2; nothing was changed. `tidemark upgrade` follows a newer \
                 version",
            ),
            (
                Error::Backfill { file: file(), rows: 2 },
                "field.db: 2 rows that were there are not in the log yet; run `tidemark attach` again, which goes on where it was",
            ),
            (
                Error::NoCopy { file: file(), detail: "it is no SQLite database" },
                "field.db: it is no SQLite database; name a copy that `tidemark backup` made. Nothing was changed",
            ),
            (Error::Locked { file: file() }, &Error::Locked { file: file() }.to_string()),
        ] {
            assert_eq!(words(&error), said);
        }
    }
}
