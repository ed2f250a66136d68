//! Rejoining: a file whose history parted from its number's goes on under a new number.
//!
//! ```text
//! begin ─ keep uuid and token ─▶ GET /v1/history … ─▶ where do they part? ─▶ POST /v1/rejoin ─▶ one local transaction
//!            ▲                        ▲                                                     │
//!            └ again with the same code └──────────────── the server moved meanwhile ◀──────┘
//! ```
//!
//! Until the last step the file is what it was, and every step may be done again: with the same code come the same
//! words, and the server gives the same number.
//!
//! A server that does not know the file at all, because its database was put back to a backup from before the file
//! joined, is asked for a number as when joining (`POST /v1/join`), and is sent every row: [`Manner::Anew`].

use tidemark_core::joincode::JoinCode;
use tidemark_core::protocol::{JoinReply, ProblemCode, path};
use tidemark_core::rejoin::{HistoryReply, RejoinReply, RejoinRequest};
use tidemark_core::url::ServerUrl;
use tidemark_core::value::{format_uuid, hex};

use super::join::{self, JoinError, Known, Moved, NotNow, digest_of, keep_pending, shown_name};
use super::reply::{Read, read};
use super::{Reply, Request};
use crate::error::{Error, Secret};
use crate::meta::Membership;
use crate::rejoin::{Comparison, OwnHistory, RejoinBasis, Switch, Switched, chain_at, switch};
use crate::store::Store;

/// A step is small; a server that needs longer is not reachable.
const TIMEOUT_MS: u64 = 60_000;
/// How often the histories are compared again because the server moved meanwhile.
const ROUNDS_MAX: u32 = 5;

/// The outcome of a rejoin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejoined {
    /// Its new number and name.
    pub membership: Membership,
    /// The one it had.
    pub former: Membership,
    /// Changes that wait to be pushed under the new number.
    pub pending: u64,
    /// The log did not say all that happened, so it was begun anew from the rows.
    pub from_rows: bool,
}

/// Why a file could not rejoin.
#[derive(Debug, thiserror::Error)]
pub enum RejoinError {
    /// The code, the URL, the server or the file, as when joining.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The file has never joined.
    #[error("{0}: this station has not joined a server, so there is nothing to part from")]
    NotJoined(String),
    /// It need not.
    #[error(
        "{file}: not forked: the server has the same history up to change {common}, so a push goes on as station {number}"
    )]
    NotForked {
        /// Where.
        file: String,
        /// Last seq in common.
        common: u64,
        /// The number it has.
        number: u32,
    },
    /// It cannot be told which changes the server has.
    #[error(
        "{file}: somewhere between change {first} and change {last} the server has another history, and it has no prints of those changes, which \
         would tell where: it applied them longer ago than it keeps prints, or before it kept any. Nothing was changed"
    )]
    Unknown {
        /// Where.
        file: String,
        /// First change in doubt.
        first: u64,
        /// Last change in doubt.
        last: u64,
    },
    /// A fork of a file whose log is not whole.
    #[error(
        "{file}: the change log was tampered with ({detail}), and the server has another history, too: which rows are whose cannot be told. Nothing was \
         changed"
    )]
    Tampered {
        /// Where.
        file: String,
        /// The fault of the log.
        detail: String,
    },
    /// The code is the one that the file joined with.
    #[error("with this code the station joined; to rejoin it needs another one")]
    CodeOfJoin,
    /// The file was to begin anew at a server that knows it.
    #[error("the server knows this file, as station {number}: every row would be there twice")]
    Known {
        /// As which station.
        number: u32,
    },
    /// A file that was to begin anew has rows of a number that it had before.
    #[error(
        "some rows of this file are of a station it was before, which the server may know: which rows are there already cannot be told"
    )]
    FormerRows,
    /// Something that was sent may still arrive.
    #[error(
        "{file}: changes up to {sent} were sent as station {number} and no answer came, so they may still be applied under that number"
    )]
    InDoubt {
        /// Where.
        file: String,
        /// Last seq that was sent.
        sent: u64,
        /// The number it was sent under.
        number: u32,
    },
}

impl From<Error> for RejoinError {
    fn from(error: Error) -> Self {
        Self::Join(JoinError::Store(error))
    }
}

const fn not_now(why: NotNow) -> RejoinError {
    RejoinError::Join(JoinError::NotNow(why))
}

