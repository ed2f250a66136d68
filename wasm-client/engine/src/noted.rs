//! The last error as a station file keeps it: its words, and on a line of its own, as JSON, what the server says would
//! help.

use tidemark_core::protocol::{Remedy, RemedyJson};

/// The text to keep.
pub(crate) fn write(message: &str, remedy: Option<&Remedy>) -> String {
    match remedy {
        Some(remedy) => {
            let remedy = serde_json::to_string(remedy).expect("BUG: a code and a name serialise");
            format!("{message}\n{remedy}")
        }
        None => message.to_owned(),
    }
}

/// The words of a kept text, and what helps. Older files have nothing but words.
pub(crate) fn read(kept: &str) -> (String, Option<Remedy>) {
    let split = kept.rsplit_once('\n').and_then(|(message, last)| {
        let last: RemedyJson = serde_json::from_slice(last.as_bytes()).ok()?;
        Some((message, last.known()))
    });
    match split {
        Some((message, remedy)) => (message.to_owned(), remedy),
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
