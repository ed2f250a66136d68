//! The sentence of a terminal for a file whose writes the system does not tell of.

use crate::watcher::Unwatched;

/// Why, and what is done instead.
pub(crate) fn unwatched(why: &Unwatched) -> String {
    let why = match why {
        Unwatched::Limit if cfg!(target_os = "linux") => {
            "this user watches as many files as the system lets it (fs.inotify.max_user_watches)".to_owned()
        }
        Unwatched::Limit => "the system watches as many files as it may".to_owned(),
        Unwatched::Gone => "its folder is gone".to_owned(),
        Unwatched::System(error) => error.to_string(),
    };
    format!("the system does not tell of writes to the file: {why}; the file is looked at from time to time (--poll)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_names_the_reason_and_what_is_done_instead() {
        for (why, word) in [(Unwatched::Limit, "as many files"), (Unwatched::Gone, "its folder is gone")] {
            let said = unwatched(&why);
            assert!(said.contains(word) && said.ends_with("from time to time (--poll)"), "{said}");
        }
    }
}
