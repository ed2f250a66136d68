//! The sentences of the operator's terminal for what would help a station: each names the command to type there or
//! here.

use tidemark_core::protocol::Remedy;

use crate::sneakernet::ImportError;

/// The remedy for a bundle that was not taken, as a sentence without its full stop; `None` where the error says all.
pub(super) fn of_import(error: &ImportError) -> Option<String> {
    match error {
        ImportError::TokenEnded { .. } => {
            Some("Let the station take the new token with `tidemark join CODE`, then export again".into())
        }
        ImportError::Refused(problem) => problem.remedy.as_deref().map(sentence),
        ImportError::Stopped { remedy, .. } => remedy.as_deref().map(sentence),
        _ => None,
    }
}

fn sentence(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Join => "Let the station join first: `tidemark join CODE` there".into(),
        Remedy::TakeToken => "Let the station take its new token: `tidemark join CODE` there".into(),
        Remedy::RenewToken => {
            "Make a code with `tidemark-server station rotate NAME`, then `tidemark join CODE` on the station".into()
        }
        Remedy::RejoinAnew => {
            "Make a code with `tidemark-server station add NAME`, then `tidemark rejoin --anew CODE` on the station"
                .into()
        }
        Remedy::RejoinThere { station } => {
            format!("Use the code with the file of station {station:?}: `tidemark rejoin CODE`")
        }
        Remedy::RejoinBeside { .. } => "If this file is to go on too, make it a code of its own with \
             `tidemark-server station add NAME`, then `tidemark rejoin CODE` on the station"
            .into(),
        Remedy::ReplaceStation { station } => {
            format!("Make a code with `tidemark-server station add NAME --replaces {station:?}`")
        }
        Remedy::ReplaceNone => "Make a code with `tidemark-server station add NAME`, without --replaces".into(),
        Remedy::AddReader => "Make a reader's token with `tidemark-server reader add NAME`".into(),
    }
}
