//! `tidemark status`

use std::path::Path;

use serde_json::json;
use tidemark_client::State;

use super::{Fatal, show};
use crate::clock::now_ms;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let mut store = super::open(db)?;
    let status = store.status()?;
    let schema = store.schema();
    let uuid = tidemark_core::value::format_uuid(store.uuid());
    let former: Vec<_> = store.former()?;
    if args.json {
        let former: Vec<_> = former
            .iter()
            .map(|former| {
                json!({
                    "station": former.membership.number.get(),
                    "name": former.membership.name,
                    "server": former.server,
                    "upto": former.upto,
                    "left_ms": former.left_ms,
                })
            })
            .collect();
        let json = json!({
            "file": store.file(),
            "state": status.state.as_str(),
            "station": status.membership.as_ref().map(|membership| membership.number.get()),
            "name": status.membership.as_ref().map(|membership| membership.name.as_str()),
            "server": status.server,
            "uuid": uuid,
            "schema": { "name": schema.name(), "version": schema.version(), "fingerprint": schema.fingerprint().to_hex() },
            "last_seq": status.last_seq,
            "tidemark": status.tidemark,
            "pending": status.pending,
            "oldest_pending_ms": status.oldest_pending_ms,
            "rejects": status.rejects,
            "unlogged_rows": store.backfill_open()?,
            "last_contact_ms": status.last_contact_ms,
            "last_error": status.last_error,
            "last_error_ms": status.last_error_ms,
            "forked": status.forked,
            "former": former,
        });
        show::line(&format!("{json:#}"));
        return Ok(());
    }
    let now_ms = now_ms();
    let when = |ms: i64| format!("{} ({})", show::time(ms), show::ago(ms, now_ms));
    let line = |name: &str, value: &str| show::line(&format!("{name:<14}{}", show::one_line(value)));
    line(
        "state",
        match status.state {
            State::NotJoined => "records; has not joined a server yet (`tidemark join CODE`)",
            State::InSync => "in sync: everything is upstream",
            State::Pending => "changes wait for being pushed",
            State::Forked => "forked: this file's history is not the one the server has; nothing is pushed",
        },
    );
    if let Some(membership) = &status.membership {
        line("station", &format!("{} {:?}", membership.number, membership.name));
    }
    for former in &former {
        let (number, name) = (former.membership.number, &former.membership.name);
        line("was before", &format!("{number} {name:?} up to change {}, until {}", former.upto, when(former.left_ms)));
    }
    if let Some(server) = &status.server {
        line("server", server);
    }
    line("schema", &format!("{} version {} ({})", schema.name(), schema.version(), schema.fingerprint()));
    line("tidemark", &format!("{} of {}", status.tidemark, show::count(status.last_seq, "change")));
    let oldest = status.oldest_pending_ms.map(|ms| format!(", the oldest of {}", when(ms))).unwrap_or_default();
    line("pending", &format!("{}{oldest}", status.pending));
    let unlogged = store.backfill_open()?;
    if unlogged > 0 {
        let rows = show::count(unlogged, "row");
        line(
            "attaching",
            &format!(
                "{rows} that were there are not in the log yet (`tidemark attach` goes on, and so does every push)"
            ),
        );
    }
    if status.rejects > 0 {
        line("rejects", &format!("{} (`tidemark rejects` shows them and what to do)", status.rejects));
    } else {
        line("rejects", "0");
    }
    line("last contact", &status.last_contact_ms.map_or_else(|| "never".to_owned(), when));
    if let Some(error) = &status.last_error {
        line(
            "last error",
            &format!("{}{error}", status.last_error_ms.map(|ms| format!("{}: ", when(ms))).unwrap_or_default()),
        );
    }
    if let Some(forked) = &status.forked {
        line("forked", forked);
    }
    Ok(())
}
