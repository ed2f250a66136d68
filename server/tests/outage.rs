//! A database that fails, in every way that one can make a real PostgreSQL fail: what a station is told and for how
//! long, what `/readyz` says, that all drains unaided when it is well again, and how many lines its operator reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidemark_core::protocol::{Problem, UnavailableReason};
use tidemark_core::survey::{Answer, Ask, Question, Range};
use tidemark_server::stores::postgres::PostgresUpstream;
use tidemark_server::survey::Survey;
use tidemark_server::upstream::error::Unavailability;
use tidemark_testkit::postgres::Flavour;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::common::client::{Answer as Answered, request};
use crate::common::cluster::{Cluster, connect};
use crate::common::field;
use crate::common::log::Log;
use crate::common::site::{Held, Site, reply, site_over, word};
use crate::common::station::{Change, Station, frame};
use crate::common::stores::{migrate, on_postgres, open_postgres};

/// A server, a station that joined, and its log.
struct Failing {
    site: Site,
    station: Station,
    /// Changes so far.
    local: i64,
    log: Log,
    _logging: tracing::subscriber::DefaultGuard,
}

impl Failing {
    async fn on(cluster: &Cluster, adapt: impl FnOnce(PostgresUpstream) -> PostgresUpstream) -> Self {
        let (log, logging) = Log::start();
        let site = site_over(on_postgres(cluster, &field(), adapt).await, |_| {}).await;
        let station = site.join(1).await;
        let mut failing = Self { site, station, local: 0, log, _logging: logging };
        assert_eq!(failing.push().await.status, 200);
        failing.becomes(None).await;
        failing
    }

    /// Cuts one more change.
    fn cut(&mut self) -> Vec<u8> {
        self.local += 1;
        let change: Change = self.station.site(self.local);
        frame(&self.station.cut(&[change]))
    }

    async fn push(&mut self) -> Answered {
        let bytes = self.cut();
        self.site.push(1, &bytes).await
    }

    /// Asks where the station stands, so often at once, each over a connection to the database of its own.
    async fn ask_at_once(&self, times: usize) -> Vec<Answered> {
        let token = word(1);
        let ask = |()| request(self.site.addr, "GET", "/v1/station", Some(&token), b"");
        futures_util::future::join_all(std::iter::repeat_n((), times).map(ask)).await
    }

