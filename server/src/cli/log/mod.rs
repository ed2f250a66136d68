//! The log of the program, on stderr: how much of it, and in which form. Both can be changed while it runs.

mod queue;

use std::fmt::{self, Debug};
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use clap::{Args, ValueEnum};
use tidemark_core::printable::{one_line, printable};
use tracing::field::Field;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

use self::queue::{Outlet, Queue};

/// The variable that says how much is logged.
const VARIABLE: &str = "TIDEMARK_LOG";
/// How much is logged unless told otherwise.
const LEVEL: &str = "info";

/// The options about the log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArgs {
    /// How much is logged: error, warn, info, debug or trace; or by part, as in
    /// `info,tidemark_server::access=off`, which leaves the lines of requests out.
    #[arg(long, env = VARIABLE, value_name = "LEVEL", default_value = LEVEL, value_parser = level)]
    log_level: String,
    /// The form of a line: text for people, json for programs.
    #[arg(long, value_name = "FORM", default_value = "text")]
    log_format: LogFormat,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

/// What the log goes by, to be changed while the program runs.
#[derive(Clone)]
pub(super) struct Reload {
    filter: reload::Handle<EnvFilter, Registry>,
    is_json: Arc<AtomicBool>,
    outlet: Outlet,
}

static RELOAD: OnceLock<Reload> = OnceLock::new();

impl Reload {
    /// That of this program, once the log has begun.
    pub(super) fn of_program() -> Option<&'static Self> {
        RELOAD.get()
    }

    /// Goes by these options from now on.
    pub(super) fn set(&self, args: &LogArgs) {
        self.is_json.store(args.log_format == LogFormat::Json, Ordering::Relaxed);
        let _ = self.filter.reload(filter(Some(&args.log_level)));
    }

    /// Has a thread write what is logged, and the words of panics with it, until what is returned is dropped: nobody
    /// waits for whoever reads the log.
    pub(super) fn queue(&self) -> Queue {
        std::panic::set_hook(Box::new(log_panic));
        self.outlet.queue()
    }
}

/// Reads a level. A word that is none would be a part's name, of which everything is logged.
fn level(text: &str) -> Result<String, String> {
    let is_level = |word: &str| {
        ["error", "warn", "info", "debug", "trace", "off"].iter().any(|level| word.trim().eq_ignore_ascii_case(level))
    };
    let is_part = |part: &str| is_level(part.rsplit_once('=').map_or(part, |(_, level)| level));
    if text.split(',').all(is_part) && EnvFilter::from_str(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("write error, warn, info, debug or trace, or parts of it with commas: info,tidemark_server=debug".to_owned())
}

/// The filter of a level; that of the variable without one.
fn filter(level: Option<&str>) -> EnvFilter {
    let said = level.map(str::to_owned).or_else(|| std::env::var(VARIABLE).ok());
    said.and_then(|said| EnvFilter::from_str(&said).ok()).unwrap_or_else(|| EnvFilter::new(LEVEL))
}

/// The log goes to stderr from now on; TIDEMARK_LOG says how much of it (`info`, `debug`, `tidemark_server=debug`).
pub(super) fn start() {
    let (filter, handle) = reload::Layer::new(filter(None));
    let (is_json, outlet) = (Arc::<AtomicBool>::default(), Outlet::default());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(outlet.clone())
        .with_ansi(io::stderr().is_terminal())
        .fmt_fields(logged_fields())
        .event_format(Lines::new(Arc::clone(&is_json)));
    let registry = tracing_subscriber::registry().with(filter);
    #[cfg(feature = "otel")]
    let (registry, lines) = {
        let is_line = |meta: &tracing::Metadata<'_>| meta.target() != crate::spans::TARGET;
        let lines = lines.with_filter(tracing_subscriber::filter::filter_fn(is_line));
        (registry.with(super::otel::layer()), lines)
    };
    if registry.with(lines.boxed()).try_init().is_ok() {
        let _ = RELOAD.set(Reload { filter: handle, is_json, outlet });
    }
}

/// The words of a panic, and where it was; with RUST_BACKTRACE, the way to there.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let backtrace = std::backtrace::Backtrace::capture();
    let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured).then_some(backtrace);
    let backtrace = backtrace.as_ref().map(tracing::field::display);
    tracing::error!(backtrace, "thread {:?} {panic}", thread.name().unwrap_or("?"));
}

/// A line in the form that is wanted now.
struct Lines {
    is_json: Arc<AtomicBool>,
    text: Format<Full>,
    json: Format<Json>,
}

impl Lines {
    fn new(is_json: Arc<AtomicBool>) -> Self {
        let json = Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false);
        Self { is_json, text: Format::default().with_target(false), json: json.with_target(true) }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if self.is_json.load(Ordering::Relaxed) {
            // JSON leaves characters that do something to a terminal; their escapes say the same.
            let mut line = String::new();
            self.json.format_event(context, Writer::new(&mut line), event)?;
            return writer.write_str(&printable(&line));
        }
        self.text.format_event(context, writer, event)
    }
}

/// The fields of a log line, each on that line and nothing in it that a terminal would obey: names and messages come
/// from stations.
fn logged_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        let value = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", one_line(&value)),
            name => write!(writer, "{name}={}", one_line(&value)),
        }
    };
    tracing_subscriber::fmt::format::debug_fn(field).delimited(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_list_of_parts() {
        for good in ["error", "warn", "info", "debug", "trace", "off", "info,tidemark_server::access=off"] {
            assert_eq!(level(good).as_deref(), Ok(good));
        }
        for bad in ["", " ", "loud", "info,loud", "info,tidemark_server=loud", "tidemark_server"] {
            assert!(level(bad).unwrap_err().contains("write error, warn"), "{bad}");
        }
    }
}