/// The wish of the person who rejoins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// To go on where the histories parted.
    Forked,
    /// To go on although they agree: of a copy whose original keeps the number.
    Forced,
    /// To be a new station with every row, at a server that does not know the file.
    Anew,
}

/// The question that was asked last, but for the history.
#[derive(Debug)]
enum Asked {
    Rejoin(RejoinBasis),
    Join,
}

/// The next step.
#[derive(Debug)]
pub enum Step {
    /// Ask this, then call [`Rejoin::hear`].
    Ask(Request),
    /// The file is the new station.
    Done(Rejoined),
}

/// A rejoin on its way.
#[derive(Debug)]
pub struct Rejoin {
    secret: [u8; 32],
    digest: [u8; 32],
    uuid: [u8; 16],
    token: Secret,
    server: ServerUrl,
    manner: Manner,
    rounds: u32,
    comparison: Comparison,
    asked: Option<Asked>,
}

/// Begins to rejoin: keeps the new uuid and token, and returns what to ask. `fresh` are a random uuid and token.
///
/// # Errors
/// A code or URL that is none; a file that never joined.
pub fn begin(
    store: &mut Store,
    code: &str,
    server: Option<&str>,
    fresh: ([u8; 16], Secret),
    manner: Manner,
) -> Result<(Rejoin, Step), RejoinError> {
    let code = JoinCode::decode(code).map_err(JoinError::from)?;
    let server = ServerUrl::parse(server.unwrap_or(&code.url)).map_err(JoinError::from)?;
    let digest = digest_of(&code.secret);
    if store.meta()?.membership.is_none() {
        return Err(RejoinError::NotJoined(store.file().to_owned()));
    }
    let (uuid, token) = keep_pending(store, digest, fresh, &server)?;
    let mut rejoin = Rejoin {
        secret: code.secret,
        digest,
        uuid,
        token,
        server,
        manner,
        rounds: 0,
        comparison: Comparison::new(OwnHistory::read(store)?),
        asked: None,
    };
    let step = rejoin.ask(store)?;
    Ok((rejoin, step))
}

impl Rejoin {
    /// The code was used by this file: it is what it asks to become.
    fn already(&self, store: &mut Store) -> Result<Step, RejoinError> {
        let (meta, former) = (store.meta()?, store.former()?.pop());
        let (Some(membership), Some(former)) = (meta.membership, former) else {
            return Err(RejoinError::CodeOfJoin);
        };
        let pending = store.status()?.pending;
        Ok(Step::Done(Rejoined { membership, former: former.membership, pending, from_rows: false }))
    }

    /// The file's old token proves which number it had.
    fn token(&self) -> Result<&Secret, RejoinError> {
        self.comparison.own.meta.token.as_ref().ok_or_else(|| not_now(NotNow::TokenLost))
    }

    fn ask(&mut self, store: &mut Store) -> Result<Step, RejoinError> {
        if self.comparison.own.meta.join_digest == Some(self.digest) {
            return self.already(store);
        }
        if let Some(after) = self.comparison.asks_after() {
            let request = Request::get(&self.server, &format!("{}?after={after}", path::HISTORY), self.token()?);
            return Ok(Step::Ask(request.within_ms(TIMEOUT_MS)));
        }
        let own = &self.comparison.own;
        let file = store.file().to_owned();
        let server = self.comparison.server.ok_or_else(|| not_now(NotNow::NoCursor))?;
        let number = own.meta.membership.as_ref().map_or(0, |membership| membership.number.get());
        let parting = self.comparison.basis();
        let (common, next) = match parting {
            RejoinBasis::At(common)
                if common == server.seq && self.manner != Manner::Forced && !self.comparison.revoked =>
            {
                return Err(RejoinError::NotForked { file, common, number });
            }
            RejoinBasis::At(common) => {
                let next = if common < own.last_seq() { Some(chain_at(store, common + 1)?) } else { None };
                (common, next)
            }
            RejoinBasis::Rows => (server.seq.min(own.last_seq()), None),
            RejoinBasis::Tampered => {
                let detail = own.tampered.clone().unwrap_or_else(|| "the server has lost changes".into());
                return Err(RejoinError::Tampered { file, detail });
            }
            RejoinBasis::Unknown(agree, last) => return Err(RejoinError::Unknown { file, first: agree + 1, last }),
            RejoinBasis::Anew => unreachable!("BUG: a server that answered knows the file"),
        };
        self.asked = Some(Asked::Rejoin(parting));
        let request = RejoinRequest {
            secret: hex(&self.secret),
            station_uuid: format_uuid(self.uuid),
            token: self.token.to_hex(),
            fingerprint: store.schema().fingerprint().to_hex(),
            tidemark: server.seq,
            chain: server.chain,
            common,
            next,
            must_replace: parting == RejoinBasis::Rows,
        };
        let request = Request::json(&self.server, path::REJOIN, Some(self.token()?), &request);
        Ok(Step::Ask(request.within_ms(TIMEOUT_MS)))
    }

