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
    let state = match status.state {
        State::NotJoined => "records; has not joined a server yet (`tidemark join CODE`)".to_owned(),
        State::InSync => in_sync(status.last_contact_ms.map(when), status.last_error.is_some()),
        State::Pending => "changes wait for being pushed".to_owned(),
        State::Forked => "forked: this file's history is not the one the server has; nothing is pushed".to_owned(),
    };
    line("state", &state);
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

/// What a file without anything to push may claim: what the server said last, and when. Whether it would say so now, `tidemark push` asks.
fn in_sync(heard: Option<String>, failed_since: bool) -> String {
    let heard = heard.map_or_else(
        || "nothing waits; the server has not been heard".to_owned(),
        |when| format!("in sync when the server was last heard, {when}: everything was upstream"),
    );
    if failed_since { format!("{heard}. It did not say so again since: see last error") } else { heard }
}

#[cfg(test)]
mod tests {
    use super::in_sync;

    #[test]
    fn a_file_claims_what_it_last_heard() {
        let heard = in_sync(Some("noon".to_owned()), false);
        assert_eq!(heard, "in sync when the server was last heard, noon: everything was upstream");
        assert_eq!(
            in_sync(Some("noon".to_owned()), true),
            format!("{heard}. It did not say so again since: see last error")
        );
        assert!(!in_sync(None, false).contains("sync"));
    }
}
