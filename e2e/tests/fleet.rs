//! The fleet with real programs: an idle station stays active, silence is seen, and a station that never pushed says
//! so. On PostgreSQL and on the embedded upstream.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};
use tidemark_e2e::world::{Dice, wait_for};

const SOON: Duration = Duration::from_secs(30);

fn shown(field: &Field, name: &str) -> Result<Json> {
    let shown = field.server_command(&["station", "show", name, "--json"])?.success()?;
    Ok(serde_json::from_str(&shown.stdout)?)
}

fn wait_until(field: &Field, name: &str, what: &str, is: impl Fn(&Json) -> bool) -> Result<Json> {
    let mut seen = Json::Null;
    let found = wait_for(what, SOON, || {
        seen = shown(field, name)?;
        Ok(is(&seen).then(|| seen.clone()))
    });
    found.with_context(|| format!("{what}: {seen}"))
}

/// Sets everything that tells of a contact back by two hours.
fn set_back(field: &Field, cluster: Option<&PostgresCluster>) -> Result<()> {
    let sql = [
        "UPDATE tidemark.contact SET contact_at = contact_at - interval '2 hours'",
        "UPDATE tidemark.cursor SET updated_at = updated_at - interval '2 hours'",
        "UPDATE tidemark.station SET joined_at = joined_at - interval '2 hours'",
    ];
    if cluster.is_some() {
        return PgClient::connect_url(&field.database)?.batch(&sql.join("; "));
    }
    let file = field.database.strip_prefix("sqlite:///").context("an embedded upstream")?;
    let db = rusqlite::Connection::open(field.folder().join(file))?;
    db.busy_timeout(SOON)?;
    for (table, column) in [("contact", "contact_at"), ("cursor", "updated_at"), ("station", "joined_at")] {
        db.execute(
            &format!("UPDATE tidemark_{table} SET {column} = strftime('%Y-%m-%d %H:%M:%f000', {column}, '-2 hours')"),
            [],
        )?;
    }
    Ok(())
}

fn fares(field: Field, cluster: Option<&PostgresCluster>) -> Result<()> {
    field.migrate()?;
    let server = field.serve()?;
    let station: Station = field.join_station("north", &server.url())?;
    let seen = shown(&field, "north")?;
    ensure!(seen["last_push_ms"].is_null() && seen["state"] == "active", "{seen}");
    let list = field.server_command(&["station", "list"])?.success()?;
    ensure!(list.stdout.contains("never"), "{}", list.stdout);

    // With nothing to push it is in contact, again and again.
    let running = station.start(&["run", "--contact-every", "1"])?;
    let first = wait_until(&field, "north", "a report", |seen| seen["reported_at_ms"].is_i64())?;
    ensure!(first["pending"] == 0 && first["oldest_ms"].is_null() && first["last_push_ms"].is_null(), "{first}");
    ensure!(first["client_version"] == env!("CARGO_PKG_VERSION") && first["schema_version"] == 1, "{first}");
    ensure!(cfg!(not(unix)) || first["free_disk_bytes"].as_u64().is_some_and(|free| free > 0), "{first}");
    ensure!(first["clock_offset_ms"].as_i64().is_some_and(|offset| offset.abs() < 5_000), "{first}");
    let at_ms = |seen: &Json| seen["reported_at_ms"].as_i64().unwrap_or(0);
    let again = wait_until(&field, "north", "another report", |seen| at_ms(seen) > at_ms(&first) + 1_500)?;
    ensure!(again["tidemark"] == 0, "{again}");

    // It becomes silent when it is not heard, and active when it is.
    let ended = running.terminate()?;
    ensure!(ended.code == Some(0) && !ended.stderr.contains("trying again"), "{ended:?}");
    // The last contact was perhaps not written yet.
    std::thread::sleep(Duration::from_secs(3));
    set_back(&field, cluster)?;
    let silent = shown(&field, "north")?;
    ensure!(silent["state"] == "silent" && silent["access"] == "joined", "{silent}");
    station.record(&mut Dice::new(1), 10)?;
    station.run(&["push"])?.success()?;
    let seen = wait_until(&field, "north", "what push said", |seen| at_ms(seen) > at_ms(&again))?;
    ensure!(seen["state"] == "active" && seen["pending"] == 0 && seen["last_push_ms"].is_i64(), "{seen}");

    // What is done by the command line is in the audit.
    field.server_command(&["station", "rename", "north", "north hut"])?.success()?;
    ensure!(shown(&field, "1")?["name"] == "north hut");
    let shown = field.server_command(&["station", "show", "north hut"])?.success()?;
    for word in ["as the station said", "right, within a second", "version 1"] {
        ensure!(shown.stdout.contains(word), "{word}: {}", shown.stdout);
    }
    let added = field.server_command(&["operator", "add", "anna"])?.success()?;
    let audit = admin(&server.url(), added.last_line(), "audit")?;
    let acts = audit["acts"].as_array().context("acts")?;
    let acts: Vec<&str> = acts.iter().filter_map(|act| act["act"].as_str()).collect();
    ensure!(acts == ["operator-add", "station-rename", "station-add"], "{audit}");
    ensure!(audit["acts"][0]["operator"] == "command line", "{audit}");

    // A backup is known to the server, and whether it was restored.
    let backup = field.server_command(&["backup", "copy.backup", "--check", "--json"])?.success()?;
    let backup: Json = serde_json::from_str(&backup.stdout)?;
    let database = admin(&server.url(), added.last_line(), "database")?;
    ensure!(database["backup"]["file"] == "copy.backup", "{database}");
    ensure!(database["backup"]["restored_at_ms"].is_i64() == (backup["restored"] == true), "{backup} {database}");
    field.server_command(&["operator", "revoke", "anna"])?.success()?;
    let refused = admin(&server.url(), added.last_line(), "fleet")?;
    ensure!(refused["status"] == 403 || refused["status"] == 404, "{refused}");
    Ok(())
}

fn admin(url: &str, token: &str, what: &str) -> Result<Json> {
    let asked = format!("Authorization: Bearer {token}");
    let output = std::process::Command::new("curl")
        .args(["-s", "-H", &asked, &format!("{url}/v1/admin/{what}")])
        .output()
        .context("curl")?;
    serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn an_idle_station_stays_active_and_silence_is_seen_on_timescale() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    fares(Field::shrinkage(Some(cluster.create_database("fleet")?))?, Some(&cluster))
}

#[test]
fn an_idle_station_stays_active_and_silence_is_seen_on_the_embedded_upstream() -> Result<()> {
    fares(Field::shrinkage(None)?, None)
}
