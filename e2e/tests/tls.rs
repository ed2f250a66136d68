//! Stations and a server with certificates, right and wrong: the built programs, as an operator uses them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field, Station};
use tidemark_e2e::process::{Running, ServerProcess, run};
use tidemark_e2e::world::{Dice, pause, wait_for};
use tidemark_testkit::certificates::{Authority, Certificate};

const HERE: &str = "127.0.0.1";

/// A field whose server has a certificate, in files that can be replaced.
struct Plant {
    field: Field,
    keys: PathBuf,
}

impl Plant {
    fn new() -> Result<Self> {
        let mut field = Field::shrinkage(None)?;
        let keys = field.folder().join("keys");
        std::fs::create_dir(&keys)?;
        field.serve_args =
            ["--tls-cert", "keys/server.crt", "--tls-key", "keys/server.key"].map(str::to_owned).to_vec();
        field.migrate()?;
        Ok(Self { field, keys })
    }

    /// Gives the server this certificate, from its next look on.
    fn give(&self, certificate: &Certificate) -> Result<()> {
        certificate.write(&self.keys, "server").map(drop)
    }

    /// A file with an authority's certificate.
    fn ca(&self, name: &str, pem: &str) -> Result<String> {
        let file = self.keys.join(name);
        std::fs::write(&file, pem)?;
        text(&file)
    }

    /// From now on the system of the stations trusts the authorities of this file, and no others.
    fn system_trusts(&mut self, file: &str) -> Result<()> {
        let empty = self.keys.join("empty");
        std::fs::create_dir_all(&empty)?;
        self.field.set_env("SSL_CERT_DIR", &text(&empty)?);
        self.field.set_env("SSL_CERT_FILE", file);
        Ok(())
    }

    /// A join code for this server, which carries the pin of that certificate.
    fn code(&self, name: &str, server: &ServerProcess, server_ca: Option<&str>) -> Result<String> {
        let url = server.url();
        let mut args = vec!["station", "add", name, "--public-url", &url, "--database", &self.field.database];
        if let Some(file) = server_ca {
            args.extend(["--server-ca", file]);
        }
        let ended = run("tidemark-server", &args, self.field.folder(), &Default::default())?.success()?;
        Ok(ended.last_line().trim().to_owned())
    }
}

fn text(file: &Path) -> Result<String> {
    file.to_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("a path is text"))
}

/// A command is told why there is no safe connection, in these words, and nothing is lost.
fn is_told(station: &Station, args: &[&str], words: &[&str]) -> Result<()> {
    let waiting = station.waiting()?;
    let ended = station.run(args)?.expect_code(EXIT_UNREACHABLE)?;
    for word in ["no safe connection to the server at https://"].iter().chain(words) {
        ensure!(ended.stderr.contains(word), "{args:?} does not say {word:?}: {}", ended.output());
    }
    ensure!(station.waiting()? == waiting, "what waited is there");
    Ok(())
}

/// Restarts the server where it was.
fn again(plant: &Plant, server: ServerProcess) -> Result<ServerProcess> {
    let address: SocketAddr = server.address;
    server.process.terminate()?.success()?;
    plant.field.serve_on(address)
}

