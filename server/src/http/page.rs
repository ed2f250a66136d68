//! The fleet page under `/admin/`: files of this program, and nothing of the database in them. What it shows comes from
//! `/v1/admin/…`, to whoever an operator's token opened it for.

use std::sync::LazyLock;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tidemark_core::protocol::Problem;

use super::admin::nothing_here;
use super::asked::Asked;
use super::problem::Reply;
use super::site::{Site, redirect};

/// The path that the page is served under. Its addresses are relative: a proxy may serve all of this below a path of
/// its own.
const MOUNT: &str = "/admin/";
/// The file that the mount itself is answered with.
const INDEX: &str = "index.html";

/// The content security policy of the page: scripts, styles and pictures of this server as files, requests to this
/// server, and nothing else. No text becomes markup (trusted types), no other page frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The files of the page (`server/admin-page`, put together by `server/build.rs`), by their path below the mount.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/admin-page.rs"));

static PAGE: LazyLock<Site> = LazyLock::new(|| {
    Site::of(FILES.iter().map(|&(path, bytes)| (path.to_owned(), Bytes::from_static(bytes))).collect())
});

/// The path is the fleet page's.
pub(super) fn owns(path: &str) -> bool {
    path.starts_with(MOUNT) || path == MOUNT.trim_end_matches('/')
}

/// A file of the page.
///
/// # Errors
/// When there is no such file, or no operator; when nobody can tell whether there is one.
pub(super) async fn page(asked: Asked<'_>) -> Result<Reply, Problem> {
    let endpoint = asked.endpoint;
    match endpoint.operators.is_on(&endpoint.ingest).await {
        Ok(true) => {}
        Ok(false) => return Err(nothing_here()),
        // A page that says that the database is away is worth more than none.
        Err(problem) if !endpoint.operators.was_on() => return Err(problem),
        Err(_) => {}
    }
    let path = asked.request.uri().path();
    let Some(below) = path.strip_prefix(MOUNT) else {
        return Ok(redirect(&MOUNT[1..]));
    };
    let name = percent_decode_str(below).decode_utf8_lossy();
    let name = if name.is_empty() { INDEX } else { &*name };
    PAGE.served(name, asked.request.headers(), POLICY).ok_or_else(nothing_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_loaded_at_once_and_none_is_missing() {
        let text = |name: &str| std::str::from_utf8(PAGE.file(name).unwrap()).unwrap();
        let index = text(INDEX);
        let mut sizes = 0;
        for (name, bytes) in FILES.iter().filter(|(name, _)| !name.ends_with(".gz") && *name != INDEX) {
            // A script that another one imports is asked for with the page, not after it.
            assert!(index.contains(&format!("\"{name}\"")), "{INDEX} does not name {name}");
            sizes += bytes.len();
        }
        for named in index.split("href=\"").skip(1).chain(index.split("src=\"").skip(1)) {
            let name = named.split('"').next().unwrap().split('#').next().unwrap();
            assert!(name.is_empty() || PAGE.file(name).is_some(), "{INDEX} names {name}, which is not there");
        }
        assert!(sizes > 10_000, "{sizes}");
    }

    #[test]
    fn the_page_is_below_its_mount_alone() {
        for (path, is) in [("/admin", true), ("/admin/", true), ("/admin/app.js", true), ("/administrator", false)] {
            assert_eq!(owns(path), is, "{path}");
        }
    }
}
