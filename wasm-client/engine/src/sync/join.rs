//! Joining: a station asks a server for its number.
//!
//! The token is made here and stored before the server is asked, so a lost reply is repaired by asking again with the same words:
//! same code, same token. Another code gets another token.

use rusqlite::params;
use tidemark_core::joincode::{JoinCode, JoinCodeError};
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::{JoinReply, JoinRequest, Problem};
use tidemark_core::value::{format_uuid, hex};

use super::reply::{Read, read};
use super::{Method, Refusal, Reply, Request, ServerUrl, UrlError};
use crate::error::{Error, Secret, printable};
use crate::meta::Membership;
use crate::store::Store;

/// Longest station name that is kept, in characters.
const NAME_CHARS_MAX: usize = 200;
/// A join is small; a server that needs longer is not reachable.
const TIMEOUT_MS: u64 = 30_000;

/// Why a station could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The code is none.
    #[error(transparent)]
    Code(#[from] JoinCodeError),
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// It has joined already.
    #[error(
        "this station joined {server} already, as station {number} {name:?}; a file joins once. Make another file for another server"
    )]
    Already {
        /// Where.
        server: String,
        /// Its number there.
        number: u32,
        /// Its name there.
        name: String,
    },
    /// The server refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The server answered nonsense, or is not well; the same code may be tried again.
    #[error("{0}")]
    NotNow(String),
    /// The file.
    #[error(transparent)]
    Store(#[from] Error),
}

/// How a join begins.
#[derive(Debug)]
pub enum Begin {
    /// Ask this, then call [`finish`].
    Ask(Request),
    /// This code was used by this station before: nothing to ask.
    Joined(Membership),
}

/// Begins to join: stores URL and token, and returns what to ask. `fresh_token` are 32 random bytes.
///
/// # Errors
/// A code or URL that is none; a station that has joined with another code.
pub fn begin(store: &mut Store, code: &str, server: Option<&str>, fresh_token: Secret) -> Result<Begin, JoinError> {
    let code = JoinCode::decode(code)?;
    let url = ServerUrl::parse(server.unwrap_or(&code.url))?;
    let digest = digest_of(&code.secret);
    let uuid = store.uuid();
    let meta = store.meta()?;
    let known = meta.join_digest == Some(digest);
    if let Some(membership) = meta.membership {
        if known {
            return Ok(Begin::Joined(membership));
        }
        return Err(JoinError::Already {
            server: meta.server.unwrap_or_default(),
            number: membership.number.get(),
            name: membership.name,
        });
    }
    if planted(Bug::TokenRemade) {
        store.update_station("join_digest = NULL", [])?;
    }
    // Two processes that join at once must end with one token: whoever comes second takes the first one's.
    store.connection().execute(
        "UPDATE tidemark_station SET token = CASE WHEN join_digest IS ?1 AND token IS NOT NULL THEN token ELSE ?2 END, join_digest = ?1, \
         server = ?3 WHERE number IS NULL",
        params![digest, fresh_token.0, url.as_str()],
    ).map_err(store.sqlite("keep the token"))?;
    let token = store.meta()?.token.ok_or_else(|| JoinError::NotNow("another process joined just now".into()))?;
    Ok(Begin::Ask(request(store, &url, &code.secret, uuid, &token)))
}

/// A problem that the server answered with.
pub(super) fn answered(problem: &Problem) -> JoinError {
    match Refusal::of(problem) {
        Some(refusal) => JoinError::Refused(refusal),
        None => JoinError::NotNow(format!("the server cannot answer now: {}", problem.detail)),
    }
}

/// What a file asks that has no number at this server: the same again for the same code.
pub(super) fn request(store: &Store, url: &ServerUrl, secret: &[u8; 32], uuid: [u8; 16], token: &Secret) -> Request {
    let request = JoinRequest {
        secret: hex(secret),
        station_uuid: format_uuid(uuid),
        token: token.to_hex(),
        fingerprint: store.schema().fingerprint().to_hex(),
    };
    Request {
        id: 0,
        method: Method::Post,
        url: url.join("/v1/join"),
        token: None,
        content_type: Some("application/json"),
        body: serde_json::to_vec(&request).expect("BUG: four strings serialise"),
        timeout_ms: TIMEOUT_MS,
    }
}

/// Which code a token was made for.
pub(super) fn digest_of(secret: &[u8; 32]) -> [u8; 32] {
    tidemark_core::chain::Chain([0; 32]).then(secret).0
}

/// A station's name as it is kept.
pub(super) fn shown_name(name: &str) -> String {
    printable(name).chars().take(NAME_CHARS_MAX).collect()
}

/// Ends a join with the server's reply.
///
/// # Errors
/// What the server said.
pub fn finish(store: &mut Store, now_ms: i64, reply: &Reply) -> Result<Membership, JoinError> {
    let joined: JoinReply = match read(reply) {
        Read::Done(joined) => joined,
        Read::Problem(problem) => {
            return Err(answered(&problem));
        }
        Read::Other(message) => return Err(JoinError::NotNow(message)),
    };
    let name = shown_name(&joined.name);
    let limits = serde_json::to_string(&joined.limits).expect("BUG: four numbers serialise");
    store.update_station(
        "number = ?1, name = ?2, limits = ?3, last_contact_ms = ?4, last_error = NULL, last_error_ms = NULL",
        params![joined.station.get(), name, limits, now_ms],
    )?;
    Ok(Membership { number: joined.station, name })
}

impl Store {
    /// The server answers at another URL now. Number and token are what they were: it must be the same server, or its database.
    ///
    /// # Errors
    /// [`Error::NotJoined`], SQLite's.
    pub fn move_server(&self, url: &ServerUrl) -> crate::Result<()> {
        if self.meta()?.membership.is_none() {
            return Err(Error::NotJoined { file: self.file().to_owned() });
        }
        self.update_station("server = ?1", [url.as_str()])
    }
}
