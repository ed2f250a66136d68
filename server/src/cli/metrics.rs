//! The options of `serve` about its metrics.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::address::address;
use crate::metrics::MetricsSettings;

/// Shortest token that is taken, in bytes: nobody guesses it.
const TOKEN_BYTES_MIN: usize = 16;
/// Longest one.
const TOKEN_BYTES_MAX: usize = 1024;

#[derive(Args)]
#[command(next_help_heading = "Metrics")]
pub(super) struct MetricsArgs {
    /// Answer GET /metrics for Prometheus at this address, and nothing else there: 127.0.0.1:9464 is read on this
    /// machine alone. Nobody is asked for a token there, so let no stranger reach it. An address that other machines
    /// reach speaks TLS, with the server's certificate, or is refused without one and without `--allow-plain-http`.
    /// Without it there is no such listener.
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    metrics_listen: Option<String>,
    /// Answer GET /metrics where stations ask, too, for whoever sends the token in this file (`Authorization: Bearer`);
    /// at least 16 characters on one line. Without it nobody reads metrics there.
    #[arg(long, value_name = "FILE")]
    metrics_token_file: Option<PathBuf>,
    /// Give so many stations, those with the lowest numbers, labels of their own in the metrics; the rest are summed
    /// as `other`. 0: none has.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1_000))]
    metrics_per_station: u16,
}

impl MetricsArgs {
    /// The address of the listener, if there is one.
    pub(super) fn listen(&self) -> Option<&str> {
        self.metrics_listen.as_deref()
    }

    /// What they say.
    pub(super) fn settings(&self) -> anyhow::Result<MetricsSettings> {
        Ok(MetricsSettings {
            listen: self.metrics_listen.clone(),
            token_hash: self.metrics_token_file.as_deref().map(token_hash).transpose()?,
            stations_max: self.metrics_per_station.into(),
            ..MetricsSettings::default()
        })
    }
}

impl MetricsArgs {
    /// Of the settings here that name a file, the hash of what it says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn contents(&self) -> anyhow::Result<Vec<(&'static str, blake3::Hash)>> {
        let token = self.metrics_token_file.as_deref().map(token_hash).transpose()?;
        Ok(token.map(|hash| ("metrics_token_file", blake3::Hash::from_bytes(hash))).into_iter().collect())
    }
}

/// The hash of the token in a file; the token itself is not kept.
fn token_hash(file: &Path) -> anyhow::Result<[u8; 32]> {
    let text = std::fs::read(file).with_context(|| format!("--metrics-token-file {}", file.display()))?;
    let token = text.trim_ascii();
    let is_of_token = |b: &u8| b.is_ascii_graphic();
    if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len()) || !token.iter().all(is_of_token) {
        bail!(
            "--metrics-token-file {}: a token is one word of {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} characters; `openssl rand -hex 32` makes one",
            file.display()
        );
    }
    Ok(*blake3::hash(token).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_long_word_and_the_line_break_behind_it_is_none_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        assert_eq!(token_hash(&file).unwrap(), *blake3::hash(b"0123456789abcdef").as_bytes());
        for bad in ["", "short\n", "two words of a token", "0123456789abcdef\n0123456789abcdef", "0123456789абвгде"]
        {
            std::fs::write(&file, bad).unwrap();
            let error = format!("{:#}", token_hash(&file).unwrap_err());
            assert!(error.contains("one word of 16") && (bad.is_empty() || !error.contains(bad)), "{bad}: {error}");
        }
        assert!(format!("{:#}", token_hash(&folder.path().join("none")).unwrap_err()).contains("none"));
    }
}
