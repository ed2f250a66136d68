//! Joining: a station asks a server for its number.
//!
//! The token is made here and stored before the server is asked, so a lost reply is repaired by asking again with the
//! same words: same code, same token. Another code gets another token.
//!
//! A station that has joined takes another token in the same way, with a code of `station rotate`: the new one is kept
//! beside the old one until the server has said that it is in force. Number, log and rows stay.

use std::path::Path;

use rusqlite::{OptionalExtension as _, params};
use tidemark_core::ids::StationNumber;
use tidemark_core::joincode::{JoinCode, JoinCodeError};
use tidemark_core::limits::FrameLimits;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::{JoinReply, JoinRequest, Problem, ProblemCode, Remedy, path};
use tidemark_core::url::{ServerUrl, UrlError};
use tidemark_core::value::{format_uuid, hex};

use super::reply::{Read, read};
use super::{Foreign, Refusal, Reply, Request, Unwell};
use crate::error::{Error, Secret, printable};
use crate::meta::{self, Membership};
use crate::private;
use crate::store::Store;
use crate::trust::{self, Trust};

/// Longest station name that is kept, in characters.
const NAME_CHARS_MAX: usize = 200;

/// Why a station could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The code is none.
    #[error(transparent)]
    Code(#[from] JoinCodeError),
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// It has joined already, and the code is not one that gives it another token.
    #[error(
        "this station joined {server} already, as station {number} {name:?}, and this code gives it no other token: {said}. A file joins once; make \
         another file for another server"
    )]
    Already {
        /// Where.
        server: String,
        /// Its number there.
        number: u32,
        /// Its name there.
        name: String,
        /// The server's words.
        said: String,
        /// The remedy that the server names.
        remedy: Option<Box<Remedy>>,
    },
    /// The server refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The server answered nonsense, or is not well; the same code may be tried again.
    #[error("{0}")]
    NotNow(NotNow),
    /// The file.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why it is worth to try again later with the same code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// The server is not well.
    #[error("the server cannot answer now: {}", .0.detail)]
    Unwell(Unwell),
    /// Somebody else answered.
    #[error("{0}")]
    Foreign(Foreign),
    /// Another process was faster.
    #[error("another process joined just now")]
    Overtaken,
    /// The server takes the file for another station's.
    #[error("the server takes this file for another station's")]
    OtherStation,
    /// The server takes the file's token for another station's.
    #[error("the server takes this file's token for another station's")]
    OtherToken,
    /// A file with a number has no token.
    #[error("the file has lost its token")]
    TokenLost,
    /// The server answered without its cursor.
    #[error("the server did not say where it stands")]
    NoCursor,
    /// While the file rejoined, somebody moved the station's tidemark, so many times in a row.
    #[error("{why}; this happened {times} times in a row")]
    Moving {
        /// Who did.
        why: Moved,
        /// How often.
        times: u32,
    },
}

/// Who moved a station's tidemark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Moved {
    /// The server says that it moved.
    #[error("{0}")]
    Upstream(String),
    /// Another process on this machine.
    #[error("another process pushed from this file")]
    Here,
}

/// How a join begins.
#[derive(Debug)]
pub enum Begin {
    /// Ask this, then call [`hear`].
    Ask(Request),
    /// This code was used by this station before: nothing to ask.
    Joined(Membership),
}

/// Begins to join, or to take another token: stores URL and token, and returns what to ask. `fresh_token` are 32 random
/// bytes.
///
/// # Errors
/// A code or URL that is none.
pub fn ask(store: &mut Store, code: &str, server: Option<&str>, fresh_token: Secret) -> Result<Begin, JoinError> {
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
        let token = keep_pending(store, digest, (uuid, fresh_token), &url)?.1;
        let known = Known::Number(membership.number);
        return Ok(Begin::Ask(request(store, &url, &code.secret, uuid, &token, known)));
    }
    close(store)?;
    if planted(Bug::TokenRemade) {
        store.forget_join_code()?;
    }
    // Two processes that join at once must end with one token: whoever comes second takes the first one's.
    store.begin_join(digest, &fresh_token, url.as_str())?;
    let token = store.meta()?.token.ok_or_else(|| JoinError::NotNow(NotNow::Overtaken))?;
    Ok(Begin::Ask(request(store, &url, &code.secret, uuid, &token, Known::Nothing)))
}

/// A problem that the server answered with.
pub(super) fn answered(problem: &Problem) -> JoinError {
    match Refusal::of(problem) {
        Some(refusal) => JoinError::Refused(refusal),
        None => JoinError::NotNow(NotNow::Unwell(Unwell::of(problem))),
    }
}

/// From here on the file holds a token.
fn close(store: &Store) -> crate::Result<()> {
    let exposed = |error: std::io::Error| Error::Exposed { file: store.file().to_owned(), detail: error.to_string() };
    private::close(Path::new(store.file())).map_err(exposed)
}

