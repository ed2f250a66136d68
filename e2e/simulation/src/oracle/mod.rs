//! What must be true after every event, and at the end.
//!
//! * **Upstream is a prefix of each station's history, applied once**: rows and rejects are those that the naive
//!   [`model`] has after taking the changes up to the cursor, one by one; and they move only when the cursor does.
//!   Each move keeps the prints of the changes it passes.
//! * **Acknowledgements are only for what is durable**: no reply names more than the database's cursor, no station's
//!   tidemark passes it, and no change leaves a log before.
//! * **No reject is lost**: what the model refuses is kept upstream and, from the acknowledgement on, on the station,
//!   with its image.
//! * **No fork is missed, and none is imagined**.
//! * **A server that is away is waited for**: longer each time, and no batch is sent again before it has answered
//!   something small.
//! * **Memory is bounded**: a frame holds no more than its server takes.
//! * **At the end** every log is drained, and every table is what its history says, cell by cell.

use std::sync::Arc;

use futures_util::FutureExt as _;
use rusqlite::Connection;
use tidemark_client::Store;
use tidemark_client::sync::Reply;
use tidemark_core::chain::Print;
use tidemark_core::decision::Cursor;
use tidemark_core::frame::FrameHeader;
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::{FrameLimits, MESSAGE_BYTES_MAX};
use tidemark_core::protocol::PushReply;
use tidemark_core::schema::Schema;
use tidemark_memory::{Contents, MemoryUpstream};

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

pub mod history;
pub mod model;
pub mod patience;
pub mod verdict;

use self::history::{History, check_tables, common, read};
use self::model::Model;
use self::verdict::Verdict;
use super::coverage::Coverage;
use super::faults::FaultSet;
use super::schema::unwritable;

/// A history of a file.
#[derive(Default)]
struct Branch {
    history: History,
    /// Its last change that was ever sent.
    sent: u64,
}

/// What is known of one station.
#[derive(Default)]
struct Known {
    number: Option<StationNumber>,
    /// Every history the file ever had; a file that was put back begins another.
    branches: Vec<Branch>,
    /// The one the file has now.
    current: usize,
    /// The one upstream follows.
    upstream: usize,
    /// How far upstream is.
    cursor: u64,
    /// The tidemark for which the station's rejects were compared.
    compared: Option<(usize, u64)>,
}

impl Known {
    fn history(&self) -> &History {
        &self.branches[self.current].history
    }

    /// How many changes of the file are upstream: as many as both histories share.
    fn agreed(&self) -> u64 {
        if self.current == self.upstream {
            self.cursor
        } else {
            self.cursor.min(common(self.history(), &self.branches[self.upstream].history))
        }
    }

    fn diverged(&self) -> bool {
        self.agreed() < self.cursor
    }
}

/// The oracle of a run.
pub struct Oracle {
    schema: Arc<Schema>,
    upstream: MemoryUpstream,
    model: Model,
    stations: Vec<Known>,
}

impl Oracle {
    /// Watches `stations` stations write into an upstream.
    #[must_use]
    pub fn new(schema: &Arc<Schema>, upstream: &MemoryUpstream, stations: u32, faults: FaultSet) -> Self {
        let known = || Known { branches: vec![Branch::default()], ..Known::default() };
        Self {
            schema: Arc::clone(schema),
            upstream: upstream.clone(),
            model: Model::new(schema, unwritable(faults)),
            stations: (0..stations).map(|_| known()).collect(),
        }
    }

    /// Which history the file of a station has now.
    #[must_use]
    pub fn branch(&self, station: usize) -> usize {
        self.stations[station].current
    }

