//! The attacks, each with its name, where its peers come from, and how soon the server must have cut them.

mod bodies;
mod cast;
mod floods;
mod garbage;
mod greedy;
mod locked;
mod quiet;
mod slow;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

pub use self::cast::Cast;
use super::peer::{Battle, Source};

/// What an attack does until it is over; an error is of a station that may push and could not.
pub type Course = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Attacks that go on together when time is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wave {
    /// They hold connections, and are to be cut.
    Holding,
    /// They send too much or nonsense.
    Sending,
    /// They may do what they do, and take much.
    Taking,
}

/// All waves, each with its share of the time: what holds connections is cut by deadlines of up to 20 s.
pub const WAVES: [(Wave, f64); 3] = [(Wave::Holding, 0.5), (Wave::Sending, 0.25), (Wave::Taking, 0.25)];

/// An attack.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub says: &'static str,
    /// What it goes on with.
    pub wave: Wave,
    /// Where its peers come from.
    pub source: Source,
    /// How long a connection of it may be there at most, with twice what the server promises for a busy machine; `None`
    /// where peers behave well enough to stay.
    pub cut_within: Option<Duration>,
    /// Its peers shake no hands, also where the server wants it.
    pub is_raw: bool,
    begin: fn(Arc<Battle>, Arc<Cast>) -> Course,
}

impl Attack {
    /// Begins it.
    #[must_use]
    pub fn begin(&self, battle: Arc<Battle>, cast: Arc<Cast>) -> Course {
        (self.begin)(battle, cast)
    }
}

macro_rules! attack {
    ($name:literal, $says:literal, $wave:ident, $source:expr, $cut:expr, $begin:path) => {
        attack!($name, $says, $wave, $source, $cut, $begin, false)
    };
    ($name:literal, $says:literal, $wave:ident, $source:expr, $cut:expr, $begin:path, $raw:literal) => {
        Attack {
            name: $name,
            says: $says,
            wave: Wave::$wave,
            source: $source,
            cut_within: $cut,
            is_raw: $raw,
            begin: |battle, cast| Box::pin($begin(battle, cast)),
        }
    };
}

const fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

/// All attacks, in the order they are made.
pub const ATTACKS: [Attack; 19] = [
    attack!("slow-heads", "500 heads, a byte a second", Holding, Source::Stations, seconds(20), slow::heads),
    attack!(
        "slow-bodies",
        "8 × 32 MiB declared, 2 B/s, valid token",
        Holding,
        Source::Stations,
        seconds(60),
        slow::bodies
    ),
    attack!("modem-bodies", "8 × 72 KB at 300 B/s, which is honest", Holding, Source::Stations, None, slow::modems),
    attack!("slow-joins", "500 /v1/join, a byte a second", Holding, Source::One, seconds(20), slow::joins),
    attack!(
        "handshakes",
        "500 of TLS, halves stall, halves trickle",
        Holding,
        Source::One,
        seconds(20),
        slow::handshakes,
        true
    ),
    attack!("idle", "4,200 kept alive, a GET in 5 s, one address", Holding, Source::One, None, quiet::idle),
    attack!("idle-many", "the same from 40 addresses", Holding, Source::Many(40), None, quiet::idle),
    attack!("deaf", "500 ask for pages and never read", Holding, Source::Many(20), seconds(30), quiet::deaf),
    attack!("hasty", "2,000 questions a second, not waiting", Sending, Source::Many(5), None, quiet::hasty),
    attack!("bad-tokens", "640 unknown tokens a second", Sending, Source::Stations, None, floods::tokens),
    attack!("bad-codes", "640 unknown join codes a second", Sending, Source::One, None, floods::codes),
    attack!("huge", "lengths up to 2^64 - 1, and the bytes come", Sending, Source::One, seconds(20), bodies::huge),
    attack!("endless", "16 × chunks without end, 1 MiB/s each", Sending, Source::One, seconds(60), bodies::endless),
    attack!("bombs", "40 frames a second of 160 MiB in few KB", Sending, Source::One, None, bodies::bombs),
    attack!("garbage", "chance, halves, HTTP/2, TLS", Sending, Source::One, seconds(40), garbage::bytes, true),
    attack!("greedy", "one station, 500,000 rows, full frames", Taking, Source::Stations, None, greedy::rows),
    attack!(
        "connections",
        "one station, 32 connections, same batch",
        Taking,
        Source::Stations,
        None,
        greedy::connections
    ),
    attack!("digests", "640 whole digests a second, valid token", Taking, Source::Stations, None, floods::digests),
    attack!("locked", "a table locked, 20 stations push to it", Taking, Source::Stations, None, locked::table),
];
