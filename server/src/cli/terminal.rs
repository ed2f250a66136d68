//! The terminal: everything this program prints.

use anyhow::Context as _;
use serde::Serialize;
use tidemark_core::printable::printable;

use crate::columns::columns;

/// One line to stdout, as `println!`, which panics where this does not: see [`line`].
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::terminal::line(&format!($($text)*))
    };
}

/// A time for people.
pub(super) fn shown_ms(ms: Option<i64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| tidemark_core::timestamp::format(ms.saturating_mul(1000))[..19].to_owned())
}

/// Prints text, with what would disturb a terminal shown as escapes: everything this program prints goes through
/// here, through [`ask`] and [`complain`], or is logged ([`super::log`]). Who closed the pipe has read enough.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(printable(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Says on stderr what went wrong, or what else there is to know.
pub(super) fn complain(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "tidemark-server: {}", printable(text));
}

/// Puts a question on stderr.
pub(super) fn ask(question: &str) {
    use std::io::Write as _;
    let _ = write!(std::io::stderr(), "{}", printable(question));
}

/// Prints text that is all a command has to say, or a secret that is said once: what is in the way ends the program.
fn print_or_end(text: &str) {
    if let Err(error) = print(text) {
        complain(&format!("{error:#}"));
        std::process::exit(1);
    }
}

/// Prints a line. Who closed the pipe has read enough; the work goes on.
pub(crate) fn line(text: &str) {
    print_or_end(&format!("{text}\n"));
}

/// Prints facts for programs: one JSON object on a line.
pub(super) fn print_json(facts: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(facts)?);
    Ok(())
}

/// Prints rows in columns.
pub(super) fn print_table(head: &[&str], rows: &[Vec<String>]) {
    print_or_end(&columns(head, rows, &[]));
}
