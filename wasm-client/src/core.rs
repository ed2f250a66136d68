//! The calls that JavaScript sees. Every call runs to its end before the next, and throws an `Error` with a `code`.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use js_sys::futures::future_to_promise;
use js_sys::{Array, Date, Promise, Uint8Array};
use tidemark_client::sync::join::{self, Begin};
use tidemark_client::sync::{Failure as NoReply, FailureKind, Reply};
use tidemark_client::{Chosen, RejectState, Secret, bundle};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};

use crate::error::{Code, Failure, Result};
use crate::js::{self, object};
use crate::session::{Executed, Options, Session};
use crate::storage::{Pool, connect, connect_memory};
use crate::{calls, replies};

/// Set by a panic: what is in memory is not to be trusted any more.
static BROKEN: AtomicBool = AtomicBool::new(false);

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| {
        BROKEN.store(true, Ordering::Relaxed);
        console_error(&format!("tidemark: {panic}"));
    }));
}

enum State {
    Open(Box<Session>, Option<Pool>),
    Closed,
    Fenced,
}

/// A station's open database and the engine that pushes it.
#[wasm_bindgen]
pub struct Core(RefCell<State>);

type Js<T> = std::result::Result<T, JsValue>;

impl Core {
    fn with<T>(&self, work: impl FnOnce(&mut Session) -> Result<T>) -> Js<T> {
        if BROKEN.load(Ordering::Relaxed) {
            return Err(Failure::new(
                Code::Bug,
                "BUG: Tidemark failed in this worker; the console has the message. Reload the page",
            )
            .into());
        }
        match &mut *self.0.borrow_mut() {
            State::Open(session, _) => work(session).map_err(Into::into),
            State::Closed => Err(Failure::new(Code::Closed, "the database is closed").into()),
            State::Fenced => Err(Failure::new(Code::Closed, "another tab has the database now").into()),
        }
    }
}

fn executed(done: Executed) -> JsValue {
    object([("changes", js::count(done.changes)), ("lastInsertId", js::integer(done.last_insert_id))])
}

fn options(given: &JsValue) -> Result<(Options, bool)> {
    let name = js::text_field(given, "name")?.unwrap_or_default();
    let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
        return Err(Failure::argument("the name of a database has 1 to 64 letters, digits, - and _"));
    }
    let seed = js::field(given, "seed").as_f64().unwrap_or_default();
    let options = Options {
        name,
        schema: js::text_field(given, "schema")?,
        server: js::text_field(given, "server")?,
        uuid: js::fixed_bytes(&js::field(given, "uuid"), "uuid")?,
        seed: seed.to_bits(),
        now_ms: Date::now() as i64,
    };
    Ok((options, js::field(given, "memory").is_truthy()))
}

async fn open(given: JsValue) -> Result<Core> {
    let (options, memory) = options(&given)?;
    if memory {
        let session = Session::open(connect_memory()?, &options)?;
        return Ok(Core(RefCell::new(State::Open(Box::new(session), None))));
    }
    let pool = Pool::open(&options.name).await?;
    match connect(&options.name).and_then(|db| Session::open(db, &options)) {
        Ok(session) => Ok(Core(RefCell::new(State::Open(Box::new(session), Some(pool))))),
        Err(failure) => {
            // Whoever tries next finds the handles free.
            let _ = pool.close();
            Err(failure)
        }
    }
}

#[wasm_bindgen]
impl Core {
    /// Opens a database: `{name, schema?, server?, memory, uuid, seed}`.
    pub fn open(options: JsValue) -> Promise {
        future_to_promise(async move { Ok(open(options).await?.into()) })
    }

    /// Runs one statement.
    pub fn exec(&self, sql: &str, params: &JsValue) -> Js<JsValue> {
        self.with(|session| Ok(executed(session.exec(sql, &js::params(params)?)?)))
    }

