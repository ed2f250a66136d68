//! A server in a few lines: decodes frames, decides, keeps cursor and rejects, and fails as it is told.

#![allow(dead_code)]
#![allow(clippy::unwrap_used)]

pub mod upstream;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use tempfile::TempDir;
use tidemark_client::sync::join::{self, Begin};
use tidemark_client::sync::{
    Clock, Config, Drained, Engine, Event, Failure, FailureKind, Patience, Reply, Request, Transport, drain,
};
use tidemark_client::{Secret, Store};
use tidemark_core::batch::Op;
use tidemark_core::chain::Chain;
use tidemark_core::decision::{Cursor, Decision, decide};
use tidemark_core::frame::{self, FrameHeader};
use tidemark_core::ids::StationNumber;
use tidemark_core::joincode::JoinCode;
use tidemark_core::limits::{ASKED_REJECTS_MAX, FrameLimits};
use tidemark_core::protocol::{
    ContactReply, ContactRequest, JoinReply, JoinRequest, Problem, ProblemCode, PushReply, RejectFate, RejectedChange,
    RejectsReply, RejectsRequest, SettledReject, StationReply,
};
use tidemark_core::reject::RejectCode;
use tidemark_core::schema::Schema;

pub const SCHEMA: &str = r#"
name = "weather"
version = 1
[tables.site.columns]
id = { type = "integer" }
name = { type = "text", required = true }
[tables.reading]
time = "at"
[tables.reading.columns]
id = { type = "integer" }
site_id = { type = "integer", references = "site" }
at = { type = "timestamp", default = "now" }
n = { type = "integer" }
x = { type = "real" }
note = { type = "text" }
extra = { type = "json" }
raw = { type = "bytes" }
"#;

pub const UUID: [u8; 16] = [7; 16];

pub fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

/// What happens to the next request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: it is served.
    None,
    /// It never arrives.
    LoseRequest,
    /// It is served, and the reply is lost.
    LoseReply,
    /// It takes too long; nothing was done.
    Timeout,
    /// It is answered with these instead.
    Answer(Reply),
}

pub struct FakeServer {
    pub cursor: Cursor,
    pub limits: FrameLimits,
    pub faults: VecDeque<Fault>,
    /// Once the faults are used up, this one for ever.
    pub always: Option<Fault>,
    /// Every change applied, by seq: table, operation.
    pub applied: BTreeMap<u64, (u32, Op)>,
    /// Rejects these seqs.
    pub reject: Vec<u64>,
    /// What became of rejects.
    pub settled: Vec<SettledReject>,
    /// Rejects that were settled longer ago than it keeps.
    pub forgotten: Vec<u64>,
    /// The rejects that the station asked about, question by question.
    pub asked: Vec<Vec<u64>>,
    /// What the station said of its own rejects.
    pub told: Vec<(u64, RejectFate)>,
    /// What the station said of itself.
    pub contacts: Vec<ContactRequest>,
    /// An older server does not.
    pub knows_contact: bool,
    pub requests: Vec<Request>,
    /// Changes of each batch that arrived.
    pub batches: Vec<u32>,
    pub token: Option<String>,
}

pub fn problem(code: ProblemCode) -> Reply {
    answer(code.status(), &Problem::new(code, "because"))
}

pub fn answer(status: u16, body: &impl serde::Serialize) -> Reply {
    Reply { status, retry_after: None, body: serde_json::to_vec(body).unwrap() }
}

impl FakeServer {
    pub fn new() -> Self {
        Self {
            cursor: Cursor { seq: 0, chain: Chain::start(UUID) },
            limits: FrameLimits::DEFAULT,
            faults: VecDeque::new(),
            always: None,
            applied: BTreeMap::new(),
            reject: Vec::new(),
            settled: Vec::new(),
            forgotten: Vec::new(),
            asked: Vec::new(),
            told: Vec::new(),
            contacts: Vec::new(),
            knows_contact: true,
            requests: Vec::new(),
            batches: Vec::new(),
            token: None,
        }
    }

