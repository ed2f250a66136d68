//! Hostile peers: many connections that live until the server cuts them, and come back as long as the attack goes on.
//! When each was cut, and with what answer, is written down.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout, timeout_at};

use super::door::{Door, Stream};
use super::site::STATIONS;
use crate::world::now;

/// Most connections that the peers of an attack begin in a second: the siege is not to starve the machine itself.
const CONNECTS_PER_S: usize = 500;
/// How soon a peer that was cut comes back at the earliest.
const BACK: Duration = Duration::from_secs(1);
/// How long an answer is listened for when the server does not read any more.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Where peers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The address of the good stations: a network behind one router.
    Stations,
    /// One address that is nobody else's.
    One,
    /// As many addresses as this.
    Many(u8),
}

impl Source {
    /// The address of the `n`-th peer.
    #[must_use]
    pub fn address(self, n: usize) -> IpAddr {
        match self {
            Self::Stations => STATIONS,
            Self::One => Ipv4Addr::new(127, 0, 0, 2).into(),
            Self::Many(count) => Ipv4Addr::new(127, 0, 2, 1 + (n % usize::from(count)) as u8).into(),
        }
    }

    /// A word for tables.
    #[must_use]
    pub fn shown(self) -> String {
        match self {
            Self::Stations => "the stations'".to_owned(),
            Self::One => "one".to_owned(),
            Self::Many(count) => count.to_string(),
        }
    }
}

/// How one connection of a peer ended.
#[derive(Debug, Clone, Copy)]
pub struct Fate {
    /// How long it was there.
    pub lived: Duration,
    /// Who ended it.
    pub end: End,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server did; with the status of its first answer, if there was one.
    Cut(Option<u16>),
    /// It was never there.
    Refused,
    /// The attack was over first.
    Held,
}

/// One attack while it goes on.
#[derive(Debug)]
pub struct Battle {
    /// The server.
    pub server: Door,
    /// Where the peers come from.
    pub source: Source,
    /// When it is over.
    pub until: Instant,
    /// The share of its peers that come.
    pub scale: f64,
    /// Its peers shake no hands.
    is_raw: bool,
    fates: Mutex<Vec<Fate>>,
    answers: Mutex<BTreeMap<Option<u16>, u64>>,
}

impl Battle {
    /// An attack that begins now.
    #[must_use]
    pub fn new(server: impl Into<Door>, source: Source, until: Instant, scale: f64) -> Self {
        Self {
            server: server.into(),
            source,
            until,
            scale,
            is_raw: false,
            fates: Mutex::default(),
            answers: Mutex::default(),
        }
    }

    /// Its peers shake no hands, also where the server wants it: what they send is the first that it hears.
    #[must_use]
    pub fn without_handshake(self) -> Self {
        Self { is_raw: true, ..self }
    }

    async fn connect(&self, from: IpAddr, receive_bytes: Option<u32>) -> std::io::Result<Stream> {
        match self.is_raw {
            true => Ok(Box::new(self.server.connect_raw(from, receive_bytes).await?)),
            false => self.server.connect(from, receive_bytes).await,
        }
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        now() >= self.until
    }

    /// What became of the connections.
    #[must_use]
    pub fn fates(&self) -> Vec<Fate> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often which status was answered to whole requests; `None` is no answer.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<Option<u16>, u64> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts an answer.
    pub fn count(&self, status: Option<u16>) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }

    fn note(&self, lived: Duration, end: End) {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner).push(Fate { lived, end });
    }

    /// How many of so many peers come.
    #[must_use]
    pub fn scaled(&self, count: usize) -> usize {
        ((count as f64 * self.scale).round() as usize).max(1)
    }

    /// Lets peers live until the attack is over. `life` is one connection of the `n`-th; it ends when the server ends
    /// it, and says with which status. `receive_bytes` is what the peer's system keeps of what it does not read.
    pub async fn peers<L, F>(self: &Arc<Self>, count: usize, receive_bytes: Option<u32>, life: L)
    where
        L: Fn(Stream, usize) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Option<u16>> + Send,
    {
        let count = self.scaled(count);
        let back = BACK.max(Duration::from_secs_f64(count as f64 / CONNECTS_PER_S as f64));
        let mut all = Vec::new();
        for n in 0..count {
            let (battle, life) = (Arc::clone(self), life.clone());
            all.push(tokio::spawn(async move {
                sleep(back * (n as u32) / (count as u32)).await;
                while !battle.is_over() {
                    battle.one(n, receive_bytes, &life).await;
                    let left = battle.until.saturating_duration_since(now());
                    sleep(back.min(left)).await;
                }
            }));
        }
        for peer in all {
            let _ = peer.await;
        }
    }

    async fn one<L, F>(&self, n: usize, receive_bytes: Option<u32>, life: &L)
    where
        L: Fn(Stream, usize) -> F,
        F: Future<Output = Option<u16>>,
    {
        let until = tokio::time::Instant::from_std(self.until);
        let connected = timeout_at(until, self.connect(self.source.address(n), receive_bytes)).await;
        let began = now();
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return self.note(Duration::ZERO, End::Refused),
            Err(_) => return,
        };
        match timeout_at(until, life(stream, n)).await {
            Ok(status) => self.note(began.elapsed(), End::Cut(status)),
            Err(_) => self.note(began.elapsed(), End::Held),
        }
    }
}

/// What a peer does on its connection.
#[derive(Debug, Clone)]
pub struct Drip {
    /// What it sends first.
    pub first: Bytes,
    /// What it sends again and again; nothing when it is empty.
    pub then: Bytes,
    /// How long it waits between.
    pub every: Duration,
    /// Whether it reads what the server says.
    pub hears: bool,
}

impl Drip {
    /// Lives on a connection until the server ends it; the status of the first answer, if one was heard.
    pub async fn live(self, stream: Stream) -> Option<u16> {
        let (mut reading, mut writing) = tokio::io::split(stream);
        let sending = async {
            if writing.write_all(&self.first).await.is_err() || writing.flush().await.is_err() {
                return;
            }
            if self.then.is_empty() {
                std::future::pending::<()>().await;
            }
            loop {
                sleep(self.every).await;
                if writing.write_all(&self.then).await.is_err() || writing.flush().await.is_err() {
                    return;
                }
            }
        };
        if !self.hears {
            sending.await;
            return None;
        }
        let mut status = None;
        {
            let hearing = async {
                let mut bytes = vec![0; 16 << 10];
                while let Ok(read @ 1..) = reading.read(&mut bytes).await {
                    status = status.or_else(|| status_of(&bytes[..read]));
                }
            };
            tokio::pin!(hearing);
            tokio::select! {
                () = &mut hearing => {}
                () = sending => { let _ = timeout(LAST_WORD, hearing).await; }
            }
        }
        status
    }
}

fn status_of(bytes: &[u8]) -> Option<u16> {
    let line = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}
