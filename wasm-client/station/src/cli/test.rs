//! `tidemark test`

use std::path::Path;

use serde_json::json;
use tidemark_client::sync::{Request, ServerUrl, Transport as _};
use tidemark_client::{Error, State, Store, private};
use tidemark_core::protocol::{StationReply, path};

use super::fatal::Fatal;
use super::trust::TrustArgs;
use super::{show, words};
use crate::clock::now_ms;
use crate::disk::free_disk_bytes;

/// Less room than this is a fault, besides twice the file's size: a write-ahead log grows beside it.
const ROOM_MIN_BYTES: u64 = 64 << 20;
/// Clocks that differ by more make times that servers may refuse.
const SKEW_MAX_MS: i64 = 3_600_000;
/// How long the server may take.
const TIMEOUT_MS: u64 = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// The finding of a check.
struct Check {
    name: &'static str,
    /// `None`: there was nothing to check.
    good: Option<bool>,
    says: String,
}

pub(super) fn run(db: &Path, args: &Args, trust: &TrustArgs) -> Result<(), Fatal> {
    let mut store = Store::open(db)?;
    let repairs: Vec<String> = store.take_repairs().iter().map(ToString::to_string).collect();
    let mut checks = vec![
        integrity(&store)?,
        Check {
            name: "capture",
            good: Some(repairs.is_empty()),
            says: if repairs.is_empty() {
                format!("on, for {}", show::count(store.schema().tables().len() as u64, "table"))
            } else {
                repairs.join("; ")
            },
        },
        writes(&mut store),
        room(db),
        joined(&mut store)?,
    ];
    checks.extend(exposed(db, &store));
    checks.extend(server(&store, trust)?);
    let failed = checks.iter().filter(|check| check.good == Some(false)).count() as u64;
    if args.json {
        let list: Vec<_> =
            checks.iter().map(|check| json!({ "check": check.name, "ok": check.good, "says": check.says })).collect();
        show::line(&format!("{:#}", json!({ "ok": failed == 0, "checks": list })));
    } else {
        for Check { name, good, says } in &checks {
            let word = match good {
                Some(true) => "ok",
                Some(false) => "FAILED",
                None => "-",
            };
            show::line(&format!("{name:<10}{word:<8}{says}"));
        }
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(Fatal::new(format!("{}: {} failed", db.display(), show::count(failed, "check"))))
    }
}

fn integrity(store: &Store) -> Result<Check, Fatal> {
    let check = store.connection().query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    let says = check.map_err(|error| Error::sqlite(store.file(), "check the file", error))?;
    Ok(Check { name: "file", good: Some(says == "ok"), says: if says == "ok" { "no damage".to_owned() } else { says } })
}

/// A fault where everybody can read the token.
fn exposed(db: &Path, store: &Store) -> Option<Check> {
    let mode = private::mode_of(db).filter(|mode| mode & 0o007 != 0)?;
    store.meta().ok()?.token?;
    let says = format!("every user can read the station's token (mode {mode:04o}): `chmod o= {}`", db.display());
    Some(Check { name: "secrecy", good: Some(false), says })
}

/// Takes the write lock, and gives it back.
fn writes(store: &mut Store) -> Check {
    let locked = store.transaction(|_| Ok::<_, Error>(()));
    let says = locked.as_ref().err().map_or_else(|| "the file can be written".to_owned(), ToString::to_string);
    Check { name: "writing", good: Some(locked.is_ok()), says }
}

fn room(db: &Path) -> Check {
    let needed = std::fs::metadata(db).map_or(0, |file| file.len().saturating_mul(2)).max(ROOM_MIN_BYTES);
    let mib = |bytes: u64| bytes >> 20;
    match free_disk_bytes(db) {
        Some(free) => Check {
            name: "disk",
            good: Some(free >= needed),
            says: format!("{} MiB free, {} MiB should be", mib(free), mib(needed)),
        },
        None => Check { name: "disk", good: None, says: "how much is free is not known here".to_owned() },
    }
}

fn joined(store: &mut Store) -> Result<Check, Fatal> {
    let status = store.status()?;
    let (good, says) = match (&status.membership, status.state) {
        (None, _) => (None, "has not joined a server; it records all the same".to_owned()),
        (Some(_), State::Forked) => (Some(false), status.forked.as_ref().map(words::halt).unwrap_or_default()),
        (Some(member), _) => (
            Some(true),
            format!(
                "station {} ({}), {} pending, {} open",
                member.number,
                member.name,
                show::count(status.pending, "change"),
                show::count(status.rejects, "reject")
            ),
        ),
    };
    Ok(Check { name: "station", good, says })
}

/// Asks the server where it stands; and what time it is there.
fn server(store: &Store, trust: &TrustArgs) -> Result<Vec<Check>, Fatal> {
    let meta = store.meta()?;
    let (Some(server), Some(token)) = (meta.server, meta.token) else {
        return Ok(vec![Check { name: "server", good: None, says: "none yet".to_owned() }]);
    };
    let check = |name, good, says| Check { name, good: Some(good), says };
    let url = match ServerUrl::parse(&server) {
        Ok(url) => url,
        Err(error) => return Ok(vec![check("server", false, error.to_string())]),
    };
    let request = Request::get(&url, path::STATION, &token).within_ms(TIMEOUT_MS);
    let before_ms = now_ms();
    let reply = match trust.transport(store)?.send(&request) {
        Ok(reply) if reply.status == 200 => reply,
        Ok(reply) => {
            let says = format!("{server} answers with status {}; `tidemark push` says more", reply.status);
            return Ok(vec![check("server", false, says)]);
        }
        Err(failure) => return Ok(vec![check("server", false, words::failure(&failure))]),
    };
    let took_ms = now_ms() - before_ms;
    let Ok(reply) = serde_json::from_slice::<StationReply>(&reply.body) else {
        return Ok(vec![check("server", false, format!("{server} answers, but is no Tidemark server"))]);
    };
    let skew_ms = reply.server_time_ms.saturating_sub(before_ms.saturating_add(took_ms / 2));
    let clock = format!(
        "{} from the server's",
        if skew_ms.unsigned_abs() < 1000 { "less than 1 s".to_owned() } else { format!("{} s", skew_ms / 1000) }
    );
    Ok(vec![
        check("server", true, format!("{server} answers in {took_ms} ms; change {} is durable there", reply.tidemark)),
        check("clock", skew_ms.unsigned_abs() <= SKEW_MAX_MS.unsigned_abs(), clock),
    ])
}
