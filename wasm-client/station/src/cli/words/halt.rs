//! The words of a terminal for a file from which nothing may be sent.

use tidemark_client::halt::{Fork, Halt};

/// Why nothing may be sent from a file, and what to do.
pub(in crate::cli) fn halt(halt: &Halt) -> String {
    match halt {
        Halt::Forked(Fork { name, .. }) => format!(
            "{halt}. What to do: put the file or the server's database back to the state that fits, then run `tidemark push`, which asks the server \
             again. Or let this file go on under a new number: ask the server's operator for a code, made with `tidemark-server station add NAME \
             --replaces {name:?}` if this is the only copy in use, or with `tidemark-server station add NAME` if another copy goes on as {name:?}, \
             and run `tidemark rejoin CODE`"
        ),
        Halt::Tampered { .. } => format!(
            "{halt}; put the file back to a copy that fits, or let it go on from its rows as they are: ask the server's operator for a code made with \
             `tidemark-server station add NAME --replaces OLD` and run `tidemark rejoin CODE`"
        ),
        Halt::Told(_) => halt.to_string(),
    }
}
