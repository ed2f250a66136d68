//! The way to PostgreSQL, encrypted: real servers with real certificates, right ones and wrong ones, and what the
//! operator reads.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tidemark_testkit::certificates::{Authority, Certificate};
use tidemark_testkit::postgres::{Door, Flavour, OWNER, PASSWORD, PostgresCluster};

use crate::common::program::{Ran, run, server, works};

const HERE: &[&str] = &["localhost", "127.0.0.1"];

/// A server that speaks TLS, its authority's file, and one database.
struct Encrypted {
    cluster: PostgresCluster,
    authority: Authority,
    folder: TempDir,
    url: String,
}

impl Encrypted {
    fn start(door: Door) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = PostgresCluster::start(Flavour::Plain).unwrap();
        let authority = Authority::new("Harbour authority").unwrap();
        authority.write(&folder.path().join("ca.pem")).unwrap();
        let url = cluster.create_database("tide").unwrap();
        cluster.speak_tls(&authority.server(HERE).unwrap(), Some(&authority)).unwrap();
        cluster.let_in(door).unwrap();
        Self { cluster, authority, folder, url }
    }

    fn here(&self) -> &Path {
        self.folder.path()
    }

    fn with(&self, options: &str) -> String {
        format!("{}?{options}", self.url)
    }

    /// `test` with these options, the exit code and all it printed.
    fn test(&self, options: &str) -> Ran {
        checked(run(self.here(), &["test", "--database", &self.with(options)]))
    }

    #[track_caller]
    fn lets_in(&self, options: &str, said: &str) {
        let ran = self.test(options);
        let line = ran.out.lines().find(|line| line.contains(" encryption ")).unwrap_or_default();
        assert!(line.contains(said), "{options}: {}{}", ran.out, ran.err);
    }

    #[track_caller]
    fn refuses(&self, options: &str, said: &[&str]) {
        let ran = self.test(options);
        assert_eq!(ran.code, Some(1), "{options}: {}", ran.out);
        for said in said {
            assert!(ran.err.contains(said), "{options}: {said}: {}", ran.err);
        }
    }

    fn renew(&self, certificate: &Certificate) {
        self.cluster.speak_tls(certificate, None).unwrap();
    }
}

/// No piece of the password is shown.
fn checked(ran: Ran) -> Ran {
    for piece in [PASSWORD, "Ebb", "tide%3A"] {
        assert!(!ran.out.contains(piece) && !ran.err.contains(piece), "{}{}", ran.out, ran.err);
    }
    ran
}

#[test]
fn a_database_behind_tls_only_is_migrated_looked_at_backed_up_and_put_back() {
    let site = Encrypted::start(Door::Tls);
    let (here, full) = (site.here(), site.with("sslmode=verify-full&sslrootcert=ca.pem"));
    works(here, &["migrate", "up", "--database", &full]);
    let test = works(here, &["test", "--database", &full]);
    assert!(test.contains("is encrypted, authority and name of the server checked"), "{test}");
    let info = works(here, &["info", "--database", &full]);
    assert!(info.contains("is encrypted, authority and name of the server checked"), "{info}");
    works(here, &["station", "add", "north", "--public-url", "http://127.0.0.1:1", "--database", &full]);
    // pg_dump and pg_restore go the same way; what is set for other programs leads them nowhere else.
    let mut backup = server(here, &["backup", "copy.dump", "--check", "--database", &full]);
    let backup = backup.env("PGSSLMODE", "disable").env("PGSSLROOTCERT", "/none").env("PGHOST", "/none").output();
    let backup = backup.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&backup.stdout), String::from_utf8_lossy(&backup.stderr));
    assert!(backup.status.success(), "{said}");
    // Nor do the files in the home of whoever runs it, which libpq looks for: another authority, another certificate.
    let home = here.join(".postgresql");
    std::fs::create_dir(&home).unwrap();
    Authority::new("of a home").unwrap().write(&home.join("root.crt")).unwrap();
    Authority::new("of a home").unwrap().client("somebody").unwrap().write(&home, "postgresql").unwrap();
    let required = site.with("sslmode=require");
    let mut backup = server(here, &["backup", "home.dump", "--check", "--database", &required]);
    let backup = backup.env("HOME", here).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&backup.stdout), String::from_utf8_lossy(&backup.stderr));
    assert!(backup.status.success(), "{said}");
    let other = site.cluster.create_database("other").unwrap();
    let other = format!("{other}?sslmode=verify-full&sslrootcert=ca.pem");
    works(here, &["restore", "copy.dump", "--database", &other]);
    assert!(works(here, &["station", "list", "--database", &other]).contains("north"));
    // Where nothing is said, this machine is encrypted when the server can.
    assert!(works(here, &["test", "--database", &site.url]).contains("is encrypted"));
    site.refuses("sslmode=disable", &["no encryption", "say sslmode=require"]);
    // Every connection there is went over TLS.
    let clear =
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'harbour' AND NOT ssl";
    assert_eq!(site.cluster.admin("postgres").unwrap().value::<i64>(clear).unwrap(), 0);
}

