//! `tidemark status`

use std::path::Path;

use serde_json::{Value as Json, json};
use tidemark_client::{FormerStation, State, Status, Store};
use tidemark_core::schema::Fingerprint;

use super::fatal::Fatal;
use super::{show, words};
use crate::clock::now_ms;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// The facts to show, read at one moment.
struct Facts {
    file: String,
    uuid: String,
    schema: (String, u32, Fingerprint),
    status: Status,
    former: Vec<FormerStation>,
    /// Rows that were there when the file was attached, and are not in the log yet.
    unlogged: u64,
    captured: bool,
}

fn look(store: &mut Store) -> Result<Facts, Fatal> {
    let schema = store.schema();
    Ok(Facts {
        file: store.file().to_owned(),
        uuid: tidemark_core::value::format_uuid(store.uuid()),
        schema: (schema.name().to_owned(), schema.version(), schema.fingerprint()),
        captured: store.is_captured()?,
        former: store.former()?,
        unlogged: store.backfill_open()?,
        status: store.status()?,
    })
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let facts = Store::look(db, look)?;
    if args.json {
        show::json(&json_of(&facts));
    } else {
        print(&facts);
    }
    Ok(())
}

fn json_of(facts: &Facts) -> Json {
    let status = &facts.status;
    let former: Vec<_> = facts
        .former
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
    let (name, version, fingerprint) = &facts.schema;
    json!({
        "file": facts.file,
        "state": status.state.as_str(),
        "station": status.membership.as_ref().map(|membership| membership.number.get()),
        "name": status.membership.as_ref().map(|membership| membership.name.as_str()),
        "server": status.server,
        "uuid": facts.uuid,
        "schema": { "name": name, "version": version, "fingerprint": fingerprint.to_hex() },
        "last_seq": status.last_seq,
        "tidemark": status.tidemark,
        "pending": status.pending,
        "oldest_pending_ms": status.oldest_pending_ms,
        "rejects": status.rejects,
        "unlogged_rows": facts.unlogged,
        "captured": facts.captured,
        "last_contact_ms": status.last_contact_ms,
        "last_error": words::last_error(status),
        "last_error_ms": status.last_error_ms,
        "forked": status.forked.as_ref().map(words::halt),
        "former": former,
    })
}

fn print(facts: &Facts) {
    let status = &facts.status;
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
    for former in &facts.former {
        let (number, name) = (former.membership.number, &former.membership.name);
        line("was before", &format!("{number} {name:?} up to change {}, until {}", former.upto, when(former.left_ms)));
    }
    if let Some(server) = &status.server {
        line("server", server);
    }
    let (name, version, fingerprint) = &facts.schema;
    line("schema", &format!("{name} version {version} ({fingerprint})"));
    line("tidemark", &format!("{} of {}", status.tidemark, show::count(status.last_seq, "change")));
    let oldest = status.oldest_pending_ms.map(|ms| format!(", the oldest of {}", when(ms))).unwrap_or_default();
    line("pending", &format!("{}{oldest}", status.pending));
    if facts.unlogged > 0 {
        let rows = show::count_with(facts.unlogged, "row", ["that was there is", "that were there are"]);
        line("attaching", &format!("{rows} not in the log yet (`tidemark attach` goes on, and so does every push)"));
    }
    if status.rejects > 0 {
        line("rejects", &format!("{} (`tidemark rejects` shows them and what to do)", status.rejects));
    } else {
        line("rejects", "0");
    }
    line("last contact", &status.last_contact_ms.map_or_else(|| "never".to_owned(), when));
    if let Some(error) = words::last_error(status) {
        line(
            "last error",
            &format!("{}{error}", status.last_error_ms.map(|ms| format!("{}: ", when(ms))).unwrap_or_default()),
        );
    }
    if let Some(forked) = &status.forked {
        line("forked", &words::halt(forked));
    }
    if !facts.captured {
        line(
            "capture",
            "not whole: triggers are missing, or not as they should be, and what is written meanwhile may not be sent. `tidemark test`, `push` and `run` \
             make them anew",
        );
    }
}

/// The claim that a file without anything to push may make: what the server said last, and when. Whether it would say
/// so now, `tidemark push` asks.
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