    /// Waits until the server says that it is ready, or why not.
    async fn becomes(&self, reason: Option<UnavailableReason>) -> Duration {
        let began = Instant::now();
        let mut said = String::new();
        while began.elapsed() < Duration::from_secs(40) {
            let answer = request(self.site.addr, "GET", "/readyz", None, b"").await;
            if answer.status == 200 && reason.is_none() || answer.status == 503 && reason_of(&answer) == reason {
                return began.elapsed();
            }
            said = String::from_utf8_lossy(&answer.body).into_owned();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("/readyz does not come to {reason:?}; it says {said}");
    }

    /// Pushes until the station is told this; what it is told before must be one of `others`.
    async fn is_told(&self, bytes: &[u8], reason: UnavailableReason, others: &[UnavailableReason]) {
        for _ in 0..20 {
            let answer = self.site.push(1, bytes).await;
            assert_eq!(answer.status, 503, "{}", String::from_utf8_lossy(&answer.body));
            let wait_s: u64 = answer.header("retry-after").parse().unwrap();
            assert!((2..=20).contains(&wait_s), "{wait_s}");
            let said = reason_of(&answer).unwrap();
            if said == reason {
                return;
            }
            assert!(others.contains(&said), "{said:?}");
        }
        panic!("the station is not told {reason:?}");
    }

    /// All that was cut comes in, within one wait of a station, and is there once.
    async fn drains(&self, bytes: &[u8]) {
        let began = Instant::now();
        loop {
            let answer = self.site.push(1, bytes).await;
            if answer.status == 200 {
                assert_eq!(reply(&answer).tidemark, self.local.unsigned_abs());
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{}", String::from_utf8_lossy(&answer.body));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let rows: i64 = {
            let client = connect(self.site.store.url.as_deref().unwrap()).await;
            client.query_one("SELECT count(*) FROM field.site", &[]).await.unwrap().get(0)
        };
        assert_eq!(rows, self.local);
        self.becomes(None).await;
    }
}

fn reason_of(answer: &Answered) -> Option<UnavailableReason> {
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap();
    assert!(problem.detail.contains("rows stay with the station"), "{}", problem.detail);
    assert!(!problem.detail.contains("SQLSTATE"), "{}", problem.detail);
    problem.reason
}

#[tokio::test]
async fn a_frozen_database_is_noticed_within_seconds_and_all_drains_when_it_goes_on() {
    let mut cluster = Cluster::own(Flavour::Plain, &[]);
    let mut failing = Failing::on(&cluster, |upstream| upstream).await;
    let bytes = failing.cut();
    cluster.act(|cluster| cluster.freeze()).unwrap();
    let began = Instant::now();
    let (push, answers, unready) = tokio::join!(
        failing.site.push(1, &bytes),
        failing.ask_at_once(7),
        failing.becomes(Some(UnavailableReason::DatabaseAway))
    );
    let took = began.elapsed();
    cluster.act(|cluster| cluster.thaw()).unwrap();
    for answer in answers.iter().chain([&push]) {
        assert_eq!((answer.status, reason_of(answer)), (503, Some(UnavailableReason::DatabaseAway)));
    }
    assert!(took < Duration::from_secs(30) && unready < Duration::from_secs(20), "{took:?} {unready:?}");
    failing.drains(&bytes).await;
    let told = failing.log.lines_with("database-away");
    assert!(told.len() == 1 && told[0].contains("WARN"), "{told:#?}");
    for _ in 0..100 {
        if !failing.log.lines_with("well again").is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody says that it is well again");
}

#[tokio::test]
async fn a_killed_database_is_away_until_it_is_started_again() {
    let mut cluster = Cluster::own(Flavour::Plain, &[]);
    let mut failing = Failing::on(&cluster, |upstream| upstream).await;
    let bytes = failing.cut();
    cluster.act(|cluster| cluster.kill_hard()).unwrap();
    failing.is_told(&bytes, UnavailableReason::DatabaseAway, &[]).await;
    failing.becomes(Some(UnavailableReason::DatabaseAway)).await;
    cluster.act(|cluster| cluster.restart()).unwrap();
    failing.drains(&bytes).await;
}

#[tokio::test]
async fn a_read_only_database_is_told_apart_and_its_connections_are_not_used_again() {
    let cluster = Cluster::own(Flavour::Plain, &[]);
    let mut failing = Failing::on(&cluster, |upstream| upstream).await;
    let bytes = failing.cut();
    let url = failing.site.store.url.clone().unwrap();
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    let admin = connect(&cluster.url_of("postgres")).await;
    let sql = |value: &str| {
        format!(
            "ALTER DATABASE \"{name}\" SET default_transaction_read_only = {value};
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
    };
    admin.batch_execute(&sql("on")).await.unwrap();
    failing.is_told(&bytes, UnavailableReason::DatabaseReadOnly, &[UnavailableReason::DatabaseStarting]).await;
    failing.becomes(Some(UnavailableReason::DatabaseReadOnly)).await;
    // What was connected meanwhile stays read-only. The server meets one of these connections, and then uses none.
    failing.ask_at_once(8).await;
    admin.batch_execute(sql("off").split(';').next().unwrap()).await.unwrap();
    let _ = failing.site.push(1, &bytes).await;
    assert_eq!(reply(&failing.site.push(1, &bytes).await).tidemark, 2);
    failing.drains(&bytes).await;
    assert_eq!(failing.log.lines_with("database-read-only").len(), 1);
}

#[tokio::test]
async fn a_standby_behind_the_same_address_takes_no_writes_until_it_is_promoted() {
    let mut cluster = Cluster::own(Flavour::Plain, &[]);
    let mut failing = Failing::on(&cluster, |upstream| upstream).await;
    let bytes = failing.cut();
    cluster.act(|cluster| {
        cluster.kill_hard().unwrap();
        // It recovers what there is and waits for more, as a standby does.
        let signal = cluster.folder().join("data/standby.signal");
        std::fs::write(&signal, "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&signal, mode).unwrap();
        cluster.restart().unwrap();
    });
    failing.is_told(&bytes, UnavailableReason::DatabaseReadOnly, &[UnavailableReason::DatabaseAway]).await;
    failing.becomes(Some(UnavailableReason::DatabaseReadOnly)).await;
    cluster.act(|cluster| cluster.admin("postgres").unwrap().value::<bool>("SELECT pg_promote()")).unwrap();
    failing.drains(&bytes).await;
}

#[tokio::test]
async fn a_database_with_as_many_clients_as_it_takes_is_busy() {
    let cluster = Cluster::own(Flavour::Plain, &["max_connections = 12"]);
    let mut failing = Failing::on(&cluster, |upstream| upstream).await;
    let bytes = failing.cut();
    let url = cluster.url_of("postgres");
    let mut taken = vec![connect(&url).await];
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidemark-server'";
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidemark-server'";
    // What the server does by itself may be quicker to connect again.
    loop {
        taken[0].query(end, &[]).await.unwrap();
        while let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            tokio::spawn(connection);
            taken.push(client);
        }
        if taken[0].query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            break;
        }
    }
    let passing = [UnavailableReason::DatabaseStarting, UnavailableReason::DatabaseAway];
    failing.is_told(&bytes, UnavailableReason::DatabaseBusy, &passing).await;
    failing.becomes(Some(UnavailableReason::DatabaseBusy)).await;
    drop(taken);
    failing.drains(&bytes).await;
}

#[tokio::test]
async fn a_locked_table_and_an_idle_transaction_keep_their_own_station_waiting_and_nobody_else() {
    let short = |upstream: PostgresUpstream| upstream.with_statement_timeout(Duration::from_secs(2));
    let mut failing = Failing::on(Cluster::plain(), short).await;
    let other = failing.site.join(2).await;
    let bytes = failing.cut();
    let url = failing.site.store.url.clone().unwrap();
    let locker = connect(&url).await;
    // Whoever writes to a table that references it only looks at it, and is not kept waiting.
    locker.batch_execute("BEGIN; LOCK TABLE field.site IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
    failing.is_told(&bytes, UnavailableReason::DatabaseLocked, &[]).await;
    let tag = frame(&{ other }.cut(&[failing.station.tag(tidemark_core::batch::Op::Insert, [7; 16], "x")]));
    assert_eq!(failing.site.push(2, &tag).await.status, 200, "another table is free");
    failing.becomes(None).await;
    locker.batch_execute("COMMIT").await.unwrap();
    failing.drains(&bytes).await;
    // An idle transaction that holds the station's cursor.
    let bytes = failing.cut();
    let held = Held::cursor(&failing.site, &failing.station).await;
    failing.is_told(&bytes, UnavailableReason::DatabaseLocked, &[]).await;
    held.release().await;
    failing.drains(&bytes).await;
    let told = failing.log.lines_with("database-locked");
    assert!(told.len() == 1 && told[0].contains("table field.site: "), "which table: {told:#?}");
}

#[tokio::test]
async fn a_full_disk_is_remembered_by_readiness_until_a_write_succeeds() {
    let mut failing = Failing::on(Cluster::plain(), |upstream| upstream).await;
    let bytes = failing.cut();
    let owner = connect(failing.site.store.url.as_deref().unwrap()).await;
    let full = "CREATE FUNCTION field.no_room() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER no_room BEFORE INSERT ON field.site FOR EACH ROW EXECUTE FUNCTION field.no_room()";
    owner.batch_execute(full).await.unwrap();
    failing.is_told(&bytes, UnavailableReason::DatabaseFull, &[]).await;
    // A dozen pages still find room; what the station met counts.
    failing.becomes(Some(UnavailableReason::DatabaseFull)).await;
    owner.batch_execute("DROP TRIGGER no_room ON field.site").await.unwrap();
    failing.drains(&bytes).await;
    let told = failing.log.lines_with("database-full");
    assert!(told.len() == 1 && told[0].contains(r#"station=1 "station 1""#), "{told:#?}");
}

/// Carries bytes to a server, and back, while it is open: shut, it takes what comes, and carries nothing.
async fn valve(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (open, is_open) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let is_open = is_open.clone();
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(to).await else { return };
                let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
                let carry = async |mut from: tokio::net::tcp::OwnedReadHalf,
                                   mut to: tokio::net::tcp::OwnedWriteHalf| {
                    let mut is_open = is_open.clone();
                    let mut bytes = vec![0; 4096];
                    loop {
                        let read = tokio::io::AsyncReadExt::read(&mut from, &mut bytes).await.unwrap_or(0);
                        if read == 0 || is_open.wait_for(|open| *open).await.is_err() {
                            return;
                        }
                        let _ = to.write_all(&bytes[..read]).await;
                    }
                };
                tokio::join!(carry(client_in, server_out), carry(server_in, client_out));
            });
        }
    });
    (addr, open)
}

#[tokio::test]
async fn packets_that_vanish_are_noticed_within_seconds() {
    let (log, _logging) = Log::start();
    let database = Cluster::plain().database().await;
    migrate(&database, &field()).await;
    let real: tokio_postgres::Config = database.parse().unwrap();
    let (addr, open) = valve(SocketAddr::from(([127, 0, 0, 1], real.get_ports()[0]))).await;
    let through = database.replace(&format!(":{}/", real.get_ports()[0]), &format!(":{}/", addr.port()));
    let upstream = Arc::new(open_postgres(&through, &field()).await.unwrap());
    let mut store = on_postgres(Cluster::plain(), &field(), |upstream| upstream).await;
    store.upstream = upstream;
    store.url = Some(database);
    let site = site_over(store, |_| {}).await;
    let station = site.join(1).await;
    let mut failing = Failing { site, station, local: 0, log, _logging };
    assert_eq!(failing.push().await.status, 200);
    let bytes = failing.cut();
    open.send(false).unwrap();
    let began = Instant::now();
    let (answer, _) =
        tokio::join!(failing.site.push(1, &bytes), failing.becomes(Some(UnavailableReason::DatabaseAway)));
    assert_eq!((answer.status, reason_of(&answer)), (503, Some(UnavailableReason::DatabaseAway)));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    open.send(true).unwrap();
    failing.drains(&bytes).await;
    assert_eq!(failing.log.lines_with("database-away").len(), 1);
}

/// Sessions that wait for a lock.
async fn waiting(client: &tokio_postgres::Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_survey_that_nobody_waits_for_is_cancelled_and_one_that_takes_too_long_answers_what_it_has() {
    let short = |upstream: PostgresUpstream| upstream.with_survey_time(Duration::from_secs(1));
    let mut failing = Failing::on(Cluster::plain(), |upstream| upstream).await;
    assert_eq!(failing.push().await.status, 200);
    let (number, url) = (failing.station.number, failing.site.store.url.clone().unwrap());
    let locker = connect(&url).await;
    locker.batch_execute("BEGIN; LOCK TABLE field.reading IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let schema = field();
    let ask = |table: &str| Ask { table: table.into(), question: Question::Digests(vec![Range::ALL]) };
    let upstream = Arc::clone(&failing.site.store.upstream);
    let survey = Survey::new(Arc::clone(&schema), vec![ask("reading")]);
    let asked = tokio::spawn(async move { upstream.survey(number, survey).await.map(|_| ()) });
    let until = async |wanted: i64| {
        let began = Instant::now();
        while waiting(&locker).await != wanted {
            assert!(began.elapsed() < Duration::from_secs(8), "not {wanted} sessions wait");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until(1).await;
    asked.abort();
    until(0).await;
    // One ask is answered, the other takes too long.
    let upstream = short(open_postgres(&url, &schema).await.unwrap());
    let upstream: &dyn tidemark_server::upstream::Upstream = &upstream;
    let survey = Survey::new(Arc::clone(&schema), vec![ask("site"), ask("reading")]);
    let (cursor, survey) = upstream.survey(number, survey).await.unwrap();
    let answers = survey.answers();
    let [Answer::Digests(digests)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((cursor.seq, digests[0].rows()), (2, 2));
    let survey = Survey::new(Arc::clone(&schema), vec![ask("reading"), ask("site")]);
    let error = upstream.survey(number, survey).await.unwrap_err();
    assert_eq!(error.unavailability(), Some(Unavailability::Busy), "{error}");
    until(0).await;
}
