//! What `deploy/` has for those who run Tidemark: nginx and Caddy before a server, real ones. The units and packages
//! are in `packages`, the containers in `containers`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::field::Field;
use tidemark_e2e::siege::door::{Door, Stream};
use tidemark_e2e::world::{Dice, wait_for};
use tidemark_testkit::certificates::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// A running proxy; it ends with this.
struct Proxy {
    child: Child,
    port: u16,
}

/// What a proxy is started with.
struct Place<'p> {
    folder: &'p Path,
    upstream: &'p str,
    cert: &'p Path,
    key: &'p Path,
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A file of `deploy/` with these lines of it replaced.
fn changed(file: &str, lines: &[(&str, String)]) -> Result<String> {
    let mut text = std::fs::read_to_string(deploy().join(file))?;
    for (written, here) in lines {
        ensure!(text.matches(written).count() == 1, "deploy/{file} has no {written:?}");
        text = text.replace(written, here);
    }
    Ok(text)
}

impl Proxy {
    /// nginx by the lines of deploy/nginx/tidemark.conf, with another port, server and certificate.
    fn nginx(place: &Place<'_>) -> Result<Self> {
        let Place { folder, upstream, cert, key } = place;
        let port = free_port()?;
        let live = "/etc/letsencrypt/live/upstream.example";
        let (chain, private) = (format!("{live}/fullchain.pem"), format!("{live}/privkey.pem"));
        let site = changed(
            "nginx/tidemark.conf",
            &[
                ("server 127.0.0.1:8787;", format!("server {upstream};")),
                ("listen 443 ssl http2;", format!("listen 127.0.0.1:{port} ssl http2;")),
                (chain.as_str(), cert.display().to_string()),
                (private.as_str(), key.display().to_string()),
            ],
        )?;
        std::fs::write(folder.join("site.conf"), site)?;
        let temporary =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path temp;"));
        let main = format!(
            "daemon off; pid nginx.pid; error_log stderr; events {{ worker_connections 4096; }}\nhttp {{ access_log off; {} include site.conf; }}\n",
            temporary.concat()
        );
        std::fs::write(folder.join("nginx.conf"), main)?;
        let mut command = Command::new("sh");
        command.args(["-c", "PATH=$PATH:/usr/sbin; exec nginx -p . -e stderr -c nginx.conf"]).current_dir(folder);
        Self::started("nginx", &mut command, port)
    }

