//! The fleet page: there for operators alone, nothing in it from elsewhere, and nothing of a station ever markup.

use serde_json::json;

use crate::common::client::{Answer, request_with};
use crate::common::field;
use crate::common::site::{Site, site_of};
use crate::common::stores::Kind;
use crate::fleet::{OPERATOR, operated, operator};

async fn get(site: &Site, path: &str, headers: &[(&str, &str)]) -> Answer {
    request_with(site.addr, "GET", path, headers, b"").await
}

#[tokio::test]
async fn the_fleet_page_is_there_once_there_is_an_operator_and_not_before() {
    let site = site_of(Kind::Sqlite, &field(), |_| ()).await;
    for path in ["/admin", "/admin/", "/admin/app.js", "/admin/none"] {
        assert_eq!(get(&site, path, &[]).await.status, 404, "{path}");
    }
    operator(&site, "anna", OPERATOR).await;
    site.store.clock.forward_ms(1_000);
    let redirect = get(&site, "/admin", &[]).await;
    assert_eq!(
        (redirect.status, redirect.header("location").as_str()),
        (307, "admin/"),
        "relative: right behind a proxy, too"
    );
    assert_eq!(get(&site, "/admin/", &[]).await.status, 200);
    assert_eq!(get(&site, "/admin/none", &[]).await.status, 404);
    let posted = request_with(site.addr, "POST", "/admin/", &[], b"").await;
    assert_eq!((posted.status, posted.header("allow").as_str()), (405, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn the_fleet_page_loads_nothing_from_elsewhere_and_makes_no_markup_of_text() {
    let site = operated(Kind::Sqlite).await;
    let page = get(&site, "/admin/", &[]).await;
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        assert!(policy.split("; ").any(|word| word == part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let index = String::from_utf8(page.body.clone()).unwrap();
    let named = index.split("href=\"").skip(1).chain(index.split("src=\"").skip(1));
    let files: Vec<&str> =
        named.filter_map(|rest| rest.split('"').next()).filter(|name| !name.starts_with('#')).collect();
    assert!(files.len() > 20, "{files:?}");
    for name in files {
        let file = get(&site, &format!("/admin/{name}"), &[]).await;
        assert_eq!(file.status, 200, "{name}");
        assert_eq!(file.header("content-security-policy"), policy, "{name}");
        let text = String::from_utf8(file.body.clone()).unwrap();
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "@import", "url("] {
            assert!(!text.contains(markup), "{name} has {markup}");
        }
        let elsewhere = text.replace("http://www.w3.org/", "");
        let links =
            ["src=\"http", "href=\"http", "from 'http", "fetch('http"].iter().find(|link| elsewhere.contains(*link));
        assert_eq!(links, None, "{name}");
        let again = get(&site, &format!("/admin/{name}"), &[("If-None-Match", file.header("etag").as_str())]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{name}");
    }
    let packed = get(&site, "/admin/app.js", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
}

#[tokio::test]
async fn an_invitation_has_the_notebooks_address_as_a_qr_code() {
    let site = operated(Kind::Sqlite).await;
    let invited = site.admin("POST", "stations", &json!({ "name": "north", "url": "https://hq.example" })).await.json();
    let rows: Vec<&str> = invited["qr"].as_array().unwrap().iter().map(|row| row.as_str().unwrap()).collect();
    assert!(rows.len() >= 21 && rows.iter().all(|row| row.len() == rows.len()), "{rows:?}");
    assert!(rows[0].starts_with("1111111") && rows[0].ends_with("1111111"), "{rows:?}");
}
