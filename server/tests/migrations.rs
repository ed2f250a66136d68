//! Migrations against real databases: no drift, nothing left behind, nothing lost by mistake.

use std::sync::Arc;

use crate::common::cluster::{Cluster, connect};
use crate::common::stores::{migrate, open_postgres};
use crate::common::{FIELD_TOML, field};
use tidemark_core::postgres::{TimePartitioning, create_all};
use tidemark_core::schema::{SHRINKAGE_TOML, Schema, shrinkage};
use tidemark_migrations::plan::Dialect;
use tidemark_migrations::{MigrateError, postgres, sqlite};
use tidemark_server::upstream::Upstream as _;

async fn up(url: &str, schema: &Schema) -> Result<Vec<String>, MigrateError> {
    postgres::up(&mut connect(url).await, schema, &mut |_| {}).await
}

/// What a database holds beside what PostgreSQL and its extensions bring.
async fn leftovers(url: &str) -> Vec<String> {
    let sql = "SELECT 'schema ' || nspname FROM pg_namespace n
            WHERE nspname !~ '^(pg_|information_schema|_timescaledb|timescaledb|public$|toolkit)'
        UNION ALL SELECT 'relation ' || c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('public', '_timescaledb_internal') AND c.relkind IN ('r', 'p', 'S', 'v')
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')";
    connect(url).await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn all_migrations_equal_the_derived_ddl() {
    for (cluster, partitioning) in
        [(Cluster::timescale(), TimePartitioning::Hypertable), (Cluster::plain(), TimePartitioning::Plain)]
    {
        let (migrated, derived) = (cluster.database().await, cluster.database().await);
        let done = up(&migrated, &shrinkage()).await.unwrap();
        assert_eq!(
            done,
            [
                "0001_tidemark",
                "0002_shrinkage_tables",
                "0003_shrinkage_hypertables",
                "0004_rejects",
                "0005_history",
                "0006_readers",
                "0007_shrinkage_reports",
                "0008_upkeep",
                "0009_fleet",
                "0010_append"
            ]
        );
        assert!(up(&migrated, &shrinkage()).await.unwrap().is_empty(), "a second run does nothing");
        let client = connect(&derived).await;
        if partitioning == TimePartitioning::Hypertable {
            client.batch_execute("CREATE EXTENSION timescaledb").await.unwrap();
        }
        for statement in create_all(&shrinkage(), partitioning) {
            client.batch_execute(&statement).await.unwrap();
        }
        for file in tidemark_migrations::shipped::POSTGRES_REPORTS {
            client.batch_execute(file.up).await.unwrap();
        }
        let dump = cluster.dump(&migrated);
        assert!(dump.contains("CREATE TABLE shrinkage.calculation_data"), "{dump}");
        assert_eq!(dump, cluster.dump(&derived), "{partitioning:?}");
        // What pg_dump does not say: which tables are hypertables, by which column, in which steps.
        if partitioning == TimePartitioning::Hypertable {
            let sql = "SELECT string_agg(concat_ws(' ', hypertable_name, column_name, time_interval), E'\n' ORDER BY 1)
                FROM (SELECT * FROM timescaledb_information.dimensions ORDER BY hypertable_name) AS d";
            let mut said = Vec::new();
            for url in [&migrated, &derived] {
                said.push(connect(url).await.query_one(sql, &[]).await.unwrap().get::<_, String>(0));
            }
            assert_eq!(said[0].lines().count(), 5, "{}", said[0]);
            assert_eq!(said[0], said[1]);
        }
        assert_eq!(
            open_postgres(&migrated, &Arc::new(shrinkage())).await.unwrap().ready().await.unwrap(),
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn down_leaves_an_empty_database_and_up_again_the_same_tables() {
    for cluster in [Cluster::timescale(), Cluster::plain()] {
        for schema in [shrinkage(), (*field()).clone()] {
            let url = cluster.database().await;
            migrate(&url, &schema).await;
            let before = cluster.dump(&url);
            let applied = postgres::status(&mut connect(&url).await, &schema).await.unwrap().applied.len();
            // One step at a time, there and back.
            for to in (0..applied).rev() {
                assert_eq!(postgres::down(&mut connect(&url).await, to, false).await.unwrap().len(), 1);
                up(&url, &schema).await.unwrap();
                assert_eq!(cluster.dump(&url), before, "down to {to} and up");
                postgres::down(&mut connect(&url).await, to, false).await.unwrap();
            }
            assert_eq!(leftovers(&url).await, Vec::<String>::new());
            let error = postgres::down(&mut connect(&url).await, 1, false).await.unwrap_err();
            assert!(matches!(error, MigrateError::NoSuchStep { applied: 0, to: 1 }), "{error}");
        }
    }
}

#[tokio::test]
async fn the_extension_is_created_where_it_can_be_and_kept() {
    let url = Cluster::timescale().database().await;
    let mut said = Vec::new();
    let mut client = connect(&url).await;
    postgres::up(&mut client, &shrinkage(), &mut |line| said.push(line.to_owned())).await.unwrap();
    assert!(said.len() == 1 && said[0].starts_with("TimescaleDB 2."), "{said:?}");
    postgres::down(&mut client, 0, false).await.unwrap();
    assert!(postgres::timescale_version(&client).await.unwrap().is_some(), "the extension may be others' too");

    let url = Cluster::plain().database().await;
    let mut client = connect(&url).await;
    said.clear();
    postgres::up(&mut client, &shrinkage(), &mut |line| said.push(line.to_owned())).await.unwrap();
    assert!(
        said.len() == 1 && said[0].starts_with("plain PostgreSQL (TimescaleDB is not in shared_preload_libraries)"),
        "{said:?}"
    );
    let upstream = open_postgres(&url, &Arc::new(shrinkage())).await.unwrap();
    assert!(upstream.describe().contains("plain PostgreSQL: tables with a time column are ordinary tables"));
}

#[tokio::test]
async fn an_edited_file_is_refused_by_name() {
    let url = Cluster::plain().database().await;
    migrate(&url, &shrinkage()).await;
    let client = connect(&url).await;
    client
        .batch_execute("UPDATE tidemark.migration SET checksum = 'abc' WHERE name = '0002_shrinkage_tables'")
        .await
        .unwrap();
    let error = up(&url, &shrinkage()).await.unwrap_err();
    assert!(matches!(&error, MigrateError::Edited { name, .. } if name == "0002_shrinkage_tables"), "{error}");
    client.batch_execute("UPDATE tidemark.migration SET name = '0007_later' WHERE checksum = 'abc'").await.unwrap();
    let error = up(&url, &shrinkage()).await.unwrap_err();
    assert!(matches!(&error, MigrateError::Newer(name) if name == "0007_later"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_at_once_apply_every_migration_once() {
    for cluster in [Cluster::timescale(), Cluster::plain()] {
        let url = cluster.database().await;
        let runners: Vec<_> = (0..6)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { up(&url, &shrinkage()).await.unwrap() })
            })
            .collect();
        let mut done = Vec::new();
        for runner in runners {
            done.extend(runner.await.unwrap());
        }
        done.sort();
        assert_eq!(
            done,
            [
                "0001_tidemark",
                "0002_shrinkage_tables",
                "0003_shrinkage_hypertables",
                "0004_rejects",
                "0005_history",
                "0006_readers",
                "0007_shrinkage_reports",
                "0008_upkeep",
                "0009_fleet",
                "0010_append"
            ]
        );
    }
}

#[tokio::test]
async fn tables_with_rows_are_not_dropped_by_mistake() {
    let url = Cluster::timescale().database().await;
    migrate(&url, &shrinkage()).await;
    let mut client = connect(&url).await;
    client.batch_execute("INSERT INTO shrinkage.calculation_data DEFAULT VALUES").await.unwrap();
    for to in [0, 1, 2, 3] {
        let error = postgres::down(&mut client, to, false).await.unwrap_err();
        let MigrateError::HoldsRows(tables) = &error else { panic!("{error}") };
        assert_eq!(tables, &["shrinkage.calculation_data"]);
    }
    assert_eq!(client.query("SELECT FROM shrinkage.calculation_data", &[]).await.unwrap().len(), 1);
    postgres::down(&mut client, 0, true).await.unwrap();
    assert_eq!(leftovers(&url).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_failing_step_leaves_nothing_of_itself() {
    let url = Cluster::plain().database().await;
    let client = connect(&url).await;
    client.batch_execute("CREATE SCHEMA shrinkage; CREATE TABLE shrinkage.models (id text)").await.unwrap();
    let error = up(&url, &shrinkage()).await.unwrap_err();
    assert!(error.to_string().starts_with("migration 0002_shrinkage_tables: 42P06"), "{error}");
    let status = postgres::status(&mut connect(&url).await, &shrinkage()).await.unwrap();
    assert_eq!(status.applied.len(), 1, "what came before stays");
    assert_eq!(client.query("SELECT FROM shrinkage.models", &[]).await.unwrap().len(), 0);
}

fn version(version: u32, edit: impl Fn(&str) -> String) -> Schema {
    Schema::parse(&edit(FIELD_TOML).replace("version = 1", &format!("version = {version}"))).unwrap()
}

/// The field schema with more to it, as a new version must be.
fn grown() -> Schema {
    version(2, |toml| {
        let toml = toml.replace("parent_id = {", "height = { type = \"real\", min = 0, default = 3.5 }\nowner_id = { type = \"integer\", references = \"site\" }\nparent_id = {");
        format!(
            "{toml}\n[tables.event]\ntime = \"at\"\n[tables.event.columns]\nid = {{ type = \"integer\" }}\nat = {{ type = \"timestamp\" }}\nsite_id = {{ type = \"integer\", references = \"site\" }}\n"
        )
    })
}

#[tokio::test]
async fn a_schema_grows_by_tables_and_nullable_columns() {
    for cluster in [Cluster::timescale(), Cluster::plain()] {
        let url = cluster.database().await;
        migrate(&url, &field()).await;
        let before = cluster.dump(&url);
        let client = connect(&url).await;
        client.batch_execute("INSERT INTO field.site (id, name) VALUES (1, 's')").await.unwrap();
        assert_eq!(up(&url, &grown()).await.unwrap(), ["derived:field:v2"]);
        let upstream = open_postgres(&url, &Arc::new(grown())).await.unwrap();
        assert_eq!(upstream.ledger().schemas().await.unwrap().len(), 2, "the older schema stays known");
        let row = client.query_one("SELECT height IS NULL, owner_id IS NULL FROM field.site", &[]).await.unwrap();
        assert!(row.get::<_, bool>(0) && row.get::<_, bool>(1), "rows that were there have NULL");
        // As if it had been made so at once, but for the order of columns.
        let fresh = cluster.database().await;
        migrate(&fresh, &grown()).await;
        let sorted = |url: &str| {
            let dump = cluster.dump(url);
            let mut lines: Vec<String> = dump.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&url), sorted(&fresh));
        client.batch_execute("DELETE FROM field.site").await.unwrap();
        postgres::down(&mut connect(&url).await, 8, false).await.unwrap();
        assert_eq!(cluster.dump(&url), before);
    }
}

/// The comments of a schema's tables and columns, as a reader of the database finds them.
async fn comments(url: &str, schema: &str) -> Vec<String> {
    let sql = "SELECT concat_ws('.', c.relname, a.attname) || ': ' || d.description
        FROM pg_description d JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
        WHERE c.relnamespace = to_regnamespace($1) ORDER BY c.relname, d.objsubid";
    connect(url).await.query(sql, &[&schema]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_a_schema_says_of_tables_and_columns_is_said_in_postgresql() {
    let said = |doc: &str| {
        version(1, |toml| {
            toml.replace("[tables.reading]\n", &format!("[tables.reading]\ndoc = {doc}\n")).replace(
                "level       = { type = \"real\" }",
                "level = { type = \"real\", unit = \"m\", doc = \"Above the gauge's zero.\" }",
            )
        })
    };
    for cluster in [Cluster::timescale(), Cluster::plain()] {
        let url = cluster.database().await;
        let schema = said(r#""It's \\ a \u0000reading.""#);
        migrate(&url, &schema).await;
        let wanted =
            [r"reading: It's \ a reading.", "reading.temperature: [°C]", "reading.level: Above the gauge's zero. [m]"];
        assert_eq!(comments(&url, "field").await, wanted);
        // As an older Tidemark left it, and with a comment by hand where the schema says nothing.
        let client = connect(&url).await;
        let by_hand = "COMMENT ON TABLE field.reading IS NULL; COMMENT ON COLUMN field.reading.level IS NULL;
            COMMENT ON COLUMN field.reading.note IS 'by hand'";
        client.batch_execute(by_hand).await.unwrap();
        assert_eq!(comments(&url, "field").await, ["reading.temperature: [°C]", "reading.note: by hand"]);
        assert!(up(&url, &schema).await.unwrap().is_empty(), "comments are no migration");
        let [reading, temperature, level] = wanted;
        assert_eq!(comments(&url, "field").await, [reading, temperature, level, "reading.note: by hand"]);
        // Other words alone are no other version, and the next `up` that names no file knows them.
        assert!(up(&url, &said("'Words.'")).await.unwrap().is_empty());
        let recorded = postgres::newest_schema(&mut connect(&url).await).await.unwrap().unwrap();
        assert_eq!(recorded, said("'Words.'").source());
        assert!(up(&url, &Schema::parse(&recorded).unwrap()).await.unwrap().is_empty());
        assert_eq!(comments(&url, "field").await[0], "reading: Words.");
        // What a newer version adds.
        let newer = version(2, |_| {
            let toml = said("'Words.'").source().to_owned();
            format!("{toml}\n[tables.event]\ndoc = 'New.'\n[tables.event.columns]\nid = {{ type = 'integer' }}\n")
                .replace(
                    "note        = { type = \"text\" }",
                    "note = { type = \"text\" }\nwind = { type = \"real\", unit = \"m/s\" }",
                )
        });
        up(&url, &newer).await.unwrap();
        let found = comments(&url, "field").await;
        assert!(
            ["event: New.", "reading.wind: [m/s]"].iter().all(|new| found.iter().any(|line| line == new)),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn the_shipped_tables_have_their_comments_whoever_made_them() {
    for cluster in [Cluster::timescale(), Cluster::plain()] {
        let url = cluster.database().await;
        migrate(&url, &shrinkage()).await;
        let all = comments(&url, "shrinkage").await;
        assert!(all.len() > 18, "{all:?}");
        assert!(all.iter().any(|line| line == "nomenclature: A product."), "{all:?}");
        assert!(all.iter().any(|line| line == "calculation_data.storage_days: [d]"), "{all:?}");
        // A role that owns nothing can still look whether all is there.
        let client = connect(&url).await;
        client.batch_execute("COMMENT ON TABLE shrinkage.nomenclature IS NULL").await.unwrap();
        let role = format!("reader_{}", std::process::id());
        let grants = format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA tidemark, shrinkage TO {role};
             GRANT SELECT ON ALL TABLES IN SCHEMA tidemark TO {role}"
        );
        client.batch_execute(&grants).await.unwrap();
        let mut reader = connect(&url).await;
        reader.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
        assert!(postgres::up(&mut reader, &shrinkage(), &mut |_| {}).await.unwrap().is_empty());
        assert_eq!(comments(&url, "shrinkage").await.len(), all.len() - 1, "it may not, and does not fail");
        assert!(up(&url, &shrinkage()).await.unwrap().is_empty());
        assert_eq!(comments(&url, "shrinkage").await, all);
        client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    }
}

#[tokio::test]
async fn other_steps_between_schemas_are_refused_with_their_reasons() {
    let url = Cluster::plain().database().await;
    migrate(&url, &grown()).await;
    let refused = async |schema: Schema| up(&url, &schema).await.unwrap_err().to_string();
    assert!(refused(version(1, str::to_owned)).await.contains("at version 2"), "an older file");
    assert!(refused(version(2, str::to_owned)).await.contains("higher `version`"), "the same version");
    let message =
        refused(version(3, |toml| toml.replace("count       = { type = \"integer\" }", "count = { type = \"real\" }")))
            .await;
    for reason in ["column site.height is gone", "table event is gone", "column reading.count has another type or rule"]
    {
        assert!(message.contains(reason), "{message}");
    }
    assert!(refused(shrinkage()).await.contains("holds the tables of schema field"), "another schema");
}

#[tokio::test]
async fn a_server_does_not_start_on_a_database_that_differs() {
    let cluster = Cluster::timescale();
    let schema = Arc::new(shrinkage());
    let url = cluster.database().await;
    let differs = async || open_postgres(&url, &schema).await.map(|_| ()).unwrap_err().to_string();
    let message = differs().await;
    assert!(message.contains("migration 0001_tidemark is not applied") && message.contains("migrate up"), "{message}");
    assert!(!message.contains(crate::common::cluster::PASSWORD), "{message}");
    migrate(&url, &schema).await;
    let client = connect(&url).await;
    let cases = [
        ("ALTER TABLE shrinkage.models DROP COLUMN version", "column models.version is missing"),
        (
            "ALTER TABLE shrinkage.models ADD COLUMN version integer",
            "column models.version is of type integer, the schema needs text",
        ),
        (
            "ALTER TABLE shrinkage.models ALTER COLUMN name DROP NOT NULL",
            "column models.name is nullable, the schema needs it NOT NULL",
        ),
        (
            "ALTER TABLE shrinkage.models ADD COLUMN extra text NOT NULL",
            "column models.extra is NOT NULL without a default",
        ),
        (
            "ALTER TABLE shrinkage.ai_patterns DROP CONSTRAINT ai_patterns_pkey",
            "table ai_patterns: the primary key is ()",
        ),
        (
            "ALTER TABLE shrinkage.analytics DROP CONSTRAINT analytics_model_id_fkey",
            "table analytics: the foreign key model_id to models is missing",
        ),
        ("DROP TABLE shrinkage.data_lineage", "table shrinkage.data_lineage is missing"),
        ("CREATE TABLE shrinkage.data_lineage AS SELECT 1 AS id", "table data_lineage is not a hypertable"),
    ];
    for (change, said) in cases {
        client.batch_execute(change).await.unwrap();
        let message = differs().await;
        assert!(message.contains(said), "{change}: {message}");
    }
    // More than the schema needs is no difference.
    let url = cluster.database().await;
    migrate(&url, &schema).await;
    connect(&url)
        .await
        .batch_execute("ALTER TABLE shrinkage.models ADD COLUMN extra text; CREATE INDEX ON shrinkage.models (name)")
        .await
        .unwrap();
    open_postgres(&url, &schema).await.unwrap();
}

#[test]
fn the_embedded_upstream_has_the_same_verbs() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = rusqlite::Connection::open(folder.path().join("u.db")).unwrap();
    let tables = |connection: &rusqlite::Connection| -> Vec<String> {
        let sql = "SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND sql IS NOT NULL ORDER BY name";
        connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(
        sqlite::up(&mut connection, &field()).unwrap(),
        [
            "0001_tidemark",
            "0002_rejects",
            "0003_history",
            "0004_readers",
            "0006_upkeep",
            "0007_fleet",
            "derived:field:v1"
        ]
    );
    assert!(sqlite::up(&mut connection, &field()).unwrap().is_empty());
    let before = tables(&connection);
    assert_eq!(sqlite::up(&mut connection, &grown()).unwrap(), ["derived:field:v2"]);
    assert_eq!(sqlite::down(&mut connection, 7, false).unwrap(), ["derived:field:v2"]);
    assert_eq!(tables(&connection), before);
    connection.execute_batch("INSERT INTO site (id, name) VALUES (1, 's')").unwrap();
    let error = sqlite::down(&mut connection, 0, false).unwrap_err();
    assert!(matches!(&error, MigrateError::HoldsRows(tables) if tables == &["\"site\""]), "{error}");
    assert_eq!(sqlite::status(&mut connection, &field()).unwrap().applied.len(), 7);
    connection.execute_batch("UPDATE tidemark_migration SET checksum = 'x' WHERE position = 1").unwrap();
    assert!(
        matches!(sqlite::up(&mut connection, &field()), Err(MigrateError::Edited { name, .. }) if name == "0001_tidemark")
    );
    sqlite::down(&mut connection, 0, true).unwrap();
    assert_eq!(tables(&connection), Vec::<String>::new());
}

#[test]
fn a_stations_file_is_no_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = rusqlite::Connection::open(folder.path().join("tidemark.db")).unwrap();
    connection.execute_batch("CREATE TABLE tidemark_log (seq INTEGER PRIMARY KEY)").unwrap();
    assert!(matches!(sqlite::up(&mut connection, &field()), Err(MigrateError::StationFile)));
}

#[test]
fn runners_at_once_on_one_embedded_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("u.db");
    let done: Vec<String> = std::thread::scope(|scope| {
        let runners: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = tidemark_server::stores::sqlite::connect(&path).unwrap();
                    sqlite::up(&mut connection, &field()).unwrap()
                })
            })
            .collect();
        runners.into_iter().flat_map(|runner| runner.join().unwrap()).collect()
    });
    assert_eq!(done.len(), 7, "{done:?}");
}

#[tokio::test]
async fn reports_come_with_the_shrinkage_tables_whatever_their_version() {
    let newer = SHRINKAGE_TOML.replacen("version = 1", "version = 2", 1).replacen(
        "storage_days",
        "storage_place = { type = \"text\" }\nstorage_days",
        1,
    );
    let newer = Schema::parse(&newer).unwrap();
    for cluster in [Cluster::timescale(), Cluster::plain()] {
        let url = cluster.database().await;
        migrate(&url, &shrinkage()).await;
        let before = cluster.dump(&url);
        // A database from before there were reports.
        let gone = postgres::down(&mut connect(&url).await, 6, false).await.unwrap();
        assert_eq!(gone, ["0010_append", "0009_fleet", "0008_upkeep", "0007_shrinkage_reports"]);
        let come = up(&url, &newer).await.unwrap();
        assert_eq!(
            come,
            ["derived:shrinkage:v2", "0007_shrinkage_reports", "0008_upkeep", "0009_fleet", "0010_append"]
        );
        let client = connect(&url).await;
        client
            .batch_execute(
                "WITH n AS (INSERT INTO shrinkage.nomenclature (name) VALUES ('сиг') RETURNING id)
                 INSERT INTO shrinkage.calculation_data (nomenclature_id, storage_place) SELECT id, 'склад 1' FROM n;
                 SELECT shrinkage_reports.refresh()",
            )
            .await
            .unwrap();
        let counted = "SELECT calculations FROM shrinkage_reports.products WHERE name = 'сиг'";
        assert_eq!(client.query_one(counted, &[]).await.unwrap().get::<_, i64>(0), 1);
        client.batch_execute("TRUNCATE shrinkage.calculation_data; DELETE FROM shrinkage.nomenclature").await.unwrap();
        postgres::down(&mut connect(&url).await, 6, false).await.unwrap();
        let again = ["0007_shrinkage_reports", "0008_upkeep", "0009_fleet", "0010_append"];
        assert_eq!(up(&url, &shrinkage()).await.unwrap(), again);
        assert_eq!(cluster.dump(&url), before);
    }
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    assert_eq!(sqlite::up(&mut connection, &shrinkage()).unwrap().last().unwrap(), "0007_fleet");
    assert_eq!(sqlite::up(&mut connection, &newer).unwrap(), ["derived:shrinkage:v2"]);
    let counted = "SELECT count(*) FROM tidemark_reports_products";
    assert_eq!(connection.query_row(counted, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    assert_eq!(sqlite::down(&mut connection, 0, false).unwrap().len(), 9);
}

/// Rows from before `upkeep`, as text that both dialects take: station 1 was replaced by 2, and 3 goes on beside 2.
const BEFORE_UPKEEP: &str = "
    INSERT INTO tidemark.station (name, number, station_uuid, token_hash, code_hash, code_expires_at, created_at, joined_at)
        VALUES ('a', 1, :11, :1, :4, :now, :now, :now), ('b', 2, :22, :2, :5, :now, :now, :now), ('c', 3, :33, :3, :6, :now, :now, :now);
    INSERT INTO tidemark.cursor (station, seq, chain, updated_at) VALUES (1, 9, :1, :now);
    INSERT INTO tidemark.history (station, first_seq, count, prints) VALUES (1, 1, 4, :1);
    INSERT INTO tidemark.line (station, former, distance, owned) VALUES (2, 1, 1, true), (3, 2, 1, false);
    INSERT INTO tidemark.rejects (station, seq, at, received_at, tbl, op, code, message, origin, state, resolved_at, key)
        VALUES (1, 1, :now, :now, 'site', 'insert', 'c', 'm', 'server', 'open', NULL, '7'),
               (1, 2, :now, :now, 'site', 'insert', 'c', 'm', 'server', 'discarded', :now, '7'),
               (2, 1, :now, :now, 'site', 'insert', 'c', 'm', 'server', 'open', NULL, '7');";
const KEYS: &str = "SELECT coalesce(key, '-') FROM tidemark.rejects ORDER BY station, seq";
const ENDED: &str = "INSERT INTO tidemark.ended_token (token_hash, station, ended_at) VALUES (:3, 3, :now)";
const REVOKED: &str = "SELECT name FROM tidemark.station WHERE revoked_at IS NOT NULL";

/// Digits after a colon stand for bytes: two make a uuid, one a hash.
fn in_dialect(sql: &str, dialect: Dialect) -> String {
    let mut text = sql.to_owned();
    for digit in ["11", "22", "33", "1", "2", "3", "4", "5", "6"] {
        let hex = digit.repeat(if digit.len() == 2 { 16 } else { 64 });
        let literal = match (dialect, digit.len()) {
            (Dialect::Postgres, 2) => format!("'{hex}'"),
            (Dialect::Postgres, _) => format!("'\\x{hex}'"),
            (Dialect::Sqlite, _) => format!("X'{hex}'"),
        };
        text = text.replace(&format!(":{digit}"), &literal);
    }
    match dialect {
        Dialect::Postgres => text.replace(":now", "now()"),
        Dialect::Sqlite => text.replace(":now", "'2026-01-15 12:00:00.000000'").replace("tidemark.", "tidemark_"),
    }
}

/// Of rows that a successor may have written or deleted before it was noted, nothing is guessed; a token that ended
/// stays ended.
#[tokio::test]
async fn upkeep_keeps_what_was_there_and_guesses_nothing() {
    let url = Cluster::plain().database().await;
    migrate(&url, &field()).await;
    let mut client = connect(&url).await;
    // To before it: it is the fifth, and the schema's tables come after it.
    postgres::down(&mut client, 4, false).await.unwrap();
    client.batch_execute(&in_dialect(BEFORE_UPKEEP, Dialect::Postgres)).await.unwrap();
    migrate(&url, &field()).await;
    let texts = async |sql: &str| -> Vec<String> {
        client.query(&in_dialect(sql, Dialect::Postgres), &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(texts(KEYS).await, ["-", "7", "7"]);
    assert_eq!(texts("SELECT 'now' FROM tidemark.history WHERE applied_at > now() - interval '1 hour'").await, ["now"]);
    assert_eq!(texts("SELECT concat(began, heard) FROM tidemark.cursor").await, ["00"]);
    client.batch_execute(&in_dialect(ENDED, Dialect::Postgres)).await.unwrap();
    postgres::down(&mut connect(&url).await, 4, false).await.unwrap();
    assert_eq!(texts(REVOKED).await, ["c"]);

    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    sqlite::up(&mut connection, &field()).unwrap();
    sqlite::down(&mut connection, 4, false).unwrap();
    connection.execute_batch(&in_dialect(BEFORE_UPKEEP, Dialect::Sqlite)).unwrap();
    sqlite::up(&mut connection, &field()).unwrap();
    let texts = |connection: &rusqlite::Connection, sql: &str| -> Vec<String> {
        let mut select = connection.prepare(&in_dialect(sql, Dialect::Sqlite)).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(texts(&connection, KEYS), ["-", "7", "7"]);
    let fresh =
        "SELECT 'now' FROM tidemark.history WHERE applied_at > datetime('now', '-1 hour') AND length(applied_at) = 26";
    assert_eq!(texts(&connection, fresh), ["now"]);
    assert_eq!(texts(&connection, "SELECT began || '' || heard FROM tidemark.cursor"), ["00"]);
    connection.execute_batch(&in_dialect(ENDED, Dialect::Sqlite)).unwrap();
    sqlite::down(&mut connection, 4, false).unwrap();
    assert_eq!(texts(&connection, REVOKED), ["c"]);
}
