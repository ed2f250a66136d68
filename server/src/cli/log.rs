//! The log of the program, on stderr.

use tidemark_core::printable::one_line;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// The log goes to stderr; TIDEMARK_LOG says how much of it (`info`, `debug`, `tidemark_server=debug`).
pub(super) fn start() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TIDEMARK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .fmt_fields(logged_fields())
        .try_init();
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
