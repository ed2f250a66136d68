//! The reasons why a change could not be applied.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The reason of a rejection, in one word that programs may match on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum RejectCode { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl RejectCode {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as it travels and is stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The code with this text.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// A value's SQLite type is not one its column takes (text in an integer column).
    Type = "type",
    /// NULL in a required column, or in the time column of a hypertable.
    Required = "required",
    /// A number outside its column's min … max.
    Range = "range",
    /// Longer than its column's `max_bytes`.
    Length = "length",
    /// Text with a NUL character, which PostgreSQL cannot store.
    Nul = "nul",
    /// Text that is not UTF-8.
    Utf8 = "utf8",
    /// Not JSON, or JSON that PostgreSQL cannot hold (`\u0000`, a lone surrogate, nested too deep).
    Json = "json",
    /// Text that is not a timestamp.
    Timestamp = "timestamp",
    /// Text that is not a uuid in lower-case canonical form.
    Uuid = "uuid",
    /// A key or reference outside 1 … 2³² − 1.
    IdRange = "id-range",
    /// A value over the largest that travels.
    TooLarge = "too-large",
    /// The log names a table or operation that the schema does not have.
    UnknownTable = "unknown-table",
    /// The time column lies outside the server's window: a wrong clock, and a stray chunk upstream.
    Clock = "clock",
    /// The row it references is not upstream.
    Reference = "reference",
    /// The row it references is not upstream because that row's own change was rejected. Healed together with it.
    Parent = "parent",
    /// Rows upstream still reference the row it deletes.
    Referenced = "referenced",
    /// The uuid belongs to a row of another station.
    Owner = "owner",
    /// An update or delete in an append table, or an insert of a key that is there with other values.
    AppendOnly = "append-only",
    /// A constraint that the upstream database has beyond the schema.
    Constraint = "constraint",
}

impl std::fmt::Display for RejectCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rejection: the code for programs, the message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Rejection {
    /// Why.
    pub code: RejectCode,
    /// The words: what is wrong, where, and what to do; they name the column.
    pub message: String,
}

impl Rejection {
    /// Builds one.
    #[must_use]
    pub fn new(code: RejectCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// That of an update or delete in an append table.
    #[must_use]
    pub fn append_only(table: &str, op: &str, key: impl std::fmt::Display) -> Self {
        let message = format!(
            "{table}: an append table takes inserts only; upstream the row {key} stays as it was inserted, whatever this {op} did here"
        );
        Self::new(RejectCode::AppendOnly, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_as_text_and_json() {
        for &code in RejectCode::ALL {
            assert_eq!(RejectCode::from_text(code.as_str()), Some(code));
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("{:?}", code.as_str()));
        }
    }
}
