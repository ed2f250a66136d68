//! How things are written to people: everything this program prints goes through here, and what would disturb a
//! terminal in it (text from stations, servers and files) is shown as escapes. A reader that goes away (`tidemark log |
//! head`) ends the program quietly.

use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde_json::Value as Json;
use tidemark_core::amount;
pub(super) use tidemark_core::amount::{count, count_is, count_with};
pub(super) use tidemark_core::printable::one_line;
use tidemark_core::printable::printable;

/// One line to stdout.
pub(super) fn line(text: &str) {
    if writeln!(std::io::stdout(), "{}", printable(text)).is_err() {
        std::process::exit(0);
    }
}

/// A place for lines.
pub(super) type Sink = Box<dyn Fn(&str) + Send + Sync>;

/// Where lines for stderr go in a process without one.
static ELSEWHERE: OnceLock<Sink> = OnceLock::new();

/// From now on, lines for stderr go elsewhere. The first call holds.
#[cfg(windows)]
pub(super) fn divert(to: Sink) {
    ELSEWHERE.get_or_init(|| to);
}

/// One line to stderr.
pub(super) fn error(text: &str) {
    if let Some(elsewhere) = ELSEWHERE.get() {
        return elsewhere(&printable(text));
    }
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

/// A few words beside a progress bar.
pub(super) fn message(bar: &ProgressBar, text: &str) {
    bar.set_message(one_line(text).into_owned());
}

/// Facts for programs: one JSON value.
pub(super) fn json(facts: &Json) {
    line(&format!("{facts:#}"));
}

/// A progress bar on stderr, when that is a terminal. Beside indicatif's own keys, a template has `{rate}`.
pub(super) fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // It is drawn again in a moment.
        let _ = out.write_str(&amount::rate(state.per_sec()));
    };
    bar.set_style(ProgressStyle::with_template(template).expect("BUG: the template is ours").with_key("rate", rate));
    bar
}

/// A time as people read it, UTC.
pub(super) fn time(ms: i64) -> String {
    let text = tidemark_core::timestamp::format(ms.saturating_mul(1000));
    format!("{} UTC", &text[..19])
}

/// How long ago, in words.
pub(super) fn ago(ms: i64, now_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(ms) / 1000;
    match seconds {
        ..0 => "in the future, by this machine's clock".to_owned(),
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} ago", count(seconds.unsigned_abs() / 86_400, "day")),
    }
}

/// Rejects that were settled upstream.
pub(super) fn settled(resolved: u64, discarded: u64) -> String {
    let brought_in = (resolved > 0).then(|| format!("{}: upstream after all", count(resolved, "rejected change")));
    let given_up =
        (discarded > 0).then(|| format!("{}: discarded by the server's operator", count(discarded, "rejected change")));
    brought_in.into_iter().chain(given_up).collect::<Vec<_>>().join("; ")
}
