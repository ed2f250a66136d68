//! The containers of `deploy/`, as far as they can be tried without an engine: Docker Compose reads compose.yaml, and
//! the server takes what both files tell it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::field::Field;
use tidemark_e2e::process::run;
use tidemark_e2e::world::wait_for;
use tidemark_testkit::certificates::Authority;

use crate::deployment::deploy;

/// How long a server may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// The values of an instruction of the Containerfile, its continued lines joined.
fn instructions(name: &str) -> Result<Vec<String>> {
    let written = std::fs::read_to_string(deploy().join("container/Containerfile"))?.replace("\\\n", " ");
    let found = |line: &str| line.strip_prefix(name)?.strip_prefix(' ').map(|value| value.trim().to_owned());
    Ok(written.lines().filter_map(found).collect())
}

/// The environment that the image gives the server.
fn image_environment() -> Result<BTreeMap<String, String>> {
    let pair = |line: &String| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(instructions("ENV")?.iter().filter_map(pair).collect())
}

/// The words that compose.yaml gives the server.
fn words_of_compose(written: &str) -> Result<Vec<String>> {
    let line =
        written.lines().find_map(|line| line.trim().strip_prefix("command: ").filter(|line| line.contains("serve")));
    Ok(serde_json::from_str(line.context("no service serves")?)?)
}

/// The value of an option.
fn option<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).map(String::as_str)
}

#[test]
fn compose_is_understood_and_all_that_it_names_is_there() -> Result<()> {
    let script =
        "if docker compose version >/dev/null 2>&1; then docker compose \"$@\"; else docker-compose \"$@\"; fi";
    let folder = tempfile::tempdir()?;
    let file = deploy().join("compose.yaml");
    let mut compose = Command::new("bash");
    compose.args(["-euc", script, "compose", "-f"]).arg(&file).arg("config").current_dir(folder.path());
    let output = compose.output()?;
    let (read, said) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
    ensure!(output.status.success(), "deploy/compose.yaml (is there Docker Compose? scripts/setup-compose): {said}");
    for service in ["timescaledb", "migrate", "server", "prometheus", "grafana"] {
        ensure!(read.contains(&format!("\n  {service}:\n")), "no service {service}:\n{read}");
    }
    let written = std::fs::read_to_string(&file)?;
    let images: Vec<_> = written.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
    ensure!(images.len() == 5, "{images:?}");
    for image in images {
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        ensure!(
            tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v') && tag.contains('.'),
            "{image} has no version"
        );
    }
    ensure!(written.matches("healthcheck:").count() == 4, "a service that stays has a health check");
    let mounted = written.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next());
    let built = ["../".to_owned() + "deploy/container/Containerfile"];
    for path in mounted.map(str::to_owned).chain(built) {
        ensure!(deploy().join(&path).exists(), "deploy/compose.yaml names deploy/{path}");
    }
    let secrets = std::fs::read_to_string(deploy().join("../.gitignore"))?;
    ensure!(secrets.contains("/deploy/secrets/"), "secrets could be committed");
    ensure!(!written.contains("POSTGRES_PASSWORD:"), "a password stands in the file");
    Ok(())
}

#[test]
fn compose_backs_up_trusts_one_address_and_has_the_programs_of_its_own_postgresql() -> Result<()> {
    let written = std::fs::read_to_string(deploy().join("compose.yaml"))?;
    let words = words_of_compose(&written)?;

    // The server takes them all.
    let folder = tempfile::tempdir()?;
    let mut check: Vec<&str> = vec!["config", "check", "--database", "postgresql://tidemark@timescaledb/tidemark"];
    check.extend(words[1..].iter().map(String::as_str));
    run("tidemark-server", &check, folder.path(), &image_environment()?)?.success()?;

    let gateway = written.split_once("gateway: ").and_then(|(_, after)| after.split(['}', ',']).next());
    ensure!(option(&words, "--trusted-proxy") == Some(gateway.context("no gateway")?), "{words:?}");
    ensure!(option(&words, "--backup-every").is_some(), "{words:?}");
    let backups = option(&words, "--backup-dir").context("backups go anywhere")?;
    ensure!(written.contains(&format!("\"backups:{backups}\"")), "backups go with the container");
    ensure!(instructions("VOLUME")?.iter().any(|volume| volume == backups), "{backups} is not the server's own there");

    // pg_dump refuses a newer server, and an older server what a newer pg_dump writes.
    let image =
        written.lines().find_map(|line| line.trim().strip_prefix("image: ").filter(|i| i.contains("timescaledb")));
    let major = image.and_then(|image| image.rsplit_once("-pg")).context("no PostgreSQL")?.1;
    let installed = instructions("RUN")?.concat();
    ensure!(installed.contains(&format!(" postgresql-client-{major} ")), "{major}: {installed}");
    Ok(())
}

#[test]
fn the_image_serves_no_plain_http_unasked_and_its_health_is_asked_as_it_serves() -> Result<()> {
    let mut field = Field::shrinkage(None)?;
    let environment = image_environment()?;
    let listen: SocketAddr = environment["TIDEMARK_LISTEN"].parse()?;
    ensure!(listen.ip().is_unspecified(), "nobody outside of the container reaches {listen}");
    let command: Vec<String> = serde_json::from_str(instructions("CMD")?.last().context("no CMD")?)?;
    let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
    words.extend(["--database", field.database.as_str(), "--schema", "schema.toml"]);
    field.migrate()?;
    let elsewhere = BTreeMap::from([("TIDEMARK_LISTEN".to_owned(), "0.0.0.0:0".to_owned())]);
    run("tidemark-server", &words, field.folder(), &elsewhere)?.fails_saying(&["--tls-cert", "--allow-plain-http"])?;

    let health = instructions("HEALTHCHECK")?.pop().context("no HEALTHCHECK")?;
    let health = health.split_once("CMD ").context("HEALTHCHECK has no command")?.1.to_owned();
    let asked = |address: SocketAddr, cert: &str| -> Result<bool> {
        let here = health.replace(&format!(":{}/", listen.port()), &format!(":{}/", address.port()));
        ensure!(here != health, "{health}");
        let mut shell = Command::new("sh");
        let status = shell.args(["-c", &here]).env("TIDEMARK_TLS_CERT", cert).output()?.status;
        Ok(status.success())
    };
    let plain = field.serve()?;
    wait_for("health over plain HTTP", PATIENCE, || Ok(asked(plain.address, "")?.then_some(())))?;
    ensure!(!asked(plain.address, "server.crt")?, "TLS is not asked for");
    drop(plain);
    Authority::new("plant")?.server(&["upstream.example"])?.write(field.folder(), "server")?;
    field.serve_args = ["--tls-cert", "server.crt", "--tls-key", "server.key"].map(str::to_owned).to_vec();
    let encrypted = field.serve()?;
    wait_for("health over TLS", PATIENCE, || Ok(asked(encrypted.address, "server.crt")?.then_some(())))
}
