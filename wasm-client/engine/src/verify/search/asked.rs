//! The questions of a search, and which answers fit them.

use tidemark_core::identity::Identity;
use tidemark_core::survey::{Answer, Ask, ListedRow, Question, Range};

use crate::verify::ranges::Part;

/// A question to the server, as the search keeps it until it is answered.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// The digests of ranges.
    Digests(Vec<Part>),
    /// The rows in ranges of one table.
    Rows { table: usize, ranges: Vec<Range> },
    /// Single rows of one table.
    Find { table: usize, suspects: Vec<Identity> },
}

impl Asked {
    /// Tells whether answers are of the kind that was asked for: of digests, those of the first tables' parts, at least
    /// of one table's.
    pub(super) fn is_answered_by(&self, answers: &[Answer]) -> bool {
        match (self, answers) {
            (Self::Digests(parts), answers) => {
                let mut rest = &parts[..];
                for answer in answers {
                    let Answer::Digests(digests) = answer else { return false };
                    if rest.is_empty() || digests.len() != of_one_table(rest) {
                        return false;
                    }
                    rest = &rest[digests.len()..];
                }
                !answers.is_empty()
            }
            (Self::Rows { ranges, .. }, [Answer::Rows { rows, more }]) => lists(ranges, rows, *more),
            (Self::Find { .. }, [Answer::Found(_)]) => true,
            _ => false,
        }
    }

    /// The question in the protocol's words; `cells` asks for the cells of the rows, too.
    pub(super) fn asks(&self, name: impl Fn(usize) -> String, cells: bool) -> Vec<Ask> {
        match self {
            Self::Digests(parts) => {
                let (mut asks, mut rest) = (Vec::new(), &parts[..]);
                while let Some(first) = rest.first() {
                    let (same, others) = rest.split_at(of_one_table(rest));
                    let ranges = same.iter().map(|part| part.range).collect();
                    asks.push(Ask { table: name(first.table), question: Question::Digests(ranges) });
                    rest = others;
                }
                asks
            }
            Self::Rows { table, ranges } => vec![Ask { table: name(*table), question: Question::Rows(ranges.clone()) }],
            Self::Find { table, suspects } => {
                vec![Ask { table: name(*table), question: Question::Find { rows: suspects.clone(), cells } }]
            }
        }
    }
}

/// The number of parts at the beginning of a list that are of one table.
fn of_one_table(parts: &[Part]) -> usize {
    parts.iter().take_while(|part| part.table == parts[0].table).count()
}

/// Tells whether these rows are from the ranges and in their order, and at least one is there when more are to come: a
/// listing that goes on from its last row ends only then.
fn lists(ranges: &[Range], rows: &[ListedRow], more: bool) -> bool {
    rows.is_sorted_by(|a, b| a.id < b.id)
        && rows.iter().all(|row| Range::find(ranges, &row.id).is_some())
        && !(more && rows.is_empty())
}