    /// The server's answer to what was asked.
    ///
    /// # Errors
    /// The server's words, or the obstacle.
    pub fn hear(&mut self, store: &mut Store, now_ms: i64, reply: &Reply) -> Result<Step, RejoinError> {
        let (parting, reply) = match self.asked.take() {
            None => return self.on_history(store, reply),
            Some(Asked::Join) => {
                let JoinReply { station, name, limits } = answer(reply)?;
                (RejoinBasis::Anew, RejoinReply { station, name, replaces: false, limits })
            }
            Some(Asked::Rejoin(parting)) => {
                if let Read::Problem(problem) = read::<RejoinReply>(reply)
                    && problem.code == ProblemCode::Moved
                {
                    return self.again(store, Moved::Upstream(problem.detail));
                }
                (parting, answer(reply)?)
            }
        };
        let reply = RejoinReply { name: shown_name(&reply.name), ..reply };
        let before = &self.comparison.own.meta;
        let to = Switch {
            before,
            basis: parting,
            server_seq: self.comparison.server.map_or(0, |server| server.seq),
            uuid: self.uuid,
            token: &self.token,
            join_digest: self.digest,
            server: self.server.as_str(),
            reply: &reply,
            now_ms,
        };
        match switch(store, &to)? {
            Switched::Moved => self.again(store, Moved::Here),
            Switched::InDoubt(sent) => {
                let number = before.membership.as_ref().map_or(0, |membership| membership.number.get());
                Err(RejoinError::InDoubt { file: store.file().to_owned(), sent, number })
            }
            Switched::Done(pending) => Ok(Step::Done(Rejoined {
                membership: Membership { number: reply.station, name: reply.name.clone() },
                former: before.membership.clone().ok_or_else(|| RejoinError::NotJoined(store.file().to_owned()))?,
                pending,
                from_rows: parting == RejoinBasis::Rows,
            })),
        }
    }

    fn on_history(&mut self, store: &mut Store, reply: &Reply) -> Result<Step, RejoinError> {
        let history = match read::<HistoryReply>(reply) {
            Read::Problem(problem) if problem.code == ProblemCode::Unauthorized && self.manner == Manner::Anew => {
                return self.ask_to_join(store);
            }
            read => answer_of(read)?,
        };
        let ours = self.comparison.own.meta.membership.as_ref().map(|membership| membership.number);
        if ours != Some(history.station) {
            return Err(not_now(NotNow::OtherToken));
        }
        if self.manner == Manner::Anew {
            return Err(RejoinError::Known { number: history.station.get() });
        }
        self.comparison.answered(&history);
        self.ask(store)
    }

    /// Asks for a number as a file that was never here.
    fn ask_to_join(&mut self, store: &Store) -> Result<Step, RejoinError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM tidemark_former_ids)";
        let has_former_rows = store.connection().query_row(sql, [], |row| row.get(0));
        if has_former_rows.map_err(store.sqlite("read which rows an old number has"))? {
            return Err(RejoinError::FormerRows);
        }
        self.asked = Some(Asked::Join);
        let known = Known::Former(store.uuid());
        Ok(Step::Ask(join::request(store, &self.server, &self.secret, self.uuid, &self.token, known)))
    }

    fn again(&mut self, store: &mut Store, why: Moved) -> Result<Step, RejoinError> {
        self.rounds += 1;
        if self.rounds >= ROUNDS_MAX {
            return Err(not_now(NotNow::Moving { why, times: ROUNDS_MAX }));
        }
        self.comparison = Comparison::new(OwnHistory::read(store)?);
        self.ask(store)
    }
}

fn answer<T: serde::de::DeserializeOwned>(reply: &Reply) -> Result<T, RejoinError> {
    answer_of(read(reply))
}

fn answer_of<T>(read: Read<T>) -> Result<T, RejoinError> {
    match read {
        Read::Done(done) => Ok(done),
        Read::Problem(problem) => Err(join::answered(&problem).into()),
        Read::Other(foreign) => Err(not_now(NotNow::Foreign(foreign))),
    }
}
