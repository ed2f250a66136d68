//! The wire between stations and a server: a proxy that passes bytes and knows nothing of HTTP, so that it can break a
//! connection at any of them. What each connection meets is drawn from the round's plan.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::plan::WirePlan;
use super::tally::{Hit, Tally};
use crate::world::{Dice, now, pause};

/// Where a server listens; `None` while it is down.
pub type Address = Arc<Mutex<Option<SocketAddr>>>;

/// How long a held connection may be held.
const HOLD_MS_MAX: u64 = 1_500;
/// A connection to a server on this machine is made within this time or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Locks, whoever panicked meanwhile.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the server.
    Up,
    /// To the station.
    Down,
}

/// What one connection meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trouble {
    way: Way,
    /// Bytes that pass before.
    after_bytes: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Both directions end.
    Cut,
    /// This direction ends, the other goes on.
    HalfClose,
    /// This direction stands still for so long.
    Hold(Duration),
    /// Every piece from here on comes so much later.
    Delay(Duration),
}

impl Trouble {
    fn draw(dice: &mut Dice) -> Self {
        let way = if dice.below(2) == 0 { Way::Up } else { Way::Down };
        // A reply and a request's head have a few hundred bytes, a frame up to tens of thousands.
        let after_bytes = if way == Way::Up { 1 << dice.below(16) } else { 1 << dice.below(10) };
        let after_bytes = dice.below(after_bytes);
        let kind = match dice.below(8) {
            0..=3 => Kind::Cut,
            4 => Kind::HalfClose,
            5 | 6 => Kind::Hold(Duration::from_millis(dice.below(HOLD_MS_MAX))),
            _ => Kind::Delay(Duration::from_millis(dice.below(100))),
        };
        Self { way, after_bytes, kind }
    }
}

#[derive(Debug)]
struct Weather {
    dice: Dice,
    trouble_percent: u64,
}

struct Shared {
    servers: Vec<Address>,
    leads_to: AtomicU64,
    weather: Mutex<Option<Weather>>,
    live: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    hits: Mutex<Tally>,
    ended: AtomicBool,
}

