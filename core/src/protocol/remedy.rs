//! The remedy of a problem, as a fact. The sentence is made where it is read: a command line names a command, a page
//! what can be done there.

use serde::{Deserialize, Deserializer, Serialize};

/// The remedy of a [`super::Problem`]; programs match on its `code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "RemedyJson")]
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

/// The JSON of a remedy, in messages and in files: an object with a code. This form stays; codes may come to it, and
/// members that are passed over. A browser downloads less for it than for a tagged enum.
#[derive(Serialize, Deserialize)]
pub struct RemedyJson {
    code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    station: Option<String>,
}

impl From<Remedy> for RemedyJson {
    fn from(remedy: Remedy) -> Self {
        let (code, station) = match remedy {
            Remedy::Join => ("join", None),
            Remedy::TakeToken => ("take-token", None),
            Remedy::RenewToken => ("renew-token", None),
            Remedy::RejoinAnew => ("rejoin-anew", None),
            Remedy::RejoinThere { station } => ("rejoin-there", Some(station)),
            Remedy::RejoinBeside { station } => ("rejoin-beside", Some(station)),
            Remedy::ReplaceStation { station } => ("replace-station", Some(station)),
            Remedy::ReplaceNone => ("replace-none", None),
            Remedy::AddReader => ("add-reader", None),
        };
        Self { code: code.to_owned(), station }
    }
}

impl RemedyJson {
    /// The remedy, unless its code is of another version.
    #[must_use]
    pub fn known(self) -> Option<Remedy> {
        Some(match self.code.as_str() {
            "join" => Remedy::Join,
            "take-token" => Remedy::TakeToken,
            "renew-token" => Remedy::RenewToken,
            "rejoin-anew" => Remedy::RejoinAnew,
            "rejoin-there" => Remedy::RejoinThere { station: self.station? },
            "rejoin-beside" => Remedy::RejoinBeside { station: self.station? },
            "replace-station" => Remedy::ReplaceStation { station: self.station? },
            "replace-none" => Remedy::ReplaceNone,
            "add-reader" => Remedy::AddReader,
            _ => return None,
        })
    }
}

/// A remedy that this build knows, or none: a peer of another version must still be understood.
pub(super) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Remedy>>, D::Error> {
    let json = Option::<RemedyJson>::deserialize(deserializer)?;
    Ok(json.and_then(RemedyJson::known).map(Box::new))
}
