//! What is wrong with settings: as facts, and in words for the people of a command line.

use std::fmt;
use std::path::PathBuf;

use crate::origin::{At, Origin};
use crate::setting::Kind;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// The form of a value.
    pub kind: Kind,
    /// Several of them.
    pub list: bool,
}

/// What is wrong. Secrets are hidden in it already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's word.
        why: String,
    },
    /// It is no TOML.
    Syntax {
        /// Where.
        at: At,
        /// The parser's word.
        why: String,
    },
    /// There is no such key.
    UnknownKey {
        /// Where.
        at: At,
        /// The key.
        key: String,
        /// The key that was meant, if one is near.
        near: Option<String>,
    },
    /// The value is of another type.
    Type {
        /// Where.
        at: At,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Its type in TOML.
        is: &'static str,
        /// What would be right.
        wants: Wants,
    },
    /// The value is not allowed.
    Value {
        /// Where it is from.
        origin: Origin,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: String,
        /// What is allowed, where that is known.
        allowed: Option<String>,
    },
    /// One thing is said twice, in one layer, under two names.
    Twice {
        /// The one.
        one: (String, Origin),
        /// And the other.
        other: (String, Origin),
    },
    /// Settings do not go together.
    Together {
        /// The parser's word.
        why: String,
        /// The settings that it names, and where they are from.
        of: Vec<(String, Origin)>,
    },
    /// A value that is well formed cannot be used: a file that is not there, a key that is no key.
    Unfit {
        /// Where it is from.
        origin: Origin,
        /// The key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Problem {
    /// The line of the file, where it is about one.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        match self.at() {
            Some(at) => Some(at.line),
            None => None,
        }
    }

    /// The place in the file, where it is about one.
    #[must_use]
    pub const fn at(&self) -> Option<&At> {
        match self {
            Self::Syntax { at, .. } | Self::UnknownKey { at, .. } | Self::Type { at, .. } => Some(at),
            Self::Value { origin: Origin::File(at), .. } | Self::Unfit { origin: Origin::File(at), .. } => Some(at),
            _ => None,
        }
    }

    /// The key that it is about, where it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key, .. }
            | Self::Type { key, .. }
            | Self::Value { key, .. }
            | Self::Unfit { key, .. } => Some(key),
            Self::Twice { one, .. } => Some(&one.0),
            Self::Unreadable { .. } | Self::Syntax { .. } | Self::Together { .. } => None,
        }
    }
}

/// What is not wrong, and should be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A variable begins as ours do, and nobody reads it.
    UnknownVariable {
        /// Its name.
        name: String,
        /// The name that was meant, if one is near.
        near: Option<String>,
    },
    /// Everybody on the machine may read a file that holds a secret.
    Readable {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What the file says has no effect: a variable says the same thing in another way, and outweighs it.
    Outweighed {
        /// What has no effect.
        setting: (String, Origin),
        /// What holds instead.
        by: (String, Origin),
    },
    /// A value can be used, and others will not like what comes of it.
    Doubtful {
        /// Where it is from.
        origin: Origin,
        /// The key.
        key: String,
        /// What comes of it.
        why: String,
    },
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(at) => at.fmt(f),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Wants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = match self.kind {
            Kind::Flag => "true or false",
            Kind::Whole => "a whole number, without quotes",
            Kind::Number => "a number, without quotes",
            Kind::Path | Kind::Text => "text in quotes",
            Kind::Word => "text in quotes, or a number",
        };
        if self.list { write!(f, "{one}, or a list of such in [ ]") } else { f.write_str(one) }
    }
}

fn did_you_mean(near: Option<&String>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, why } => write!(f, "{}: cannot be read: {why}", file.display()),
            Self::Syntax { at, why } => write!(f, "{at}: is not TOML: {}", why.trim_end().replace('\n', ", ")),
            Self::UnknownKey { at, key, near } => {
                write!(f, "{at}: {key}: there is no such setting{}", did_you_mean(near.as_ref()))
            }
            Self::Type { at, key, value, is, wants } => {
                write!(f, "{at}: {key} = {value} is of the type {is}; write {wants}")
            }
            Self::Value { origin, key, value, why, allowed } => {
                match origin {
                    Origin::File(at) => write!(f, "{at}: {key} = {value}: {why}")?,
                    origin => write!(f, "{origin}={value}: {why}")?,
                }
                allowed.as_ref().map_or(Ok(()), |allowed| write!(f, "; allowed: {allowed}"))
            }
            Self::Twice { one, other } => {
                write!(f, "{} ({}) and {} ({}) say the same thing twice: keep one", one.0, one.1, other.0, other.1)
            }
            Self::Together { why, of } => {
                f.write_str(why)?;
                let of: Vec<String> = of.iter().map(|(key, origin)| format!("{key} is from {origin}")).collect();
                if of.is_empty() { Ok(()) } else { write!(f, " ({})", of.join(", ")) }
            }
            Self::Unfit { origin: Origin::Default, key, why } => write!(f, "{key}: {why}"),
            Self::Unfit { origin: Origin::File(at), key, why } => write!(f, "{at}: {key}: {why}"),
            Self::Unfit { origin, why, .. } => write!(f, "{origin}: {why}"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Doubtful { origin: Origin::File(at), key, why } => write!(f, "{at}: {key}: {why}"),
            Self::Doubtful { origin: Origin::Default, key, why } => write!(f, "{key}: {why}"),
            Self::Doubtful { origin, why, .. } => write!(f, "{origin}: {why}"),
            Self::UnknownVariable { name, near } => {
                write!(
                    f,
                    "the variable {name} is none of this program's, and is not read{}",
                    did_you_mean(near.as_ref())
                )
            }
            Self::Readable { file, mode } => {
                let file = file.display();
                write!(
                    f,
                    "{file} holds a secret and can be read by everybody on this machine (mode {mode:04o}): chmod o= {file}"
                )
            }
            Self::Outweighed { setting: (key, origin), by: (other, variable) } => write!(
                f,
                "{origin}: {key} has no effect: the variable {variable} sets {other}, and a variable outweighs the file; keep one"
            ),
        }
    }
}
