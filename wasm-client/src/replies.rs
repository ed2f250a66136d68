//! The engine's words as JavaScript's objects.

use js_sys::Array;
use rusqlite::types::ValueRef;
use tidemark_client::meta::Membership;
use tidemark_client::sync::{Action, Event, Method, Request, StopKind};
use tidemark_client::{Reject, Status};
use tidemark_core::schema::Schema;
use wasm_bindgen::JsValue;

use crate::js::{bytes, count, from_sqlite, integer, names, number, object, text};
use crate::words;

/// A request to perform.
pub fn request(request: &Request) -> JsValue {
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    let token = request.token.as_ref().map(tidemark_client::Secret::to_hex);
    object([
        ("do", "send".into()),
        ("id", count(request.id)),
        ("method", method.into()),
        ("url", request.url.as_str().into()),
        ("token", token.map_or(JsValue::UNDEFINED, Into::into)),
        ("contentType", request.content_type.map_or(JsValue::UNDEFINED, Into::into)),
        ("body", bytes(&request.body)),
        ("timeoutMs", count(request.timeout_ms)),
    ])
}

const fn kind(kind: StopKind) -> &'static str {
    match kind {
        StopKind::NotJoined => "not-joined",
        StopKind::Forked => "forked",
        StopKind::Revoked => "revoked",
        StopKind::Unauthorized => "unauthorized",
        StopKind::WrongStation => "wrong-station",
        StopKind::Schema => "schema",
        StopKind::Tampered => "tampered",
        StopKind::TooLarge => "too-large",
        StopKind::Refused => "refused",
    }
}

/// The next thing to do.
pub fn action(action: &Action) -> JsValue {
    match action {
        Action::Send(ask) => request(ask),
        Action::UnderWay(_) => panic!("BUG: a page sends nothing before its turn"),
        Action::WaitUntil(until_ms) => object([("do", "wait".into()), ("untilMs", number(*until_ms))]),
        Action::Idle => object([("do", "idle".into())]),
        Action::Stopped(stop) => object([
            ("do", "stopped".into()),
            ("kind", kind(stop.kind()).into()),
            ("message", words::stop(stop).into()),
            ("restMs", number(stop.rests_ms())),
        ]),
    }
}

/// The event that an outcome led to.
pub fn event(event: &Event) -> JsValue {
    match event {
        Event::Acked { tidemark, changes, rejected_here, rejected_by_server } => object([
            ("event", "acked".into()),
            ("tidemark", count(*tidemark)),
            ("changes", count(*changes)),
            ("rejectedHere", count(*rejected_here)),
            ("rejectedByServer", count(*rejected_by_server)),
        ]),
        Event::Agreed => object([("event", "agreed".into())]),
        Event::Settled { resolved, discarded } => {
            object([("event", "settled".into()), ("resolved", count(*resolved)), ("discarded", count(*discarded))])
        }
        Event::Smaller { rows } => object([("event", "smaller".into()), ("rows", count((*rows).into()))]),
        Event::Failed { why, retry_at_ms } => object([
            ("event", "failed".into()),
            ("message", words::trouble(why).into()),
            ("retryAtMs", number(*retry_at_ms)),
        ]),
        Event::Stopped(stop) => object([
            ("event", "stopped".into()),
            ("kind", kind(stop.kind()).into()),
            ("message", words::stop(stop).into()),
        ]),
        Event::Ignored => object([("event", "ignored".into())]),
    }
}

/// The station's status.
pub fn status(status: &Status) -> JsValue {
    let member = status.membership.as_ref();
    object([
        ("state", status.state.as_str().into()),
        ("number", number(member.map(|member| member.number.get().into()))),
        ("name", text(member.map(|member| member.name.as_str()))),
        ("server", text(status.server.as_deref())),
        ("lastSeq", count(status.last_seq)),
        ("tidemark", count(status.tidemark)),
        ("pending", count(status.pending)),
        ("oldestPendingMs", number(status.oldest_pending_ms)),
        ("rejects", count(status.rejects)),
        ("lastContactMs", number(status.last_contact_ms)),
        ("lastError", text(words::last_error(status).as_deref())),
        ("lastErrorMs", number(status.last_error_ms)),
        ("forked", text(status.forked.as_ref().map(words::halt).as_deref())),
    ])
}

/// A station that has joined.
pub fn membership(joined: &Membership) -> JsValue {
    object([("number", number(i64::from(joined.number.get()))), ("name", joined.name.as_str().into())])
}

/// A rejected change.
pub fn reject(reject: &Reject) -> JsValue {
    let op = match reject.change.op.as_str() {
        "I" => "insert",
        "D" => "delete",
        _ => "update",
    };
    let row = js_sys::Object::new();
    for (column, value) in &reject.change.values {
        let _ = js_sys::Reflect::set(&row, &column.as_str().into(), &from_sqlite(ValueRef::from(value)));
    }
    object([
        ("seq", count(reject.change.seq)),
        ("at", number(reject.change.at_ms)),
        ("table", reject.change.table.as_str().into()),
        ("op", op.into()),
        ("origin", reject.origin.as_str().into()),
        ("code", reject.code.as_str().into()),
        ("message", reject.message.as_str().into()),
        ("row", row.into()),
    ])
}

/// A schema, as far as a page needs it.
pub fn schema(schema: &Schema) -> JsValue {
    let tables = schema.tables().iter().map(|table| {
        let columns = table.columns.iter().map(|column| {
            object([
                ("name", column.name.as_str().into()),
                ("type", column.ty.as_str().into()),
                ("required", column.required.into()),
            ])
        });
        object([
            ("name", table.name.as_str().into()),
            ("key", table.key_column().name.as_str().into()),
            ("columns", columns.collect::<Array>().into()),
        ])
    });
    object([
        ("name", schema.name().into()),
        ("version", integer(schema.version().into())),
        ("fingerprint", schema.fingerprint().to_hex().into()),
        ("tables", tables.collect::<Array>().into()),
    ])
}

/// Names of tables.
pub fn tables(tables: &[String]) -> Array {
    names(tables.iter().map(String::as_str))
}
