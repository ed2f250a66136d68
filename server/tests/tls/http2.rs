//! HTTP/2 by a client of its own, honest and not: within the bounds of one connection.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use hyper::Request;
use tidemark_server::config::HttpLimits;
use tidemark_server::tls::Reloaded;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use crate::common::client::request;
use crate::common::door::{Locked, NAME, locked};
use crate::common::site::word;
use crate::common::station::frame;
use crate::common::stores::Kind;

const LONG: Duration = Duration::from_secs(30);

/// A client, and the end of its connection.
async fn client_of(locked: &Locked, builder: &Builder) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = locked.shake(&["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = builder.handshake(stream).await.unwrap();
    (send, tokio::spawn(connection))
}

fn get(path: &str) -> Request<()> {
    let uri = format!("https://hq.test{path}");
    Request::builder().uri(uri).header("authorization", format!("Bearer {}", word(1))).body(()).unwrap()
}

fn post(path: &str) -> Request<()> {
    let (head, ()) = get(path).into_parts();
    let mut request = Request::from_parts(head, ());
    *request.method_mut() = hyper::Method::POST;
    request
}

/// Sends a request, and reads its answer to the end.
async fn answer(send: &SendRequest<Bytes>, request: Request<()>, body: &[u8]) -> Result<(u16, Vec<u8>), h2::Error> {
    let mut send = send.clone().ready().await?;
    let (response, mut stream) = send.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body), true)?;
    }
    let (head, mut body) = response.await?.into_parts();
    let mut read = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        read.extend_from_slice(&piece);
    }
    Ok((head.status.as_u16(), read))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_over_one_connection_are_each_answered() {
    let locked = locked(Kind::Memory, HttpLimits::default(), None).await;
    let mut station = locked.site.join(1).await;
    let (send, ended) = client_of(&locked, &Builder::new()).await;
    // With the first answer the client knows how many streams it may open.
    assert_eq!(answer(&send, get("/healthz"), b"").await.unwrap().0, 200);
    let asks = (0..200).map(|_| answer(&send, get("/v1/station"), b""));
    for (status, body) in futures_util::future::try_join_all(asks).await.unwrap() {
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    }
    let bytes = frame(&station.cut(&[station.site(1)]));
    let (status, body) = answer(&send, post("/v1/push"), &bytes).await.unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    assert!(String::from_utf8_lossy(&body).contains("\"applied\":1"));
    assert_eq!(answer(&send, get("/nowhere"), b"").await.unwrap().0, 404);
    assert!(!ended.is_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_much_before_it_knows_the_bound_is_refused_the_rest_and_keeps_the_connection() {
    let locked = locked(Kind::Memory, HttpLimits { connection_streams_max: 8, ..HttpLimits::default() }, None).await;
    locked.site.join(1).await;
    for _ in 0..5 {
        let (send, ended) = client_of(&locked, &Builder::new()).await;
        let asks = (0..100).map(|_| answer(&send, get("/v1/station"), b""));
        for answered in futures_util::future::join_all(asks).await {
            match answered {
                Ok((status, body)) => assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body)),
                Err(error) => assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM), "{error:?}"),
            }
        }
        assert_eq!(answer(&send, get("/v1/station"), b"").await.unwrap().0, 200, "what was refused is asked again");
        assert!(!ended.is_finished());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_drops_no_stream_that_is_open() {
    let locked = locked(Kind::Memory, HttpLimits::default(), None).await;
    let mut station = locked.site.join(1).await;
    let (send, ended) = client_of(&locked, &Builder::new()).await;
    let before = locked.shown().await;
    // A push of which a part has come when the certificate changes.
    let bytes = Bytes::from(frame(&station.cut(&[station.site(1)])));
    let mut opened = send.clone().ready().await.unwrap();
    let (response, mut stream) = opened.send_request(post("/v1/push"), false).unwrap();
    stream.send_data(bytes.slice(..10), false).unwrap();
    assert_eq!(answer(&send, get("/v1/station"), b"").await.unwrap().0, 200);
    let renewed = locked.authority.server(&[NAME]).unwrap();
    renewed.write(locked.folder.path(), "server").unwrap();
    assert!(matches!(locked.site.server.tls().unwrap().reload(), Reloaded::Renewed(_)));
    assert!(locked.shown().await == renewed.der && before != renewed.der);
    // Other streams of the connection, the one that is open, and new ones.
    assert_eq!(answer(&send, get("/v1/station"), b"").await.unwrap().0, 200);
    stream.send_data(bytes.slice(10..), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(answer(&send, get("/v1/station"), b"").await.unwrap().0, 200);
    assert!(!ended.is_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_bound_wait_for_their_turn() {
    let http = HttpLimits { connection_streams_max: 2, ..HttpLimits::default() };
    let locked = locked(Kind::Memory, http, None).await;
    locked.site.join(1).await;
    let (send, _ended) = client_of(&locked, &Builder::new()).await;
    answer(&send, get("/healthz"), b"").await.unwrap();
    let mut held = Vec::new();
    // Bodies that do not come.
    for _ in 0..2 {
        let mut send = send.clone().ready().await.unwrap();
        held.push(send.send_request(post("/v1/push"), false).unwrap());
    }
    let third = tokio::time::timeout(Duration::from_millis(300), answer(&send, get("/healthz"), b"")).await;
    assert!(third.is_err(), "a third is not taken");
    held.pop();
    let third = tokio::time::timeout(LONG, answer(&send, get("/healthz"), b"")).await;
    assert_eq!(third.expect("answered").unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_gives_up_again_and_again_is_cut_off() {
    let locked = locked(Kind::Memory, HttpLimits::default(), None).await;
    locked.site.join(1).await;
    let (send, ended) = client_of(&locked, &Builder::new()).await;
    let flood = async {
        for _ in 0..20_000 {
            let Ok(mut send) = send.clone().ready().await else { return };
            let Ok((response, mut stream)) = send.send_request(post("/v1/push"), false) else { return };
            stream.send_reset(h2::Reason::CANCEL);
            drop(response);
        }
        panic!("never cut off");
    };
    tokio::time::timeout(LONG, flood).await.expect("in time");
    let _ = tokio::time::timeout(LONG, ended).await.expect("closed");
    assert_eq!(request(locked.site.addr, "GET", "/healthz", None, b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_an_answer_is_cut_off_although_it_reads() {
    let http = HttpLimits { write_timeout: Duration::from_millis(200), ..HttpLimits::default() };
    let locked = locked(Kind::Memory, http, None).await;
    locked.site.join(1).await;
    // Room for less than an answer, and never more.
    let mut builder = Builder::new();
    builder.initial_window_size(10);
    let (send, ended) = client_of(&locked, &builder).await;
    let mut send = send.ready().await.unwrap();
    let (response, _) = send.send_request(get("/v1/schema"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let _ = tokio::time::timeout(LONG, ended).await.expect("cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_told_and_closed_in_time_and_a_body_that_trickles_is_cut() {
    let http = HttpLimits {
        head_timeout: Duration::from_millis(400),
        anyone_timeout: Duration::from_millis(600),
        ..HttpLimits::default()
    };
    let locked = locked(Kind::Memory, http, None).await;
    let mut ends = Vec::new();
    while !ends.iter().any(Result::is_ok) {
        // One that is told may still write, into what is closed by then.
        assert!(ends.len() < 10, "GOAWAY, not a broken connection: {ends:?}");
        let (send, ended) = client_of(&locked, &Builder::new()).await;
        assert_eq!(answer(&send, get("/healthz"), b"").await.unwrap().0, 200);
        ends.push(tokio::time::timeout(LONG, ended).await.expect("closed").unwrap());
    }

    let (send, _ended) = client_of(&locked, &Builder::new()).await;
    let mut send = send.ready().await.unwrap();
    let (response, mut stream) = send.send_request(post("/v1/join"), false).unwrap();
    let trickle = tokio::spawn(async move {
        while stream.send_data(Bytes::from_static(b" "), false).is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let answer = tokio::time::timeout(LONG, response).await.expect("answered").unwrap();
    assert_eq!(answer.status(), 408);
    trickle.abort();
}

/// A frame of HTTP/2 as it goes over the wire.
fn wire(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a request to join whose body does not come: names of the static table, values as they are.
fn unfinished(stream: u32) -> Vec<u8> {
    let mut head = vec![0x83, 0x87];
    for (name, value) in [(4, "/v1/join"), (1, "hq.test")] {
        head.extend([name, value.len() as u8]);
        head.extend(value.as_bytes());
    }
    wire(1, 4, stream, &head)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hears_no_end_keeps_no_connection_by_asking_on() {
    let http = HttpLimits {
        head_timeout: Duration::from_millis(400),
        anyone_timeout: Duration::from_millis(900),
        ..HttpLimits::default()
    };
    let locked = locked(Kind::Memory, http, None).await;
    let (mut input, mut output) = tokio::io::split(locked.shake(&["h2"]).await.unwrap());
    output.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    output.write_all(&wire(4, 0, 0, &[])).await.unwrap();
    // It acknowledges nothing. Once it is told of the end it asks on and on, so that a request is always under way.
    let asking = async {
        loop {
            let mut head = [0; 9];
            input.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            input.read_exact(&mut payload).await.unwrap();
            if head[3] == 7 {
                break;
            }
        }
        let asking = tokio::spawn(async move {
            for stream in (1..).step_by(2) {
                if output.write_all(&unfinished(stream)).await.is_err() {
                    return stream;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            0
        });
        while input.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
        asking.await.unwrap()
    };
    let asked = tokio::time::timeout(LONG, asking).await.expect("the server closes");
    assert!(asked > 3, "it asked after it was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_server_stops_what_runs_is_answered_and_idle_connections_end() {
    let locked = locked(Kind::Memory, HttpLimits::default(), None).await;
    locked.site.join(1).await;
    let (idle, idle_ended) = client_of(&locked, &Builder::new()).await;
    answer(&idle, get("/healthz"), b"").await.unwrap();
    let (send, ended) = client_of(&locked, &Builder::new()).await;
    let mut send = send.ready().await.unwrap();
    let (response, mut stream) = send.send_request(post("/v1/push"), false).unwrap();
    stream.send_data(Bytes::from_static(b"half"), false).unwrap();
    assert_eq!(request(locked.site.addr, "GET", "/healthz", None, b"").await.status, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopping = tokio::spawn(locked.site.server.shutdown());
    assert_eq!(tokio::time::timeout(LONG, response).await.expect("told").unwrap().status(), 503);
    drop((stream, send));
    for end in [idle_ended, ended] {
        let _ = tokio::time::timeout(Duration::from_secs(10), end).await.expect("ended");
    }
    tokio::time::timeout(Duration::from_secs(10), stopping).await.expect("not waited for").unwrap();
}