#[test]
fn a_servers_certificate_is_looked_at_as_far_as_the_url_says() {
    let site = Encrypted::start(Door::Tls);
    let (full, ca) = ("sslmode=verify-full&sslrootcert=ca.pem", "sslmode=verify-ca&sslrootcert=ca.pem");
    let named = Authority::new("another").unwrap();
    named.write(&site.here().join("other.pem")).unwrap();
    site.lets_in(full, "authority and name of the server checked");
    // The wrong authority.
    site.refuses(
        "sslmode=verify-full&sslrootcert=other.pem",
        &["of an authority that is not trusted here", "sslrootcert=FILE"],
    );
    site.refuses("sslmode=verify-ca&sslrootcert=other.pem", &["of an authority that is not trusted here"]);
    site.refuses("sslmode=require&sslrootcert=other.pem", &["of an authority that is not trusted here"]);
    site.refuses("sslmode=verify-full", &["of an authority that is not trusted here"]);
    site.refuses("sslmode=verify-full&sslrootcert=system", &["of an authority that is not trusted here"]);
    site.lets_in("sslmode=require", "the server's certificate not checked");
    site.lets_in("sslmode=prefer", "the server's certificate not checked");
    // The wrong name.
    site.renew(&site.authority.server(&["db.example"]).unwrap());
    site.refuses(full, &["is not for 127.0.0.1", "db.example", "sslmode=verify-ca does not look at names"]);
    site.lets_in(ca, "authority of the server checked, its name not");
    site.lets_in("sslmode=require&sslrootcert=ca.pem", "authority of the server checked, its name not");
    // Over.
    site.renew(&site.authority.expired_server(HERE).unwrap());
    site.refuses(full, &["has expired (2002-01-01", "then reload PostgreSQL"]);
    site.refuses(ca, &["has expired"]);
    site.lets_in("sslmode=require", "is encrypted");
    // Not valid yet.
    site.renew(&site.authority.future_server(HERE).unwrap());
    site.refuses(full, &["is not valid yet", "clock"]);
    // Files.
    site.refuses("sslmode=verify-full&sslrootcert=nowhere.pem", &["nowhere.pem cannot be read"]);
    std::fs::write(site.here().join("empty.pem"), "nothing").unwrap();
    site.refuses("sslmode=verify-full&sslrootcert=empty.pem", &["empty.pem holds no certificate"]);
    // Options that do not go together are refused before anybody connects.
    for weak in ["sslmode=require&sslrootcert=system", "sslmode=verify-ca"] {
        site.refuses(weak, &["vouch for any server of the world", "sslmode=verify-full", "sslrootcert=FILE"]);
    }
    site.refuses("sslmode=full", &["sslmode is one of disable, prefer, require, verify-ca and verify-full"]);
}

