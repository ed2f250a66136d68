//! What connections cost that are kept alive and ask nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Result;
use futures_util::stream::{StreamExt as _, iter};
use tidemark_core::protocol::path;
use tokio::runtime::Runtime;

use crate::siege::http::Client;
use crate::siege::site::Site;
use crate::siege::watch::{Meter, resident};
use crate::world::pause;

/// How many addresses they come from.
const ADDRESSES: usize = 100;
/// How many connect at once.
const AT_ONCE: usize = 128;
/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// Measures and prints.
///
/// # Errors
/// The system's.
pub(super) fn measure(site: &Site, count: usize, storm: &Runtime) -> Result<()> {
    let mut meter = Meter::start(site.pid());
    let server = site.door();
    let clients = storm.block_on(async move {
        let asks = (0..count).map(|n| async move {
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 3, 1 + (n % ADDRESSES) as u8));
            let mut client = Client::new(server.clone(), from);
            let answer = client.ask("GET", path::HEALTH, None, &[], LIMIT).await;
            answer.is_ok_and(|answer| answer.status == 200).then_some(client)
        });
        let clients: Vec<Client> = iter(asks).buffer_unordered(AT_ONCE).filter_map(async |it| it).collect().await;
        clients
    });
    meter.look();
    pause(Duration::from_secs(1));
    let (before, now) = (meter.rss_before, resident(site.pid()));
    println!(
        "{} of {count} idle connections from {ADDRESSES} addresses: RSS {} → {} MiB, {} descriptors   goal: ≤ 40 MiB more",
        clients.len(),
        before >> 20,
        now >> 20,
        meter.descriptors_peak,
    );
    drop(clients);
    Ok(())
}