    fn serve(&mut self, request: &Request) -> Reply {
        match request.url.rsplit('/').next().unwrap() {
            "join" => {
                let asked: JoinRequest = serde_json::from_slice(&request.body).unwrap();
                if self.token.get_or_insert(asked.token.clone()) != &asked.token {
                    return problem(ProblemCode::JoinCodeUsed);
                }
                let station = StationNumber::new(3).unwrap();
                answer(200, &JoinReply { station, name: "alpha".into(), limits: self.limits })
            }
            "station" => answer(
                200,
                &StationReply {
                    station: StationNumber::new(3).unwrap(),
                    name: "alpha".into(),
                    tidemark: self.cursor.seq,
                    chain: self.cursor.chain,
                    limits: self.limits,
                    server_time_ms: 0,
                },
            ),
            "push" => self.push(&request.body),
            "rejects" => {
                let asked: RejectsRequest = serde_json::from_slice(&request.body).unwrap();
                assert!(asked.open.len() <= ASKED_REJECTS_MAX);
                let settled = self.settled.iter().filter(|settled| asked.open.contains(&settled.seq)).cloned();
                assert!(asked.settled.len() <= ASKED_REJECTS_MAX);
                self.told.extend(asked.settled.iter().map(|settled| (settled.seq, settled.fate)));
                self.asked.push(asked.open.clone());
                let forgotten = self.forgotten.iter().copied().filter(|seq| asked.open.contains(seq)).collect();
                answer(200, &RejectsReply { settled: settled.collect(), forgotten })
            }
            "contact" if self.knows_contact => {
                self.contacts.push(serde_json::from_slice(&request.body).unwrap());
                answer(200, &ContactReply { server_time_ms: 0 })
            }
            "contact" => problem(ProblemCode::NotFound),
            other => panic!("unknown endpoint {other}"),
        }
    }

    fn push(&mut self, body: &[u8]) -> Reply {
        if FrameHeader::parse(body, &self.limits).is_err() {
            let too_large = Problem::new(ProblemCode::TooLarge, "too large").with_limits(self.limits);
            return answer(413, &too_large);
        }
        let Ok(batch) = frame::decode(body, &schema(), &self.limits) else { return problem(ProblemCode::BadFrame) };
        let span = batch.span();
        self.batches.push(span.count);
        let (mut applied, mut duplicate) = (0, span.count);
        match decide(&self.cursor, &span, |seq| batch.chain_at(&schema(), seq)) {
            Decision::Apply { skip } => {
                for change in batch.changes().skip(skip as usize) {
                    let group = &batch.groups[change.group];
                    assert!(self.applied.insert(change.seq, (group.table, group.op)).is_none(), "applied twice");
                }
                self.cursor = Cursor { seq: span.last_seq(), chain: span.chain_after };
                (applied, duplicate) = (span.count - skip, skip);
            }
            Decision::Duplicate => {}
            Decision::Gap { .. } => return answer(409, &Problem::new(ProblemCode::Gap, "gap").at(self.cursor)),
            Decision::Forked { .. } => {
                return answer(409, &Problem::new(ProblemCode::Forked, "forked").at(self.cursor));
            }
        }
        let range = span.first_seq..=span.last_seq();
        let rejected = self.reject.iter().filter(|seq| range.contains(seq));
        let rejected =
            rejected.map(|&seq| RejectedChange { seq, code: RejectCode::Reference, message: "no parent".into() });
        answer(
            200,
            &PushReply {
                tidemark: self.cursor.seq,
                chain: self.cursor.chain,
                applied,
                duplicate,
                rejected: rejected.collect(),
                limits: self.limits,
            },
        )
    }
}

impl Transport for FakeServer {
    fn send(&mut self, request: &Request) -> Result<Reply, Failure> {
        self.requests.push(request.clone());
        let fault = self.faults.pop_front().or_else(|| self.always.clone()).unwrap_or(Fault::None);
        let lost = |kind| Err(Failure { kind, message: "the connection was lost".into() });
        match fault {
            Fault::None => Ok(self.serve(request)),
            Fault::LoseRequest => lost(FailureKind::Broken),
            Fault::LoseReply => {
                self.serve(request);
                lost(FailureKind::Broken)
            }
            Fault::Timeout => lost(FailureKind::Timeout),
            Fault::Answer(reply) => Ok(reply),
        }
    }
}

