//! What `serve` is told, by flags, environment and file: `config check` and SIGHUP read it, too.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tidemark_core::limits::FrameLimits;
use tidemark_settings::report::missing_files;
use tidemark_settings::{Layers, Origin, Problem, Warning};

use super::address::address;
use super::backup::ServeBackups;
use super::limits::LimitArgs;
use super::log::LogArgs;
use super::metrics::MetricsArgs;
use super::place::Place;
use super::span::span_ms;
use super::tls::TlsArgs;
use super::window::WindowArgs;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{CHUNKS_MAX, DEFAULT_LISTEN, REPORTS_EVERY, STATEMENT_TIMEOUT, load_schema};
use crate::descriptors;
use crate::http::{self, Site};
use crate::plain::Listener;
use crate::server::LiveConfig;

#[derive(Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// The address to listen on, 0.0.0.0 for every one of this machine; port 0 takes a free one.
    #[arg(long, default_value = DEFAULT_LISTEN, value_name = "ADDR:PORT", value_parser = address)]
    pub(super) listen: String,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) window: WindowArgs,
    /// Most changes in one batch; stations cut their logs by it.
    #[arg(long, default_value_t = FrameLimits::DEFAULT.rows_max, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) batch_rows_max: u32,
    /// Most chunks of hypertables that one transaction touches; a batch with more is applied in several. PostgreSQL
    /// keeps a few locks for each (max_locks_per_transaction).
    #[arg(long, default_value_t = CHUNKS_MAX, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) batch_chunks_max: u32,
    /// How long a statement may take in PostgreSQL, in seconds. Changes that take longer, also alone, are rejected
    /// with PostgreSQL's words.
    #[arg(long, default_value_t = STATEMENT_TIMEOUT.as_secs(), value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) statement_timeout: u64,
    /// Most connections to PostgreSQL.
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub(super) pool_max: usize,
    /// Let the web pages of another origin use this server from a browser, named in full: https://app.example or
    /// http://localhost:5173. Give it several times, or several with commas. Pages that this server serves itself
    /// need none.
    #[arg(long, env = "TIDEMARK_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(super) allow_origin: Vec<String>,
    /// Believe this proxy, an address or a network (10.0.0.0/8), when it says in X-Forwarded-For from which address a
    /// request comes, so that the bounds of an address are those of who asks. Give it several times, or several with
    /// commas. The proxy must write that header itself.
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(super) trusted_proxy: Vec<http::Network>,
    /// Serve the field notebook under /notebook/ from this folder, read once at start, instead of the one in this
    /// program.
    #[arg(long, env = "TIDEMARK_WEB", value_name = "DIR")]
    pub(super) web: Option<PathBuf>,
    /// How often the roll-ups of reports are brought up to date, in seconds; 0: never, somebody else does it.
    #[arg(long, default_value_t = REPORTS_EVERY.as_secs(), value_name = "S")]
    pub(super) reports_every: u64,
    /// How long settled rejects, and what tells a copied or restored file's history from another, are kept at least:
    /// 180d, 24h, or `forever`. Beyond that a rejoin of an older file may have to be refused.
    #[arg(long, default_value = "180d", value_name = "TIME", value_parser = keep)]
    pub(super) keep: Keep,
    #[command(flatten)]
    pub(super) backups: ServeBackups,
    #[command(flatten)]
    pub(super) metrics: MetricsArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
}

/// The time for which settled rejects and old prints are kept; `None`: for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep(Option<Duration>);

fn keep(text: &str) -> Result<Keep, String> {
    if text == "forever" {
        return Ok(Keep(None));
    }
    let span = span_ms(text).and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
    let span_ms = span.ok_or_else(|| "write a time as 180d or 24h, or `forever`".to_owned())?;
    Ok(Keep(Some(Duration::from_millis(span_ms))))
}

impl ServeArgs {
    /// What may change while the server runs, beside a pool of so many connections to the database.
    ///
    /// # Errors
    /// When an origin is none, or the token of metrics cannot be read.
    pub(super) fn live(&self, pool_max: usize) -> anyhow::Result<LiveConfig> {
        let mut http = self.limits.limits();
        descriptors::provide(&mut http, pool_max);
        Ok(LiveConfig {
            metrics_token_hash: self.metrics.settings()?.token_hash,
            http,
            origins: origins(&self.allow_origin)?,
            reports_every: (self.reports_every > 0).then(|| Duration::from_secs(self.reports_every)),
            keep: self.keep.0,
        })
    }