#[test]
fn one_line_makes_a_station_safe_with_a_server_that_has_no_public_name() -> Result<()> {
    let plant = Plant::new()?;
    let make = ["tls", "make", "--name", HERE, "keys"];
    run("tidemark-server", &make, plant.field.folder(), &Default::default())?.success()?;
    let server = plant.field.serve()?;
    ensure!(server.url().starts_with("https://"), "{}", server.url());
    let code = plant.code("north", &server, Some("keys/ca.crt"))?;
    ensure!(code.starts_with("tide2-"), "{code}");
    let (station, mut dice) = (plant.field.init_station("north")?, Dice::from_env());
    station.run(&["join", &code])?.success()?;
    let shown = station.run(&["server"])?.success()?.stdout;
    ensure!(shown.contains(&server.url()) && shown.contains("the certificate with the pin "), "{shown}");
    station.record(&mut dice, 20)?;
    station.run(&["push"])?.success()?;
    station.run(&["test"])?.success()?;
    station.run(&["verify"])?.success()?;
    // Another certificate of the same authority: no word to the station.
    run("tidemark-server", &make, plant.field.folder(), &Default::default())?.success()?;
    server.process.signal("HUP")?;
    station.record(&mut dice, 20)?;
    station.run(&["push"])?.success()?;
    plant.field.assert_upstream_equals(&[&station])?;
    // Another authority, under the same name: somebody stands between.
    let strange = Authority::new("strange")?;
    plant.give(&strange.server(&[HERE])?)?;
    let server = again(&plant, server)?;
    station.record(&mut dice, 5)?;
    is_told(
        &station,
        &["push"],
        &["the pinned certificate is not among those it shows", "somebody may stand between"],
    )?;
    let failed = station.run(&["test"])?.expect_code(1)?.stdout;
    ensure!(failed.contains("the pinned certificate is not among"), "{failed}");
    // A code does not help a station of that server where another one answers.
    let other = plant.field.init_station("south")?;
    let code = plant.code("south", &server, Some("keys/ca.crt"))?;
    is_told(&other, &["join", &code], &["the pinned certificate", "The join code is still good"])?;
    Ok(())
}