/// A running wire. Dropping it ends it.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Wire {
    /// Starts a wire that leads to the first of some servers.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(servers: Vec<Address>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            servers,
            leads_to: AtomicU64::new(0),
            weather: Mutex::default(),
            live: Mutex::default(),
            hits: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for (id, station) in (0..).zip(listener.incoming()) {
                if accepting.ended.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(station) = station else { continue };
                let shared = Arc::clone(&accepting);
                // Whoever breaks the connection, the other side hears of it, and that is all there is to do.
                std::thread::spawn(move || {
                    let _ = shared.carry(id, &station);
                    let _ = station.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// The URL to give to stations.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on connections meet what a plan says.
    pub fn rough(&self, plan: &WirePlan) {
        let weather = Weather { dice: Dice::new(plan.seed), trouble_percent: plan.trouble_percent };
        *lock(&self.shared.weather) = Some(weather);
    }

    /// From now on everything passes, what is held too.
    pub fn calm(&self) {
        *lock(&self.shared.weather) = None;
    }

    /// Breaks all connections; returns how many there were.
    pub fn sever(&self) -> usize {
        let live = lock(&self.shared.live);
        for stream in live.values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        live.len()
    }

    /// Leads to the next server from now on; connections that are open stay where they are.
    pub fn lead_on(&self) {
        self.shared.leads_to.fetch_add(1, Ordering::Relaxed);
    }

    /// The troubles that connections have met since the last call.
    #[must_use]
    pub fn take_hits(&self) -> Tally {
        std::mem::take(&mut lock(&self.shared.hits))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.calm();
        self.sever();
        // Wakes the accepting thread.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wire({})", self.address)
    }
}

impl Shared {
    fn is_calm(&self) -> bool {
        lock(&self.weather).is_none()
    }

    fn carry(&self, id: u64, station: &TcpStream) -> Result<()> {
        let at = usize::try_from(self.leads_to.load(Ordering::Relaxed))? % self.servers.len();
        let Some(address) = *lock(&self.servers[at]) else { return Ok(()) };
        let server = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        if server.local_addr()? == server.peer_addr()? {
            // The server has just died, and the system connected its port with itself.
            return Ok(());
        }
        station.set_nodelay(true)?;
        server.set_nodelay(true)?;
        lock(&self.live).insert(id, [station.try_clone()?, server.try_clone()?]);
        let trouble = lock(&self.weather).as_mut().and_then(|weather| {
            let meets = weather.dice.below(100) < weather.trouble_percent;
            meets.then(|| Trouble::draw(&mut weather.dice))
        });
        let on = |way| trouble.filter(|trouble| trouble.way == way);
        std::thread::scope(|scope| {
            scope.spawn(|| self.pass(station, &server, on(Way::Up)));
            self.pass(&server, station, on(Way::Down));
        });
        lock(&self.live).remove(&id);
        Ok(())
    }

    /// Passes bytes one way until they end.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, mut trouble: Option<Trouble>) {
        let ends = [from, to];
        let both = || {
            for stream in ends {
                let _ = stream.shutdown(Shutdown::Both);
            }
        };
        let (mut passed, mut late) = (0, Duration::ZERO);
        let mut buffer = [0; 8192];
        loop {
            let bytes = match from.read(&mut buffer) {
                // The end of one direction is passed on like a byte.
                Ok(0) => {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
                Ok(count) => &buffer[..count],
                Err(_) => {
                    both();
                    return;
                }
            };
            let due = trouble.take_if(|trouble| passed + bytes.len() as u64 > trouble.after_bytes);
            let due = due.filter(|_| !self.is_calm());
            let before = due.map_or(0, |trouble| trouble.after_bytes.saturating_sub(passed) as usize);
            if to.write_all(&bytes[..before]).is_err() {
                both();
                return;
            }
            match due.map(|trouble| trouble.kind) {
                None => {}
                Some(Kind::Cut) => {
                    self.hit(Hit::Cut);
                    both();
                    return;
                }
                Some(Kind::HalfClose) => {
                    self.hit(Hit::HalfClose);
                    let _ = to.shutdown(Shutdown::Write);
                    // What still comes goes nowhere.
                    while from.read(&mut buffer).is_ok_and(|count| count > 0) {}
                    return;
                }
                Some(Kind::Hold(wait)) => {
                    self.hit(Hit::Hold);
                    let start = now();
                    while start.elapsed() < wait && !self.is_calm() {
                        pause(Duration::from_millis(10));
                    }
                }
                Some(Kind::Delay(each)) => {
                    self.hit(Hit::Delay);
                    late = each;
                }
            }
            if !late.is_zero() && !self.is_calm() {
                pause(late);
            }
            if to.write_all(&bytes[before..]).is_err() {
                both();
                return;
            }
            passed += bytes.len() as u64;
        }
    }

    fn hit(&self, hit: Hit) {
        lock(&self.hits).add(hit, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and closes when that ends.
    fn echo() -> Result<Address> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                std::thread::spawn(move || std::io::copy(&mut &client, &mut &client));
            }
        });
        Ok(Arc::new(Mutex::new(Some(address))))
    }

    /// Sends a text through a wire that has one trouble for every connection, and returns what came back.
    fn through(wire: &Wire, kind: Kind, way: Way, after_bytes: u64) -> Result<String> {
        // Search a seed whose first connection meets exactly this.
        let plan = (0..).map(|seed| WirePlan { seed, trouble_percent: 100, strikes: Vec::new() }).find(|plan| {
            let mut dice = Dice::new(plan.seed);
            dice.below(100);
            let drawn = Trouble::draw(&mut dice);
            drawn.way == way
                && drawn.after_bytes == after_bytes
                && std::mem::discriminant(&drawn.kind) == std::mem::discriminant(&kind)
        });
        wire.rough(&plan.expect("BUG: every trouble is drawn some time"));
        let mut stream = TcpStream::connect(wire.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"0123456789")?;
        let _ = stream.shutdown(Shutdown::Write);
        let mut back = Vec::new();
        let _ = stream.read_to_end(&mut back);
        Ok(String::from_utf8(back)?)
    }

    #[test]
    fn each_trouble_does_what_its_name_says() -> Result<()> {
        let wire = Wire::start(vec![echo()?])?;
        assert_eq!(through(&wire, Kind::Cut, Way::Down, 4)?, "0123");
        assert_eq!(through(&wire, Kind::HalfClose, Way::Up, 6)?, "012345", "the reply still passes");
        assert_eq!(through(&wire, Kind::HalfClose, Way::Down, 3)?, "012");
        assert_eq!(through(&wire, Kind::Hold(Duration::ZERO), Way::Up, 5)?, "0123456789");
        assert_eq!(through(&wire, Kind::Delay(Duration::ZERO), Way::Down, 0)?, "0123456789");
        let hits = wire.take_hits();
        let hits = [Hit::Cut, Hit::HalfClose, Hit::Hold, Hit::Delay].map(|hit| hits.of(hit));
        assert_eq!(hits, [1, 2, 1, 1]);
        Ok(())
    }

    #[test]
    fn a_severed_wire_breaks_what_is_open_and_takes_what_comes() -> Result<()> {
        let (wire, other) = (Wire::start(vec![echo()?, Arc::default()])?, [0; 1]);
        let ask = |stream: &mut TcpStream| stream.write_all(&other).and_then(|()| stream.read_exact(&mut [0; 1]));
        let mut stream = TcpStream::connect(wire.address)?;
        ask(&mut stream)?;
        assert_eq!(wire.sever(), 1);
        assert!(ask(&mut stream).is_err());
        ask(&mut TcpStream::connect(wire.address)?)?;
        wire.lead_on();
        assert!(ask(&mut TcpStream::connect(wire.address)?).is_err(), "the next server is down");
        Ok(())
    }
}
