//! Servers: the real endpoint, called without a socket, over one database that fails at named moments.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use tidemark_client::sync::{Method, Reply, Request};
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;
use tidemark_core::value::Value;
use tidemark_memory::{Footprint, MemoryUpstream, Moment};
use tidemark_server::config::{ClockWindow, HttpLimits};
use tidemark_server::http::{Endpoint, RequestBody};
use tidemark_server::ingest::Ingest;
use tidemark_server::upstream::error::Unavailability;
use tidemark_server::upstream::{Cause, StoreError, Upstream};

use super::clock::{MachineClock, ServerClock};
use super::dice::{Draw as _, Purpose, stream};
use super::faults::{Fault, FaultSet};
use super::schema::UNWRITABLE;
use tidemark_testkit::world::Dice;

/// How many chunks a server of the simulation touches in one transaction.
const CHUNKS_MAX: u32 = 4;

/// Where a database may fail within a transaction.
const MOMENTS: &[Moment] = &[
    Moment::Begin,
    Moment::LockCursor,
    Moment::Facts,
    Moment::Write,
    Moment::StoreRejects,
    Moment::KeepHistory,
    Moment::Advance,
    Moment::Commit,
    Moment::Committed,
];

/// How the database behaves.
pub struct Weather(Mutex<State>);

struct State {
    dice: Dice,
    faults: FaultSet,
    /// Those that stay when the faults stop.
    lasting: FaultSet,
    /// With [`Fault::LockTable`]: how many chunks a transaction can touch.
    chunks: usize,
    /// A transaction that touched more chunks than its server may.
    overrun: Option<usize>,
    /// Panics that were made here.
    panics: u64,
    rate: f64,
    serving: bool,
    outage: bool,
    crash_at: Option<Moment>,
    hits: Vec<(Fault, Moment)>,
}

impl Weather {
    /// The weather of a seed.
    #[must_use]
    pub fn new(seed: u64, faults: FaultSet) -> Arc<Self> {
        let mut dice = stream(seed, Purpose::Database);
        let rate = *dice.pick(&[0.02, 0.05, 0.1]);
        let chunks = *dice.pick(&[1, 2, 3]);
        Arc::new(Self(Mutex::new(State {
            dice,
            faults,
            lasting: faults,
            chunks,
            overrun: None,
            panics: 0,
            rate,
            serving: false,
            outage: false,
            crash_at: None,
            hits: Vec::new(),
        })))
    }

    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The database cannot be reached, or can again.
    pub fn outage(&self, outage: bool) {
        self.with(|state| state.outage = outage);
    }

    /// The next server that gets there dies at some moment of its transaction.
    pub fn arm_crash(&self) {
        self.with(|state| state.crash_at = Some(*state.dice.pick(MOMENTS)));
    }

    /// The faults stop.
    pub fn heal(&self) {
        self.with(|state| {
            state.faults = FaultSet::default();
            state.outage = false;
            state.crash_at = None;
        });
    }

    /// What the database does at a moment.
    fn at(&self, moment: Moment) -> Result<(), StoreError> {
        self.with(|state| {
            // The oracle looks, too; nothing fails for it.
            if !state.serving {
                return Ok(());
            }
            let unavailable = |what: &str| Err(StoreError::unavailable(Unavailability::Away, what));
            if state.outage {
                state.hits.push((Fault::DatabaseOutage, moment));
                return unavailable("connection refused");
            }
            if state.crash_at == Some(moment) {
                state.crash_at = None;
                state.hits.push((Fault::ServerCrash, moment));
                return unavailable("the server died");
            }
            let (drawn, kind) = (state.dice.chance(state.rate), state.dice.below(4));
            let fault = if moment == Moment::Committed { Fault::LostCommit } else { Fault::DatabaseError };
            if !drawn || !state.faults.has(fault) {
                return Ok(());
            }
            state.hits.push((fault, moment));
            match kind {
                _ if fault == Fault::LostCommit => unavailable("the connection broke"),
                0 => Err(StoreError::Conflict("deadlock detected".to_owned())),
                // Hardly ever the same twice: what repeats itself has a fault of its own.
                1 => {
                    let cause = Cause::sql_state(&format!("XX{:03}", state.dice.below(1000)));
                    Err(StoreError::Refused { cause, message: "internal error".to_owned() })
                }
                _ => unavailable("the database is starting up"),
            }
        })
    }
}

impl Weather {
    /// What the database does over a row that is written or deleted.
    fn row(&self, values: Option<&[Value]>, footprint: &Footprint) -> Result<(), StoreError> {
        let touched = footprint.chunks.len();
        let panics = self.with(|state| {
            if touched > CHUNKS_MAX as usize {
                state.overrun = Some(touched);
            }
            let mut fails = |fault: Fault, code: &str, message: &str| {
                state.hits.push((fault, Moment::Write));
                Err(StoreError::Refused { cause: Cause::sql_state(code), message: message.to_owned() })
            };
            if state.lasting.has(Fault::LockTable) && touched > state.chunks {
                return fails(Fault::LockTable, "53200", "out of shared memory");
            }
            let has = |(_, note): &&(Fault, &str)| {
                values
                    .is_some_and(|values| values.iter().any(|value| matches!(value, Value::Text(text) if text == note)))
            };
            match UNWRITABLE.iter().find(has).map(|(fault, _)| *fault).filter(|fault| state.lasting.has(*fault)) {
                Some(fault @ Fault::TupleLimit) => {
                    fails(fault, "53400", "tuple decompression limit exceeded by operation")
                }
                Some(fault @ Fault::SlowRow) => fails(fault, "57014", "canceling statement due to statement timeout"),
                Some(fault @ Fault::BrokenTrigger) => fails(fault, "42703", "column \"depth\" does not exist"),
                Some(Fault::Panic) => {
                    state.hits.push((Fault::Panic, Moment::Write));
                    state.panics += 1;
                    Ok(true)
                }
                // The constraint has words of its own.
                _ => Ok(false),
            }
        })?;
        if panics {
            // Without the hook of panics, which would print them.
            std::panic::resume_unwind(Box::new("a row that nobody expected"));
        }
        Ok(())
    }
}