#[test]
fn the_pin_of_a_code_that_failed_is_not_held_against_the_next_one() -> Result<()> {
    let mut plant = Plant::new()?;
    let (ours, strange) = (Authority::new("ours")?, Authority::new("strange")?);
    let ca = plant.ca("ours.crt", &ours.pem())?;
    let strange_ca = plant.ca("strange.crt", &strange.pem())?;
    plant.give(&ours.server(&[HERE])?)?;
    let server = plant.field.serve()?;
    plant.system_trusts(&ca)?;
    let (station, mut dice) = (plant.field.init_station("north")?, Dice::from_env());
    // The operator named the wrong file when the code was made.
    let wrong = plant.code("first", &server, Some(&strange_ca))?;
    is_told(&station, &["join", &wrong], &["the pinned certificate is not among those it shows"])?;
    let kept = station.run(&["server", "--json"])?.success()?.stdout;
    ensure!(kept.contains("\"system\""), "{kept}");
    station.run(&["join", &plant.code("north", &server, None)?])?.success()?;
    station.record(&mut dice, 5)?;
    station.run(&["push"])?.success()?;
    plant.field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_and_nothing_is_lost() -> Result<()> {
    let plant = Plant::new()?;
    let (ours, strange) = (Authority::new("ours")?, Authority::new("strange")?);
    let ca = plant.ca("ours.crt", &ours.pem())?;
    let strange_ca = plant.ca("strange.crt", &strange.pem())?;
    plant.give(&ours.server(&[HERE])?)?;
    let mut server = plant.field.serve()?;
    let (station, mut dice) = (plant.field.init_station("north")?, Dice::from_env());
    let code = plant.code("north", &server, None)?;
    ensure!(code.starts_with("tide1-"), "{code}");
    station.record(&mut dice, 5)?;
    // Without a word of whom to trust; and with the wrong one.
    is_told(&station, &["join", &code], &["no authority that is trusted here", "--ca FILE"])?;
    is_told(&station, &["join", &code, "--ca", &strange_ca], &["no authority that is trusted here"])?;
    station.run(&["join", &code, "--ca", &ca])?.success()?;
    // It is kept with the server; what is given holds for one command.
    station.run(&["push"])?.success()?;
    station.record(&mut dice, 5)?;
    is_told(&station, &["push", "--ca", &strange_ca], &["no authority that is trusted here"])?;
    let url = server.url();
    for (certificate, words) in [
        (ours.expired_server(&[HERE])?, ["its certificate has run out", "renew it"]),
        (ours.future_server(&[HERE])?, ["its certificate is not valid yet", "clock"]),
        (ours.server(&["hq.test"])?, ["its certificate is for other names (hq.test)", "is the URL right"]),
        (strange.server(&[HERE])?, ["no authority that is trusted here", "--server-ca"]),
    ] {
        plant.give(&certificate)?;
        server = again(&plant, server)?;
        is_told(&station, &["push"], &words)?;
        let status = station.run(&["status"])?.success()?.stdout;
        ensure!(status.contains(words[0]), "{status}");
    }
    // A daemon says the same, and goes on by itself once it is put right.
    let daemon =
        Running::start("tidemark", &["run", "--db", &text(&station.file)?], plant.field.folder(), &Default::default())?;
    wait_for("the daemon's words", Duration::from_secs(30), || {
        Ok(daemon.output_so_far().contains("no authority that is trusted here").then_some(()))
    })?;
    plant.give(&ours.server(&[HERE])?)?;
    server.process.signal("HUP")?;
    wait_for("the push", Duration::from_secs(60), || Ok((station.waiting()? == 0).then_some(())))?;
    daemon.terminate()?;
    plant.field.assert_upstream_equals(&[&station])?;
    // Where plain HTTP answers, and where nobody can read what was given.
    server.process.terminate()?.success()?;
    let plain = Field::shrinkage(None)?;
    let other = plain.serve()?;
    station.run(&["server", &other.url().replace("http://", "https://")])?.success()?;
    is_told(&station, &["push"], &["does not speak TLS", "http://"])?;
    station.run(&["server", &url, "--ca", "nowhere.crt"])?.fails_saying(&["--ca", "nowhere.crt"])?;
    Ok(())
}

#[test]
fn a_pinned_certificate_of_the_servers_own_is_all_that_is_asked_and_an_authoritys_name_is_checked() -> Result<()> {
    let plant = Plant::new()?;
    let authority = Authority::new("ours")?;
    // For another name, and run out: who knows the certificate itself asks nothing else.
    let own = authority.expired_server(&["elsewhere.test"])?;
    plant.give(&own)?;
    let server = plant.field.serve()?;
    let (station, mut dice) = (plant.field.init_station("north")?, Dice::from_env());
    station.run(&["join", &plant.code("north", &server, Some("keys/server.crt"))?])?.success()?;
    station.record(&mut dice, 5)?;
    station.run(&["push"])?.success()?;
    // Another one: the operator reads its pin to who is at the station.
    let chain = |certificate: Certificate| -> Result<Certificate> {
        Ok(Certificate { cert_pem: format!("{}{}", certificate.cert_pem, authority.pem()), ..certificate })
    };
    plant.give(&chain(authority.server(&["elsewhere.test"])?)?)?;
    let server = again(&plant, server)?;
    station.record(&mut dice, 5)?;
    is_told(&station, &["push"], &["the pinned certificate is not among", "tidemark server --pin"])?;
    let shown = run("tidemark-server", &["tls", "show", "keys/server.crt"], plant.field.folder(), &Default::default())?;
    let pins: Vec<String> = shown
        .success()?
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("pin "))
        .map(|pin| pin.trim().to_owned())
        .collect();
    ensure!(pins.len() == 2, "{pins:?}");
    station.run(&["server", "--pin", &pins[1]])?.success()?;
    is_told(&station, &["push"], &["its certificate is for other names (elsewhere.test)"])?;
    station.run(&["server", "--pin", &pins[0]])?.success()?;
    station.run(&["push"])?.success()?;
    plant.field.assert_upstream_equals(&[&station])?;
    let shown = station.run(&["server", "--system-ca"])?.success()?.stdout;
    ensure!(shown.contains("known by the authorities of this system"), "{shown}");
    station.record(&mut dice, 1)?;
    is_told(&station, &["push"], &["no authority that is trusted here"])?;
    drop(server);
    Ok(())
}