    /// What the files say that settings name and that are read once.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn contents(&self) -> anyhow::Result<Contents> {
        let mut contents = self.place.contents()?;
        contents.extend(self.metrics.contents()?);
        contents.extend(self.tls.contents()?);
        Ok(Contents(contents))
    }

    /// What cannot be used although it is well formed: a file that is not there, an origin that is none. The database
    /// is not asked.
    pub(super) fn unfit(&self, layers: &Layers) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut note = |key: &str, error: anyhow::Error| found.push(unfit(layers, key, format!("{error:#}")));
        if let Err((key, error)) = self.place.database_or_key() {
            note(key, error);
        }
        if let Some(error) = self.place.schema.as_ref().and_then(|file| load_schema(file).err()) {
            note("schema", error);
        }
        if let Some(error) = self.window.window().err() {
            note("clock_floor", error);
        }
        if let Some(error) = origins(&self.allow_origin).err() {
            note("allow_origin", error);
        }
        if let Some(error) = self.web.as_ref().and_then(|folder| Site::read(folder).err()) {
            note("web", error);
        }
        if let Some(error) = self.metrics.settings().err() {
            note("metrics_token_file", error);
        }
        if let Some(error) = self.backups.unfit() {
            note("backup_dir", error);
        }
        let told: Vec<String> = found.iter().filter_map(Problem::key).map(str::to_owned).collect();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        found.extend(missing_files(layers, &told));
        found
    }

    /// The same for who serves later: also the certificate, and listeners that are open to others without it; and what
    /// clients would not like.
    pub(super) fn unfit_whole(&self, layers: &Layers) -> (Vec<Problem>, Vec<Warning>) {
        let (problems, doubts) = self.tls.unfit(SystemClock.now_ms());
        let listeners = [
            ("listen", Some(self.listen.as_str()), Listener::Stations),
            ("metrics_listen", self.metrics.listen(), Listener::Metrics),
        ];
        let listeners = listeners.into_iter().filter_map(|(key, listen, listener)| {
            Some((key, self.tls.check_listener(listen?, listener).err()?.to_string()))
        });
        let mut found: Vec<Problem> =
            problems.into_iter().chain(listeners).map(|(key, why)| unfit(layers, key, why)).collect();
        let told: Vec<String> = found.iter().filter_map(Problem::key).map(str::to_owned).collect();
        let is_told = |problem: &Problem| problem.key().is_some_and(|key| told.iter().any(|other| other == key));
        found.extend(self.unfit(layers).into_iter().filter(|problem| !is_told(problem)));
        let doubtful =
            |(key, why): (&str, String)| Warning::Doubtful { origin: origin(layers, key), key: key.to_owned(), why };
        (found, doubts.into_iter().map(doubtful).collect())
    }
}

/// Of each setting that names a file which is read once, the hash of what the file says: a secret that was rotated is
/// another one in the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents(Vec<(&'static str, blake3::Hash)>);

impl Contents {
    /// The settings whose files say something else than others did, where both had one.
    pub(super) fn changed(&self, before: &Self) -> Vec<&'static str> {
        let differs = |(key, now): &&(&str, blake3::Hash)| before.of(key).is_some_and(|before| before != *now);
        self.0.iter().filter(differs).map(|(key, _)| *key).collect()
    }

    /// Of these keys the contents are others' from now on.
    pub(super) fn take(&mut self, from: &Self, keys: &[&str]) {
        self.0.retain(|(key, _)| !keys.contains(key));
        self.0.extend(from.0.iter().filter(|(key, _)| keys.contains(key)));
    }

    fn of(&self, key: &str) -> Option<blake3::Hash> {
        self.0.iter().find(|(there, _)| *there == key).map(|(_, hash)| *hash)
    }
}

/// The origins named; a variable that is set to nothing names none.
fn origins(words: &[String]) -> anyhow::Result<Vec<http::Origin>> {
    let words = words.iter().map(|word| word.trim()).filter(|word| !word.is_empty());
    words.map(|word| word.parse().context("--allow-origin")).collect()
}

/// Of settings that are well formed, one that cannot be used: with where it is from.
fn unfit(layers: &Layers, key: &str, why: String) -> Problem {
    Problem::Unfit { origin: origin(layers, key), key: key.to_owned(), why }
}

/// Where a setting is from.
fn origin(layers: &Layers, key: &str) -> Origin {
    layers.of(key).map_or(Origin::Default, |(_, now)| now.origin.clone())
}
