//! The field notebook's files, as a browser gets them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::common::client::{Answer, request_with};
use crate::common::field;
use crate::common::site::site_of;
use crate::common::stores::Kind;
use tidemark_server::RunningServer;
use tidemark_server::http::Site;

async fn serve(site: Arc<Site>, origins: &[&str]) -> RunningServer {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    site_of(Kind::Memory, &field(), |config| (config.site, config.origins) = (site, origins)).await.server
}

fn site() -> Arc<Site> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("index.html", "<!doctype html><p>notebook"),
        ("index.html.br", "as brotli"),
        ("index.html.gz", "as gzip"),
        ("sw.js", "self.onfetch = null;"),
        ("tidemark/tidemark_wasm_bg.wasm", "\0asm"),
        ("i18n/русский.json", "{}"),
        ("manifest.webmanifest", "{}"),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Site::read(folder.path()).unwrap()
}

async fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    request_with(addr, "GET", path, headers, b"").await
}

#[tokio::test]
async fn the_notebook_is_served_with_what_a_browser_must_know() {
    let server = serve(site(), &[]).await;
    let addr = server.addr();
    for (path, media_type, body) in [
        ("/notebook/", "text/html; charset=utf-8", "<!doctype html><p>notebook"),
        ("/notebook/index.html", "text/html; charset=utf-8", "<!doctype html><p>notebook"),
        ("/notebook/?code=1", "text/html; charset=utf-8", "<!doctype html><p>notebook"),
        ("/notebook/sw.js", "text/javascript", "self.onfetch = null;"),
        ("/notebook/s%77.js", "text/javascript", "self.onfetch = null;"),
        ("/notebook/tidemark/tidemark_wasm_bg.wasm", "application/wasm", "\0asm"),
        ("/notebook/i18n/%D1%80%D1%83%D1%81%D1%81%D0%BA%D0%B8%D0%B9.json", "application/json", "{}"),
        ("/notebook/manifest.webmanifest", "application/manifest+json", "{}"),
    ] {
        let answer = get(addr, path, &[]).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, body.as_bytes()), "{path}");
        for (name, value) in [
            ("Content-Type", media_type),
            ("Content-Length", &body.len().to_string()),
            ("Cache-Control", "no-cache"),
            ("Vary", "Accept-Encoding"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Encoding", ""),
            // The worker of the addresses that lead to the notebook answers for the folder above.
            ("Service-Worker-Allowed", if media_type == "text/javascript" { "../" } else { "" }),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        let policy = answer.header("Content-Security-Policy");
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("'unsafe-"), "{policy}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = serve(site(), &[]).await;
    for path in ["/notebook/", "/notebook/none", "/notebook", "/"] {
        let got = get(server.addr(), path, &[("Accept-Encoding", "br")]).await;
        let head = request_with(server.addr(), "HEAD", path, &[("Accept-Encoding", "br")], b"").await;
        let lines = |answer: &Answer| {
            // Hyper tells the length of an empty body only where there could be one.
            let of_the_moment = ["date:", "x-request-id:", "content-length: 0"];
            let told = |line: &&str| !of_the_moment.iter().any(|begin| line.starts_with(begin));
            answer.head.lines().filter(told).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!((lines(&head), head.body.len()), (lines(&got), 0), "{path}");
    }
}

#[tokio::test]
async fn files_travel_compressed_to_who_takes_it() {
    let server = serve(site(), &[]).await;
    let mut tags = BTreeMap::new();
    for (accepted, coding, body) in [
        ("gzip, deflate, br, zstd", "br", "as brotli"),
        ("gzip, deflate", "gzip", "as gzip"),
        ("br;q=0, gzip", "gzip", "as gzip"),
        ("identity", "", "<!doctype html><p>notebook"),
    ] {
        let answer = get(server.addr(), "/notebook/", &[("Accept-Encoding", accepted)]).await;
        assert_eq!((answer.header("Content-Encoding").as_str(), answer.body.as_slice()), (coding, body.as_bytes()));
        assert_eq!(answer.header("Content-Type"), "text/html; charset=utf-8", "of what it is, not of its coding");
        assert_eq!(answer.header("Content-Length"), body.len().to_string());
        tags.insert(coding, answer.header("ETag"));
    }
    assert!(tags["br"] != tags["gzip"] && tags["gzip"] != tags[""] && tags["br"] != tags[""], "{tags:?}");
    let none = get(server.addr(), "/notebook/sw.js", &[("Accept-Encoding", "br, gzip")]).await;
    assert_eq!(none.header("Content-Encoding"), "", "nothing was compressed beforehand");
    assert_eq!(get(server.addr(), "/notebook/index.html.br", &[]).await.code(), "not-found");
}

#[tokio::test]
async fn an_unchanged_file_is_not_sent_again() {
    let server = serve(site(), &[]).await;
    let br = ("Accept-Encoding", "br");
    let tag = get(server.addr(), "/notebook/", &[br]).await.header("ETag");
    assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
    for asked in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        for method in ["GET", "HEAD"] {
            let answer = request_with(server.addr(), method, "/notebook/", &[br, ("If-None-Match", &asked)], b"").await;
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{asked}");
            assert_eq!((answer.header("ETag"), answer.header("Vary").as_str()), (tag.clone(), "Accept-Encoding"));
            assert_eq!(answer.header("Cache-Control"), "no-cache");
            assert_eq!((answer.header("Content-Encoding"), answer.header("Content-Length")), Default::default());
        }
    }
    // The tag of another coding is of other bytes.
    let other = get(server.addr(), "/notebook/", &[("If-None-Match", &tag)]).await;
    assert_eq!((other.status, other.body.as_slice()), (200, &b"<!doctype html><p>notebook"[..]));
}

#[tokio::test]
async fn the_way_to_the_notebook_is_found() {
    let server = serve(site(), &[]).await;
    for (path, to) in [("/", "notebook/"), ("/notebook", "notebook/"), ("/notebook?lang=ru", "notebook/?lang=ru")] {
        let answer = get(server.addr(), path, &[]).await;
        assert_eq!((answer.status, answer.header("Location").as_str()), (307, to), "{path}");
        assert_eq!(answer.header("Cache-Control"), "no-cache");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let answer = request_with(server.addr(), method, "/notebook/", &[], b"x").await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "method-not-allowed"), "{method}");
        assert_eq!(answer.header("Allow"), "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn no_path_leads_out_of_the_notebook() {
    let server = serve(site(), &[]).await;
    for path in [
        "/notebook/none.js",
        "/notebook/../Cargo.toml",
        "/notebook/%2e%2e/Cargo.toml",
        "/notebook/..%2fCargo.toml",
        "/notebook/..%5cCargo.toml",
        "/notebook/%252e%252e/Cargo.toml",
        "/notebook/i18n/../index.html",
        "/notebook/./index.html",
        "/notebook//index.html",
        "/notebook//etc/passwd",
        "/notebook/%2Fetc%2Fpasswd",
        "/notebook/index.html%00",
        "/notebook/%ff%fe",
        "/notebook/%",
        "/notebook/%zz",
        "/notebook/i18n",
        "/notebook/i18n/",
        "/notebook/INDEX.HTML",
        "/notebooks",
        "/notebook2/",
        "/Notebook/",
    ] {
        let answer = get(server.addr(), path, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not-found"), "{path}");
    }
    let long = format!("/notebook/{}", "%2e%2e/".repeat(4000));
    assert_eq!(get(server.addr(), &long, &[]).await.status, 404);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_load_the_files() {
    let server = serve(site(), &["https://app.example"]).await;
    let answer = get(server.addr(), "/notebook/sw.js", &[("Origin", "https://app.example")]).await;
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "https://app.example");
    assert_eq!(answer.header("Vary"), "Accept-Encoding, Origin");
}

#[tokio::test]
async fn a_server_without_a_notebook_says_how_to_get_it() {
    let server = serve(Arc::default(), &[]).await;
    for path in ["/notebook", "/notebook/", "/notebook/app.js"] {
        let answer = get(server.addr(), path, &[]).await;
        assert_eq!(answer.code(), "not-found");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("scripts/build-web") && detail.contains("--web DIR"), "{detail}");
    }
    assert_eq!(get(server.addr(), "/", &[]).await.code(), "not-found");
}

/// The files of a folder by their path below it.
fn files(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            files(&path, &format!("{name}/"), found);
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// Holds for a build without the notebook, too: then there must be none in the program.
#[test]
fn the_program_holds_the_notebook_that_was_built() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasm-client/web/site/notebook");
    let embedded = Site::embedded();
    assert_eq!(embedded.is_empty(), !folder.exists());
    if folder.exists() {
        let mut built = BTreeMap::new();
        files(&folder, "", &mut built);
        assert_eq!(embedded.bytes(), built.values().map(Vec::len).sum::<usize>());
        for (name, bytes) in built.iter().filter(|(name, _)| !name.ends_with(".br") && !name.ends_with(".gz")) {
            assert_eq!(embedded.file(name), Some(bytes.as_slice()), "{name}");
        }
    }
}
