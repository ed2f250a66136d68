//! `tidemark verify`: whatever a server answers to questions about rows, the search ends, and changes nothing at the
//! station.

use arbitrary::{Arbitrary, Unstructured};
use serde_json::{Value, json};
use tidemark_client::Store;
use tidemark_client::sync::Reply;
use tidemark_client::verify::{Heard, Search, Step};
use tidemark_core::chain::Chain;
use tidemark_core::survey::{DigestRequest, Question};

use crate::station::{PENDING, chains, check_tidemark, with};

/// Replies to one search; what goes on for longer goes on for ever.
const REPLIES_MAX: usize = 2_000;

/// A reply.
#[derive(Debug, Arbitrary)]
enum Answer {
    Raw {
        status: u16,
        body: Vec<u8>,
    },
    Lost {
        timeout: bool,
    },
    /// Of the form that was asked for, with anything in it.
    Fitting {
        seq: u8,
        rows: Vec<Row>,
        more: bool,
        short: bool,
    },
}

/// A row that upstream claims to have.
#[derive(Debug, Arbitrary)]
struct Row {
    key: i8,
    time: Option<i64>,
    uuid: bool,
    hash: u8,
    cells: u8,
}

impl Row {
    fn json(&self, cells: bool) -> Value {
        let key = if self.uuid {
            json!("0190f1a2-b3c4-7d5e-8f60-718293a4b5c6")
        } else {
            json!((3_i64 << 32) + i64::from(self.key))
        };
        let hash = format!("{:02x}", self.hash).repeat(32);
        let mut row = json!({ "id": { "key": key }, "hash": hash });
        if let Some(time) = self.time {
            row["id"]["time"] = json!(time);
        }
        if cells {
            let cell = json!({ "hash": hash[..32], "shown": "x" });
            row["cells"] = vec![cell; usize::from(self.cells % 12)].into();
        }
        row
    }
}

/// The bytes are answers, given in turn, the last one for ever.
pub fn run(data: &[u8]) {
    let Ok(answers) = Vec::<Answer>::arbitrary(&mut Unstructured::new(data)) else { return };
    if answers.is_empty() {
        return;
    }
    let chains = chains();
    with(|store| {
        fill(store, &chains);
        let before = rows(store);
        let mut search = Search::new(store, None, 3).expect("the store is well");
        let mut failures = 0;
        for n in 0..=REPLIES_MAX {
            assert!(n < REPLIES_MAX, "the search goes on for ever");
            let Step::Send(request) = search.ask(store).expect("the store is well") else { break };
            let asked: DigestRequest = serde_json::from_slice(&request.body).expect("what is asked is well formed");
            let answer = &answers[n.min(answers.len() - 1)];
            let reply = match answer {
                Answer::Lost { timeout } => {
                    search.on_failure(request.id, *timeout);
                    None
                }
                Answer::Raw { status, body } => Some(Reply { status: *status, retry_after: None, body: body.clone() }),
                Answer::Fitting { .. } => Some(fitting(answer, &asked, &chains)),
            };
            let heard = reply.map(|reply| search.hear(store, request.id, &reply).expect("the store is well"));
            match heard {
                None | Some(Heard::Failed { .. }) => failures += 1,
                Some(Heard::Progress) => failures = 0,
                Some(_) => break,
            }
            // As whoever drives it does, it is given up after failures in a row.
            if failures >= 4 {
                break;
            }
        }
        assert_eq!(rows(store), before, "a search changed rows");
        check_tidemark(store, &chains);
        let _ = search.report();
    });
}

/// The number of the log's changes that the station knows to be upstream.
const UPSTREAM: u64 = 5;

/// Gives the station rows without a log of them, and a tidemark in the middle of its log.
fn fill(store: &Store, chains: &[Chain]) {
    let sql = "INSERT INTO site (id, name) SELECT seq, 'pond' FROM tidemark_log WHERE seq <= 12;
        INSERT INTO reading (id, measured_at) SELECT seq, '2026-01-' || printf('%02d', seq) || ' 00:00:00' FROM tidemark_log WHERE seq <= 12;";
    store.connection().execute_batch(sql).expect("the tables take rows");
    let sql = "DELETE FROM tidemark_log WHERE seq > ?1";
    store.execute(sql, [PENDING as i64]).expect("the log is there");
    store.execute("DELETE FROM tidemark_log WHERE seq <= ?1", [UPSTREAM as i64]).expect("the log is there");
    let sql = "UPDATE tidemark_station SET tidemark = ?1, chain = ?2";
    store.execute(sql, (UPSTREAM as i64, chains[UPSTREAM as usize].0)).expect("the row is there");
    let sql = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'tidemark_log'";
    store.execute(sql, [PENDING as i64]).expect("the sequence is there");
}

fn rows(store: &Store) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM site) + (SELECT count(*) FROM reading) + (SELECT count(*) FROM tag)";
    store.connection().query_row(sql, [], |row| row.get(0)).expect("the tables are there")
}

fn fitting(answer: &Answer, asked: &DigestRequest, chains: &[Chain]) -> Reply {
    let Answer::Fitting { seq, rows, more, short } = answer else { unreachable!("BUG: asked for a fitting answer") };
    let seq = usize::from(*seq) % chains.len();
    let answers = asked.asks.iter().take(if *short { 1 } else { usize::MAX }).map(|ask| match &ask.question {
        Question::Digests(ranges) => {
            let digest = |n: usize| {
                let sum = format!("{:02x}", rows.get(n % 7).map_or(0, |row| row.hash)).repeat(32);
                json!({ "rows": n, "sum": sum })
            };
            json!({ "digests": (0..ranges.len()).map(digest).collect::<Vec<_>>() })
        }
        Question::Rows(_) => {
            json!({ "rows": { "rows": rows.iter().map(|row| row.json(false)).collect::<Vec<_>>(), "more": more } })
        }
        Question::Find { cells, .. } => {
            json!({ "found": rows.iter().map(|row| row.json(*cells)).collect::<Vec<_>>() })
        }
    });
    let reply = json!({ "tidemark": seq, "chain": chains[seq].to_hex(), "answers": answers.collect::<Vec<_>>() });
    Reply { status: 200, retry_after: None, body: serde_json::to_vec(&reply).expect("BUG: JSON serialises") }
}