    /// Runs one statement with each of the rows: all or nothing.
    #[wasm_bindgen(js_name = execMany)]
    pub fn exec_many(&self, sql: &str, rows: &JsValue) -> Js<JsValue> {
        self.with(|session| {
            let rows: &Array = rows.dyn_ref().ok_or_else(|| Failure::argument("rows are given as an array"))?;
            Ok(executed(session.exec_many(sql, (0..rows.length()).map(|at| js::params(&rows.get(at))))?))
        })
    }

    /// Reads rows: `{columns, rows}`.
    pub fn query(&self, sql: &str, params: &JsValue) -> Js<JsValue> {
        self.with(|session| {
            let (mut columns, rows) = (Array::new(), Array::new());
            let params = js::params(params)?;
            let name = |names: Vec<&str>| columns = js::names(names);
            session.query(sql, &params, name, |row| {
                let width = row.as_ref().column_count();
                let cells = Array::new_with_length(width as u32);
                for at in 0..width {
                    cells.set(at as u32, js::from_sqlite(row.get_ref(at).map_err(Failure::statement)?));
                }
                rows.push(&cells);
                Ok(())
            })?;
            Ok(object([("columns", columns.into()), ("rows", rows.into())]))
        })
    }

    /// Inserts a row of the schema; returns its rowid.
    pub fn insert(&self, table: &str, row: &JsValue) -> Js<JsValue> {
        self.with(|session| Ok(js::integer(session.insert(table, &js::row(row)?)?)))
    }

    /// Begins a write transaction.
    pub fn begin(&self) -> Js<()> {
        self.with(|session| session.begin())
    }

    /// Commits it.
    pub fn commit(&self) -> Js<()> {
        self.with(|session| session.commit())
    }

    /// Rolls it back, if one is open.
    pub fn rollback(&self) -> Js<()> {
        self.with(|session| session.rollback())
    }

    /// Whether one is open.
    #[wasm_bindgen(js_name = inTransaction)]
    pub fn in_transaction(&self) -> Js<bool> {
        self.with(|session| Ok(session.in_transaction()))
    }

    /// Keeps the answer to a tab's call, and forgets those it has received.
    #[wasm_bindgen(js_name = noteCall)]
    pub fn note_call(&self, tab: &str, call: f64, answer: &str, done_up_to: f64) -> Js<()> {
        self.with(|session| {
            let (call, done) = (js::seq(call)? as i64, js::seq(done_up_to)? as i64);
            calls::note(session.store.connection(), tab, call, answer, done).map_err(Failure::statement)
        })
    }

    /// The answer to a tab's call, if it was committed.
    #[wasm_bindgen(js_name = answerOf)]
    pub fn answer_of(&self, tab: &str, call: f64) -> Js<Option<String>> {
        self.with(|session| {
            calls::answer_of(session.store.connection(), tab, js::seq(call)? as i64).map_err(Failure::statement)
        })
    }

    /// The tab is gone.
    #[wasm_bindgen(js_name = forgetTab)]
    pub fn forget_tab(&self, tab: &str) -> Js<()> {
        self.with(|session| calls::forget_tab(session.store.connection(), tab).map_err(Failure::statement))
    }

    /// Tables that commits have changed since the last call.
    #[wasm_bindgen(js_name = takeChanges)]
    pub fn take_changes(&self) -> Js<Array> {
        self.with(|session| Ok(replies::tables(&session.take_changes())))
    }

    /// Tables that a statement reads.
    #[wasm_bindgen(js_name = tablesOf)]
    pub fn tables_of(&self, sql: &str) -> Js<Array> {
        self.with(|session| Ok(replies::tables(&session.tables_of(sql)?)))
    }

    /// Checks capture; what had to be repaired, in words.
    #[wasm_bindgen(js_name = checkCapture)]
    pub fn check_capture(&self) -> Js<Array> {
        self.with(|session| {
            session.store.check_capture()?;
            Ok(session.store.take_repairs().iter().map(|repair| JsValue::from(repair.to_string())).collect())
        })
    }

    /// The station's status.
    pub fn status(&self) -> Js<JsValue> {
        self.with(|session| Ok(replies::status(session.status()?)))
    }

