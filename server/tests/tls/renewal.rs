//! Another certificate while the server runs: connections stay, new ones see it; what is no good is not taken.

use std::time::Duration;

use tidemark_server::config::HttpLimits;
use tidemark_server::tls::Reloaded;
use tidemark_testkit::certificates::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::client::answer_of;
use crate::common::door::{NAME, locked};
use crate::common::program::server;
use crate::common::serving::Serving;
use crate::common::site::reply;
use crate::common::station::frame;
use crate::common::stores::Kind;

/// Asks over a connection that stays open.
async fn asks(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> u16 {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    while !said.windows(4).any(|end| end == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut said).await.unwrap() > 0, "the connection was dropped");
    }
    answer_of(&said).status
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_drops_none() {
    let locked = locked(Kind::Memory, HttpLimits::default(), None).await;
    let mut station = locked.site.join(1).await;
    let (mut idle, before) = (locked.shake(&[]).await.unwrap(), locked.shown().await);
    assert_eq!(asks(&mut idle).await, 200);
    // A push that is on its way meanwhile.
    let bytes = frame(&station.cut(&[station.site(1)]));
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        crate::common::site::word(1),
        bytes.len()
    );
    let mut pushing = locked.shake(&[]).await.unwrap();
    pushing.write_all(&[head.as_bytes(), &bytes[..10]].concat()).await.unwrap();
    pushing.flush().await.unwrap();

    let renewed = locked.authority.server(&[NAME]).unwrap();
    renewed.write(locked.folder.path(), "server").unwrap();
    let mut shown = before.clone();
    for _ in 0..200 {
        shown = locked.shown().await;
        if shown != before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shown, renewed.der, "it was looked at");
    assert_eq!(asks(&mut idle).await, 200);
    pushing.write_all(&bytes[10..]).await.unwrap();
    let mut said = Vec::new();
    pushing.read_to_end(&mut said).await.unwrap();
    assert_eq!(reply(&answer_of(&said)).applied, 1);
}

#[tokio::test]
async fn what_cannot_be_served_with_is_not_taken_and_says_why() {
    let locked = locked(Kind::Memory, HttpLimits::default(), None).await;
    let tls = locked.site.server.tls().unwrap();
    let before = locked.shown().await;
    assert_eq!(tls.reload(), Reloaded::Unchanged);
    let kept = |what: &str| match tls.reload() {
        Reloaded::Kept(error) => assert!(error.to_string().contains(what), "{error}"),
        other => panic!("{other:?}"),
    };
    let (cert, key) = (&locked.files.cert, &locked.files.key);
    let good = [std::fs::read(cert).unwrap(), std::fs::read(key).unwrap()];
    std::fs::write(cert, "no certificate").unwrap();
    kept("has no certificate");
    std::fs::write(cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    kept("cannot be read");
    std::fs::remove_file(cert).unwrap();
    kept("No such file");
    // The certificate came, its key did not yet.
    std::fs::write(cert, &locked.authority.server(&[NAME]).unwrap().cert_pem).unwrap();
    kept("is not that of the first certificate");
    locked.authority.expired_server(&[NAME]).unwrap().write(locked.folder.path(), "server").unwrap();
    kept("is valid from 2001");
    std::fs::write(key, "").unwrap();
    std::fs::write(cert, &good[0]).unwrap();
    kept("has no private key");
    assert_eq!(locked.shown().await, before);
    std::fs::write(key, &good[1]).unwrap();
    assert_eq!(tls.reload(), Reloaded::Unchanged);
    let other = locked.authority.server(&[NAME]).unwrap();
    other.write(locked.folder.path(), "server").unwrap();
    assert!(matches!(tls.reload(), Reloaded::Renewed(described) if described.names == [NAME]));
    assert_eq!(locked.shown().await, other.der);
}

#[test]
fn a_broken_renewal_is_told_once_by_itself_and_each_sighup_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("the tests'").unwrap();
    let files = authority.server(&["localhost"]).unwrap().write(folder.path(), "server").unwrap();
    let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
    let listen = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--drain-grace", "0"];
    let serving = Serving::start(server(folder.path(), &listen));
    assert!(serving.url.starts_with("https://127.0.0.1:"), "{}", serving.url);
    let refused = "the TLS files are not taken";
    std::fs::write(&files.cert, "broken").unwrap();
    serving.says(refused, 1);
    // It looks every 2 s.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(serving.log().matches(refused).count(), 1, "by itself it says so once");
    for times in [2, 3] {
        serving.signal("HUP");
        serving.says(refused, times);
    }
    authority.server(&["localhost", "other.test"]).unwrap().write(folder.path(), "server").unwrap();
    let in_use = "the TLS files are those in use: for localhost, other.test";
    serving.says("TLS certificate renewed: for localhost, other.test", 1);
    for times in [1, 2] {
        serving.signal("HUP");
        serving.says(in_use, times);
    }
    let log = serving.stop();
    assert!(log.contains("has no certificate"), "{log}");
    assert_eq!(log.matches("TLS certificate renewed: for localhost, other.test").count(), 1, "{log}");
    assert_eq!(log.matches(in_use).count(), 2, "{log}");
}

