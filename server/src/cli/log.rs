//! The log of the program, on stderr.

use anyhow::Context as _;
use clap::Args;
use tidemark_core::printable::one_line;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// How much is logged.
#[derive(Args)]
pub(super) struct LogArgs {
    /// How much is logged: error, warn, info, debug or trace, also for parts of the program: info,tidemark_server=debug.
    #[arg(long, global = true, env = "TIDEMARK_LOG", default_value = "info", value_name = "FILTER", value_parser = filter)]
    pub(super) log: String,
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; write error, warn, info, debug or trace")),
    }
}

type Set = dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync;

/// The log, once it has begun.
pub(super) struct Log(Box<Set>);

impl Log {
    /// The log goes to stderr; a filter says how much of it.
    pub(super) fn start(filter: &str) -> Self {
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info")))
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .fmt_fields(logged_fields())
            .with_filter_reloading();
        let handle = builder.reload_handle();
        let _ = builder.try_init();
        Self(Box::new(move |filter| handle.reload(filter)))
    }

    /// From now on this much is logged.
    ///
    /// # Errors
    /// When that is no filter; nothing changes then.
    pub(super) fn set(&self, filter: &str) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(filter).with_context(|| format!("log {filter:?}"))?;
        (self.0)(filter).context("the log takes no other filter")
    }
}

/// The fields of a log line, each on that line and nothing in it that a terminal would obey: names and messages come
/// from stations.
fn logged_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug| {
        let value = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", one_line(&value)),
            name => write!(writer, "{name}={}", one_line(&value)),
        }
    };
    tracing_subscriber::fmt::format::debug_fn(field).delimited(" ")
}
