//! `tidemark run`

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tidemark_client::sync::Event;

use super::chores::{Chores, Wanted};
use super::fatal::Fatal;
use super::reload::Session;
use super::run_args::RunArgs;
use super::trust::TrustArgs;
use super::{show, words};
use crate::bell::Bell;
use crate::clock::now_ms;
use crate::daemon::{self, Ended, News, Waits};
use crate::ending;
use crate::watcher::Watcher;

/// How soon certificates that cannot be used after SIGHUP are looked at again.
const TRUST_AGAIN_MS: u64 = 5_000;

/// Pushes until it is to end; with SIGHUP, by the settings as they are then.
pub(super) fn run(db: &Path, args: RunArgs, trust: TrustArgs, session: Session) -> Result<(), Fatal> {
    let bell = Bell::default();
    let end = ending::listen(&bell).map_err(|error| Fatal::new(format!("cannot listen for signals: {error}")))?;
    let hangup = super::reload::listen(&bell)?;
    watch(db, args, trust, session, [&end, &hangup], &bell)
}

/// Pushes until the first of the two flags is raised; with the second, by the settings as they are then. The bell is
/// rung after either. What happens is told by lines of stderr that begin with the time.
pub(super) fn watch(
    db: &Path,
    mut args: RunArgs,
    mut trust: TrustArgs,
    mut session: Session,
    [end, hangup]: [&AtomicBool; 2],
    bell: &Bell,
) -> Result<(), Fatal> {
    let mut store = super::file::open_whole(db)?;
    let file = db.display();
    let tell: fn(&str) = |text| show::error(&format!("{} {}", show::time(now_ms()), show::one_line(text)));
    tell(&format!("tidemark watches {file}"));
    let chores = Chores::start(db, Wanted { args: args.chores.clone(), trust: trust.clone() });
    let _watcher = Watcher::start(db, bell, move |why| tell(&words::unwatched(why)));
    let is_to_end = || end.load(Ordering::Relaxed);
    let mut transport = trust.transport(&store)?;
    let ended = loop {
        let ending = || is_to_end() || hangup.load(Ordering::Relaxed);
        let waits = Waits { bell, ending: &ending, poll_ms: args.poll_ms() };
        let ended = daemon::run(&mut store, args.config()?, transport, waits, &mut |news| hear(&tell, news))?;
        if !matches!(ended, Ended::Asked) || is_to_end() {
            break ended;
        }
        hangup.store(false, Ordering::Relaxed);
        match session.reload(&store) {
            Ok(reloaded) => {
                (args, trust) = (reloaded.args, reloaded.trust);
                chores.set(Wanted { args: args.chores.clone(), trust: trust.clone() });
                reloaded.told.iter().for_each(|line| tell(line));
            }
            Err(why) => tell(&format!("SIGHUP: the new configuration is wrong, the one before stays in force: {why}")),
        }
        // The files of a certificate may be just being renewed: what could be begun with goes on as soon as it can.
        transport = loop {
            match trust.transport(&store) {
                Ok(transport) => break transport,
                Err(fatal) => tell(&format!("{}; trying again in {} s", fatal.message, TRUST_AGAIN_MS / 1_000)),
            }
            bell.wait(TRUST_AGAIN_MS, is_to_end);
            if is_to_end() {
                tell("ended");
                return Ok(());
            }
        };
    };
    match ended {
        Ended::Asked => {
            tell("ended");
            Ok(())
        }
        Ended::Stopped(stop) => Err(Fatal::new(words::stop(&stop))),
    }
}

/// Tells what happens.
fn hear(tell: &dyn Fn(&str), news: News<'_>) {
    match news {
        News::Event(Event::Acked { tidemark, changes, rejected_here, rejected_by_server }) => {
            let rejected = rejected_here + rejected_by_server;
            let rejected = if rejected > 0 { format!(", {rejected} of them rejected") } else { String::new() };
            tell(&format!("pushed {}{rejected}; tidemark {tidemark}", show::count(*changes, "change")));
        }
        News::Event(Event::Failed { why, retry_at_ms }) => {
            tell(&format!(
                "{}; trying again in {:.1} s",
                words::trouble(why),
                (retry_at_ms - now_ms()).max(0) as f64 / 1000.0
            ));
        }
        News::Event(Event::Smaller { rows }) => {
            tell(&format!("the server takes less at once; sending {} now", show::count(*rows as u64, "change")))
        }
        News::Event(Event::Settled { resolved, discarded }) => tell(&show::settled(*resolved, *discarded)),
        News::Event(Event::Agreed) => tell("the server was asked and agrees with this file"),
        News::Event(Event::Stopped(_) | Event::Ignored) => {}
        News::Busy(error) => tell(&format!("{error}; trying again")),
        News::Repaired(repair) => tell(&repair.to_string()),
        News::StoppedForNow(stop) => tell(&format!("{}; trying again in 5 min", words::stop(stop))),
    }
}
