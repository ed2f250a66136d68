//! The network: what becomes of a request and of its reply.

use tidemark_client::sync::{Failure, FailureKind, Reply};
use tidemark_core::protocol::{Problem, ProblemCode, UnavailableReason};

use super::dice::{Draw as _, Purpose, stream};
use super::faults::{Fault, FaultSet};
use tidemark_testkit::world::Dice;

/// The largest body a small proxy lets through, in bytes: more than any single change of the simulation needs.
const SMALL_PROXY_BYTES: usize = 900;
/// An ordinary way, in milliseconds.
const LATENCY_MS: (i64, i64) = (5, 120);
/// A slow one.
const DELAY_MS: (i64, i64) = (2_000, 90_000);

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Way {
    /// It arrives after so long.
    Arrives(i64),
    /// Only so many bytes of its body arrive, after so long; the client hears that the connection broke.
    Cut(i64, usize),
    /// It never arrives, and nobody says so.
    Lost,
    /// Nobody listens; the client hears it after so long.
    Refused(i64),
    /// Something in between, or the server before it has read the request, answers after so long.
    Answered(i64, Reply),
    /// The connection is closed before anything of it arrives; the client hears it after so long.
    Closed(i64),
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// It arrives after so long.
    Arrives(i64),
    /// The connection breaks while it is read.
    Cut(i64),
    /// It is lost, and the time runs out.
    Lost,
}

/// The network of a run.
pub struct Network {
    dice: Dice,
    faults: FaultSet,
    rates: Vec<f64>,
}

impl Network {
    /// The network of a seed.
    #[must_use]
    pub fn new(seed: u64, faults: FaultSet) -> Self {
        let rate = |&fault: &Fault| *stream(seed, Purpose::Fault(1000 + fault as u32)).pick(&[0.05, 0.15, 0.3, 0.5]);
        Self { dice: stream(seed, Purpose::Network), faults, rates: Fault::ALL.iter().map(rate).collect() }
    }

    /// The faults stop. What somebody has set up so stays.
    pub fn heal(&mut self) {
        let stays = self.faults.has(Fault::SmallProxy);
        self.faults = FaultSet::default();
        if stays {
            self.faults = self.faults.with(Fault::SmallProxy);
        }
    }

    fn strikes(&mut self, fault: Fault) -> bool {
        // Drawn also for faults that are not in the plan: without one, the others strike as before.
        let drawn = self.dice.chance(self.rates[fault as usize]);
        drawn && self.faults.has(fault)
    }

    fn latency(&mut self, hit: &mut dyn FnMut(Fault)) -> i64 {
        if self.strikes(Fault::Delay) {
            hit(Fault::Delay);
            return self.dice.between(DELAY_MS.0, DELAY_MS.1);
        }
        self.dice.between(LATENCY_MS.0, LATENCY_MS.1)
    }

    /// What becomes of a request with this body; also when its copies arrive. `hit` is told every fault.
    pub fn request(&mut self, body: &mut [u8], apart: bool, hit: &mut dyn FnMut(Fault)) -> (Way, Vec<(i64, Vec<u8>)>) {
        let latency = self.latency(hit);
        let mut copies = Vec::new();
        if apart {
            let way = if self.dice.chance(0.5) { Way::Lost } else { Way::Refused(latency) };
            return (way, copies);
        }
        if self.strikes(Fault::Duplicate) {
            hit(Fault::Duplicate);
            for _ in 0..self.dice.between(1, 3) {
                copies.push((latency + self.dice.between(0, 120_000), body.to_vec()));
            }
        }
        if self.strikes(Fault::Portal) {
            hit(Fault::Portal);
            return (Way::Answered(latency, self.junk()), copies);
        }
        if self.strikes(Fault::Shed) {
            hit(Fault::Shed);
            return (Way::Answered(latency, self.refusal()), copies);
        }
        if self.strikes(Fault::CutUpload) && !body.is_empty() {
            hit(Fault::CutUpload);
            let cut = if self.dice.chance(0.5) {
                Problem::new(ProblemCode::Timeout, "the body came too slowly")
            } else {
                Problem::unavailable(UnavailableReason::ServerStopping, "the server is being stopped")
            };
            return (Way::Answered(latency, of_problem(&cut, "1")), copies);
        }
        if self.strikes(Fault::Evicted) {
            hit(Fault::Evicted);
            return (Way::Closed(latency), copies);
        }
        if body.len() > SMALL_PROXY_BYTES && self.faults.has(Fault::SmallProxy) {
            hit(Fault::SmallProxy);
            return (Way::Answered(latency, answer(413, None, "<h1>413 Request Entity Too Large</h1>")), copies);
        }
        if self.strikes(Fault::LostRequest) {
            hit(Fault::LostRequest);
            return (Way::Lost, copies);
        }
        if self.strikes(Fault::CutRequest) && !body.is_empty() {
            hit(Fault::CutRequest);
            return (Way::Cut(latency, self.dice.below(body.len() as u64) as usize), copies);
        }
        // Frames carry a check; what a join says is protected by the connection alone.
        if self.strikes(Fault::Flip) && body.starts_with(b"TDMK") {
            hit(Fault::Flip);
            let at = self.dice.below(body.len() as u64) as usize;
            body[at] ^= 1 << self.dice.below(8);
        }
        (Way::Arrives(latency), copies)
    }

