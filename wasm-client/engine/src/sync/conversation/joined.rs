//! A station that may speak with its server.

use tidemark_core::ids::StationNumber;
use tidemark_core::url::ServerUrl;

use crate::error::Secret;
use crate::meta::Meta;
use crate::sync::Stop;

/// A station that has joined: where its server is and how it proves who it is there.
#[derive(Debug)]
pub(crate) struct Joined<'a> {
    /// The server.
    pub server: ServerUrl,
    /// The station's token.
    pub token: &'a Secret,
    /// The number it speaks as.
    pub number: StationNumber,
    /// All that the file says of the station.
    pub meta: &'a Meta,
}

impl<'a> Joined<'a> {
    /// The station of a file; otherwise why it cannot ask anything.
    pub(crate) fn of(file: &str, meta: &'a Meta) -> Result<Self, Stop> {
        let (Some(token), Some(server), Some(membership)) = (&meta.token, &meta.server, &meta.membership) else {
            return Err(Stop::NotJoined { file: file.to_owned() });
        };
        match ServerUrl::parse(server) {
            Ok(server) => Ok(Self { server, token, number: membership.number, meta }),
            Err(error) => Err(Stop::Url { file: file.to_owned(), error }),
        }
    }

    /// The same, unless the file says that nothing may be sent from it, and the server is not to be asked about that.
    pub(in crate::sync) fn unless_kept(self, asks: bool) -> Result<Self, Stop> {
        match &self.meta.forked {
            Some(halt) if !asks => Err(Stop::Halted(halt.clone())),
            _ => Ok(self),
        }
    }
}
