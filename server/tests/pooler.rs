//! PgBouncer between the server and the database: one that keeps a connection for each client works, one that does not
//! is refused at once, with a sentence that says what to change.

use std::path::Path;

use tidemark_testkit::postgres::pgbouncer::{PgBouncer, PoolMode};
use tidemark_testkit::postgres::{Flavour, PostgresCluster};

use crate::common::client::request;
use crate::common::program::{run, server, works};
use crate::common::serving::Serving;

struct Behind {
    cluster: PostgresCluster,
    direct: String,
    folder: tempfile::TempDir,
}

impl Behind {
    fn start() -> Self {
        let cluster = PostgresCluster::shared(Flavour::Plain).unwrap();
        let direct = cluster.create_database("pooled").unwrap();
        let folder = tempfile::tempdir().unwrap();
        works(folder.path(), &["migrate", "up", "--database", &direct]);
        Self { cluster, direct, folder }
    }

    fn here(&self) -> &Path {
        self.folder.path()
    }

    fn through(&self, pooler: &PgBouncer) -> String {
        self.direct.replace(&format!(":{}/", self.cluster.port()), &format!(":{}/", pooler.port()))
    }
}

#[test]
fn a_pooler_that_changes_connections_between_transactions_is_refused_by_every_command() {
    let behind = Behind::start();
    for (mode, round_robin) in
        [(PoolMode::Transaction, false), (PoolMode::Transaction, true), (PoolMode::Statement, false)]
    {
        let pooler = PgBouncer::start(&behind.cluster, mode, round_robin).unwrap();
        let url = behind.through(&pooler);
        let said = match mode {
            PoolMode::Statement => "does not let a transaction be begun",
            _ => "Let it use pool_mode = session",
        };
        for command in [
            &["test"][..],
            &["info"],
            &["serve", "--listen", "127.0.0.1:0"],
            &["station", "list"],
            &["migrate", "status"],
            &["backup", "copy.dump"],
        ] {
            let ran = run(behind.here(), &[command, &["--database", &url]].concat());
            assert_eq!(ran.code, Some(1), "{mode:?} {command:?}: {}{}", ran.out, ran.err);
            assert!(ran.err.contains(said), "{mode:?} {round_robin} {command:?}: {}", ran.err);
        }
        // With many connections to the database at hand, too, taken in turn or the last one first.
        let held: Vec<_> = (0..4).map(|_| tidemark_testkit::postgres::PgClient::connect_url(&url).unwrap()).collect();
        if mode == PoolMode::Transaction {
            held.iter().for_each(|client| client.batch("BEGIN").unwrap());
            held.iter().for_each(|client| client.batch("COMMIT").unwrap());
        }
        let ran = run(behind.here(), &["test", "--database", &url]);
        assert!(ran.code == Some(1) && ran.err.contains(said), "{mode:?} {round_robin}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_pooler_that_keeps_a_connection_for_each_client_is_worked_through() {
    let behind = Behind::start();
    let pooler = PgBouncer::start(&behind.cluster, PoolMode::Session, false).unwrap();
    let url = behind.through(&pooler);
    let test = works(behind.here(), &["test", "--database", &url]);
    assert!(!test.contains("FAIL"), "{test}");
    works(behind.here(), &["backup", "copy.dump", "--database", &url]);
    let serving = Serving::start(server(behind.here(), &["serve", "--listen", "127.0.0.1:0", "--database", &url]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ready = runtime.block_on(request(serving.addr, "GET", "/readyz", None, b""));
    assert_eq!(ready.status, 200, "{}", String::from_utf8_lossy(&ready.body));
}