/// The values of a metric in a scrape, by its one label.
fn by_label(text: &str, metric: &str) -> Vec<(String, f64)> {
    let series = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{')?.split_once("\"} "));
    series.map(|(label, value)| (label.split_once("=\"").unwrap().1.to_owned(), value.parse().unwrap())).collect()
}

#[tokio::test]
async fn until_when_each_certificate_is_good_is_measured_and_follows_a_renewal() {
    let locked = locked(Kind::Memory, HttpLimits::default(), Some(false)).await;
    let ends = || by_label(&locked.site.server.metrics().text(), "tidemark_tls_certificate_expiry_timestamp_seconds");
    // What rcgen makes by itself ends with the year 4095.
    let (long, past) = (67_090_000_000.0..67_200_000_000.0, 1_009_843_200.0);
    let before = ends();
    let labels = |ends: &[(String, f64)]| ends.iter().map(|(label, _)| label.clone()).collect::<Vec<_>>();
    assert_eq!(labels(&before), ["client-ca", "server"]);
    assert!(before.iter().all(|(_, end)| long.contains(end)), "{before:?}");
    // What follows the server's own counts for itself.
    let expired = locked.authority.expired_server(&[NAME]).unwrap();
    let good = locked.authority.server(&[NAME]).unwrap();
    std::fs::write(&locked.files.cert, format!("{}{}", good.cert_pem, expired.cert_pem)).unwrap();
    std::fs::write(&locked.files.key, &good.key_pem).unwrap();
    assert!(matches!(locked.site.server.tls().unwrap().reload(), Reloaded::Renewed(_)));
    let after = ends();
    assert_eq!(labels(&after), ["chain", "client-ca", "server"]);
    assert_eq!(after[0].1, past);
    good.write(locked.folder.path(), "server").unwrap();
    assert!(matches!(locked.site.server.tls().unwrap().reload(), Reloaded::Renewed(_)));
    assert_eq!(labels(&ends()), ["client-ca", "server"], "what is not shown any more is not measured");
}

#[test]
fn a_certificate_that_clients_refuse_is_served_with_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, strange) = (Authority::new("the tests'").unwrap(), Authority::new("strange").unwrap());
    authority.expired_server(&["localhost"]).unwrap().write(folder.path(), "server").unwrap();
    strange.write(&folder.path().join("strange.crt")).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", "server.crt", "--tls-key", "server.key"];
    let serving = Serving::start(server(folder.path(), &[&serve[..], &["--server-ca", "strange.crt"]].concat()));
    serving.says("TLS: the server's certificate is valid from 2001-01-01", 1);
    serving.says("TLS: join codes have the pin ", 1);
    // It is asked for again by whoever looks.
    serving.signal("HUP");
    serving.says("TLS: the server's certificate is valid from 2001-01-01", 2);
}
