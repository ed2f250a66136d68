//! An honest station: it pushes what it has, waits when it is told to, asks where it stands after a failure, and trusts
//! nothing but a tidemark with its own chain.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tidemark_core::chain::Chain;
use tidemark_core::protocol::{PushReply, StationReply, path};
use tidemark_core::schema::Schema;

use super::door::Door;
use super::http::{Answer, Client};
use super::log::{Cut, Log, Table};
use super::site::{Member, STATIONS};
use crate::world::{Dice, now};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a batch may take until it counts as stuck.
const STUCK: Duration = Duration::from_secs(420);
/// The first wait after a failure is drawn from 0 to this, each further one from twice as much.
const BACKOFF_FIRST_MS: u64 = 500;
/// The longest it is drawn from.
const BACKOFF_MAX_MS: u64 = 15_000;

/// A batch that was delivered.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// When it was sent first.
    pub began: Instant,
    /// How long it took until it was acknowledged, with every wait and repetition.
    pub took: Duration,
    /// How many rows it has.
    pub rows: u64,
    /// How many requests it took.
    pub requests: u32,
}

/// A station.
#[derive(Debug)]
pub struct Station {
    /// Its log.
    pub log: Log,
    token: String,
    client: Client,
    dice: Dice,
}

impl Station {
    /// A member with an empty log, whose rows all go to one table.
    ///
    /// # Errors
    /// When its number is none.
    pub fn new(member: &Member, schema: &Arc<Schema>, server: impl Into<Door>, table: Table) -> Result<Self> {
        let log = Log::new(schema, member.number, member.uuid, table)?;
        let client = Client::new(server, STATIONS);
        Ok(Self { log, token: member.token.clone(), client, dice: Dice::new(member.number.into()) })
    }

    /// Its token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Ends its connection, as a program does that pushes and ends.
    pub fn hang_up(&mut self) {
        self.client.hang_up();
    }

    /// Delivers the next rows, small ones.
    ///
    /// # Errors
    /// As [`Station::deliver`].
    pub async fn push(&mut self, rows: u64) -> Result<Delivery> {
        let cut = self.log.cut(rows, |id| format!("row {id}"))?;
        self.deliver(&cut).await
    }

    /// Delivers a batch that was just cut from its log.
    ///
    /// # Errors
    /// When the server says what no honest station may hear, or does not take it in seven minutes.
    pub async fn deliver(&mut self, cut: &Cut) -> Result<Delivery> {
        let began = now();
        let (mut requests, mut asks_first) = (0_u32, false);
        loop {
            requests += 1;
            let answer = if asks_first {
                self.client.ask("GET", path::STATION, Some(&self.token), &[], ANSWER).await
            } else {
                self.client.ask("POST", path::PUSH, Some(&self.token), &cut.bytes, ANSWER).await
            };
            match answer {
                Ok(answer) if answer.status == 200 => {
                    let (tidemark, chain) = self.heard(&answer, asks_first)?;
                    if tidemark == cut.last_seq {
                        ensure!(chain == cut.chain, "station {}: a foreign chain", self.log.number());
                        self.log.acknowledge(cut);
                        return Ok(Delivery { began, took: began.elapsed(), rows: cut.rows, requests });
                    }
                    let stands = self.log.acked();
                    ensure!(asks_first && tidemark == stands, "the tidemark is {tidemark}, and was {stands}");
                    asks_first = false;
                    continue;
                }
                Ok(answer) if !matches!(answer.status, 408 | 429 | 500..=599) => {
                    bail!("station {} was refused for good: {}", self.log.number(), answer.shown())
                }
                failed => self.wait(failed, requests).await,
            }
            ensure!(began.elapsed() < STUCK, "station {} is stuck: {requests} requests in vain", self.log.number());
            asks_first = true;
        }
    }

    fn heard(&self, answer: &Answer, asked_first: bool) -> Result<(u64, Chain)> {
        if asked_first {
            let reply: StationReply = answer.json()?;
            return Ok((reply.tidemark, reply.chain));
        }
        let reply: PushReply = answer.json()?;
        ensure!(reply.rejected.is_empty(), "station {}: {:?}", self.log.number(), reply.rejected);
        Ok((reply.tidemark, reply.chain))
    }

    /// Waits as the engine does: the longer of its own backoff and of what the server asks for.
    async fn wait(&mut self, failed: io::Result<Answer>, requests: u32) {
        let ceiling = (BACKOFF_FIRST_MS << requests.min(16)).min(BACKOFF_MAX_MS);
        let own = Duration::from_millis(self.dice.below(ceiling).max(50));
        let asked = failed.ok().and_then(|answer| answer.retry_after).unwrap_or_default();
        tokio::time::sleep(own.max(asked)).await;
    }
}
