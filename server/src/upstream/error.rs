//! Why a store did not do what it was asked, and what that means for whoever asked.

use std::fmt;

use thiserror::Error;

/// Why a store did not do what it was asked, and whose fault that is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// A row breaks a constraint of the database: the change's fault.
    #[error("{0}")]
    Violation(String),
    /// The transaction met another one and must be repeated.
    #[error("the transaction met another one: {0}")]
    Conflict(String),
    /// The database is away: it cannot take anything now; later it may.
    #[error("{why}: {message}")]
    Unavailable {
        /// Why, as far as the database, the driver or a clock says so.
        why: Unavailability,
        /// In the words of whoever said so: for the operator.
        message: String,
    },
    /// The database is there and would not do this: a limit, a time that was over, a trigger of its operator's, a panic
    /// of this program. Whether it would the next time, only the next time tells.
    #[error("{message}")]
    Refused {
        /// By which it is known again.
        cause: Cause,
        /// In the database's words.
        message: String,
    },
    /// Something is wrong with the server or its database.
    #[error("{0}")]
    Fault(String),
}

/// Why a database takes nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unavailability {
    /// It cannot be reached, does not answer, or lets nobody in.
    Away,
    /// It is starting or ending.
    Starting,
    /// It takes no writes: it is read-only, or a standby.
    ReadOnly,
    /// Its disk is full.
    Full,
    /// Somebody else holds what is needed.
    Locked,
    /// It, or the share of it that this server has, is busy: connections, memory or time are used up.
    Busy,
    /// It has damage, or its disk has.
    Damaged,
    /// It has not what the schema wants.
    Differs,
}

impl fmt::Display for Unavailability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "the database is not available",
            Self::Starting => "the database is starting or ending",
            Self::ReadOnly => "the database takes no writes",
            Self::Full => "the database's disk is full",
            Self::Locked => "somebody else holds a lock in the database",
            Self::Busy => "the database is busy",
            Self::Damaged => "the database or its disk has damage",
            Self::Differs => "the database differs from the schema",
        })
    }
}

impl StoreError {
    /// A database that takes nothing now.
    #[must_use]
    pub fn unavailable(why: Unavailability, message: impl Into<String>) -> Self {
        Self::Unavailable { why, message: message.into() }
    }

    /// The same, of a table: whoever waited for a lock says for which.
    #[must_use]
    pub fn of_table(self, table: &str) -> Self {
        match self {
            Self::Unavailable { why: Unavailability::Locked, message } => {
                Self::unavailable(Unavailability::Locked, format!("table {table}: {message}"))
            }
            other => other,
        }
    }

    /// Why the database takes nothing now, if that is so.
    #[must_use]
    pub const fn unavailability(&self) -> Option<Unavailability> {
        match self {
            Self::Unavailable { why, .. } => Some(*why),
            _ => None,
        }
    }

    /// The cause, by which a failure is known again when it repeats itself; `None` when the database is away or the
    /// transaction only met another one: such failures pass, however often they repeat themselves, and say nothing of
    /// the changes.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Conflict(_) | Self::Unavailable { .. } => None,
            Self::Refused { cause, .. } => Some(*cause),
            Self::Violation(_) => Some(Cause::Violation),
            Self::Fault(_) => Some(Cause::Fault),
        }
    }

    /// The same where nothing was tried yet, so that it says nothing of what was to be tried: the database is taken to
    /// be away.
    #[must_use]
    pub fn before_all(self) -> Self {
        match self {
            Self::Refused { cause, message } => Self::unavailable(cause.unavailability(), message),
            other => other,
        }
    }
}

/// The cause of a failure, as far as that is needed to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// PostgreSQL's SQLSTATE.
    SqlState([u8; 5]),
    /// SQLite's extended result code.
    Sqlite(i32),
    /// A constraint where no row is written.
    Violation,
    /// This program panicked.
    Panic,
    /// Anything else of the server or its database.
    Fault,
}

impl Cause {
    /// The cause with this SQLSTATE; what has not five characters is padded or cut.
    #[must_use]
    pub fn sql_state(code: &str) -> Self {
        let mut state = [b'0'; 5];
        state.iter_mut().zip(code.bytes()).for_each(|(to, from)| *to = from);
        Self::SqlState(state)
    }

    /// Why a database takes nothing now that fails by this cause whatever it is asked.
    #[must_use]
    pub const fn unavailability(self) -> Unavailability {
        match self {
            // Syntax error or access rule violation: what is not there, or not allowed.
            Self::SqlState([b'4', b'2', ..]) => Unavailability::Differs,
            cause if cause.depends_on_load() => Unavailability::Busy,
            _ => Unavailability::Damaged,
        }
    }

