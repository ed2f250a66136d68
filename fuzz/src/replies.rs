//! Replies: whatever a server, or whoever sits between, answers, nothing is trimmed that its chain does not prove to be
//! upstream.

use arbitrary::{Arbitrary, Unstructured};
use tidemark_client::sync::join::{self, Begin};
use tidemark_client::sync::{Action, Config, Engine, Event, Failure, FailureKind, Reply, ServerUrl};
use tidemark_client::{Secret, Store};
use tidemark_core::chain::Chain;
use tidemark_core::joincode::JoinCode;
use tidemark_core::protocol::JoinRequest;

use crate::station::{PENDING, TOKEN, chains, check_tidemark, code, with};

/// The fate of a request.
#[derive(Debug, Arbitrary)]
enum Answer {
    Lost { timeout: bool },
    Reply { status: u16, retry_after: Option<String>, body: Vec<u8> },
    Json { status: Status, body: Json },
}

/// The statuses that mean something.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Status {
    Ok,
    Bad,
    Forbidden,
    Conflict,
    TooLarge,
    Busy,
    Any(u16),
}

impl Status {
    const fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Bad => 400,
            Self::Forbidden => 403,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Busy => 503,
            Self::Any(code) => code,
        }
    }
}

/// A document that is nearly right.
#[derive(Debug, Arbitrary)]
struct Json {
    tidemark: u64,
    /// The chain of this seq, if the station has it; else one of nobody.
    chain: u8,
    near: bool,
    station: u32,
    rejected: Vec<(u8, bool)>,
    limits: [u32; 4],
    code: u8,
}

impl Json {
    fn body(&self, chains: &[Chain]) -> Vec<u8> {
        let tidemark = if self.near { self.tidemark % (PENDING + 3) } else { self.tidemark };
        let chain = chains.get(usize::from(self.chain)).map_or_else(|| "00".repeat(32), |chain| chain.to_hex());
        let codes = [
            "bad-frame",
            "bad-request",
            "unauthorized",
            "revoked",
            "wrong-station",
            "gap",
            "forked",
            "unknown-schema",
            "too-large",
            "timeout",
            "internal",
            "unavailable",
            "not-found",
        ];
        let rejected: Vec<serde_json::Value> = self
            .rejected
            .iter()
            .map(|(seq, known)| {
                serde_json::json!({ "seq": seq, "code": if *known { "reference" } else { "new" }, "message": "no parent" })
            })
            .collect();
        let settled = self.rejected.iter().map(
            |(seq, given_up)| serde_json::json!({ "seq": seq, "fate": if *given_up { "discarded" } else { "replayed" } }),
        );
        let settled: Vec<serde_json::Value> = settled.collect();
        let [rows_max, frame_bytes_max, body_bytes_max, cells_max] = self.limits;
        let limits = serde_json::json!({ "rows_max": rows_max, "frame_bytes_max": frame_bytes_max, "body_bytes_max": body_bytes_max, "cells_max": cells_max });
        let json = serde_json::json!({
            "tidemark": tidemark, "chain": chain, "station": self.station, "name": "alpha", "server_time_ms": 0,
            "applied": 1, "duplicate": 0, "rejected": rejected, "settled": settled, "limits": limits,
            "type": "x", "status": 409, "detail": "because", "code": codes[usize::from(self.code) % codes.len()],
        });
        serde_json::to_vec(&json).expect("BUG: JSON serialises")
    }
}

/// The bytes are answers to a station's requests, and first, as they are, every message that is read somewhere.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = JoinCode::decode(text);
        let _ = ServerUrl::parse(text);
    }
    let _ = serde_json::from_slice::<JoinRequest>(data);
    let Ok(answers) = Vec::<Answer>::arbitrary(&mut Unstructured::new(data)) else { return };
    let chains = chains();
    let replies = answers.iter().take(20).map(|answer| match answer {
        Answer::Lost { timeout } => {
            let kind = if *timeout { FailureKind::Timeout } else { FailureKind::Broken };
            Err(Failure { kind, message: "lost".into() })
        }
        Answer::Reply { status, retry_after, body } => {
            Ok(Reply { status: *status, retry_after: retry_after.clone(), body: body.clone() })
        }
        Answer::Json { status, body } => {
            Ok(Reply { status: status.code(), retry_after: None, body: body.body(&chains) })
        }
    });
    let replies: Vec<Result<Reply, Failure>> = replies.collect();
    with(|store| push(store, &replies, &chains));
    if let Some(Ok(reply)) = replies.first() {
        with(|store| join_with(store, reply));
    }
}

fn push(store: &mut Store, replies: &[Result<Reply, Failure>], chains: &[Chain]) {
    let mut engine = Engine::new(Config::interactive(1));
    let mut now_ms = 1_000_000_i64;
    let mut replies = replies.iter();
    let mut idle = false;
    let rejects = |store: &Store| {
        let count = "SELECT count(*) FROM tidemark_rejects";
        store.connection().query_row(count, [], |row| row.get::<_, i64>(0)).expect("the table is there")
    };
    for _ in 0..60 {
        match engine.next(store, now_ms).expect("the store is well") {
            Action::Send(request) => {
                let Some(reply) = replies.next() else { return };
                let before = store.meta().expect("the row is whole").tidemark.seq;
                let kept = rejects(store);
                let event = match reply {
                    Ok(reply) => engine.on_reply(store, now_ms, request.id, reply),
                    Err(failure) => engine.on_failure(store, now_ms, request.id, failure),
                };
                let event = event.expect("the store is well");
                check_tidemark(store, chains);
                let after = store.meta().expect("the row is whole").tidemark.seq;
                if after == before {
                    assert_eq!(rejects(store), kept, "whatever is said of them, rejects stay");
                    continue;
                }
                assert!(
                    matches!(event, Event::Acked { tidemark, changes, .. } if tidemark == after && changes == after - before)
                );
                let body = reply.as_ref().map_or("".into(), |reply| String::from_utf8_lossy(&reply.body));
                let proved = (after as usize..chains.len()).any(|seq| body.contains(&chains[seq].to_hex()));
                assert!(proved, "trimmed to {after} without its chain: {body}");
            }
            Action::WaitUntil(at_ms) => {
                assert!(at_ms > now_ms, "a wait that is over");
                now_ms = at_ms;
            }
            Action::Idle => {
                assert_eq!(store.meta().expect("the row is whole").tidemark.seq, PENDING, "idle with changes pending");
                // The next process asks what became of the rejects.
                if std::mem::replace(&mut idle, true) {
                    return;
                }
                engine = Engine::new(Config::interactive(2));
            }
            Action::UnderWay(_) => unreachable!("nothing was sent early"),
            Action::Stopped(stop) => {
                assert!(!stop.to_string().is_empty());
                return;
            }
        }
    }
}

/// The same answer to a station that asks to join.
fn join_with(store: &mut Store, reply: &Reply) {
    store.execute("UPDATE tidemark_station SET number = NULL, name = NULL", ()).expect("the row is there");
    let begun = join::ask(store, &code(), None, Secret(TOKEN)).expect("the code is one");
    assert!(matches!(begun, Begin::Ask(_)));
    let joined = join::hear(store, 0, reply);
    assert_eq!(store.meta().expect("the row is whole").membership, joined.ok());
}
