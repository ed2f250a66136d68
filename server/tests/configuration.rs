//! The settings of `tidemark-server`, as its operator sees them.

use std::path::Path;

use serde_json::Value as Json;
use tidemark_core::joincode::JoinCode;
use tidemark_testkit::certificates::{Authority, Certificate};

use crate::common::cluster::{Cluster, PASSWORD};
use crate::common::program::{Ran, run, server, works};
use crate::common::serving::Serving;

const FILE: &str = "tidemark-server.toml";

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join(FILE), text).unwrap();
}

/// `config check --json`, with variables.
#[track_caller]
fn check(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Json {
    let mut command = server(folder, &[&["config", "check", "--json"], args].concat());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let facts: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(output.status.code(), Some(if facts["ok"] == true { 0 } else { 1 }), "{facts}");
    facts
}

fn setting<'f>(facts: &'f Json, key: &str) -> &'f Json {
    let settings = facts["settings"].as_array().unwrap();
    settings.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("{key}: {facts}"))
}

#[track_caller]
fn is(facts: &Json, key: &str, value: impl Into<Json>, origin: &str) {
    let setting = setting(facts, key);
    assert_eq!((&setting["value"], &setting["origin"]), (&value.into(), &origin.into()), "{setting}");
}

#[test]
fn each_layer_outweighs_those_below_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    is(&check(here, &[], &[]), "pool_max", 30, "default");
    write(here, "\npool_max = 11\n");
    let facts = check(here, &[], &[]);
    is(&facts, "pool_max", 11, "file");
    assert_eq!((&setting(&facts, "pool_max")["line"], &facts["file"]), (&2.into(), &FILE.into()));
    let variable = [("TIDEMARK_POOL_MAX", "12")];
    let facts = check(here, &variable, &[]);
    is(&facts, "pool_max", 12, "variable");
    assert_eq!(setting(&facts, "pool_max")["variable"], "TIDEMARK_POOL_MAX");
    is(&check(here, &variable, &["--pool-max", "13"]), "pool_max", 13, "flag");
    // For people, too.
    let mut command = server(here, &["config", "check", "--keep", "9d"]);
    let output = command.env("TIDEMARK_LOG", "debug").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(key));
        line.unwrap_or_else(|| panic!("{key}: {text}")).split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("pool_max"), "11 tidemark-server.toml:2");
    assert_eq!(line("log_level"), "debug TIDEMARK_LOG");
    assert_eq!(line("keep"), "9d --keep");
    assert_eq!(line("listen"), "127.0.0.1:8787 default");
}

#[test]
fn a_server_serves_by_file_variable_and_flag_in_this_order() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, "listen = '127.0.0.2:0'\ndatabase = 'sqlite:///of-file.db'\n");
    let listens = |args: &[&str], variable: Option<&str>| {
        let mut command = server(here, &[&["serve"], args].concat());
        command.envs(variable.map(|address| ("TIDEMARK_LISTEN", address)));
        Serving::start(command).addr.ip().to_string()
    };
    assert_eq!(listens(&[], None), "127.0.0.2");
    assert!(here.join("of-file.db").exists());
    assert_eq!(listens(&[], Some("127.0.0.3:0")), "127.0.0.3");
    assert_eq!(listens(&["--listen", "127.0.0.4:0"], Some("127.0.0.3:0")), "127.0.0.4");
}

#[test]
fn the_file_is_the_named_one_or_the_one_that_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, "pool_max = 1\n");
    std::fs::write(here.join("v.toml"), "pool_max = 2\n").unwrap();
    std::fs::write(here.join("f.toml"), "pool_max = 3\n").unwrap();
    is(&check(here, &[], &[]), "pool_max", 1, "file");
    let variable = [("TIDEMARK_CONFIG", "v.toml")];
    is(&check(here, &variable, &[]), "pool_max", 2, "file");
    is(&check(here, &variable, &["--config", "f.toml"]), "pool_max", 3, "file");
    is(&check(here, &[("TIDEMARK_CONFIG", "")], &[]), "pool_max", 30, "default");
    let missing = run(here, &["--config", "none.toml", "config", "check"]);
    assert!(
        missing.code == Some(1) && missing.err.contains("none.toml: cannot be read: No such file"),
        "{}",
        missing.err
    );
}