/// Keeps the uuid and token that a file with a number asks for with a code, beside those it has; returns those that are
/// kept. Two processes at once end with the same: whoever comes second takes the first one's, and one that comes when
/// all is done keeps nothing.
pub(super) fn keep_pending(
    store: &Store,
    digest: [u8; 32],
    fresh: ([u8; 16], Secret),
    server: &ServerUrl,
) -> crate::Result<([u8; 16], Secret)> {
    let sql = "INSERT INTO tidemark_rejoin (one, join_digest, station_uuid, token, server)
             SELECT 1, ?1, ?2, ?3, ?4 FROM tidemark_station WHERE join_digest IS NOT ?1
         ON CONFLICT (one) DO UPDATE SET
             station_uuid = CASE WHEN join_digest = excluded.join_digest AND @same THEN station_uuid ELSE excluded.station_uuid END,
             token = CASE WHEN join_digest = excluded.join_digest AND @same THEN token ELSE excluded.token END,
             join_digest = excluded.join_digest, server = excluded.server"
        // The same code may have been tried for the other purpose: a file that asks for another token goes on under its
        // uuid, one that rejoins does not.
        .replace("@same", "(station_uuid = @own) = (excluded.station_uuid = @own)")
        .replace("@own", "(SELECT own.station_uuid FROM tidemark_station AS own)");
    close(store)?;
    store
        .connection()
        .execute(&sql, params![digest, fresh.0, fresh.1.0, server.as_str()])
        .map_err(store.sqlite("keep uuid and token"))?;
    let kept = store
        .connection()
        .query_row("SELECT station_uuid, token FROM tidemark_rejoin WHERE join_digest = ?1", [digest], |row| {
            Ok((row.get(0)?, Secret(row.get(1)?)))
        })
        .optional()
        .map_err(store.sqlite("read uuid and token"))?;
    Ok(kept.unwrap_or(fresh))
}

/// The acquaintance of a server with a file that asks to join.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// Nothing: it is new.
    Nothing,
    /// It is this station, and asks for another token.
    Number(StationNumber),
    /// It was the station of this uuid, and the server did not know its token.
    Former([u8; 16]),
}

/// What a file asks that has no number at this server, or another token for the number it has: the same again for the
/// same code.
pub(super) fn request(
    store: &Store,
    url: &ServerUrl,
    secret: &[u8; 32],
    uuid: [u8; 16],
    token: &Secret,
    known: Known,
) -> Request {
    let (station, former_uuid) = match known {
        Known::Nothing => (None, None),
        Known::Number(number) => (Some(number), None),
        Known::Former(uuid) => (None, Some(format_uuid(uuid))),
    };
    let request = JoinRequest {
        secret: hex(secret),
        station_uuid: format_uuid(uuid),
        token: token.to_hex(),
        fingerprint: store.schema().fingerprint().to_hex(),
        station,
        former_uuid,
    };
    Request::json(url, path::JOIN, None, &request)
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
/// The server's words.
pub fn hear(store: &mut Store, now_ms: i64, reply: &Reply) -> Result<Membership, JoinError> {
    hear_of(store, now_ms, reply, None)
}

/// [`hear`], of a server that is known by this from now on, if it takes the file: a code that does not join leaves
/// nothing behind.
///
/// # Errors
/// As there.
pub fn hear_of(
    store: &mut Store,
    now_ms: i64,
    reply: &Reply,
    known_by: Option<&Trust>,
) -> Result<Membership, JoinError> {
    let joined: JoinReply = match read(reply) {
        Read::Done(joined) => joined,
        Read::Problem(problem) => {
            let is_code = matches!(problem.code, ProblemCode::JoinCodeUnknown | ProblemCode::JoinCodeUsed);
            let meta = store.meta()?;
            if let Some(Membership { number, name }) = meta.membership.filter(|_| is_code) {
                let (server, said, remedy) = (meta.server.unwrap_or_default(), problem.detail, problem.remedy);
                return Err(JoinError::Already { server, number: number.get(), name, said, remedy });
            }
            return Err(answered(&problem));
        }
        Read::Other(foreign) => return Err(JoinError::NotNow(NotNow::Foreign(foreign))),
    };
    let name = shown_name(&joined.name);
    if let Some(membership) = store.meta()?.membership {
        if membership.number != joined.station {
            return Err(JoinError::NotNow(NotNow::OtherStation));
        }
        take_token(store, &name, &joined.limits, known_by, now_ms)?;
        return Ok(Membership { number: joined.station, name });
    }
    let membership = Membership { number: joined.station, name };
    store.note_joined(&membership, &joined.limits, known_by, now_ms)?;
    Ok(membership)
}

/// The token that was kept is in force.
fn take_token(
    store: &mut Store,
    name: &str,
    limits: &FrameLimits,
    known_by: Option<&Trust>,
    now_ms: i64,
) -> crate::Result<()> {
    let file = store.file().to_owned();
    store.transaction(|tx| {
        meta::write::take_kept_token(tx, name, limits, now_ms)
            .and_then(|()| known_by.map_or(Ok(()), |known_by| trust::write(tx, known_by)))
            .map_err(|error| Error::sqlite(&file, "take another token", error))
    })
}

impl Store {
    /// The server answers at another URL now. Number and token are what they were: it must be the same server, or its
    /// database.
    ///
    /// # Errors
    /// [`Error::NotJoined`], SQLite's.
    pub fn move_server(&self, url: &ServerUrl) -> crate::Result<()> {
        if self.meta()?.membership.is_none() {
            return Err(Error::NotJoined { file: self.file().to_owned() });
        }
        self.note_server(url.as_str())
    }
}