    /// What becomes of a reply.
    pub fn reply(&mut self, hit: &mut dyn FnMut(Fault)) -> Back {
        let latency = self.latency(hit);
        if self.strikes(Fault::LostReply) {
            hit(Fault::LostReply);
            return Back::Lost;
        }
        if self.strikes(Fault::CutReply) {
            hit(Fault::CutReply);
            return Back::Cut(latency);
        }
        Back::Arrives(latency)
    }

    /// When the client has given up, whether the reply is delivered nevertheless, and after how long.
    pub fn late(&mut self, hit: &mut dyn FnMut(Fault)) -> Option<i64> {
        let late = self.strikes(Fault::LateReply);
        let after = self.dice.between(100, 200_000);
        late.then(|| {
            hit(Fault::LateReply);
            after
        })
    }

    /// Which of several takes the request.
    pub fn server(&mut self, servers: usize) -> usize {
        self.dice.below(servers as u64) as usize
    }

    /// A refusal of ours that passes, of any reason.
    fn refusal(&mut self) -> Reply {
        use UnavailableReason as Reason;
        let reasons = [
            Reason::ServerBusy,
            Reason::ServerStopping,
            Reason::DatabaseAway,
            Reason::DatabaseStarting,
            Reason::DatabaseReadOnly,
            Reason::DatabaseFull,
            Reason::DatabaseLocked,
            Reason::DatabaseBusy,
            Reason::DatabaseFault,
            Reason::DatabaseDiffers,
        ];
        let problem = if self.dice.chance(0.25) {
            Problem::new(ProblemCode::TooManyRequests, "asked too often")
        } else {
            Problem::unavailable(*self.dice.pick(&reasons), "not now")
        };
        let after = *self.dice.pick(&["1", "2", "30", "300"]);
        of_problem(&problem, after)
    }

    /// Replies that nobody of ours wrote.
    fn junk(&mut self) -> Reply {
        let retry_after = ["1", "30", "120", "soon", "Fri, 31 Dec 1999 23:59:59 GMT"];
        let after = (*self.dice.pick(&retry_after)).to_owned();
        match self.dice.below(12) {
            0 => answer(200, None, "<html>Welcome! Please accept our terms.</html>"),
            1 => answer(200, None, "{}"),
            2 => answer(200, None, r#"{"tidemark":9999,"chain":"00","applied":1,"duplicate":0,"rejected":[]}"#),
            3 => answer(302, None, ""),
            4 => answer(404, None, "not found"),
            5 => answer(429, Some(after), "slow down"),
            6 => answer(500, None, "oops"),
            7 => answer(502, None, "bad gateway"),
            8 => answer(503, Some(after), "maintenance"),
            9 => answer(504, None, ""),
            10 => answer(413, None, ""),
            _ => answer(204, None, ""),
        }
    }
}

fn answer(status: u16, retry_after: Option<String>, body: &str) -> Reply {
    Reply { status, retry_after, body: body.as_bytes().to_vec() }
}

fn of_problem(problem: &Problem, retry_after: &str) -> Reply {
    let body = serde_json::to_string(problem).expect("BUG: a problem serialises");
    answer(problem.status, Some(retry_after.to_owned()), &body)
}

/// What a client hears when there is no answer.
#[must_use]
pub fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure { kind, message: message.to_owned() }
}
