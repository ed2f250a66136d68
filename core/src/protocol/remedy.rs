//! The remedy of a problem, as a fact. The sentence is made where it is read: a command line names a command, a page
//! what can be done there.

use serde::{Deserialize, Deserializer, Serialize};

/// The remedy of a [`super::Problem`]; programs match on its `code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Remedy {
    /// The station joins first.
    Join,
    /// The server's operator has a code for another token of this station; the station takes that token.
    TakeToken,
    /// The server's operator makes a code for another token of this station; the station takes that token.
    RenewToken,
    /// The server's operator makes a code, and the station's file rejoins with it and sends all its rows anew.
    RejoinAnew,
    /// The file of this station rejoins with the code that was used.
    RejoinThere {
        /// The station whose file the code is for.
        station: String,
    },
    /// The server's operator makes a code, and the file rejoins with it, to go on beside the station that replaced it.
    RejoinBeside {
        /// The station that replaced it.
        station: String,
    },
    /// The server's operator makes a code that replaces this station, and its file rejoins with that.
    ReplaceStation {
        /// The station to be replaced.
        station: String,
    },
    /// The server's operator makes a code that replaces no station, and the file rejoins with that.
    ReplaceNone,
    /// The server's operator makes a reader, and its token is the one to ask with.
    AddReader,
}

impl Remedy {
    /// The same remedy, its names changed: to make text from elsewhere fit for a terminal.
    #[must_use]
    pub fn map_names(self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::RejoinThere { station } => Self::RejoinThere { station: change(&station) },
            Self::RejoinBeside { station } => Self::RejoinBeside { station: change(&station) },
            Self::ReplaceStation { station } => Self::ReplaceStation { station: change(&station) },
            Self::Join
            | Self::TakeToken
            | Self::RenewToken
            | Self::RejoinAnew
            | Self::ReplaceNone
            | Self::AddReader => self,
        }
    }
}

/// A remedy that this build knows, or none: a peer of another version must still be understood.
pub(super) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Remedy>>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(deserializer)?).ok())
}