    /// Whether it depends on what else the database has to do: memory, locks, time. The same work may pass a little
    /// later.
    #[must_use]
    pub const fn depends_on_load(self) -> bool {
        match self {
            // Insufficient resources; query canceled (a timeout), transaction timeout.
            Self::SqlState([b'5', b'3', b'4', ..]) => false,
            Self::SqlState([b'5', b'3', ..] | [b'5', b'7', b'0', ..] | [b'2', b'5', b'P', b'0', b'4']) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SqlState(state) => write!(f, "SQLSTATE {}", String::from_utf8_lossy(state)),
            Self::Sqlite(code) => write!(f, "SQLite's code {code}"),
            Self::Violation => f.write_str("a constraint"),
            Self::Panic => f.write_str("a panic"),
            Self::Fault => f.write_str("a fault"),
        }
    }
}

/// The failure that a SQLSTATE of PostgreSQL stands for.
///
/// Classes are those of the manual's appendix A, "PostgreSQL Error Codes".
#[must_use]
pub fn of_sql_state(code: &str, message: String) -> StoreError {
    let why = match code {
        // Damage is the database's, not a row's: nothing is to be concluded from it, and nothing written. System errors
        // and I/O errors; a file that is not there may be the library of an operator's function.
        "XX001" | "XX002" | "58000" | "58030" => Some(Unavailability::Damaged),
        "53100" => Some(Unavailability::Full),
        "53300" => Some(Unavailability::Busy),
        // Lock not available, object in use.
        "55P03" | "55006" => Some(Unavailability::Locked),
        "25006" => Some(Unavailability::ReadOnly),
        // Ended by its operator, crashed, starting up.
        "57P01" | "57P02" | "57P03" => Some(Unavailability::Starting),
        // Idle in a transaction too long; dropped; idle too long.
        "25P03" | "57P04" | "57P05" => Some(Unavailability::Away),
        _ => None,
    };
    if let Some(why) = why {
        return StoreError::unavailable(why, message);
    }
    match code.get(..2).unwrap_or_default() {
        // Serialization failures and deadlocks.
        "40" => StoreError::Conflict(message),
        // Bad data, a constraint, a trigger's own RAISE, an index row too large.
        "22" | "23" | "44" | "P0" | "54" => StoreError::Violation(message),
        // Connections, who may connect, and which database is there.
        "08" | "28" | "3D" => StoreError::unavailable(Unavailability::Away, message),
        "57" if code.starts_with("57P") => StoreError::unavailable(Unavailability::Starting, message),
        _ => StoreError::Refused { cause: Cause::sql_state(code), message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_is_no_cause_and_the_others_are_told_apart() {
        let cause = |code: &str| of_sql_state(code, String::new()).cause();
        for away in [
            "08000", "08006", "57P01", "57P02", "57P03", "40001", "40P01", "40003", "25006", "53100", "53300", "55P03",
            "25P03", "58030", "XX001",
        ] {
            assert_eq!(cause(away), None, "{away}");
        }
        let why = |code: &str| of_sql_state(code, String::new()).unavailability();
        for (code, wanted) in [
            ("08006", Unavailability::Away),
            ("28P01", Unavailability::Away),
            ("57P03", Unavailability::Starting),
            ("25006", Unavailability::ReadOnly),
            ("53100", Unavailability::Full),
            ("53300", Unavailability::Busy),
            ("55P03", Unavailability::Locked),
            ("58030", Unavailability::Damaged),
        ] {
            assert_eq!(why(code), Some(wanted), "{code}");
        }
        // Before anything was tried, whatever fails is the database's.
        let before = |code: &str| of_sql_state(code, String::new()).before_all().unavailability();
        assert_eq!(before("42P01"), Some(Unavailability::Differs));
        assert_eq!(before("57014"), Some(Unavailability::Busy));
        assert_eq!(before("XX000"), Some(Unavailability::Damaged));
        assert_eq!(before("25006"), Some(Unavailability::ReadOnly));
        for stubborn in ["53200", "53400", "57014", "42703", "42P01", "42501", "0A000", "XX000", "55000", "25P04"] {
            assert_eq!(cause(stubborn), Some(Cause::sql_state(stubborn)), "{stubborn}");
        }
        for violation in ["23505", "22012", "P0001", "44000", "54000"] {
            assert!(matches!(of_sql_state(violation, String::new()), StoreError::Violation(_)), "{violation}");
        }
        let waits = |code: &str| Cause::sql_state(code).depends_on_load();
        assert!(waits("53200") && waits("57014") && waits("25P04") && waits("53000"));
        assert!(!waits("53400") && !waits("42703") && !waits("XX000") && !Cause::Panic.depends_on_load());
    }
}
