//! Why nothing may be sent from a file, as it is kept in the file: every process that opens it knows then, until that
//! is settled.
//!
//! The file keeps a sentence, which older programs and people can read, and on a line of its own the same as facts.
//! Older programs kept only the sentence; [`Halt::read`] is the one place that understands it.

use std::collections::BTreeMap;
use std::fmt;

use tidemark_core::amount::count;

use crate::noted;

/// Why nothing may be sent from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// Station and server hold different histories.
    Forked(Fork),
    /// The log is not what Tidemark wrote.
    Tampered {
        /// Where.
        file: String,
        /// The fault of it.
        detail: String,
    },
    /// Something that no version of Tidemark wrote there.
    Told(String),
}

/// A fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The station's name at its server.
    pub name: String,
    /// The finding.
    pub found: Found,
}

/// How the histories of station and server differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The server has lost changes that it acknowledged.
    Behind {
        /// Its last change.
        server: u64,
        /// Up to where it had acknowledged.
        acknowledged: u64,
    },
    /// The file has lost changes that the server has.
    Beyond {
        /// The last change that the server has.
        server: u64,
        /// The last change of the file.
        last: u64,
    },
    /// At one change they have another chain.
    Differs {
        /// The change.
        seq: u64,
        /// The beginning of the server's chain there, in hex.
        server: String,
        /// Of the station's.
        here: String,
    },
    /// The finding of an older program, in its words.
    Told(String),
}

/// The facts of a halt as the file keeps them, as JSON: `halt` says which of the others are there. All are texts, the
/// numbers too.
type Facts = BTreeMap<String, String>;

/// The beginning by which the sentences of older programs are known.
const FORKED: &str = "forked: ";
const NOTHING_SENT: &str = ". Nothing was sent or trimmed";
const REPLACES: &str = "--replaces ";
const TAMPERED: &str = ": the change log was tampered with: ";
const NO_MORE_SENT: &str = ". Nothing is sent from this file any more";

impl Halt {
    /// As it is kept, with a sentence about it.
    pub(crate) fn kept(&self, sentence: &str) -> String {
        let mut facts = Facts::new();
        let mut add = |key: &str, value: &str| {
            facts.insert(key.to_owned(), value.to_owned());
        };
        match self {
            Self::Forked(Fork { name, found }) => {
                add("name", name);
                match found {
                    Found::Behind { server, acknowledged } => {
                        add("halt", "behind");
                        add("server", &server.to_string());
                        add("acknowledged", &acknowledged.to_string());
                    }
                    Found::Beyond { server, last } => {
                        add("halt", "beyond");
                        add("server", &server.to_string());
                        add("last", &last.to_string());
                    }
                    Found::Differs { seq, server, here } => {
                        add("halt", "differs");
                        add("seq", &seq.to_string());
                        add("server", server);
                        add("here", here);
                    }
                    Found::Told(said) => {
                        add("halt", "forked");
                        add("said", said);
                    }
                }
            }
            Self::Tampered { file, detail } => {
                add("halt", "tampered");
                add("file", file);
                add("detail", detail);
            }
            Self::Told(said) => return said.clone(),
        }
        noted::with_facts(sentence, &facts)
    }

    /// Reads what is kept.
    #[must_use]
    pub fn read(kept: &str) -> Self {
        let facts = noted::facts(kept).and_then(|(_, facts)| Self::of_facts(&facts));
        facts.unwrap_or_else(|| Self::of_sentence(kept))
    }

    /// The same, of the station with this name, where the kept text says none.
    pub(crate) fn of(self, name: &str) -> Self {
        match self {
            Self::Forked(fork) if fork.name.is_empty() => Self::Forked(Fork { name: name.to_owned(), ..fork }),
            other => other,
        }
    }

    fn of_facts(facts: &Facts) -> Option<Self> {
        let text = |key: &str| facts.get(key).cloned();
        let number = |key: &str| facts.get(key)?.parse().ok();
        let found = match facts.get("halt")?.as_str() {
            "behind" => Found::Behind { server: number("server")?, acknowledged: number("acknowledged")? },
            "beyond" => Found::Beyond { server: number("server")?, last: number("last")? },
            "differs" => Found::Differs { seq: number("seq")?, server: text("server")?, here: text("here")? },
            "forked" => Found::Told(text("said")?),
            "tampered" => return Some(Self::Tampered { file: text("file")?, detail: text("detail")? }),
            _ => return None,
        };
        Some(Self::Forked(Fork { name: text("name")?, found }))
    }

