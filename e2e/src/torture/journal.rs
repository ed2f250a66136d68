//! The journal of a writer: what it has committed, said outside of the database.
//!
//! One file per writer process, one JSON object a line, each line on disk before the writer goes on:
//!
//! ```text
//! {"begin":1}                                                             a transaction begins
//! {"prepared":{"tx":1,"last_seq":17,"changes":[{"table":…,"op":"I","row":[…]}, …]}}   COMMIT comes next
//! {"committed":1}                                                         COMMIT has returned
//! {"rolled_back":2}                                                       or ROLLBACK has
//! ```
//!
//! A writer killed between the last two leaves open whether it committed. So every transaction also inserts a row that
//! names it ([`MARKER_TABLE`], column [`MARKER_COLUMN`], text [`marker`]) and never touches it again: the row is there
//! or the transaction is not.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::compare::Cell;

/// The table of the rows that name transactions.
pub const MARKER_TABLE: &str = "data_lineage";
/// The column that holds the name.
pub const MARKER_COLUMN: &str = "user_id";

/// The name of a transaction: its journal's file name without the extension, and its number there.
#[must_use]
pub fn marker(journal: &Path, tx: u64) -> String {
    format!("{}/{tx}", journal.file_stem().unwrap_or_default().to_string_lossy())
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Inserted; in place of the row of the same key, if there is one.
    I,
    /// Updated.
    U,
    /// Deleted.
    D,
}

/// A value as a writer says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Said {
    /// NULL.
    Null(()),
    /// An integer.
    Integer(i64),
    /// A text.
    Text(String),
    /// A real; its digits stand as text, because not every JSON reader keeps the last bit.
    Real {
        /// The shortest digits that give it back.
        real: String,
    },
}

impl Said {
    /// The value it is.
    ///
    /// # Errors
    /// When a real's digits are none.
    pub fn cell(&self) -> Result<Cell> {
        Ok(match self {
            Self::Null(()) => Cell::Null,
            Self::Integer(v) => Cell::Integer(*v),
            Self::Text(v) => Cell::text(v),
            Self::Real { real } => Cell::real(real.parse().with_context(|| format!("{real:?} is no real"))?),
        })
    }
}

/// One row changed: the new row, or the old one when it was deleted, all columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The table.
    pub table: String,
    /// What happened.
    pub op: Op,
    /// The row.
    pub row: Vec<Said>,
}

/// A transaction that is about to commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// Its number in the journal.
    pub tx: u64,
    /// The number of its last change in the station's log.
    pub last_seq: u64,
    /// Its changes, in order.
    pub changes: Vec<Change>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A transaction begins.
    Begin(u64),
    /// It is complete; COMMIT comes next.
    Prepared(Prepared),
    /// COMMIT has returned.
    Committed(u64),
    /// ROLLBACK has returned.
    RolledBack(u64),
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal(std::fs::File);

impl Journal {
    /// Makes the file, which must not exist.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self(std::fs::File::create_new(path).with_context(|| path.display().to_string())?))
    }

    /// Writes a line and waits until the disk has it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn note(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.0.write_all(&text)?;
        Ok(self.0.sync_data()?)
    }
}

/// What became of the transactions of some journals.
#[derive(Debug, Default)]
pub struct Told {
    /// Those that committed, in no order.
    pub committed: Vec<Prepared>,
    /// How many of them the writer did not live to note.
    pub in_doubt_committed: u64,
    /// How many were rolled back by their writer.
    pub rolled_back: u64,
    /// How many ended with their writer: begun or prepared, and not in the file.
    pub cut_off: u64,
}