#[test]
fn a_certificate_that_signed_itself_is_trusted_where_it_is_named() {
    let site = Encrypted::start(Door::Tls);
    // As PostgreSQL's manual makes one: with `openssl req -x509`, which calls it an authority.
    let openssl = Command::new("openssl")
        .args(["req", "-new", "-x509", "-days", "30", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-out", "self.pem", "-keyout", "self.key"])
        .current_dir(site.here())
        .output()
        .expect("openssl is there");
    assert!(openssl.status.success(), "{}", String::from_utf8_lossy(&openssl.stderr));
    let read = |name: &str| std::fs::read_to_string(site.here().join(name)).unwrap();
    site.renew(&Certificate { cert_pem: read("self.pem"), key_pem: read("self.key"), der: Vec::new() });
    site.lets_in("sslmode=verify-full&sslrootcert=self.pem", "authority and name of the server checked");
    site.refuses("sslmode=verify-full&sslrootcert=ca.pem", &["of an authority that is not trusted here"]);
}

#[test]
fn a_client_shows_its_certificate_and_is_told_what_is_wrong_with_it() {
    let site = Encrypted::start(Door::Certificate);
    let here = site.here();
    site.authority.client(OWNER).unwrap().write(here, "mine").unwrap();
    site.authority.client("somebody").unwrap().write(here, "somebody").unwrap();
    Authority::new("another").unwrap().client(OWNER).unwrap().write(here, "foreign").unwrap();
    let base = "sslmode=verify-full&sslrootcert=ca.pem";
    let with = |name: &str| format!("{base}&sslcert={name}.crt&sslkey={name}.key");
    let mine = site.with(&with("mine"));
    works(here, &["migrate", "up", "--database", &mine]);
    works(here, &["backup", "copy.dump", "--database", &mine]);
    site.refuses(base, &["no certificate was shown", "sslcert and sslkey"]);
    site.refuses(&with("somebody"), &["its common name must be the user"]);
    site.refuses(&with("foreign"), &["does not take the certificate of sslcert (UnknownCA)", "ssl_ca_file"]);
    site.refuses(&format!("{base}&sslcert=mine.crt"), &["sslcert and sslkey go together"]);
    site.refuses(&format!("{base}&sslcert=mine.crt&sslkey=somebody.key"), &["is not the key of mine.crt"]);
    let key = here.join("mine.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    site.refuses(&with("mine"), &["mine.key can be read by others than its owner"]);
    // A password, and any certificate of the authority.
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    site.cluster.let_in(Door::PasswordAndCertificate).unwrap();
    site.lets_in(&with("somebody"), "is encrypted");
    site.refuses(base, &["no certificate was shown"]);
}

#[test]
fn a_server_without_tls_is_refused_and_where_the_url_allows_it_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = PostgresCluster::shared(Flavour::Plain).unwrap();
    let url = cluster.create_database("clear").unwrap();
    let test = |url: &str| checked(run(folder.path(), &["test", "--database", url]));
    for mode in ["require", "verify-full"] {
        let ran = test(&format!("{url}?sslmode={mode}"));
        assert_eq!(ran.code, Some(1), "{mode}: {}", ran.out);
        assert!(ran.err.contains("the server speaks no TLS"), "{mode}: {}", ran.err);
        assert!(ran.err.contains("say sslmode=prefer"), "{mode}: {}", ran.err);
    }
    // 0.0.0.0 leads here, and is none of the addresses that stand for this machine: the default of another one.
    let another = url.replace("127.0.0.1", "0.0.0.0");
    let ran = test(&another);
    assert!(ran.code == Some(1) && ran.err.contains("the server speaks no TLS"), "{}{}", ran.out, ran.err);
    works(folder.path(), &["migrate", "up", "--database", &format!("{another}?sslmode=prefer")]);
    let ran = test(&format!("{another}?sslmode=prefer"));
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let line = ran.out.lines().find(|line| line.contains(" encryption ")).unwrap();
    assert!(line.starts_with("warn") && line.contains("is NOT encrypted: the server offers no TLS"), "{line}");
    // Once in the log, however many connections are made.
    assert_eq!(ran.err.matches("is NOT encrypted").count(), 1, "{}", ran.err);
    let info = works(folder.path(), &["info", "--database", &format!("{another}?sslmode=prefer")]);
    assert!(info.contains("is NOT encrypted"), "{info}");
    let ran = test(&format!("{another}?sslmode=disable"));
    assert!(ran.out.contains("is not encrypted (sslmode=disable)") && ran.err.is_empty(), "{}{}", ran.out, ran.err);
    // This machine, where nothing is said: nothing to warn of.
    let ran = test(&url);
    assert!(ran.code == Some(0) && !ran.err.contains("NOT encrypted"), "{}{}", ran.out, ran.err);
}

#[test]
fn prefer_goes_on_in_the_clear_where_tls_is_not_let_in() {
    let site = Encrypted::start(Door::Clear);
    site.lets_in("sslmode=prefer", "is NOT encrypted: the server lets nobody in that way");
    site.refuses("sslmode=require", &["no pg_hba.conf entry"]);
    // Who is not trusted is not trusted more without TLS.
    site.cluster.let_in(Door::Open).unwrap();
    Authority::new("another").unwrap().write(&site.here().join("other.pem")).unwrap();
    site.refuses("sslmode=prefer&sslrootcert=other.pem", &["of an authority that is not trusted here"]);
    // Nor is who shows a certificate that is none of a server's.
    site.renew(&site.authority.client("127.0.0.1").unwrap());
    site.refuses("sslmode=prefer&sslrootcert=ca.pem", &["certificate"]);
}