#[test]
fn the_default_file_changes_nothing_as_it_is_or_with_every_default_set() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let values = |facts: &Json| -> Vec<(String, Json)> {
        let settings = facts["settings"].as_array().unwrap().iter();
        settings.map(|setting| (setting["key"].to_string(), setting["value"].clone())).collect()
    };
    let before = check(here, &[], &[]);
    let file = works(here, &["config", "show", "--default"]);
    write(here, &file);
    let after = check(here, &[], &[]);
    assert_eq!(values(&before), values(&after));
    assert!(after["settings"].as_array().unwrap().iter().all(|setting| setting["origin"] == "default"));
    // Names of values, as <FILE>, are no defaults.
    let has_default = |line: &str| {
        let key = line.strip_prefix('#').and_then(|line| line.split_once(" = ")).map(|(key, _)| key);
        key.is_some_and(|key| {
            before["settings"].as_array().unwrap().iter().any(|setting| {
                setting["key"] == key && !setting["value"].is_null() && setting["value"] != Json::Array(Vec::new())
            })
        })
    };
    let set: Vec<&str> = file.lines().map(|line| if has_default(line) { &line[1..] } else { line }).collect();
    write(here, &set.join("\n"));
    let all = check(here, &[], &[]);
    assert_eq!(values(&before), values(&all));
    let of_file = all["settings"].as_array().unwrap().iter().filter(|setting| setting["origin"] == "file").count();
    assert!(of_file > 20, "{of_file}: {all}");
    // As it is now: what is set stands there.
    write(here, "pool_max = 12\n");
    assert!(works(here, &["config", "show"]).contains("\npool_max = 12\n"));
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_nothing_runs_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("in-the-way"), "").unwrap();
    write(
        here,
        "connection_max = 5\nconnections_max = 'many'\nhead_timeout = 0\nschema = 'none.toml'\n\
         allow_origin = ['https://a.example', 'nope']\nkeep = '3 weeks'\nclock_floor = 'then'\nweb = 'none'\n\
         backup_every = 1\nbackup_dir = 'in-the-way'\ndatabase = 'mysql://u:geheim@h/d'\nbackups_dir = 1\n",
    );
    let told = [
        "tidemark-server.toml:1: connection_max: there is no such setting; did you mean connections_max?",
        "tidemark-server.toml:2: connections_max = \"many\" is of the type string; write a whole number, without quotes",
        "tidemark-server.toml:12: backups_dir: there is no such setting; did you mean backup_dir?",
        "tidemark-server.toml:3: head_timeout = 0: is out of range; allowed: 1..=86400",
        "tidemark-server.toml:6: keep = \"3 weeks\": write a time as 180d or 24h, or `forever`",
        "TIDEMARK_APPLIES_MAX=few: is no whole number (invalid digit found in string); allowed: 1..=1000",
    ];
    let unfit = [
        "tidemark-server.toml:11: database: mysql://u:***@h/d names no database",
        "tidemark-server.toml:4: schema: schema file none.toml: No such file",
        "tidemark-server.toml:7: clock_floor: --clock-floor \"then\" is not a date",
        "tidemark-server.toml:5: allow_origin: --allow-origin: \"nope\" is not an origin to allow",
        "tidemark-server.toml:8: web: web folder none: No such file",
        "tidemark-server.toml:10: backup_dir: in-the-way is no folder",
        "12 mistakes in the configuration",
    ];
    let asked = |args: &[&str]| {
        let output = server(here, args).env("TIDEMARK_APPLIES_MAX", "few").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    };
    let checked = asked(&["config", "check"]);
    assert_eq!(checked.code, Some(1));
    for line in told.iter().chain(&unfit) {
        assert!(checked.err.contains(line), "{line}: {}", checked.err);
    }
    assert!(checked.out.contains("(wrong)") && checked.out.contains("head_timeout"), "{}", checked.out);
    for args in [&["serve"][..], &["info"], &["migrate", "up"]] {
        let ran = asked(args);
        assert_eq!(ran.code, Some(2), "{args:?}");
        assert!(told.iter().all(|line| ran.err.contains(line)), "{}", ran.err);
    }
    for ran in [&checked, &asked(&["config", "show"]), &asked(&["config", "check", "--json"])] {
        assert!(!ran.out.contains("geheim") && !ran.err.contains("geheim"));
    }
    assert!(!here.join("tidemark-upstream.db").exists());
    // Help and completions need no settings.
    works(here, &["--help"]);
    works(here, &["completions", "bash"]);
}

