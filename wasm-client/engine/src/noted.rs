//! Texts that a station file keeps for people, and on a last line of their own, as JSON, facts for programs: the last
//! error with what the server says would help, and why nothing may be sent ([`crate::halt`]).

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemark_core::protocol::{Remedy, RemedyJson};

/// A sentence with its facts.
pub(crate) fn with_facts(sentence: &str, facts: &impl Serialize) -> String {
    let facts = serde_json::to_string(facts).expect("BUG: texts serialise");
    format!("{sentence}\n{facts}")
}

/// The sentence and the facts of a kept text; `None` where its last line is no such facts.
pub(crate) fn facts<T: DeserializeOwned>(kept: &str) -> Option<(&str, T)> {
    let (sentence, facts) = kept.rsplit_once('\n')?;
    Some((sentence, serde_json::from_slice(facts.as_bytes()).ok()?))
}

/// The last error as it is kept.
pub(crate) fn write(message: &str, remedy: Option<&Remedy>) -> String {
    remedy.map_or_else(|| message.to_owned(), |remedy| with_facts(message, remedy))
}

/// The words of a kept text, and what helps. Older files have nothing but words.
pub(crate) fn read(kept: &str) -> (String, Option<Remedy>) {
    match facts::<RemedyJson>(kept) {
        Some((message, remedy)) => (message.to_owned(), remedy.known()),
        None => (kept.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_and_so_do_the_words_of_older_files() {
        let remedy = Remedy::RejoinBeside { station: "line\nand {quote}\"".into() };
        for (message, remedy) in
            [("ended", Some(remedy)), ("ended", None), ("two\nlines", Some(Remedy::Join)), ("two\nlines", None)]
        {
            assert_eq!(read(&write(message, remedy.as_ref())), (message.to_owned(), remedy));
        }
        // As it stands in files.
        assert_eq!(read("ended\n{\"code\":\"join\"}"), ("ended".to_owned(), Some(Remedy::Join)));
        assert_eq!(read("ended\n{\"code\":\"of-a-later-version\",\"x\":1}"), ("ended".to_owned(), None));
    }
}
