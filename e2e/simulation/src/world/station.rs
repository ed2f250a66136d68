//! A station: a machine with a disk, a clock, programs and processes.

use rusqlite::Connection;
use tidemark_client::Store;
use tidemark_core::joincode::JoinCode;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;

use crate::clock::MachineClock;
use crate::dice::{Purpose, stream};
use crate::disk::{Disk, Image};
use crate::names::station_name;
use crate::process::Process;
use crate::schema::UNIQUE_INDEX;
use tidemark_testkit::world::Dice;

/// Processes that push from one file at once.
pub(super) const SLOTS: usize = 2;

/// A station.
pub(super) struct Station {
    pub(super) file: String,
    pub(super) code: String,
    pub(super) disk: Disk,
    pub(super) clock: MachineClock,
    /// The connection of the programs that write.
    pub(super) programs: Connection,
    pub(super) dice: Dice,
    /// Holds the write lock for a while.
    pub(super) locker: Option<Connection>,
    pub(super) processes: [Option<Process>; SLOTS],
    pub(super) apart: bool,
    /// The file as it was when something was last made durable; kept only where a power cut may come.
    pub(super) durable: Option<Image>,
    /// The file as somebody copied it, and which history it had then.
    pub(super) copied: Option<(Image, usize)>,
    /// Why its process ended by itself.
    pub(super) ended: Option<String>,
    /// What the server told last of its limits to a process, by its life.
    pub(super) told: Option<(u64, FrameLimits)>,
}

/// A station that was made, and has not joined.
pub(super) fn station(schema: &Schema, seed: u64, index: u32, clock: MachineClock) -> Station {
    let mut dice = stream(seed, Purpose::Writer(index));
    let mut uuid = [index as u8; 16];
    uuid[..8].copy_from_slice(&dice.next().to_le_bytes());
    let mut secret = [index as u8; 32];
    secret[..8].copy_from_slice(&dice.next().to_le_bytes());
    let file = format!("{}.db", station_name(index as usize));
    let disk = Disk::new(clock.shown());
    let made = Store::init_connection(disk.connect(), file.clone(), schema, uuid);
    let mut store = made.expect("BUG: an empty disk takes a station");
    store.execute(UNIQUE_INDEX, []).expect("BUG: an index can be made");
    store.check_capture().expect("BUG: capture follows a plain unique index");
    let programs = disk.connect();
    Station {
        file,
        code: JoinCode { url: "http://tidemark.example".to_owned(), secret, pin: None }.encode(),
        disk,
        clock,
        programs,
        dice,
        locker: None,
        processes: [None, None],
        apart: false,
        durable: None,
        copied: None,
        ended: None,
        told: None,
    }
}
