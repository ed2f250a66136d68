//! One text for both databases.
//!
//! A statement is written with `?1` for its values and `tidemark.station` for a table of the ledger. Where the
//! databases need other words, braces hold what is meant:
//!
//! | written | PostgreSQL | SQLite |
//! |---|---|---|
//! | `?1` | `$1` | `?1` |
//! | `tidemark.station` | `tidemark.station` | `tidemark_station` |
//! | `key {in 3}` | `key = ANY ($3)` | `key IN (SELECT value FROM json_each(?3))` |
//! | `{bytes image}` | `octet_length(image::text)::bigint` | `length(CAST(image AS BLOB))` |
//! | `{locked}` | `FOR UPDATE` | nothing: a transaction there is the only writer |
//! | `{locked r, others passed over}` | `FOR UPDATE OF r SKIP LOCKED` | nothing |
//! | `{rows}` of an [`Each`] | `unnest($2::bigint[], …) AS a (seq, …)` | `(SELECT ?2 AS seq, …) AS a`, for each row |

use std::fmt::Write as _;

/// The words of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// A statement over rows of values.
#[derive(Debug, Clone, Copy)]
pub struct Each {
    /// The text, with `{rows}` where a table stands.
    pub sql: &'static str,
    /// The table's name in the statement.
    pub alias: &'static str,
    /// Its columns, with their types in PostgreSQL.
    pub columns: &'static [(&'static str, &'static str)],
}

impl Dialect {
    /// The statement in this dialect.
    #[must_use]
    pub fn render(self, sql: &str) -> String {
        let sql = match self {
            Self::Postgres => sql.replace('?', "$"),
            Self::Sqlite => sql.replace("tidemark.", "tidemark_"),
        };
        let mut text = String::with_capacity(sql.len() + 32);
        let mut rest = sql.as_str();
        while let Some((before, (meant, after))) =
            rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            text.push_str(before);
            self.mean(meant, &mut text);
            rest = after;
        }
        text.push_str(rest);
        text
    }

    /// The statement in this dialect over rows whose first value has the number `first`.
    #[must_use]
    pub fn render_each(self, each: &Each, first: usize) -> String {
        let mut values = Vec::with_capacity(each.columns.len());
        for (place, (name, ty)) in each.columns.iter().enumerate() {
            values.push(match self {
                Self::Postgres => format!("?{}::{ty}[]", first + place),
                Self::Sqlite => format!("?{} AS {name}", first + place),
            });
        }
        let (values, alias) = (values.join(", "), each.alias);
        let rows = match self {
            Self::Postgres => {
                let names: Vec<&str> = each.columns.iter().map(|(name, _)| *name).collect();
                format!("unnest({values}) AS {alias} ({})", names.join(", "))
            }
            Self::Sqlite => format!("(SELECT {values}) AS {alias}"),
        };
        self.render(&each.sql.replace("{rows}", &rows))
    }

    fn mean(self, meant: &str, text: &mut String) {
        let (word, of) = meant.split_once(' ').unwrap_or((meant, ""));
        let written = match (self, word) {
            (Self::Postgres, "in") => write!(text, "= ANY (${of})"),
            (Self::Sqlite, "in") => write!(text, "IN (SELECT value FROM json_each(?{of}))"),
            (Self::Postgres, "bytes") => write!(text, "octet_length({of}::text)::bigint"),
            (Self::Sqlite, "bytes") => write!(text, "length(CAST({of} AS BLOB))"),
            (Self::Postgres, "locked") => match of.split_once(',') {
                Some((alias, _)) => write!(text, "FOR UPDATE OF {alias} SKIP LOCKED"),
                None => write!(text, "FOR UPDATE"),
            },
            (Self::Sqlite, "locked") => Ok(()),
            _ => panic!("BUG: no dialect knows {{{meant}}}"),
        };
        written.expect("BUG: writing to a text cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_becomes_the_words_of_either_database() {
        let sql = "SELECT {bytes image} FROM tidemark.rejects AS r WHERE r.seq {in 2} AND station = ?1 {locked r, others passed over}";
        assert_eq!(
            Dialect::Postgres.render(sql),
            "SELECT octet_length(image::text)::bigint FROM tidemark.rejects AS r WHERE r.seq = ANY ($2) AND station = $1 \
             FOR UPDATE OF r SKIP LOCKED"
        );
        assert_eq!(
            Dialect::Sqlite.render(sql),
            "SELECT length(CAST(image AS BLOB)) FROM tidemark_rejects AS r \
             WHERE r.seq IN (SELECT value FROM json_each(?2)) AND station = ?1 "
        );
        assert_eq!(Dialect::Postgres.render("SELECT 1 {locked}"), "SELECT 1 FOR UPDATE");
    }

    #[test]
    fn rows_are_arrays_in_one_database_and_values_in_the_other() {
        let each = Each {
            sql: "UPDATE tidemark.rejects AS r SET state = s.state FROM {rows} WHERE r.station = ?1 AND r.seq = s.seq",
            alias: "s",
            columns: &[("seq", "bigint"), ("state", "text")],
        };
        assert_eq!(
            Dialect::Postgres.render_each(&each, 2),
            "UPDATE tidemark.rejects AS r SET state = s.state FROM unnest($2::bigint[], $3::text[]) AS s (seq, state) \
             WHERE r.station = $1 AND r.seq = s.seq"
        );
        assert_eq!(
            Dialect::Sqlite.render_each(&each, 2),
            "UPDATE tidemark_rejects AS r SET state = s.state FROM (SELECT ?2 AS seq, ?3 AS state) AS s \
             WHERE r.station = ?1 AND r.seq = s.seq"
        );
    }
}
