//! `tidemark server`

use std::path::Path;

use serde_json::json;
use tidemark_client::sync::ServerUrl;

use super::fatal::Fatal;
use super::show;
use crate::station::StationError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the server answers now; without it, the URL in use is shown.
    url: Option<String>,
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

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let store = super::file::open(db)?;
    let Some(url) = &args.url else {
        let server = store.meta()?.server;
        if args.json {
            show::json(&json!({ "server": server }));
            return Ok(());
        }
        show::line(server.as_deref().unwrap_or("none yet: `tidemark join CODE`"));
        return Ok(());
    };
    let url = ServerUrl::parse(url).map_err(|error| Fatal::from(StationError::Join(error.into())))?;
    store.move_server(&url)?;
    if args.json {
        show::json(&json!({ "server": url.as_str() }));
        return Ok(());
    }
    show::line(&format!("{}: pushes to {} from now on", db.display(), url.as_str()));
    Ok(())
}
