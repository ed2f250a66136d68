//! A fleet that comes back at once after an outage: real engines, real HTTP, and an outage whose ten minutes pass on
//! the engines' clocks alone.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use rusqlite::Connection;
use tidemark_client::sync::{Action, Config, Engine, Failure, FailureKind, Method, Reply, Request, join};
use tidemark_client::{Secret, Store};
use tidemark_core::joincode::JoinCode;
use tidemark_core::schema::Schema;
use tokio::runtime::Runtime;

use crate::siege::door::Door;
use crate::siege::good::quantile;
use crate::siege::http::Client;
use crate::siege::site::{Invited, STATIONS, Site};
use crate::world::{now, pause, unix_ms};

/// Rows that wait at each station.
const ROWS: i64 = 20;
/// How long the server is away, milliseconds.
const OUTAGE_MS: i64 = 600_000;
/// How many join at once.
const JOINS_AT_ONCE: usize = 64;
/// When a fleet that is not back counts as stuck.
const STUCK: Duration = Duration::from_secs(600);

/// One station: its file is in memory.
struct Station {
    store: Store,
    engine: Engine,
    client: Client,
    /// What its next action is due at, milliseconds since 1970 UTC.
    at_ms: i64,
    requests: u32,
    refusals: u32,
}

/// Measures and prints; returns how many rows must be upstream.
///
/// # Errors
/// When a station cannot join or stops.
pub(super) fn measure(site: &Site, count: usize, storm: &Runtime) -> Result<u64> {
    let invited = storm.block_on(site.invite("fleet", count))?;
    let mut fleet = Vec::new();
    for some in invited.chunks(JOINS_AT_ONCE) {
        let joins = some.iter().map(|invited| joined(invited, site.door(), site.schema()));
        fleet.extend(storm.block_on(try_join_all(joins))?);
    }
    let lost_ms = unix_ms();
    for station in &mut fleet {
        station.live_through(lost_ms)?;
    }
    // Virtual and real time meet where the server is back.
    let (back, back_ms) = (now(), lost_ms + OUTAGE_MS);
    let returns = fleet.into_iter().map(|station| storm.spawn(station.come_back(back, back_ms)));
    let returns: Vec<_> = returns.collect();
    while returns.iter().any(|it| !it.is_finished()) {
        ensure!(back.elapsed() < STUCK, "not all stations are back after {STUCK:?}");
        pause(Duration::from_millis(100));
    }
    let (mut took, mut requests, mut refusals) = (Vec::new(), Vec::new(), 0);
    for station in returns {
        let (after, asked, refused) = storm.block_on(station).context("BUG: a station panicked")??;
        took.push(after);
        requests.push(asked);
        refusals += refused;
    }
    took.sort_unstable();
    let at = |share| quantile(&took, share).as_secs_f64();
    let (most, all) = (requests.iter().max().copied().unwrap_or_default(), requests.iter().sum::<u32>());
    println!(
        "{count} stations with {ROWS} rows come back after {} s: p50 {:.1}, p95 {:.1}, max {:.1} s; {:.2} requests per station, most {most}; {refusals} refusals   goal: ≤ 4",
        OUTAGE_MS / 1000,
        at(0.5),
        at(0.95),
        at(1.0),
        f64::from(all) / count as f64,
    );
    Ok(count as u64 * ROWS as u64)
}

async fn joined(invited: &Invited, server: &Door, schema: &Schema) -> Result<Station> {
    let db = Connection::open_in_memory()?;
    let mut store = Store::init_connection(db, "siege.db".to_owned(), schema, invited.uuid)?;
    let mut client = Client::new(server.clone(), STATIONS);
    let code = JoinCode { url: server.url(), secret: invited.secret, pin: None }.encode();
    let join::Begin::Ask(request) = join::ask(&mut store, &code, None, Secret(invited.token))? else {
        bail!("a new file has joined already")
    };
    let reply = perform(&mut client, &request).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
    join::hear(&mut store, unix_ms(), &reply)?;
    for n in 0..ROWS {
        store.insert("remark", &[("note", format!("row {n}").into())])?;
    }
    let seed = u64::from_le_bytes(invited.token[..8].try_into()?);
    Ok(Station { store, engine: Engine::new(Config::daemon(seed)), client, at_ms: 0, requests: 0, refusals: 0 })
}

impl Station {
    /// The outage, on this station's clock.
    fn live_through(&mut self, lost_ms: i64) -> Result<()> {
        let away = Failure { kind: FailureKind::Unreached, message: "connection refused".to_owned() };
        self.at_ms = lost_ms;
        while self.at_ms < lost_ms + OUTAGE_MS {
            match self.engine.next(&mut self.store, self.at_ms)? {
                Action::Send(request) => {
                    self.engine.on_failure(&mut self.store, self.at_ms, request.id, &away)?;
                }
                Action::WaitUntil(at_ms) => self.at_ms = at_ms,
                Action::Idle => bail!("a station with rows is idle"),
                Action::UnderWay(_) => unreachable!("nothing was sent early"),
                Action::Stopped(stop) => return Err(stop.into()),
            }
        }
        Ok(())
    }

    /// The server is back: how long until everything is upstream, with how many requests, how many of them refused.
    async fn come_back(mut self, back: Instant, back_ms: i64) -> Result<(Duration, u32, u32)> {
        let clock_ms = || back_ms + back.elapsed().as_millis() as i64;
        loop {
            let wait_ms = u64::try_from(self.at_ms - clock_ms()).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            match self.engine.next(&mut self.store, clock_ms())? {
                Action::Send(request) => {
                    self.requests += 1;
                    match perform(&mut self.client, &request).await {
                        Ok(reply) => {
                            self.refusals += u32::from(reply.status != 200);
                            self.engine.on_reply(&mut self.store, clock_ms(), request.id, &reply)?;
                        }
                        Err(failure) => {
                            self.refusals += 1;
                            self.engine.on_failure(&mut self.store, clock_ms(), request.id, &failure)?;
                        }
                    }
                }
                Action::WaitUntil(at_ms) => self.at_ms = at_ms,
                Action::Idle => return Ok((back.elapsed(), self.requests, self.refusals)),
                Action::UnderWay(_) => unreachable!("nothing was sent early"),
                Action::Stopped(stop) => return Err(stop.into()),
            }
        }
    }
}

/// One exchange, as a station's transport makes it.
async fn perform(client: &mut Client, request: &Request) -> std::result::Result<Reply, Failure> {
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    let path = request.url.find("/v1/").map_or("/", |at| &request.url[at..]);
    let token = request.token.as_ref().map(Secret::to_hex);
    let limit = Duration::from_millis(request.timeout_ms);
    let answer = client.ask(method, path, token.as_deref(), &request.body, limit).await;
    let answer = answer.map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::TimedOut => FailureKind::Timeout,
            ErrorKind::ConnectionRefused => FailureKind::Unreached,
            _ => FailureKind::Broken,
        };
        Failure { kind, message: error.to_string() }
    })?;
    let retry_after = answer.retry_after.map(|after| after.as_secs().to_string());
    Ok(Reply { status: answer.status, retry_after, body: answer.body })
}