#[test]
fn the_names_of_the_existing_system_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, "database_url = 'sqlite:///old.db'\ndatabase_backup_path = 'copies'\ndatabase_backup_interval = 12\n");
    let facts = check(here, &[], &[]);
    is(&facts, "database", "sqlite:///old.db", "file");
    is(&facts, "backup_dir", "copies", "file");
    is(&facts, "backup_every", 12.0, "file");
    let variables = [
        ("TIDEMARK_DATABASE_URL", "sqlite:///v.db"),
        ("TIDEMARK_DATABASE_BACKUP_PATH", "v"),
        ("TIDEMARK_DATABASE_BACKUP_INTERVAL", "6"),
    ];
    let facts = check(here, &variables, &[]);
    is(&facts, "database", "sqlite:///v.db", "variable");
    is(&facts, "backup_dir", "v", "variable");
    is(&facts, "backup_every", 6.0, "variable");
    write(here, "database_url = 'sqlite:///a.db'\ndatabase = 'sqlite:///b.db'\n");
    let both = run(here, &["config", "check"]);
    assert!(both.code == Some(1) && both.err.contains("say the same thing twice: keep one"), "{}", both.err);
}

#[test]
fn other_commands_work_on_the_same_database() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, "database = 'sqlite:///hq.db'\ndatabase_backup_path = 'copies'\npool_max = 5\n");
    works(here, &["migrate", "up"]);
    works(here, &["station", "add", "north"]);
    assert!(works(here, &["info"]).contains("sqlite:///hq.db"));
    works(here, &["backup"]);
    assert_eq!(std::fs::read_dir(here.join("copies")).unwrap().count(), 1);
    assert!(here.join("hq.db").exists() && !here.join("tidemark-upstream.db").exists());
    // What is said on the spot outweighs it.
    works(here, &["migrate", "up", "--database", "sqlite:///other.db"]);
    assert!(here.join("other.db").exists());
}

#[test]
fn a_password_comes_from_a_file_of_its_own_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let url = Cluster::plain().url_of("postgres");
    let bare = url.replace(&format!(":{PASSWORD}"), "");
    assert_ne!(url, bare);
    std::fs::write(here.join("password"), format!("{PASSWORD}\n")).unwrap();
    std::fs::write(here.join("url"), format!("{url}\n")).unwrap();
    let shown = |text: &str| !text.contains(PASSWORD);
    let connects = |file: &str, directory: Option<&Path>| {
        write(here, file);
        let mut command = server(here, &["test"]);
        command.envs(directory.map(|directory| ("CREDENTIALS_DIRECTORY", directory)));
        let output = command.output().unwrap();
        let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(shown(&all), "{all}");
        assert!(all.contains("migrate up"), "it was there, and has no tables: {all}");
    };
    connects(&format!("database = '{bare}'\ndatabase_password_file = 'password'\n"), None);
    connects("database_url_file = 'url'\n", None);
    connects("database_url_file = '$CREDENTIALS_DIRECTORY/url'\n", Some(here));
    let facts = check(here, &[("CREDENTIALS_DIRECTORY", here.to_str().unwrap())], &[]);
    assert!(facts["ok"] == true && shown(&facts.to_string()), "{facts}");

    write(here, &format!("database = '{url}'\n"));
    for args in [&["config", "check"][..], &["config", "check", "--json"], &["config", "show"], &["serve"]] {
        let ran = run(here, args);
        assert!(shown(&ran.out) && shown(&ran.err), "{args:?}: {}{}", ran.out, ran.err);
    }
    for (file, says) in [
        ("database_url_file = 'none'\n", "tidemark-server.toml:1: database_url_file: the file none cannot be read"),
        (
            "database_password_file = 'password'\n",
            "database_password_file: sqlite:///tidemark-upstream.db takes no password",
        ),
        ("database = 'sqlite:///a.db'\ndatabase_url_file = 'url'\n", "say the same thing twice: keep one"),
    ] {
        write(here, file);
        let ran = run(here, &["config", "check"]);
        assert!(ran.code == Some(1) && ran.err.contains(says), "{}", ran.err);
    }
}