#[test]
fn certificates_renewed_while_stations_push_lose_nothing_also_when_the_server_is_killed() -> Result<()> {
    let plant = Plant::new()?;
    let authority = Authority::new("ours")?;
    let ca = plant.ca("ours.crt", &authority.pem())?;
    plant.give(&authority.server(&[HERE])?)?;
    let mut server = plant.field.serve()?;
    let mut stations = Vec::new();
    for name in ["east", "north", "west"] {
        let station = plant.field.init_station(name)?;
        station.run(&["join", &plant.code(name, &server, None)?, "--ca", &ca])?.success()?;
        stations.push(station);
    }
    let start = |station: &Station| -> Result<Running> {
        Running::start("tidemark", &["run", "--db", &text(&station.file)?], plant.field.folder(), &Default::default())
    };
    let daemons = stations.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut dice = Dice::from_env();
    for round in 0..6 {
        for station in &stations {
            station.record(&mut dice, 60)?;
        }
        plant.give(&authority.server(&[HERE])?)?;
        server.process.signal("HUP")?;
        pause(Duration::from_millis(200));
        if round == 3 {
            let address = server.address;
            server.process.kill()?;
            server = plant.field.serve_on(address)?;
        }
    }
    for station in &stations {
        wait_for("all to be pushed", Duration::from_secs(60), || Ok((station.waiting()? == 0).then_some(())))?;
    }
    let mut said = String::new();
    for daemon in daemons {
        said.push_str(&daemon.terminate()?.output());
    }
    ensure!(!said.contains("no safe connection"), "{said}");
    plant.field.assert_upstream_equals(&stations.iter().collect::<Vec<_>>())?;
    let log = server.process.terminate()?.success()?.stderr;
    ensure!(log.contains("TLS certificate renewed"), "{log}");
    Ok(())
}

#[test]
fn a_station_shows_its_certificate_where_the_server_wants_one() -> Result<()> {
    let mut plant = Plant::new()?;
    let authority = Authority::new("ours")?;
    let ca = plant.ca("ours.crt", &authority.pem())?;
    plant.give(&authority.server(&[HERE])?)?;
    plant.field.serve_args.extend(["--tls-client-ca".to_owned(), ca.clone()]);
    let server = plant.field.serve()?;
    let (station, mut dice) = (plant.field.init_station("north")?, Dice::from_env());
    let code = plant.code("north", &server, Some(&ca))?;
    station.record(&mut dice, 5)?;
    let wanted = ["wants a certificate from this station", "--client-cert FILE"];
    is_told(&station, &["join", &code, "--ca", &ca], &wanted)?;
    let files = authority.client("north")?.write(&plant.keys, "north")?;
    let (cert, key) = (text(&files.cert)?, text(&files.key)?);
    let shows = ["--client-cert", &cert, "--client-key", &key];
    station.run(&[&["join", &code, "--ca", &ca][..], &shows].concat())?.success()?;
    station.run(&[&["push"][..], &shows].concat())?.success()?;
    plant.field.assert_upstream_equals(&[&station])?;
    station.record(&mut dice, 1)?;
    is_told(&station, &["push"], &wanted)?;
    let others = ["--client-cert", &cert, "--client-key", &ca];
    station.run(&[&["push"][..], &others].concat())?.fails_saying(&["is not the private key of"])?;
    Ok(())
}

#[test]
fn whom_the_system_trusts_needs_no_word_and_a_system_that_trusts_nobody_is_told() -> Result<()> {
    let mut plant = Plant::new()?;
    let authority = Authority::new("ours")?;
    let ca = plant.ca("ours.crt", &authority.pem())?;
    let none = plant.ca("none.crt", "")?;
    plant.give(&authority.server(&[HERE])?)?;
    let server = plant.field.serve()?;
    plant.system_trusts(&ca)?;
    let (station, mut dice) = (plant.field.init_station("north")?, Dice::from_env());
    station.run(&["join", &plant.code("north", &server, None)?])?.success()?;
    station.record(&mut dice, 5)?;
    station.run(&["push"])?.success()?;
    plant.field.assert_upstream_equals(&[&station])?;
    plant.system_trusts(&none)?;
    let other = plant.field.init_station("south")?;
    let code = plant.code("south", &server, None)?;
    is_told(&other, &["join", &code], &["this system has no authorities that it trusts", "ca-certificates"])?;
    Ok(())
}