/// A clock that only sleeping moves.
pub struct TestClock(pub i64);

impl Clock for TestClock {
    fn now_ms(&mut self) -> i64 {
        self.0
    }
    fn sleep_until(&mut self, at_ms: i64) {
        assert!(at_ms > self.0, "a wait must end later than now");
        self.0 = at_ms;
    }
}

/// A station's file in a folder of its own, with a server that knows it.
pub struct World {
    pub folder: TempDir,
    pub store: Store,
    pub engine: Engine,
    pub server: FakeServer,
    pub clock: TestClock,
    pub events: Vec<Event>,
}

pub fn code() -> String {
    JoinCode { url: "http://127.0.0.1:1".into(), secret: [9; 32], pin: None }.encode()
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(folder.path().join("field.db"), &schema(), UUID).unwrap();
        let (engine, clock) = (Engine::new(Config::interactive(1)), TestClock(1_800_000_000_000));
        Self { folder, store, engine, server: FakeServer::new(), clock, events: Vec::new() }
    }

    pub fn joined() -> Self {
        Self::joined_with(FrameLimits::DEFAULT)
    }

    /// Joined with a server that says these limits.
    pub fn joined_with(limits: FrameLimits) -> Self {
        let mut world = Self::new();
        world.server.limits = limits;
        let Begin::Ask(request) = join::ask(&mut world.store, &code(), None, Secret([5; 32])).unwrap() else {
            panic!()
        };
        let reply = world.server.send(&request).unwrap();
        join::hear(&mut world.store, 0, &reply).unwrap();
        world.server.requests.clear();
        world
    }

    /// Another station that begins where this one stands, on a file that need not survive a power cut.
    pub fn copy(&self) -> Self {
        let (folder, path) = (tempfile::tempdir().unwrap(), self.path());
        self.store.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        std::fs::copy(path, folder.path().join("field.db")).unwrap();
        let store = Store::open(folder.path().join("field.db")).unwrap();
        store.connection().pragma_update(None, "synchronous", "OFF").unwrap();
        let mut server = FakeServer::new();
        server.token.clone_from(&self.server.token);
        let (engine, clock) = (Engine::new(Config::interactive(1)), TestClock(self.clock.0));
        Self { folder, store, engine, server, clock, events: Vec::new() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("field.db")
    }

    /// Writes `count` readings.
    pub fn write(&mut self, count: u64) {
        self.store
            .transaction(|tx| {
                let mut insert = tx.prepare("INSERT INTO reading (n, note) VALUES (?1, 'a note')").unwrap();
                (0..count).for_each(|n| assert_eq!(insert.execute([n as i64]).unwrap(), 1));
                Ok::<_, tidemark_client::Error>(())
            })
            .unwrap();
    }

    /// Pushes with the engine there is.
    pub fn push(&mut self) -> Drained {
        self.engine.resume(&self.store).unwrap();
        let patience = Patience { failures: 4, wait_ms: 60_000 };
        let events = &mut self.events;
        let mut watch = |event: &Event| events.push(event.clone());
        drain(&mut self.store, &mut self.engine, &mut self.server, &mut self.clock, patience, &mut watch).unwrap()
    }

    /// The process ends and another one opens the file.
    pub fn restart(&mut self) {
        self.store = Store::open(self.path()).unwrap();
        self.engine = Engine::new(Config::interactive(2));
    }

    /// Asserts that everything is upstream once and the station knows it.
    #[track_caller]
    pub fn assert_in_sync(&mut self) {
        let status = self.store.status().unwrap();
        let meta = self.store.meta().unwrap();
        assert_eq!((status.pending, status.tidemark), (0, status.last_seq), "{status:?}");
        assert_eq!(meta.tidemark, self.server.cursor);
        assert_eq!(self.server.applied.len() as u64, status.last_seq);
        assert_eq!(self.store.log(10).unwrap(), []);
    }
}

#[track_caller]
pub fn changes(drained: &Drained) -> u64 {
    match drained {
        Drained::Done(summary) => summary.changes,
        other => panic!("not drained: {other:?}"),
    }
}