#[test]
fn a_code_for_plain_http_carries_no_pin_although_the_settings_name_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    works(here, &["tls", "make", "--name", "localhost", "keys"]);
    write(here, "database = 'sqlite:///hq.db'\nserver_ca = 'keys/ca.crt'\n");
    let code = |args: &[&str]| {
        let out = works(here, &[&["station", "add"][..], args].concat());
        JoinCode::decode(out.lines().last().unwrap()).unwrap()
    };
    assert_eq!(code(&["north"]).pin, None);
    assert_eq!(code(&["east", "--public-url", "http://hq.example"]).pin, None);
    assert!(code(&["south", "--public-url", "https://hq.example"]).pin.is_some());
    // Who types it is told that it is for nothing.
    let typed = run(here, &["station", "add", "west", "--server-ca", "keys/ca.crt"]);
    assert!(typed.code == Some(1) && typed.err.contains("--server-ca is for https"), "{}", typed.err);
}

#[test]
fn what_a_variable_outweighs_under_another_name_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("url"), "sqlite:///a.db\n").unwrap();
    write(here, "database = 'sqlite:///b.db'\n");
    let says = "tidemark-server.toml:1: database has no effect: the variable TIDEMARK_DATABASE_URL_FILE sets \
                database_url_file, and a variable outweighs the file; keep one";
    for args in [&["config", "check"][..], &["migrate", "up"]] {
        let output = server(here, args).env("TIDEMARK_DATABASE_URL_FILE", "url").output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && err.contains(says), "{args:?}: {err}");
    }
    assert!(here.join("a.db").exists() && !here.join("b.db").exists());
}

#[test]
fn a_file_with_a_secret_that_everybody_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let warns = |text: &str, mode: u32, of: &str| {
        write(here, text);
        std::fs::set_permissions(here.join(of), std::fs::Permissions::from_mode(mode)).unwrap();
        let facts = check(here, &[], &[]);
        let warnings = facts["warnings"].as_array().unwrap();
        warnings.iter().any(|warning| warning.as_str().unwrap().contains(&format!("{of} holds a secret")))
    };
    let secret = "database = 'postgresql://u:geheim@h/d'\n";
    assert!(warns(secret, 0o644, FILE) && !warns(secret, 0o640, FILE));
    assert!(!warns("database = 'postgresql://u@h/d'\n", 0o644, FILE), "nothing in it is secret");
    std::fs::write(here.join("url"), "postgresql://u:geheim@h/d").unwrap();
    assert!(warns("database_url_file = 'url'\n", 0o604, "url") && !warns("database_url_file = 'url'\n", 0o600, "url"));
}

