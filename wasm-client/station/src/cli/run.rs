//! `tidemark run`

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tidemark_client::sync::Event;

use super::fatal::Fatal;
use super::{show, words};
use crate::clock::now_ms;
use crate::daemon::{self, Ended, News};
use crate::transport::HttpTransport;
use crate::{ending, entropy};

pub(super) fn run(db: &Path) -> Result<(), Fatal> {
    let end = ending::listen().map_err(|error| Fatal::new(format!("cannot listen for signals: {error}")))?;
    watch(db, &end, &mut |text| show::error(text))
}

/// Pushes until `end` is raised. What happens is told by lines that begin with the time.
pub(super) fn watch(db: &Path, end: &AtomicBool, out: &mut dyn FnMut(&str)) -> Result<(), Fatal> {
    let mut store = super::file::open_whole(db)?;
    let file = db.display();
    let mut tell = |text: &str| out(&format!("{} {}", show::time(now_ms()), show::one_line(text)));
    tell(&format!("tidemark watches {file}"));
    let ended = daemon::run(&mut store, entropy::seed()?, HttpTransport::new(), end, &mut |news| match news {
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