    /// The text of an older program.
    fn of_sentence(said: &str) -> Self {
        if let Some(rest) = said.strip_prefix(FORKED) {
            let found = rest.split_once(NOTHING_SENT).map_or(rest, |(found, _)| found);
            let name = rest.split_once(REPLACES).map_or("", |(_, rest)| rest);
            // It stands there in quotes.
            let name = serde_json::Deserializer::from_slice(name.as_bytes()).into_iter::<String>().next();
            let name = name.and_then(Result::ok).unwrap_or_default();
            return Self::Forked(Fork { name, found: Found::Told(found.to_owned()) });
        }
        match said.split_once(TAMPERED) {
            Some((file, rest)) => {
                let detail = rest.split_once(NO_MORE_SENT).map_or(rest, |(detail, _)| detail);
                Self::Tampered { file: file.to_owned(), detail: detail.to_owned() }
            }
            None => Self::Told(said.to_owned()),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { server, acknowledged } => write!(
                f,
                "the server stands at change {server}, but had acknowledged {acknowledged}: it has lost changes, most likely it was restored \
                 from an older backup"
            ),
            Self::Beyond { server, last } => write!(
                f,
                "the server has {} of this station, this file only {last}: the file was put back to an older copy",
                count(*server, "change")
            ),
            Self::Differs { seq, server, here } => write!(
                f,
                "at change {seq} the server has another history (chain {server}, here {here}): two copies of this file were written to, or it was \
                 put back to an older copy and written to since"
            ),
            Self::Told(said) => f.write_str(said),
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forked(Fork { found, .. }) => {
                write!(f, "{FORKED}{found}{NOTHING_SENT}, all rows and changes are still here")
            }
            Self::Tampered { file, detail } => {
                write!(f, "{file}{TAMPERED}{detail}{NO_MORE_SENT}, since changes would be missing upstream")
            }
            Self::Told(said) => f.write_str(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forked(found: Found) -> Halt {
        Halt::Forked(Fork { name: "the \"old\" one".into(), found })
    }

    #[test]
    fn what_is_kept_is_read_back() {
        for halt in [
            forked(Found::Behind { server: 1, acknowledged: 2 }),
            forked(Found::Beyond { server: u64::MAX, last: 0 }),
            forked(Found::Differs { seq: 7, server: "ab".into(), here: "cd".into() }),
            forked(Found::Told("somehow".into())),
            Halt::Tampered { file: "a\nb".into(), detail: "after change 1 comes 3, not 2".into() },
            Halt::Told("in doubt".into()),
        ] {
            let kept = halt.kept("a sentence\nof two lines");
            assert_eq!(Halt::read(&kept), halt, "{kept}");
        }
    }

    #[test]
    fn older_programs_know_a_fork_by_how_the_sentence_begins() {
        let halt = forked(Found::Beyond { server: 2, last: 1 });
        assert!(halt.kept(&halt.to_string()).starts_with("forked: the server has 2 changes"));
    }

    #[test]
    fn what_older_programs_kept_is_understood() {
        let older = "forked: the server has 2 changes of this station, this file only 1: the file was put back to an older copy. Nothing was sent or \
            trimmed, all rows and changes are still here. What to do: put the file or the server's database back to the state that fits, then run \
            `tidemark push`, which asks the server again. Or let this file go on under a new number: ask the server's operator for a code, made \
            with `tidemark-server station add NAME --replaces \"the \\\"old\\\" one\"` if this is the only copy in use, or with \
            `tidemark-server station add NAME` if another copy goes on as \"the \\\"old\\\" one\", and run `tidemark rejoin CODE`";
        let told = "the server has 2 changes of this station, this file only 1: the file was put back to an older copy";
        assert_eq!(Halt::read(older), forked(Found::Told(told.into())));
        let older = "/data/field.db: the change log was tampered with: after change 1 comes 3, not 2. Nothing is sent from this file any more, since \
            changes would be missing upstream; put the file back to a copy that fits, or let it go on from its rows as they are: ask the server's \
            operator for a code made with `tidemark-server station add NAME --replaces OLD` and run `tidemark rejoin CODE`";
        let (file, detail) = ("/data/field.db".into(), "after change 1 comes 3, not 2".into());
        assert_eq!(Halt::read(older), Halt::Tampered { file, detail });
        assert_eq!(Halt::read("in doubt"), Halt::Told("in doubt".into()));
        assert_eq!(
            Halt::read("forked: "),
            Halt::Forked(Fork { name: String::new(), found: Found::Told(String::new()) })
        );
    }

    #[test]
    fn what_stands_in_files_is_understood_for_ever() {
        let fork = |found| Halt::Forked(Fork { name: "sea".into(), found });
        for (kept, halt) in [
            (
                "forked\n{\"acknowledged\":\"2\",\"halt\":\"behind\",\"name\":\"sea\",\"server\":\"1\"}",
                fork(Found::Behind { server: 1, acknowledged: 2 }),
            ),
            (
                "forked\n{\"halt\":\"beyond\",\"last\":\"1\",\"name\":\"sea\",\"server\":\"2\"}",
                fork(Found::Beyond { server: 2, last: 1 }),
            ),
            (
                "torn\n{\"detail\":\"torn\",\"file\":\"field.db\",\"halt\":\"tampered\"}",
                Halt::Tampered { file: "field.db".into(), detail: "torn".into() },
            ),
            ("of a later version\n{\"halt\":\"other\"}", Halt::Told("of a later version\n{\"halt\":\"other\"}".into())),
        ] {
            assert_eq!(Halt::read(kept), halt);
        }
        // A name that an older program wrote in another way than JSON is the station's own, which stands beside it.
        let older = "forked: two copies. Nothing was sent or trimmed, all is here: --replaces \"m\\u{306}\" if so";
        let Halt::Forked(fork) = Halt::read(older).of("m\u{306}") else { panic!("a fork") };
        assert_eq!((fork.name.as_str(), fork.found), ("m\u{306}", Found::Told("two copies".into())));
    }
}