    /// How many changes all stations made.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.stations.iter().map(|known| known.history().len() as u64).sum()
    }

    /// Whether a station's history is not the one upstream follows.
    #[must_use]
    pub fn diverged(&self, station: usize) -> bool {
        self.stations[station].diverged()
    }

    /// A program has written: reads what it did from the log.
    ///
    /// # Errors
    /// When the numbering has a gap or repeats.
    pub fn wrote(&mut self, station: usize, db: &Connection) -> Verdict<usize> {
        let known = &mut self.stations[station];
        let after = known.history().len() as u64;
        let new = read(db, &self.schema, "tidemark_log", after);
        for (seq, change) in (after + 1..).zip(&new) {
            ensure!(change.seq == seq, "the log goes on with change {} after {}", change.seq, seq - 1);
        }
        let written = new.len();
        let current = known.current;
        known.branches[current].history.extend(new);
        Ok(written)
    }

    /// A station's file was put back to its first `last` changes of a history. After a power cut nothing that was sent
    /// may be missing.
    ///
    /// # Errors
    /// When it is.
    pub fn put_back(
        &mut self,
        station: usize,
        branch: usize,
        last: u64,
        by_power_cut: bool,
        db: &Connection,
    ) -> Verdict {
        let known = &mut self.stations[station];
        let Branch { history, sent } = &known.branches[branch];
        ensure!(
            !by_power_cut || last >= *sent,
            "a power cut took changes after {last}, but they were sent up to {sent}"
        );
        ensure!(last <= history.len() as u64, "a file put back has more changes than it ever had");
        let (history, sent) = (history[..last as usize].to_vec(), last.min(*sent));
        check_tables(db, &self.schema, &history)?;
        known.branches.push(Branch { history, sent });
        known.current = known.branches.len() - 1;
        known.compared = None;
        Ok(())
    }

    /// A station sends a frame.
    ///
    /// # Errors
    /// When it is more than the server told it to send, or not of its log.
    pub fn sends(&mut self, station: usize, header: &FrameHeader, bytes: usize, told: Option<FrameLimits>) -> Verdict {
        let known = &mut self.stations[station];
        let last = header.first_seq + u64::from(header.count) - 1;
        ensure!(last <= known.history().len() as u64, "change {last} is sent, and was never made");
        if let Some(told) = told {
            ensure!(
                header.count <= told.rows_max.max(1),
                "{} changes in a frame, the server told {}",
                header.count,
                told.rows_max
            );
            ensure!(
                bytes as u64 <= u64::from(told.frame_bytes_max) && header.raw_bytes <= told.body_bytes_max,
                "a frame of {bytes} bytes ({} unpacked), the server told {} ({})",
                header.raw_bytes,
                told.frame_bytes_max,
                told.body_bytes_max
            );
        }
        let sent = &mut known.branches[known.current].sent;
        *sent = last.max(*sent);
        Ok(())
    }

    /// Where a station stands upstream.
    fn cursor(&self, number: Option<StationNumber>) -> Option<Cursor> {
        let cursor = self.upstream.upstream().cursor(number?).now_or_never().expect("BUG: memory never waits");
        cursor.expect("BUG: nothing fails for the oracle")
    }

    /// A server has answered a station's request, or died over it. `frame` is the frame it carried, of which branch,
    /// and the server's clock.
    ///
    /// # Errors
    /// When upstream is not what the changes up to its cursor make it, or the reply says more than is durable.
    pub fn served(
        &mut self,
        station: usize,
        frame: Option<(FrameHeader, usize, i64)>,
        reply: Option<&Reply>,
        coverage: &mut Coverage,
    ) -> Verdict {
        if self.stations[station].number.is_none() {
            self.find_number(station);
        }
        let after = self.cursor(self.stations[station].number);
        if let (Some((header, branch, now_ms)), Some(after)) = (&frame, after) {
            self.follow(station, header, *branch, *now_ms, after, coverage)?;
        }
        self.upstream.inspect(|contents| self.compare(contents))?;
        match (reply, after, &frame) {
            (Some(reply), Some(after), Some((header, branch, _))) if reply.status == 200 => {
                self.acknowledged(station, header, *branch, reply, after)
            }
            (Some(reply), ..) => {
                ensure!(reply.body.len() <= MESSAGE_BYTES_MAX, "a reply of {} bytes", reply.body.len());
                Ok(())
            }
            (None, ..) => Ok(()),
        }
    }

    /// Stations get their numbers in the order in which they join, which the database knows.
    fn find_number(&mut self, station: usize) {
        let all = self.upstream.upstream().stations().now_or_never().expect("BUG: memory never waits");
        let all = all.expect("BUG: nothing fails for the oracle");
        let name = super::names::station_name(station);
        self.stations[station].number =
            all.iter().find(|all| all.record.name == name).and_then(|all| all.record.number);
    }

    /// The cursor may have moved: then it moved over the frame or a part of it, whose history has to be the one
    /// upstream follows.
    fn follow(
        &mut self,
        station: usize,
        header: &FrameHeader,
        branch: usize,
        now_ms: i64,
        after: Cursor,
        coverage: &mut Coverage,
    ) -> Verdict {
        let known = &mut self.stations[station];
        if after.seq == known.cursor {
            return Ok(());
        }
        let last = header.first_seq + u64::from(header.count) - 1;
        ensure!(
            after.seq > known.cursor && after.seq <= last && header.first_seq <= known.cursor + 1,
            "the cursor went from {} to {} by the changes {} to {last}",
            known.cursor,
            after.seq,
            header.first_seq
        );
        ensure!(
            common(&known.branches[branch].history, &known.branches[known.upstream].history) >= known.cursor,
            "another history was applied after change {}",
            known.cursor
        );
        let number = known.number.map_or(0, StationNumber::get);
        for change in &known.branches[branch].history[known.cursor as usize..after.seq as usize] {
            coverage.count("verdict", self.model.take(&self.schema, number, change, now_ms));
        }
        if after.seq < last {
            coverage.count("part", "of a batch");
        }
        let (before, passed) = (known.cursor, (after.seq - known.cursor) as usize);
        known.cursor = after.seq;
        known.upstream = branch;
        let station = known.number;
        let prints = self.prints(station, before, passed);
        ensure!(
            prints.len() == passed && prints.last() == Some(&after.chain.print()),
            "the cursor went from {before} to {}, with the prints of {} changes",
            after.seq,
            prints.len()
        );
        Ok(())
    }

    /// The prints of a station's changes after one of them, at most `limit`.
    fn prints(&self, number: Option<StationNumber>, after: u64, limit: usize) -> Vec<Print> {
        let Some(number) = number else { return Vec::new() };
        let history = self.upstream.upstream().history(number, after, limit).now_or_never();
        let history = history.expect("BUG: memory never waits").expect("BUG: nothing fails for the oracle");
        history.filter(|history| history.first_seq == after + 1).map(|history| history.prints).unwrap_or_default()
    }

    /// Upstream is what the model is.
    fn compare(&self, contents: Contents<'_>) -> Verdict {
        for (table, (there, expected)) in self.schema.tables().iter().zip(contents.rows.iter().zip(&self.model.rows)) {
            if there == expected {
                continue;
            }
            let missing = expected.iter().find(|(identity, row)| there.get(identity) != Some(row));
            let extra = there.iter().find(|(identity, _)| !expected.contains_key(identity));
            return Err(format!(
                "upstream's {} is not what the changes make it: expected {missing:?}, not expected {extra:?}",
                table.name
            ));
        }
        let there = contents.rejects.iter().map(|(key, reject)| (*key, named(&reject.code), reject.origin.as_str()));
        let expected = self.model.refused.iter().map(|(key, refused)| (*key, refused.code, refused.origin));
        if !there.clone().eq(expected.clone()) {
            let (there, expected): (Vec<_>, Vec<_>) = (there.collect(), expected.collect());
            let at = there.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            return Err(format!(
                "upstream's rejects differ: expected {:?}, there is {:?}",
                expected.get(at),
                there.get(at)
            ));
        }
        for (reject, refused) in contents.rejects.values().zip(self.model.refused.values()) {
            let Some(expected) = &refused.image else { continue };
            ensure!(
                reject.image.as_ref() == Some(expected),
                "the image of change {} is {:?}, not {expected}",
                reject.seq,
                reject.image
            );
        }
        Ok(())
    }

    /// An acknowledgement says what is durable, and which changes of the frame were rejected.
    fn acknowledged(
        &self,
        station: usize,
        header: &FrameHeader,
        branch: usize,
        reply: &Reply,
        after: Cursor,
    ) -> Verdict {
        let known = &self.stations[station];
        let said: PushReply =
            serde_json::from_slice(&reply.body).map_err(|error| format!("an unreadable reply: {error}"))?;
        ensure!(
            said.tidemark <= after.seq && (said.tidemark < after.seq || said.chain == after.chain),
            "change {} is acknowledged, durable are {}",
            said.tidemark,
            after.seq
        );
        if branch != known.upstream {
            return Ok(());
        }
        let number = known.number.map_or(0, StationNumber::get);
        let last = header.first_seq + u64::from(header.count) - 1;
        let refused = self.model.refused.range((number, header.first_seq)..=(number, last));
        let expected = refused.filter(|(_, refused)| refused.origin == "server").map(|((_, seq), r)| (*seq, r.code));
        let told = said.rejected.iter().map(|change| (change.seq, named(change.code.as_str())));
        ensure!(
            told.clone().eq(expected.clone()),
            "the reply to changes {} to {last} tells the rejects {:?}, there are {:?}",
            header.first_seq,
            told.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>()
        );
        Ok(())
    }

    /// A station's process has done something.
    ///
    /// # Errors
    /// When its file says what is not so.
    pub fn looked(&mut self, station: usize, store: &Store) -> Verdict {
        let known = &mut self.stations[station];
        let meta = match store.meta() {
            Ok(meta) => meta,
            Err(error) if error.can_retry() => return Ok(()),
            Err(error) => return Err(format!("the station's row cannot be read: {error}")),
        };
        let (tidemark, made) = (meta.tidemark.seq, known.history().len() as u64);
        let agreed = known.agreed();
        ensure!(tidemark <= agreed, "the tidemark is {tidemark}, durable upstream are {agreed}");
        let log = "SELECT count(*), min(seq), max(seq) FROM tidemark_log";
        let (count, first, last): (i64, Option<i64>, Option<i64>) = store
            .connection()
            .prepare_cached(log)
            .and_then(|mut query| query.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))))
            .map_err(|error| format!("the log cannot be read: {error}"))?;
        let pending = made - tidemark;
        let whole = pending == 0 || (first, last) == (Some(tidemark as i64 + 1), Some(made as i64));
        ensure!(
            count as u64 == pending && whole,
            "{made} changes were made and {tidemark} are upstream, but the log holds {count} from {first:?} to {last:?}"
        );
        ensure!(
            meta.forked.is_none() || known.diverged(),
            "the station says it has forked, and has not: {}",
            meta.forked.map_or_else(String::new, |halt| halt.to_string())
        );
        if known.compared == Some((known.current, tidemark)) {
            return Ok(());
        }
        known.compared = Some((known.current, tidemark));
        let number = known.number.map_or(0, StationNumber::get);
        let kept = read(store.connection(), &self.schema, "tidemark_rejects", 0);
        let reasons = reasons(store.connection());
        let refused: Vec<_> = self.model.refused.range((number, 0)..=(number, tidemark)).collect();
        let expected: Vec<_> = refused.iter().map(|((_, seq), refused)| (*seq, refused.code, refused.origin)).collect();
        let there: Vec<_> = reasons.iter().map(|(seq, code, origin)| (*seq, named(code), origin.as_str())).collect();
        ensure!(
            there == expected,
            "of {tidemark} changes upstream the station keeps the rejects {there:?}, not {expected:?}"
        );
        for image in kept {
            ensure!(
                known.history()[image.seq as usize - 1] == image,
                "the station keeps another image of change {}: {image:?}",
                image.seq
            );
        }
        Ok(())
    }

    /// Whether a station has nothing left to do.
    #[must_use]
    pub fn is_done(&self, station: usize, store: &Store) -> bool {
        let known = &self.stations[station];
        let Ok(meta) = store.meta() else { return false };
        let made = known.history().len() as u64;
        if meta.forked.is_some() {
            return known.diverged();
        }
        // A file that was put back and has nothing new to push does not ask, and so does not learn of its fork.
        meta.membership.is_some() && meta.tidemark.seq == made && (known.cursor == made || known.diverged())
    }

    /// Where a station is stuck, in words.
    #[must_use]
    pub fn describe(&self, station: usize) -> String {
        let known = &self.stations[station];
        format!("{} changes made, {} upstream, {} agreed", known.history().len(), known.cursor, known.agreed())
    }

    /// Nothing is left to do.
    ///
    /// # Errors
    /// When a station's tables are not what its history says.
    pub fn ended(&self, station: usize, db: &Connection) -> Verdict {
        check_tables(db, &self.schema, self.stations[station].history())
    }
}

/// The model has one word for a row that is not there; the product says too when that row's own change was rejected.
/// Whether a station knows that depends on where batches end, so the model does not.
fn named(code: &str) -> &str {
    if code == "parent" { "reference" } else { code }
}

/// Seq, code and origin of the rejects a station keeps.
fn reasons(db: &Connection) -> Vec<(u64, String, String)> {
    let query = db.prepare_cached("SELECT seq, code, origin FROM tidemark_rejects ORDER BY seq");
    let mut query = query.expect("BUG: the station has its tables");
    let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?, row.get(2)?)));
    rows.and_then(Iterator::collect).expect("BUG: the station's rejects can be read")
}
