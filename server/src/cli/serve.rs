//! `serve`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::backup::Backups;
use super::log::Reload;
use super::place::FoundIn;
use super::reload::{Served, Session};
use super::serve_args::ServeArgs;
use super::signal::{Hangups, Signals};
use super::systemd;
use crate::config::ServerConfig;
use crate::http::{self, MOUNT, Site};
use crate::server::{RunningServer, Server};
use crate::supervision;

pub(super) async fn run(args: ServeArgs, mut session: Session) -> anyhow::Result<()> {
    let log = Reload::of_program();
    if let Some(log) = log {
        log.set(&args.log);
    }
    let _written_at_the_end = log.map(Reload::queue);
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let mut hangups = Hangups::listen().context("cannot listen for signals")?;
    let stop_max = systemd::stop_max(&args.limits.limits());
    systemd::starting();
    let (server, backups, mut served) = tokio::select! {
        started = start(args) => started?,
        () = signals.first() => {
            systemd::stopping(stop_max);
            tracing::info!("stopped before it served");
            return Ok(());
        }
    };
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening on {}", server.url()).and_then(|()| out.flush()).context("cannot write to stdout")?;
    }
    systemd::ready(&server.url());
    let life = server.life();
    let telling = supervision::spawn(server.panics(), "telling systemd that it lives", move || {
        let life = life.clone();
        async move { systemd::keep_telling(|| life.is_there()).await }
    });
    loop {
        tokio::select! {
            () = signals.first() => break,
            () = hangups.next() => {
                systemd::reloading();
                session.reload(&server, &backups, &mut served);
                systemd::ready(&server.url());
            }
        }
    }
    systemd::stopping(stop_max);
    telling.abort();
    tracing::info!("stopping: not ready any more, running requests are finished");
    backups.stop();
    server.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

/// Starts what there is to serve, and the backups if any are wanted. Waits for the database.
async fn start(args: ServeArgs) -> anyhow::Result<(RunningServer, Backups, Served)> {
    let live = args.live(args.pool_max)?;
    let contents = args.contents()?;
    let mut config = ServerConfig::new(args.place.database()?);
    let (schema, origin) = args.place.schema(&config.database).await?;
    let of = match origin {
        FoundIn::File(file) => format!("the file {}", file.display()),
        FoundIn::Database => "the database, which was migrated to it".to_owned(),
        FoundIn::Shipped => "this program".to_owned(),
    };
    tracing::info!("schema: {} version {}, from {of}", schema.name(), schema.version());
    config.schema = Arc::new(schema);
    config.listen = args.listen.clone();
    config.tls = args.tls.files();
    config.pin = args.tls.pin()?;
    config.plain_http_allowed = args.tls.allow_plain_http;
    config.http = live.http;
    config.metrics = args.metrics.settings()?;
    config.pool_max = args.pool_max;
    config.limits.rows_max = args.batch_rows_max;
    config.chunks_max = args.batch_chunks_max;
    config.statement_timeout = Duration::from_secs(args.statement_timeout);
    config.window = args.window.window()?;
    (config.reports_every, config.keep, config.origins) = (live.reports_every, live.keep, live.origins);
    config.proxies = http::Proxies::new(args.trusted_proxy.clone());
    config.site = match &args.web {
        Some(folder) => Site::read(folder)?,
        None => Site::embedded(),
    };
    if !config.site.is_empty() {
        let from = args.web.as_ref().map_or_else(|| "this program".to_owned(), |folder| folder.display().to_string());
        tracing::info!("field notebook: {MOUNT} from {from}, {}", config.site);
    }
    let database = config.database.clone();
    let server = Server::start(config).await?;
    let backups = Backups::start(args.backups.schedule(database.clone())?, server.metrics(), server.panics());
    let served = Served { database, pool_max: args.pool_max, contents };
    Ok((server, backups, served))
}
