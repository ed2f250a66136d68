//! Plain HTTP: on this machine, or where the operator says so.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use tidemark_testkit::certificates::Authority;

use crate::common::program::{run, server, works};
use crate::common::serving::Serving;

#[test]
fn plain_http_is_refused_where_others_reach_it_unless_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let ran = run(folder.path(), &["serve", "--listen", listen]);
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        for word in ["--tls-cert", "tidemark-server tls make", "--allow-plain-http", "127.0.0.1"] {
            assert!(ran.err.contains(word), "{word}: {}", ran.err);
        }
        assert!(!folder.path().join("tidemark-upstream.db").exists(), "nothing was made");
    }
    let told = ["serve", "--listen", "0.0.0.0:0", "--allow-plain-http"];
    let mut child = server(folder.path(), &told).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("listening on http://0.0.0.0:"), "{line}");
}

#[test]
fn metrics_where_others_reach_them_are_read_over_tls_or_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let ask = ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "0.0.0.0:0"];
    let ran = run(here, &ask);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    for word in ["--metrics-listen", "the metrics", "--tls-cert", "--allow-plain-http"] {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
    let at = |serving: &Serving, scheme: &str| {
        serving.says("metrics: ", 1);
        let log = serving.log();
        let begin = format!("metrics: {scheme}://0.0.0.0:");
        let rest = log.split_once(&begin).unwrap_or_else(|| panic!("{begin}: {log}")).1;
        rest.split('/').next().unwrap().to_owned()
    };
    let curl = |args: &[&str]| {
        let mut command = std::process::Command::new("curl");
        command.args(["--silent", "--show-error", "--noproxy", "*", "--http2"]).args(args).current_dir(here);
        let ran = command.output().expect("curl is installed");
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    let serving = Serving::start(server(here, &[&ask[..], &["--allow-plain-http"]].concat()));
    let said = curl(&[&format!("http://127.0.0.1:{}/metrics", at(&serving, "http"))]);
    assert!(said.0 == Some(0) && said.1.contains("tidemark_build_info"), "{said:?}");
    drop(serving);
    works(here, &["tls", "make", "--name", "127.0.0.1", "keys"]);
    let certificate = ["--tls-cert", "keys/server.crt", "--tls-key", "keys/server.key"];
    let serving = Serving::start(server(here, &[&ask[..], &certificate].concat()));
    let port = at(&serving, "https");
    let said = curl(&["--cacert", "keys/ca.crt", &format!("https://127.0.0.1:{port}/metrics")]);
    assert!(said.0 == Some(0) && said.1.contains("tidemark_build_info"), "{said:?}");
    assert_ne!(curl(&[&format!("http://127.0.0.1:{port}/metrics")]).0, Some(0), "nothing is read without TLS");
    drop(serving);
    // On the machine itself it stays plain, as Prometheus is told there.
    let local = ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let serving = Serving::start(server(here, &[&local[..], &certificate].concat()));
    serving.says("metrics: http://127.0.0.1:", 1);
}

#[test]
fn what_is_of_another_authority_or_half_there_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (here, keys) = (folder.path(), folder.path().join("keys"));
    let refused = |what: &str| {
        let ran = run(here, &["tls", "make", "--name", "localhost", "keys"]);
        assert_eq!(ran.code, Some(1), "{what}: {}", ran.out);
        assert!(ran.err.contains(what) && ran.err.contains("not replaced"), "{what}: {}", ran.err);
    };
    std::fs::create_dir(&keys).unwrap();
    let theirs =
        Authority::new("a public one").unwrap().server(&["localhost"]).unwrap().write(&keys, "server").unwrap();
    let before = [&theirs.cert, &theirs.key].map(|file| std::fs::read(file).unwrap());
    refused("server.crt");
    assert_eq!([&theirs.cert, &theirs.key].map(|file| std::fs::read(file).unwrap()), before);
    assert!(!keys.join("ca.key").exists(), "nothing was made beside it");
    std::fs::remove_file(&theirs.cert).unwrap();
    refused("server.key");
    assert_eq!(std::fs::read(&theirs.key).unwrap(), before[1]);
    // What a run that was cut off left, and others may read, gets no key.
    std::fs::remove_file(&theirs.key).unwrap();
    for left in ["ca.key.new", "server.key.new"] {
        std::fs::write(keys.join(left), "").unwrap();
    }
    works(here, &["tls", "make", "--name", "localhost", "keys"]);
    #[cfg(unix)]
    for key in ["ca.key", "server.key"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&keys.join(key).metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn a_certificate_of_ones_own_is_made_shown_and_served_with() {
    let folder = tempfile::tempdir().unwrap();
    let made = works(folder.path(), &["tls", "make", "--name", "localhost", "--name", "127.0.0.1", "keys"]);
    assert!(made.contains("--tls-cert keys/server.crt --tls-key keys/server.key"), "{made}");
    assert!(made.contains("--server-ca keys/ca.crt"), "{made}");
    let ca = std::fs::read(folder.path().join("keys/ca.crt")).unwrap();
    #[cfg(unix)]
    for key in ["keys/ca.key", "keys/server.key"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&folder.path().join(key).metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let shown = works(folder.path(), &["tls", "show", "keys/server.crt"]);
    assert!(shown.contains("server    localhost, 127.0.0.1") && shown.contains("authority "), "{shown}");
    let pins: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("pin       ")).collect();
    assert_eq!(pins.len(), 2, "{shown}");
    // Of the same authority again: only the server's certificate is new.
    let again = works(folder.path(), &["tls", "make", "--name", "localhost", "--name", "127.0.0.1", "keys"]);
    assert!(!again.contains("made the authority"), "{again}");
    assert_eq!(std::fs::read(folder.path().join("keys/ca.crt")).unwrap(), ca);
    let renewed = works(folder.path(), &["tls", "show", "keys/server.crt"]);
    assert!(renewed.contains(pins[1]) && !renewed.contains(pins[0]), "{renewed}");
    assert_eq!(run(folder.path(), &["tls", "make", "--name", "https://x:1", "keys"]).code, Some(1));

    let listen = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", "keys/server.crt", "--tls-key", "keys/server.key"];
    let mut child = server(folder.path(), &listen).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim_end().strip_prefix("listening on ").expect("serves").to_owned();
    let curl = |more: &[&str]| {
        let mut command = std::process::Command::new("curl");
        command.current_dir(folder.path()).args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--output",
            "/dev/null",
        ]);
        let ran = command
            .args(["--write-out", "%{http_version} %{http_code}"])
            .args(more)
            .output()
            .expect("curl is installed");
        (
            ran.status.code(),
            String::from_utf8_lossy(&ran.stdout).into_owned(),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    let health = format!("{url}/healthz");
    let second = curl(&["--http2", "--cacert", "keys/ca.crt", &health]);
    let first = curl(&["--http1.1", "--cacert", "keys/ca.crt", &health]);
    let strange = curl(&["--http2", &health]);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!((second.0, second.1.as_str()), (Some(0), "2 200"), "{second:?} {log}");
    assert_eq!((first.0, first.1.as_str()), (Some(0), "1.1 200"), "{first:?} {log}");
    // 60: the peer certificate cannot be authenticated.
    assert_eq!(strange.0, Some(60), "{strange:?}");
}