#[test]
fn a_variable_that_nobody_reads_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let says = |args: &[&str], variable: &str| {
        let output = server(here, args).env(variable, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let near = says(&["config", "check"], "TIDEMARK_DATABSE_URL");
    assert!(near.contains("the variable TIDEMARK_DATABSE_URL is none of this program's, and is not read; did you mean TIDEMARK_DATABASE_URL?"), "{near}");
    assert!(says(&["migrate", "status"], "TIDEMARK_DATABSE_URL").contains("did you mean"));
    assert!(says(&["config", "check"], "TIDEMARK_QQQ").contains("TIDEMARK_QQQ is none"));
    assert_eq!(says(&["migrate", "status"], "TIDEMARK_QQQ"), "");
    assert_eq!(says(&["config", "check"], "TIDEMARK_DB"), "", "the station's");
}

#[test]
fn a_certificate_that_cannot_be_served_with_is_found_before_the_server_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let (here, authority) = (folder.path(), Authority::new("ours").unwrap());
    let strange = Authority::new("strange").unwrap();
    let give = |certificate: &Certificate, name: &str| drop(certificate.write(here, name).unwrap());
    let own = authority.server(&["hq.test"]).unwrap();
    let chained = Certificate { cert_pem: format!("{}{}", own.cert_pem, authority.pem()), ..own.clone() };
    give(&chained, "good");
    give(&authority.server(&["hq.test"]).unwrap(), "other");
    give(&authority.expired_server(&["hq.test"]).unwrap(), "expired");
    give(&authority.server(&[]).unwrap(), "nameless");
    authority.write(&here.join("ca.crt")).unwrap();
    strange.write(&here.join("strange.crt")).unwrap();
    std::fs::write(here.join("none.crt"), "no certificate").unwrap();
    let asked = |text: &str| {
        write(here, text);
        check(here, &[], &[])
    };
    let good = "tls_cert = 'good.crt'\ntls_key = 'good.key'\nserver_ca = 'ca.crt'\n";
    let facts = asked(&format!("listen = '0.0.0.0:8787'\nmetrics_listen = '0.0.0.0:9464'\n{good}"));
    assert_eq!((&facts["ok"], &facts["warnings"]), (&true.into(), &Json::Array(Vec::new())), "{facts}");
    for (text, key, line, says) in [
        ("tls_cert = 'gone.crt'\ntls_key = 'good.key'\n", "tls_cert", 1, "gone.crt: No such file"),
        ("tls_cert = 'none.crt'\ntls_key = 'good.key'\n", "tls_cert", 1, "has no certificate"),
        ("tls_cert = 'good.crt'\ntls_key = 'none.crt'\n", "tls_key", 2, "has no private key"),
        ("tls_cert = 'good.crt'\ntls_key = 'other.key'\n", "tls_key", 2, "is not that of the first certificate"),
        ("tls_cert = 'expired.crt'\ntls_key = 'expired.key'\n", "tls_cert", 1, "is valid from 2001-01-01"),
        (&format!("{good}tls_client_ca = 'none.crt'\n"), "tls_client_ca", 4, "has no certificate"),
        ("server_ca = 'none.crt'\n", "server_ca", 1, "has no certificate"),
        ("listen = '0.0.0.0:8787'\n", "listen", 1, "--allow-plain-http"),
        ("metrics_listen = '[::]:9464'\n", "metrics_listen", 1, "others on the way can read the metrics"),
    ] {
        let facts = asked(text);
        let problems = facts["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{text}: {facts}");
        assert_eq!((&problems[0]["key"], &problems[0]["line"]), (&key.into(), &line.into()), "{facts}");
        assert!(problems[0]["message"].as_str().unwrap().contains(says), "{says}: {facts}");
    }
    assert_eq!(asked("listen = '0.0.0.0:8787'\nallow_plain_http = true\n")["ok"], true);
    // What can be served with, and clients do not like.
    for (text, says) in [
        (
            "tls_cert = 'nameless.crt'\ntls_key = 'nameless.key'\n",
            "tidemark-server.toml:1: tls_cert: the server's certificate has no name",
        ),
        (&good.replace("ca.crt", "strange.crt"), "tidemark-server.toml:3: server_ca: join codes have the pin "),
    ] {
        let facts = asked(text);
        assert_eq!(facts["ok"], true, "{facts}");
        assert!(facts["warnings"][0].as_str().unwrap().starts_with(says), "{says}: {facts}");
    }
}
