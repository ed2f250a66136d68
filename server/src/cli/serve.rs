//! `serve`.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use tidemark_core::limits::FrameLimits;

use super::Place;
use super::window::WindowArgs;
use crate::config::DEFAULT_LISTEN;
use crate::server::Server;

#[derive(Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    place: Place,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, default_value = DEFAULT_LISTEN, value_name = "ADDR")]
    listen: String,
    #[command(flatten)]
    window: WindowArgs,
    /// Most changes in one batch; stations cut their logs by it.
    #[arg(long, default_value_t = FrameLimits::DEFAULT.rows_max, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_rows_max: u32,
    /// Most connections to PostgreSQL.
    #[arg(long, default_value_t = 30, value_name = "N")]
    pool_max: usize,
}

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let mut config = args.place.config()?;
    config.listen = args.listen;
    config.pool_max = args.pool_max;
    config.limits.rows_max = args.batch_rows_max;
    config.window = args.window.window()?;
    let stop = stop_signal().context("cannot listen for signals")?;
    let server = Server::start(config).await?;
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening on {}", server.url()).and_then(|()| out.flush()).context("cannot write to stdout")?;
    }
    stop.await;
    tracing::info!("stopping: no new connections, running requests are finished");
    server.shutdown().await;
    Ok(())
}

/// Ends with the first SIGTERM or SIGINT.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Ends with Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