/// Reads a journal; `has_marker` tells whether the station's file holds the row that names a transaction.
///
/// # Errors
/// When file and journal contradict each other: a commit is lost, or what was rolled back is there.
pub fn read(path: &Path, has_marker: impl Fn(&str) -> Result<bool>, told: &mut Told) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    // A writer may be killed in the middle of its last line.
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut open: BTreeMap<u64, Option<Prepared>> = BTreeMap::new();
    for line in std::str::from_utf8(&bytes[..whole])?.lines() {
        let (tx, there) = match serde_json::from_str(line).with_context(|| format!("{}: {line}", path.display()))? {
            Line::Begin(tx) => {
                open.insert(tx, None);
                continue;
            }
            Line::Prepared(prepared) => {
                open.insert(prepared.tx, Some(prepared));
                continue;
            }
            Line::Committed(tx) => (tx, true),
            Line::RolledBack(tx) => (tx, false),
        };
        let prepared = open.remove(&tx).context("a transaction ends that has not begun")?;
        let name = marker(path, tx);
        match (there, has_marker(&name)?) {
            (true, true) => told.committed.push(prepared.context("a transaction committed that was not prepared")?),
            (false, false) => told.rolled_back += 1,
            (true, false) => bail!("transaction {name} was committed, and nothing of it is in the station's file"),
            (false, true) => bail!("transaction {name} was rolled back, and is in the station's file"),
        }
    }
    ensure!(open.len() <= 1, "{}: two transactions at once", path.display());
    for (tx, prepared) in open {
        let name = marker(path, tx);
        match (prepared, has_marker(&name)?) {
            (Some(prepared), true) => {
                told.committed.push(prepared);
                told.in_doubt_committed += 1;
            }
            (_, false) => told.cut_off += 1,
            (None, true) => bail!("transaction {name} was never committed, and is in the station's file"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(tx: u64) -> Line {
        let row = vec![Said::Null(()), Said::Integer(-3), Said::Text("ё\0".into()), Said::Real { real: "0.1".into() }];
        Line::Prepared(Prepared { tx, last_seq: 9, changes: vec![Change { table: "t".into(), op: Op::U, row }] })
    }

    fn told(lines: &[Line], torn: &str, present: &[&str]) -> Result<Told> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("w.jsonl");
        let mut journal = Journal::create(&path)?;
        lines.iter().try_for_each(|line| journal.note(line))?;
        journal.0.write_all(torn.as_bytes())?;
        let mut told = Told::default();
        read(&path, |name| Ok(present.contains(&name)), &mut told)?;
        Ok(told)
    }

    #[test]
    fn lines_come_back_as_they_were_written() -> Result<()> {
        let text = serde_json::to_string(&prepared(1))?;
        assert_eq!(serde_json::from_str::<Line>(&text)?, prepared(1), "{text}");
        Ok(())
    }

    #[test]
    fn the_file_decides_what_the_writer_did_not_live_to_note() -> Result<()> {
        let lines =
            [Line::Begin(1), prepared(1), Line::Committed(1), Line::Begin(2), Line::RolledBack(2), Line::Begin(3)];
        let alone = told(&lines, "{\"prep", &["w/1"])?;
        assert_eq!((alone.committed.len(), alone.in_doubt_committed, alone.rolled_back, alone.cut_off), (1, 0, 1, 1));
        let lines = [&lines[..], &[prepared(3)]].concat();
        let there = told(&lines, "", &["w/1", "w/3"])?;
        assert_eq!((there.committed.len(), there.in_doubt_committed, there.cut_off), (2, 1, 0));
        let absent = told(&lines, "", &["w/1"])?;
        assert_eq!((absent.committed.len(), absent.in_doubt_committed, absent.cut_off), (1, 0, 1));
        Ok(())
    }

    #[test]
    fn a_lost_commit_and_a_kept_rollback_are_seen() {
        let says =
            |lines: &[Line], present: &[&str]| told(lines, "", present).expect_err("a contradiction").to_string();
        assert!(says(&[Line::Begin(1), prepared(1), Line::Committed(1)], &[]).contains("nothing of it is in"));
        assert!(says(&[Line::Begin(1), Line::RolledBack(1)], &["w/1"]).contains("was rolled back, and is"));
        assert!(says(&[Line::Begin(1)], &["w/1"]).contains("never committed"));
    }
}
