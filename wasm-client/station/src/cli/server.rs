//! `tidemark server`

use std::path::Path;

use serde_json::json;
use tidemark_client::Store;
use tidemark_client::sync::ServerUrl;
use tidemark_client::trust::Trust;
use tidemark_core::joincode::Pin;

use super::fatal::Fatal;
use super::show;
use super::trust::TrustArgs;
use crate::station::StationError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the server answers now; without it, the URL in use is shown.
    url: Option<String>,
    /// Know the server by the certificate with this pin, SHA-256 in hex: its own, or its authority's.
    #[arg(long, value_name = "PIN", value_parser = pin, conflicts_with_all = ["ca", "system_ca"])]
    pin: Option<Pin>,
    /// Trust the authorities of this system again, and no pin or file.
    #[arg(long, conflicts_with = "ca")]
    system_ca: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// The server answers there, as the settings say: a file that has joined another URL has this one from now on.
pub(super) fn point(store: &tidemark_client::Store, url: &str) -> Result<(), Fatal> {
    let url = ServerUrl::parse(url).map_err(|error| Fatal::from(StationError::Join(error.into())))?;
    if store.meta()?.server.is_some_and(|server| server != url.as_str()) {
        store.move_server(&url)?;
        show::error(&format!("tidemark: pushes to {} from now on, as the settings say", url.as_str()));
    }
    Ok(())
}

fn pin(text: &str) -> Result<Pin, String> {
    Pin::from_hex(text).ok_or_else(|| "a pin has 64 hex digits; `tidemark-server tls show FILE` prints it".to_owned())
}

pub(super) fn run(db: &Path, args: &Args, trust: &TrustArgs) -> Result<(), Fatal> {
    let mut store = super::file::open(db)?;
    let told = match (args.pin, args.system_ca) {
        (Some(pin), _) => Some(Trust::Pin(pin)),
        (None, true) => Some(Trust::System),
        (None, false) => trust.given()?,
    };
    let url = args.url.as_deref().map(ServerUrl::parse).transpose();
    let url = url.map_err(|error| Fatal::from(StationError::Join(error.into())))?;
    if let Some(url) = &url {
        store.move_server(url)?;
    }
    if let Some(told) = &told {
        store.keep_trust(told)?;
    }
    let server = store.meta()?.server;
    if args.json {
        let (trust, pin) = match store.trust()? {
            Trust::System => ("system", None),
            Trust::Ca(_) => ("ca", None),
            Trust::Pin(pin) => ("pin", Some(pin.to_hex())),
        };
        show::json(&json!({ "server": server, "trust": trust, "pin": pin }));
        return Ok(());
    }
    match (&server, &url) {
        (None, _) => show::line("none yet: `tidemark join CODE`"),
        (Some(server), None) => show::line(server),
        (Some(_), Some(url)) => show::line(&format!("{}: pushes to {} from now on", db.display(), url.as_str())),
    }
    if told.is_some() || store.trust()? != Trust::System {
        show::line(&format!("known by {}", in_a_word(&store)?));
    }
    Ok(())
}

/// What the server is known by.
fn in_a_word(store: &Store) -> Result<String, Fatal> {
    Ok(match store.trust()? {
        Trust::System => "the authorities of this system".to_owned(),
        Trust::Pin(pin) => format!("the certificate with the pin {pin}"),
        Trust::Ca(_) => "the authorities that were given with --ca".to_owned(),
    })
}
