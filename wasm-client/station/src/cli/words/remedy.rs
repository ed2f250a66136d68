//! The sentences of a terminal for the remedies that a server names: each says the command to type.

use tidemark_core::protocol::Remedy;

/// A message, and what the server says would help.
pub(super) fn with(message: &str, remedy: Option<&Remedy>) -> String {
    match remedy {
        Some(remedy) => format!("{message}. {}", sentence(remedy)),
        None => message.to_owned(),
    }
}

/// The sentence of a remedy, without its full stop.
fn sentence(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Join => "Let the station join first: `tidemark join CODE`".into(),
        Remedy::TakeToken => "Take the new token with `tidemark join CODE`".into(),
        Remedy::RenewToken => "The server's operator makes a code for another token with `tidemark-server station rotate NAME`; take it with \
             `tidemark join CODE`"
            .into(),
        Remedy::RejoinAnew => "If the server's database was put back to a backup from before the station joined: make a code \
             (`tidemark-server station add NAME`), then `tidemark rejoin --anew CODE` on the station"
            .into(),
        Remedy::RejoinThere { station } => {
            format!("Use the code with the file of station {station:?}: `tidemark rejoin CODE`")
        }
        Remedy::RejoinBeside { .. } => {
            "If this file is to go on too, ask for a code of its own and run `tidemark rejoin CODE`".into()
        }
        Remedy::ReplaceStation { station } => format!(
            "Ask the server's operator for a code made with `tidemark-server station add NAME --replaces {station:?}`"
        ),
        Remedy::ReplaceNone => "Ask for a code without --replaces (`tidemark-server station add NAME`)".into(),
        Remedy::AddReader => "A reader's token is made with `tidemark-server reader add NAME`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remedy_names_its_command() {
        let station = || "north".to_owned();
        for (remedy, command) in [
            (Remedy::Join, "`tidemark join CODE`"),
            (Remedy::TakeToken, "`tidemark join CODE`"),
            (Remedy::RenewToken, "`tidemark-server station rotate NAME`"),
            (Remedy::RejoinAnew, "`tidemark rejoin --anew CODE`"),
            (Remedy::RejoinThere { station: station() }, "station \"north\": `tidemark rejoin CODE`"),
            (Remedy::RejoinBeside { station: station() }, "`tidemark rejoin CODE`"),
            (Remedy::ReplaceStation { station: station() }, "`tidemark-server station add NAME --replaces \"north\"`"),
            (Remedy::ReplaceNone, "`tidemark-server station add NAME`"),
            (Remedy::AddReader, "`tidemark-server reader add NAME`"),
        ] {
            let said = with("it ended", Some(&remedy));
            assert!(said.starts_with("it ended. ") && said.contains(command), "{said}");
        }
        assert_eq!(with("it ended", None), "it ended");
    }
}