/// The upstream of a run: one database, whatever the number of servers.
#[must_use]
pub fn upstream(schema: &Arc<Schema>, weather: &Arc<Weather>, constraint: bool) -> MemoryUpstream {
    let (moments, rows) = (Arc::clone(weather), Arc::clone(weather));
    let upstream = MemoryUpstream::new(Arc::clone(schema))
        .with_faults(Arc::new(move |moment| moments.at(moment)))
        .with_trial(Arc::new(move |_, values, footprint| rows.row(values, footprint)));
    if constraint { upstream.with_constraint(super::schema::no_poison()) } else { upstream }
}

/// One server.
pub struct Server {
    /// Its clock.
    pub clock: MachineClock,
    /// Whether it runs.
    pub up: bool,
    /// The bounds it puts on a frame.
    pub limits: FrameLimits,
    endpoint: Endpoint,
}

/// What came of a request.
pub struct Served {
    /// The reply; none when the server died.
    pub reply: Option<Reply>,
    /// What the database did.
    pub hits: Vec<(Fault, Moment)>,
    /// What no server may do, in words.
    pub wrong: Option<String>,
}

fn endpoint(upstream: &MemoryUpstream, schema: &Arc<Schema>, clock: &MachineClock, limits: FrameLimits) -> Endpoint {
    let upstream: Arc<dyn Upstream> = Arc::new(upstream.over_another_connection());
    let clock = Arc::new(ServerClock(clock.shown()));
    let ingest =
        Ingest::new(upstream, Arc::clone(schema), ClockWindow::DEFAULT, limits, clock).with_chunks_max(CHUNKS_MAX);
    Endpoint::new(Arc::new(ingest), HttpLimits::default())
}

impl Server {
    /// A server with these limits.
    #[must_use]
    pub fn new(upstream: &MemoryUpstream, schema: &Arc<Schema>, clock: MachineClock, limits: FrameLimits) -> Self {
        let endpoint = endpoint(upstream, schema, &clock, limits);
        Self { clock, up: true, limits, endpoint }
    }

    /// Starts it anew, perhaps with other limits.
    pub fn restart(&mut self, upstream: &MemoryUpstream, schema: &Arc<Schema>, limits: FrameLimits) {
        *self = Self::new(upstream, schema, self.clock.clone(), limits);
    }

    /// For how long it has not heard of a station at this true time, in milliseconds by its clock: that may have been
    /// set meanwhile.
    #[must_use]
    pub fn unheard_ms(&self, station: StationNumber, true_ms: i64) -> Option<i64> {
        let contact = self.endpoint.fleet().unwritten(station)?;
        Some(self.clock.read(true_ms).saturating_sub(contact.contact_at_ms))
    }

    /// Answers a request; of a cut one only the first `cut` bytes of the body are there.
    pub fn serve(
        &self,
        runtime: &tokio::runtime::Runtime,
        weather: &Weather,
        request: &Request,
        cut: Option<usize>,
    ) -> Served {
        let panics = self.endpoint.panics().count();
        weather.with(|state| {
            state.serving = true;
            state.panics = 0;
        });
        let response = runtime.block_on(async {
            let response = self.endpoint.answer(http_request(request, cut)).await;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let retry_after = head.headers.get(hyper::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            Reply { status: head.status.as_u16(), retry_after: retry_after.map(str::to_owned), body: body.to_vec() }
        });
        let panics = self.endpoint.panics().count() - panics;
        let (hits, wrong) = weather.with(|state| {
            state.serving = false;
            let overrun =
                state.overrun.take().map(|chunks| format!("a transaction touched {chunks} chunks, not {CHUNKS_MAX}"));
            let panicked =
                (panics != state.panics).then(|| format!("{panics} panics, of which {} were planned", state.panics));
            (std::mem::take(&mut state.hits), overrun.or(panicked))
        });
        let died = hits.iter().any(|(fault, _)| *fault == Fault::ServerCrash);
        Served { reply: (!died).then_some(response), hits, wrong }
    }
}

fn http_request(request: &Request, cut: Option<usize>) -> hyper::Request<RequestBody> {
    let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
    let mut builder = hyper::Request::builder().uri(format!("/{path}")).method(match request.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    });
    if let Some(token) = &request.token {
        builder = builder.header(hyper::header::AUTHORIZATION, format!("Bearer {}", token.to_hex()));
    }
    let body = match cut {
        None => Full::new(Bytes::from(request.body.clone())).map_err(|never| match never {}).boxed(),
        Some(bytes) => {
            let head = Ok(Frame::data(Bytes::copy_from_slice(&request.body[..bytes])));
            let frames = [head, Err("connection reset by peer".into())];
            StreamBody::new(futures_util::stream::iter(frames)).boxed()
        }
    };
    builder.body(body).expect("BUG: the engine's requests are well formed")
}
