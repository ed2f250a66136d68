//! A small upstream that answers surveys: it leaves out, loses and lies as it is told.

use std::collections::BTreeMap;

use tidemark_client::sync::{Failure, FailureKind, Reply, Request, Transport};
use tidemark_client::{Store, rusqlite};
use tidemark_core::digest::{CellHash, RowDigest, RowHash};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::LISTED_ROWS_MAX;
use tidemark_core::survey::{Answer, Cell, DigestReply, DigestRequest, FoundRow, ListedRow, Question, Range};
use tidemark_core::value::Value;

use super::{FakeServer, Fault, TestClock, World, answer, schema};

pub type Rows = BTreeMap<(usize, Identity), Vec<Value>>;

/// Rows upstream, beside the fake server that keeps the cursor.
pub struct Upstream {
    pub server: FakeServer,
    pub rows: Rows,
    /// Most asks answered in one reply, and most rows listed.
    pub answers_max: usize,
    pub listed_max: usize,
    pub asked: Vec<DigestRequest>,
    /// Done to each reply before it goes out.
    pub twist: Box<dyn FnMut(&mut DigestReply)>,
    /// Done after each reply was made.
    pub meanwhile: Box<dyn FnMut()>,
}

impl Upstream {
    pub fn new(server: FakeServer) -> Self {
        Self {
            server,
            rows: Rows::new(),
            answers_max: usize::MAX,
            listed_max: LISTED_ROWS_MAX,
            asked: Vec::new(),
            twist: Box::new(|_| ()),
            meanwhile: Box::new(|| ()),
        }
    }

    fn digest(&mut self, body: &[u8]) -> Reply {
        let request: DigestRequest = serde_json::from_slice(body).unwrap();
        request.check(&schema()).unwrap();
        let answers = request.asks.iter().take(self.answers_max).map(|ask| {
            let index = schema().table_index(&ask.table).unwrap();
            let rows = self.rows.iter().filter(move |((table, _), _)| *table == index).map(|((_, id), row)| (id, row));
            let hash = |row: &[Value]| RowHash::of(&mut Vec::new(), &ask.table, row.iter().map(Value::as_ref));
            match &ask.question {
                Question::Digests(ranges) => {
                    let mut digests = vec![RowDigest::default(); ranges.len()];
                    rows.filter_map(|(id, row)| Some((Range::find(ranges, id)?, row)))
                        .for_each(|(at, row)| digests[at].add(&hash(row)));
                    Answer::Digests(digests)
                }
                Question::Rows(ranges) => {
                    let inside = rows.filter(|(id, _)| Range::find(ranges, id).is_some());
                    let mut rows: Vec<_> = inside.map(|(id, row)| ListedRow { id: *id, hash: hash(row) }).collect();
                    let more = rows.len() > self.listed_max;
                    rows.truncate(self.listed_max);
                    Answer::Rows { rows, more }
                }
                Question::Find { rows: wanted, cells } => {
                    let print = |value: &Value| Cell {
                        hash: CellHash::of(&mut Vec::new(), value.as_ref()),
                        shown: value.as_ref().to_string(),
                    };
                    let found = rows.filter(|(id, _)| wanted.contains(id)).map(|(id, row)| FoundRow {
                        id: *id,
                        hash: hash(row),
                        cells: if *cells { row.iter().map(print).collect() } else { Vec::new() },
                    });
                    Answer::Found(found.collect())
                }
            }
        });
        let cursor = self.server.cursor;
        let mut reply = DigestReply { tidemark: cursor.seq, chain: cursor.chain, answers: answers.collect() };
        self.asked.push(request);
        (self.twist)(&mut reply);
        answer(200, &reply)
    }
}

impl Transport for Upstream {
    fn send(&mut self, request: &Request) -> Result<Reply, Failure> {
        if !request.url.ends_with("/v1/digest") {
            return self.server.send(request);
        }
        let lost = |kind| Err(Failure { kind, message: "the connection was lost".into() });
        let reply = match self.server.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => Ok(self.digest(&request.body)),
            Fault::LoseRequest | Fault::LoseReply => lost(FailureKind::Broken),
            Fault::Timeout => lost(FailureKind::Timeout),
            Fault::Answer(reply) => Ok(reply),
        };
        (self.meanwhile)();
        reply
    }
}

/// A station with readings over two years and some sites, all of it upstream.
pub fn world(readings: i64) -> (Store, Upstream, TestClock, tempfile::TempDir) {
    let mut world = World::joined();
    world.store.execute("INSERT INTO site (name) VALUES ('a'), ('b'), ('c')", []).unwrap();
    let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO reading (site_id, at, n, x) SELECT 1 + n % 3, datetime(1700000000 + n * 76543 % 63072000, 'unixepoch'), n, n / 7.0 FROM n";
    world.store.execute(sql, [readings]).unwrap();
    world.push();
    let World { store, server, clock, folder, .. } = world;
    let mut upstream = Upstream::new(server);
    upstream.rows = rows_of(store.connection());
    (store, upstream, clock, folder)
}

/// The station's rows as upstream should have them, by the tests' own conversion.
pub fn rows_of(db: &rusqlite::Connection) -> Rows {
    let station = StationNumber::new(3).unwrap();
    let mut rows = Rows::new();
    let id = |local: i64| Value::Integer(station.upstream_id(local).unwrap());
    let mut sites = db.prepare("SELECT id, name FROM site").unwrap();
    for site in sites.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).unwrap() {
        let (key, name) = site.unwrap();
        let identity = Identity { time_us: 0, key: Key::Integer(station.upstream_id(key).unwrap()) };
        rows.insert((0, identity), vec![id(key), Value::Text(name)]);
    }
    let mut readings = db.prepare("SELECT id, site_id, at, n, x FROM reading").unwrap();
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?, row.get(4)?));
    for reading in readings.query_map([], read).unwrap() {
        let (key, site, at, n, x) = reading.unwrap();
        let time_us = tidemark_core::timestamp::parse(at.as_bytes()).unwrap();
        let identity = Identity { time_us, key: Key::Integer(station.upstream_id(key).unwrap()) };
        let values = [id(key), id(site), Value::Timestamp(time_us), Value::Integer(n), Value::Real(x)];
        rows.insert((1, identity), values.into_iter().chain([Value::Null, Value::Null, Value::Null]).collect());
    }
    rows
}