    /// The next thing to do.
    pub fn next(&self, now_ms: f64) -> Js<JsValue> {
        self.with(|session| {
            session.outside_transaction("push")?;
            Ok(replies::action(&session.engine.next(&mut session.store, now_ms as i64)?))
        })
    }

    /// The request was answered.
    #[wasm_bindgen(js_name = onReply)]
    pub fn on_reply(
        &self,
        now_ms: f64,
        id: f64,
        status: u16,
        retry_after: Option<String>,
        body: Vec<u8>,
    ) -> Js<JsValue> {
        self.with(|session| {
            session.outside_transaction("take a reply")?;
            let reply = Reply { status, retry_after, body };
            Ok(replies::event(&session.engine.on_reply(&mut session.store, now_ms as i64, id as u64, &reply)?))
        })
    }

    /// The request got no answer; `kind`: as `web/src/http.js` has it.
    #[wasm_bindgen(js_name = onFailure)]
    pub fn on_failure(&self, now_ms: f64, id: f64, kind: &str, message: String) -> Js<JsValue> {
        self.with(|session| {
            session.outside_transaction("take a failure")?;
            let kind = match kind {
                "unreached" => FailureKind::Unreached,
                "timeout" => FailureKind::Timeout,
                _ => FailureKind::Broken,
            };
            let failure = NoReply { kind, message };
            Ok(replies::event(&session.engine.on_failure(&mut session.store, now_ms as i64, id as u64, &failure)?))
        })
    }

    /// The next changes as a request of at most so many bytes, for a page that is being closed; undefined when there is
    /// none to send.
    pub fn farewell(&self, now_ms: f64, bytes_max: u32) -> Js<JsValue> {
        self.with(|session| {
            if session.in_transaction() {
                return Ok(JsValue::UNDEFINED);
            }
            let request = session.engine.farewell(&mut session.store, now_ms as i64, bytes_max)?;
            Ok(request.as_ref().map_or(JsValue::UNDEFINED, replies::request))
        })
    }

    /// Hint: the network is up.
    pub fn online(&self) -> Js<()> {
        self.with(|session| {
            session.engine.online();
            Ok(())
        })
    }

    /// Hint: the network is down.
    pub fn offline(&self) -> Js<()> {
        self.with(|session| {
            session.engine.offline();
            Ok(())
        })
    }

    /// Free room for this origin, in bytes, to be said to the server.
    #[wasm_bindgen(js_name = noteFreeDisk)]
    pub fn note_free_disk(&self, bytes: f64) -> Js<()> {
        self.with(|session| {
            session.engine.note_free_disk(Some(bytes as u64));
            Ok(())
        })
    }

    /// Goes on after a stop.
    pub fn resume(&self) -> Js<()> {
        self.with(|session| Ok(session.engine.resume(&session.store)?))
    }

    /// Asks the server where it stands, next.
    pub fn ask(&self) -> Js<()> {
        self.with(|session| {
            session.engine.ask();
            Ok(())
        })
    }

    /// Failures since the last success.
    pub fn failures(&self) -> Js<u32> {
        self.with(|session| Ok(session.engine.failures()))
    }

    /// Begins to join: what to send, or `{joined}`.
    #[wasm_bindgen(js_name = joinBegin)]
    pub fn join_begin(&self, code: &str, server: Option<String>, token: &JsValue) -> Js<JsValue> {
        self.with(|session| {
            session.outside_transaction("join")?;
            let token = Secret(js::fixed_bytes(token, "the token")?);
            let server = server.or_else(|| session.server().map(str::to_owned));
            Ok(match join::ask(&mut session.store, code, server.as_deref(), token)? {
                Begin::Ask(request) => replies::request(&request),
                Begin::Joined(joined) => object([("joined", replies::membership(&joined))]),
            })
        })
    }

    /// Ends to join with the server's reply.
    #[wasm_bindgen(js_name = joinFinish)]
    pub fn join_finish(&self, now_ms: f64, status: u16, retry_after: Option<String>, body: Vec<u8>) -> Js<JsValue> {
        self.with(|session| {
            session.outside_transaction("join")?;
            let joined = join::hear(&mut session.store, now_ms as i64, &Reply { status, retry_after, body })?;
            session.engine.resume(&session.store)?;
            Ok(replies::membership(&joined))
        })
    }

