//! `tidemark run`

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tidemark_client::sync::{Config, Event};
use tidemark_core::limits::CONTACT_EVERY_MS;

use super::fatal::Fatal;
use super::trust::TrustArgs;
use super::{show, words};
use crate::clock::now_ms;
use crate::daemon::{self, Ended, News};
use crate::{ending, entropy};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How often the server hears from a station that has nothing to push, in seconds: so its operators see that it is
    /// well. They call a station silent that was not heard for an hour.
    #[arg(long, default_value_t = CONTACT_EVERY_MS / 1_000, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    contact_every: u64,
}

pub(super) fn run(db: &Path, args: &Args, trust: &TrustArgs) -> Result<(), Fatal> {
    let end = ending::listen().map_err(|error| Fatal::new(format!("cannot listen for signals: {error}")))?;
    watch(db, args, trust, &end, &mut |text| show::error(text))
}

/// Pushes until `end` is raised. What happens is told by lines that begin with the time.
pub(super) fn watch(
    db: &Path,
    args: &Args,
    trust: &TrustArgs,
    end: &AtomicBool,
    out: &mut dyn FnMut(&str),
) -> Result<(), Fatal> {
    let mut store = super::file::open_whole(db)?;
    let file = db.display();
    let mut tell = |text: &str| out(&format!("{} {}", show::time(now_ms()), show::one_line(text)));
    tell(&format!("tidemark watches {file}"));
    let config = Config::daemon(entropy::seed()?).in_contact(args.contact_every * 1_000);
    let transport = trust.transport(&store)?;
    let ended = daemon::run(&mut store, config, transport, end, &mut |news| match news {
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
    })?;
    match ended {
        Ended::Asked => {
            tell("ended");
            Ok(())
        }
        Ended::Stopped(stop) => Err(Fatal::new(words::stop(&stop))),
    }
}
