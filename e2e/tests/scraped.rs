//! What a real server tells a real Prometheus of its backups, its roll-ups and its stations, by the rules that are
//! delivered.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::world::{Dice, pause, wait_for};
use tidemark_testkit::prometheus::Prometheus;

/// Longer than the server takes to ask its database anew.
const SOON: Duration = Duration::from_secs(60);

/// Waits until each query finds exactly these series.
fn tells(prometheus: &Prometheus, queries: &[(&str, usize)]) -> Result<()> {
    for (query, series) in queries {
        wait_for(query, SOON, || {
            let found = prometheus.values(query)?;
            pause(Duration::from_millis(100));
            Ok((found.len() == *series).then_some(()))
        })
        .with_context(|| format!("{query}: {:?}", prometheus.values(query)))?;
    }
    Ok(())
}

#[test]
fn backups_roll_ups_and_reports_of_stations_reach_a_prometheus_and_its_alerts() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let mut field = Field::shrinkage(Some(cluster.create_database("scraped")?))?;
    field.migrate()?;
    // Nobody brings the roll-ups up to date but who asks for a report.
    field.serve_args = ["--metrics-listen", "127.0.0.1:0", "--reports-every", "0"].map(str::to_owned).into();
    let server = field.serve()?;
    let target = wait_for("the listener for metrics", SOON, || Ok(server.metrics()))?;
    let delivered = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    let prometheus = Prometheus::reading(&delivered, target)?;
    let station = field.join_station("north", &server.url())?;
    let mut dice = Dice::from_env();
    station.record(&mut dice, 20)?;
    let running = station.start(&["run", "--contact-every", "1"])?;
    tells(
        &prometheus,
        &[
            ("tidemark_stations_reporting == 1", 1),
            ("tidemark_pending_changes == 0", 1),
            ("tidemark_lowest_free_disk_bytes > 0", 1),
            ("tidemark_stations_clock_off == 0", 1),
            // They were never brought up to date, and are as old as they are there.
            ("tidemark_rollup_lag_seconds > 0", 1),
            ("tidemark_backup_last_success_timestamp_seconds == 0", 1),
            ("ALERTS{alertname=\"TidemarkBackupOld\"}", 1),
        ],
    )?;
    let report = ["report", "top", "--database", field.database.as_str()];
    tidemark_e2e::process::run("tidemark-server", &report, field.folder(), &Default::default())?.success()?;
    // By a program beside the server, into a folder that it knows nothing of.
    field.server_command(&["backup", "elsewhere.backup"])?.success()?;
    tells(
        &prometheus,
        &[
            ("tidemark_rollup_lag_seconds == 0", 1),
            ("time() - tidemark_backup_last_success_timestamp_seconds < 120", 1),
            ("tidemark_backup_last_size_bytes > 1000", 1),
            ("ALERTS{alertname=\"TidemarkBackupOld\"}", 0),
        ],
    )?;
    station.record(&mut dice, 5)?;
    tells(&prometheus, &[("tidemark_rollup_lag_seconds > 0", 1)])?;
    running.terminate()?.success().map(|_| ())
}
