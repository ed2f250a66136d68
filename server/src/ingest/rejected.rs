//! Refused changes as they are kept, so that the operator sees in one place what was rejected, on the station or here.

use std::collections::HashMap;

use tidemark_core::batch::{Group, Op, VOID_CODE};
use tidemark_core::identity::Key;
use tidemark_core::image::image;
use tidemark_core::value::ValueRef;

use super::decoded::Decoded;
use super::plan::Refusal;
use super::resolve::Change;
use super::write::Work;
use crate::ledger::rejects::{Reject, RejectState};

/// Longest message of a reject, in bytes: a reply with every change of the largest batch rejected still fits a message.
const MESSAGE_BYTES_MAX: usize = 240;
/// Longest code of a change that was rejected on its station, in bytes: it may be a newer station's.
const CODE_BYTES_MAX: usize = 64;

/// Changes that were rejected on the station: kept here too, so that the operator sees all in one place.
pub(super) fn station_rejects<'a>(
    batch: &'a Decoded,
    groups: &'a [Group],
    changes: &'a [Change],
) -> impl Iterator<Item = Reject> + Send + 'a {
    changes.iter().filter(|change| change.op == Op::Void).filter_map(move |change| {
        let group = &groups[change.at.group as usize];
        let text = |column: usize| match group.columns.get(column).map(|block| block.get(change.at.row as usize)) {
            Some(ValueRef::Text(text)) => text,
            _ => "",
        };
        let (code, message) = (text(0), text(1));
        let nothing = code.is_empty() || code == VOID_CODE;
        (!nothing).then(|| reject(batch, change, &cut(code, CODE_BYTES_MAX), message, "station"))
    })
}

fn reject(batch: &Decoded, change: &Change, code: &str, message: &str, origin: &str) -> Reject {
    let table = batch.current.tables().get(change.table);
    Reject {
        station: batch.batch.station,
        seq: change.seq,
        at_ms: change.at_ms,
        received_at_ms: batch.now_ms,
        table: table.map_or_else(String::new, |table| table.name.clone()),
        op: change.op.as_str().to_owned(),
        code: code.to_owned(),
        message: shortened(message),
        image: None,
        origin: origin.to_owned(),
        state: RejectState::Open,
        resolved_at_ms: None,
        key: None,
        parent: None,
    }
}

/// A refused change as it is kept. What a later change of the same batch healed is superseded from the beginning.
pub(super) fn server_reject(
    batch: &Decoded,
    work: &Work<'_>,
    refusal: &Refusal,
    last: &HashMap<(usize, Key), u64>,
) -> Reject {
    let change = &work.changes[refusal.place];
    let healed = change.row().and_then(|row| last.get(&row)).is_some_and(|&seq| seq > change.seq);
    let group = &work.groups[change.at.group as usize];
    let code = refusal.rejection.code.as_str();
    Reject {
        image: Some(image(&work.schema.tables()[change.table], group, change.at.row as usize)),
        state: if healed { RejectState::Superseded } else { RejectState::Open },
        resolved_at_ms: healed.then_some(batch.now_ms),
        key: change.key.map(|key| key.to_string()),
        parent: refusal.parent,
        ..reject(batch, change, code, &refusal.rejection.message, "server")
    }
}

/// The last change of each row that was applied, by its seq.
pub(super) fn last_applied(work: &Work<'_>, refused: &[Refusal]) -> HashMap<(usize, Key), u64> {
    let mut refused = refused.iter().map(|refusal| refusal.place).peekable();
    let mut last = HashMap::new();
    for (place, change) in work.changes.iter().enumerate() {
        if refused.next_if_eq(&place).is_none()
            && let Some(row) = change.row()
        {
            last.insert(row, change.seq);
        }
    }
    last
}

/// A message as it is kept and told.
pub(super) fn shortened(message: &str) -> String {
    cut(message, MESSAGE_BYTES_MAX)
}

/// At most `bytes_max` bytes of a text, without NUL, which no upstream text can hold.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut short = text.replace('\0', "\u{fffd}");
    if short.len() > bytes_max {
        let end = (0..=bytes_max - '…'.len_utf8()).rev().find(|&at| short.is_char_boundary(at)).unwrap_or(0);
        short.truncate(end);
        short.push('…');
    }
    short
}
