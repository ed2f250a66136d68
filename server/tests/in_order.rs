//! Pushes of one station that are under way at once: the one that follows waits for the one before it.

use std::time::Duration;

use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::AFTER_HEADER;
use tidemark_server::config::HttpLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::client::{Answer, answer_of, request_with};
use crate::common::door::{Stream, connect};
use crate::common::site::{Site, reply, site_with, word};
use crate::common::station::frame;
use crate::common::stores::Kind;

/// A site, and the first two batches of its station, of one change each.
async fn two_batches() -> (Site, Vec<u8>, Vec<u8>) {
    let site = site_with(Kind::Memory, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let first = frame(&station.cut(&[station.site(1)]));
    let second = frame(&station.cut(&[station.site(2)]));
    (site, first, second)
}

/// The head of a push and the half of its body.
async fn half(site: &Site, body: &[u8]) -> Box<dyn Stream> {
    let mut stream = connect(site.addr).await;
    let (token, length) = (word(1), body.len());
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..length / 2]).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

async fn push_after(addr: std::net::SocketAddr, after: &str, body: &[u8]) -> Answer {
    let bearer = format!("Bearer {}", word(1));
    request_with(addr, "POST", "/v1/push", &[("Authorization", &bearer), (AFTER_HEADER, after)], body).await
}

#[tokio::test]
async fn a_push_that_overtakes_the_one_it_follows_waits_for_it() {
    let (site, first, second) = two_batches().await;
    // One that says nothing of it is refused at once.
    let mut slow = half(&site, &first).await;
    let gap = site.push(1, &second).await;
    assert_eq!((gap.status, gap.code().as_str()), (409, "gap"));
    let addr = site.addr;
    let mut follows = tokio::spawn(async move { push_after(addr, "1", &second).await });
    let held = tokio::time::timeout(Duration::from_millis(300), &mut follows).await;
    assert!(held.is_err(), "{:?}", held.map(|answer| answer.unwrap().status));
    slow.write_all(&first[first.len() / 2..]).await.unwrap();
    let mut bytes = Vec::new();
    slow.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(reply(&answer_of(&bytes)).tidemark, 1);
    let followed = reply(&follows.await.unwrap());
    assert_eq!((followed.tidemark, followed.applied), (2, 1));
}

#[tokio::test]
async fn a_push_whose_forerunner_never_comes_is_told_where_the_server_stands() {
    let (site, first, second) = two_batches().await;
    let slow = half(&site, &first).await;
    let addr = site.addr;
    let mut follows = tokio::spawn(async move { push_after(addr, "1", &second).await });
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut follows).await.is_err());
    drop(slow);
    let gap = follows.await.unwrap();
    assert_eq!((gap.status, gap.code().as_str()), (409, "gap"));
    assert_eq!(reply(&site.push(1, &first).await).tidemark, 1);
}

#[tokio::test]
async fn what_follows_no_change_is_a_bad_request() {
    let (site, first, _) = two_batches().await;
    for after in ["", "-1", "one", "18446744073709551616"] {
        let answer = push_after(site.addr, after, &first).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"), "{after:?}");
    }
    // Alone it waits for nobody.
    assert_eq!(reply(&push_after(site.addr, "0", &first).await).tidemark, 1);
}