    /// Caddy by the lines of deploy/caddy/Caddyfile, with another port, server and certificate.
    fn caddy(place: &Place<'_>) -> Result<Self> {
        let Place { folder, upstream, cert, key } = place;
        let port = free_port()?;
        let (cert, key) = (cert.display(), key.display());
        let site = changed(
            "caddy/Caddyfile",
            &[
                ("upstream.example {", format!("https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {cert} {key}")),
                ("reverse_proxy 127.0.0.1:8787", format!("reverse_proxy {upstream}")),
            ],
        )?;
        std::fs::write(folder.join("Caddyfile"), format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}"))?;
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]).current_dir(folder);
        // Nothing of the user's own is read or written.
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, folder);
        }
        Self::started("caddy", &mut command, port)
    }

    fn started(name: &str, command: &mut Command, port: u16) -> Result<Self> {
        let child =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("no {name}; run scripts/setup-{name}"));
        let mut proxy = Self { child: child?, port };
        wait_for(name, Duration::from_secs(30), || {
            ensure!(proxy.child.try_wait()?.is_none(), "{name} refuses the file of deploy/");
            Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
        })?;
        Ok(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its workers end with it only when it ends by itself.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[test]
fn behind_nginx_a_station_pushes_over_tls_and_each_client_keeps_its_own_address() -> Result<()> {
    behind(Proxy::nginx, &["401"])
}

#[test]
fn behind_caddy_a_station_pushes_over_tls_and_each_client_keeps_its_own_address() -> Result<()> {
    // Caddy says 502 where it is still sending when the server has answered and closed.
    behind(Proxy::caddy, &["401", "502"])
}

/// `refused`: what who sends a large body with a wrong token may hear.
fn behind(start: impl FnOnce(&Place<'_>) -> Result<Proxy>, refused: &[&str]) -> Result<()> {
    let mut field = Field::shrinkage(None)?;
    field.serve_args = ["--trusted-proxy", "127.0.0.1", "--address-connections-max", "2"].map(str::to_owned).to_vec();
    let server = field.serve()?;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let authority = Authority::new("plant")?;
    let (ca, files) = (folder.path().join("ca.pem"), authority.server(&["localhost"])?.write(folder.path(), "proxy")?);
    authority.write(&ca)?;
    let upstream = server.address.to_string();
    let proxy = start(&Place { folder: folder.path(), upstream: &upstream, cert: &files.cert, key: &files.key })?;
    let url = format!("https://localhost:{}", proxy.port);

    // What a station asks and sends comes through.
    let station = field.init_station("north")?;
    let code = field.add_station("north")?;
    let ca = ca.to_str().context("a path is text")?;
    station.run(&["join", &code, "--server", &url, "--ca", ca])?.success()?;
    station.record(&mut Dice::from_env(), 4000)?;
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    station.run(&["verify"])?.success()?;

    // Asks from an address of this machine; the status.
    let ask = |from: &str, path: &str, more: &[&str]| -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", ca, "--interface", from]).args(more);
        Ok(String::from_utf8(curl.arg(format!("{url}{path}")).output()?.stdout)?)
    };
    // Who tries tokens is stopped, and nobody beside him, whatever he says of his address.
    let wrong = format!("Authorization: Bearer {}", "0".repeat(64));
    let tries = |from: &str, path: &str, body: &str| {
        ask(from, path, &["-H", &wrong, "-H", "X-Forwarded-For: 203.0.113.66", "--data-binary", body])
    };
    let answers = (0..60).map(|_| tries("127.0.0.5", "/v1/rejects", "")).collect::<Result<Vec<_>>>()?;
    ensure!(answers[0] == "401" && answers.iter().any(|status| status == "429"), "{answers:?}");
    // Another address is asked nothing of that; and the proxy has no bound of its own for a body of megabytes.
    let body = folder.path().join("body");
    std::fs::write(&body, vec![7_u8; 8 << 20])?;
    let other = tries("127.0.0.6", "/v1/push", &format!("@{}", body.display()))?;
    ensure!(refused.contains(&other.as_str()), "another address hears {other}");
    let log = server.process.output_so_far();
    ensure!(log.contains("peer=127.0.0.5"), "{log}");
    ensure!(!log.contains("203.0.113.66"), "the client's own word is believed");

    // Pages come through; metrics do not.
    field.server_command(&["operator", "add", "chief"]).and_then(tidemark_e2e::process::Ended::success)?;
    for (path, status) in [("/readyz", "200"), ("/admin", "200"), ("/metrics", "404")] {
        let answered = ask("127.0.0.1", path, &["-L"])?;
        ensure!(answered == status, "{path}: {answered}");
    }
    Ok(())
}

#[test]
fn behind_nginx_one_address_has_so_many_requests_at_once_and_others_are_served() -> Result<()> {
    const MANY: usize = 300;
    const MAX: usize = 256;
    let mut field = Field::shrinkage(None)?;
    field.serve_args = ["--trusted-proxy", "127.0.0.1", "--anyone-timeout", "60"].map(str::to_owned).to_vec();
    let server = field.serve()?;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let authority = Authority::new("plant")?;
    let (ca, certificate) = (folder.path().join("ca.pem"), authority.server(&["localhost", "127.0.0.1"])?);
    let files = certificate.write(folder.path(), "proxy")?;
    authority.write(&ca)?;
    let upstream = server.address.to_string();
    let nginx =
        Proxy::nginx(&Place { folder: folder.path(), upstream: &upstream, cert: &files.cert, key: &files.key })?;
    let door = Door::over_tls(([127, 0, 0, 1], nginx.port).into(), &authority)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Bodies that do not come.
    let head = "POST /v1/join HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n{";
    let open = async || -> Result<Vec<Stream>> {
        let mut open = Vec::new();
        for _ in 0..MANY {
            let mut stream = door.connect([127, 0, 0, 5].into(), None).await?;
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            open.push(stream);
        }
        Ok(open)
    };
    let mut open = runtime.block_on(open())?;
    let asks = |from: &str| -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--interface",
            from,
            "--data-binary",
            "{}",
            "--cacert",
        ]);
        curl.arg(&ca).arg(format!("https://localhost:{}/v1/join", nginx.port));
        Ok(String::from_utf8(curl.output()?.stdout)?)
    };
    let (own, other) = (asks("127.0.0.5")?, asks("127.0.0.6")?);
    ensure!(own == "429" && other == "400", "the address hears {own}, another one {other}");
    // It is nginx that refuses, before the server is asked.
    let refused = runtime.block_on(async {
        let mut refused = 0;
        for stream in &mut open {
            let mut said = [0; 1024];
            let heard = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut said)).await;
            let bytes = heard.map_or(0, |heard| heard.unwrap_or_default());
            let said = String::from_utf8_lossy(&said[..bytes]);
            refused += usize::from(said.starts_with("HTTP/1.1 429") && said.contains("text/html"));
        }
        refused
    });
    ensure!((MANY - MAX..MANY).contains(&refused), "{refused} of {MANY} were refused");
    Ok(())
}
