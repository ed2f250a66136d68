//! The sentences of a page for what a server says would help: there is no terminal, so a person there asks the server's operator.

use tidemark_core::protocol::Remedy;

/// A message, and what helps.
#[must_use]
pub fn with(message: &str, remedy: Option<&Remedy>) -> String {
    match remedy {
        Some(remedy) => format!("{message}. {}", sentence(remedy)),
        None => message.to_owned(),
    }
}

/// What helps, as a sentence without its full stop. A command in it is the operator's.
const fn sentence(remedy: &Remedy) -> &'static str {
    match remedy {
        Remedy::Join => "Join first, with a code that the server's operator makes",
        Remedy::TakeToken => "Join with the code that the server's operator has for it",
        Remedy::RenewToken => {
            "Ask the server's operator for a code for another token (`tidemark-server station rotate NAME`), and join with that"
        }
        Remedy::RejoinAnew => {
            "If the server's database was put back to a backup from before this station joined: export the database, and ask the server's operator"
        }
        Remedy::RejoinThere { .. } => {
            "Ask the server's operator for a code of your own (`tidemark-server station add NAME`)"
        }
        Remedy::RejoinBeside { .. } | Remedy::ReplaceStation { .. } | Remedy::ReplaceNone => {
            "Export the database, and ask the server's operator"
        }
        Remedy::AddReader => "Ask the server's operator for a reader's token (`tidemark-server reader add NAME`)",
    }
}