    /// The server answers at another URL now.
    #[wasm_bindgen(js_name = moveServer)]
    pub fn move_server(&self, url: &str) -> Js<()> {
        self.with(|session| session.move_server(url))
    }

    /// The open rejects, oldest first.
    pub fn rejects(&self) -> Js<Array> {
        self.with(|session| {
            let rejects = Array::new();
            session.store.rejects_in::<Failure>(Some(RejectState::Open), 0, u64::MAX, |reject| {
                rejects.push(&replies::reject(&reject));
                Ok(())
            })?;
            Ok(rejects)
        })
    }

    /// Corrects the row of a rejected change.
    pub fn repair(&self, seq: f64, set: &JsValue) -> Js<()> {
        self.with(|session| {
            session.outside_transaction("repair")?;
            let set = js::row(set)?;
            let set: Vec<_> = set.iter().map(|(column, value)| (column.as_str(), value.clone())).collect();
            session.store.repair(js::seq(seq)?, &set, Date::now() as i64)?;
            Ok(())
        })
    }

    /// Sends the row of a rejected change once more.
    pub fn requeue(&self, seq: f64) -> Js<()> {
        self.with(|session| {
            session.outside_transaction("send again")?;
            session.store.requeue(Chosen::Seqs(&[js::seq(seq)?]), Date::now() as i64)?;
            Ok(())
        })
    }

    /// Gives a rejected change up.
    pub fn discard(&self, seq: f64) -> Js<()> {
        self.with(|session| {
            session.outside_transaction("discard")?;
            Ok(session.store.discard_rejects(&[js::seq(seq)?], Date::now() as i64)?)
        })
    }

    /// The pending changes as a bundle; undefined when nothing is.
    #[wasm_bindgen(js_name = exportBundle)]
    pub fn export_bundle(&self, now_ms: f64) -> Js<Option<Uint8Array>> {
        self.with(|session| {
            session.outside_transaction("export")?;
            let mut bundle = Vec::new();
            let exported = bundle::export(&mut session.store, now_ms as i64, &mut bundle, |_| ())?;
            Ok(exported.map(|_| Uint8Array::from(bundle.as_slice())))
        })
    }

    /// The whole database as a file.
    #[wasm_bindgen(js_name = exportDatabase)]
    pub fn export_database(&self) -> Js<Uint8Array> {
        self.with(|session| {
            let (mut file, mut at) = (Uint8Array::new_with_length(0), 0);
            session.export_database(|bytes, page| {
                if at == 0 {
                    file = Uint8Array::new_with_length(u32::try_from(bytes).unwrap_or(u32::MAX));
                }
                file.subarray(at, at + page.len() as u32).copy_from(page);
                at += page.len() as u32;
            })?;
            Ok(file)
        })
    }

    /// The schema the database follows.
    pub fn schema(&self) -> Js<JsValue> {
        self.with(|session| Ok(replies::schema(session.store.schema())))
    }

    /// Follows a newer schema, given as TOML.
    pub fn evolve(&self, schema: &str) -> Js<()> {
        self.with(|session| session.evolve(schema))
    }

    /// From now on every call throws. Nothing is written and nothing closed: the worker is about to end.
    pub fn fence(&self) {
        if let Ok(mut state) = self.0.try_borrow_mut() {
            // Dropping it would roll back, which writes.
            std::mem::forget(std::mem::replace(&mut *state, State::Fenced));
        }
    }

    /// Closes the database and gives the OPFS handles back; an open transaction is rolled back.
    pub fn close(&self) -> Js<()> {
        let state = std::mem::replace(&mut *self.0.borrow_mut(), State::Closed);
        match state {
            State::Open(session, pool) => {
                let _ = session.rollback();
                drop(session);
                pool.map_or(Ok(()), Pool::close).map_err(Into::into)
            }
            State::Closed => Ok(()),
            State::Fenced => {
                *self.0.borrow_mut() = State::Fenced;
                Ok(())
            }
        }
    }
}
