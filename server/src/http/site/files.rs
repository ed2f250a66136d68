//! The files of the notebook, in memory.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use hyper::header::HeaderValue;
use tidemark_core::amount::{bytes, count};

/// The path that the notebook is served under.
pub const MOUNT: &str = "/notebook/";
/// The media type of a script.
pub(super) const JAVASCRIPT: &str = "text/javascript";
/// The file that a folder's own address is answered with.
pub(super) const INDEX: &str = "index.html";

/// The files of the notebook by their path below [`MOUNT`]; without any, requests for it are told how to get it.
#[derive(Default, PartialEq, Eq)]
pub struct Site {
    pub(super) files: BTreeMap<String, File>,
}

/// One file, and what it is in the codings it was compressed to beforehand.
#[derive(PartialEq, Eq)]
pub(super) struct File {
    pub(super) media_type: &'static str,
    pub(super) plain: Coded,
    pub(super) brotli: Option<Coded>,
    pub(super) gzip: Option<Coded>,
}

/// The bytes of a file in one coding. Each coding has an entity tag of its own, as they are different bytes.
#[derive(PartialEq, Eq)]
pub(super) struct Coded {
    pub(super) bytes: Bytes,
    pub(super) etag: HeaderValue,
}

impl Coded {
    pub(super) fn new(bytes: Bytes) -> Self {
        let hash = blake3::hash(&bytes).to_hex();
        let etag = HeaderValue::from_str(&format!("\"{}\"", &hash[..32])).expect("BUG: hex is a header's text");
        Self { bytes, etag }
    }
}

impl Site {
    /// `FILE.br` and `FILE.gz` beside a `FILE` are what it is compressed, not files of their own.
    pub(in super::super) fn of(mut files: BTreeMap<String, Bytes>) -> Self {
        let names: Vec<String> = files.keys().cloned().collect();
        let mut site = Self::default();
        for name in names {
            let variant = name.strip_suffix(".br").or_else(|| name.strip_suffix(".gz"));
            if variant.is_some_and(|of| site.files.contains_key(of)) {
                continue;
            }
            let Some(plain) = files.remove(&name) else { continue };
            let brotli = files.remove(&format!("{name}.br")).map(Coded::new);
            let gzip = files.remove(&format!("{name}.gz")).map(Coded::new);
            let file = File { media_type: media_type(&name), plain: Coded::new(plain), brotli, gzip };
            site.files.insert(name, file);
        }
        site
    }

    /// There is no notebook.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The file at a path below [`MOUNT`], uncompressed.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|file| &file.plain.bytes[..])
    }

    /// Bytes in memory, compressed ones included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bytes = |coded: &Option<Coded>| coded.as_ref().map_or(0, |coded| coded.bytes.len());
        self.files.values().map(|file| file.plain.bytes.len() + bytes(&file.brotli) + bytes(&file.gzip)).sum()
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files.keys()).finish()
    }
}

impl fmt::Display for Site {
    /// How much there is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} in memory", count(self.files.len() as u64, "file"), bytes(self.bytes() as u64))
    }
}

/// The media type of a file, by its name. Browsers are told not to guess.
fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => JAVASCRIPT,
        "wasm" => "application/wasm",
        "css" => "text/css",
        "webmanifest" => "application/manifest+json",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "toml" | "txt" | "md" | "ts" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn site(files: &[(&str, &str)]) -> Site {
        Site::of(files.iter().map(|&(path, text)| (path.to_owned(), Bytes::copy_from_slice(text.as_bytes()))).collect())
    }

    #[test]
    fn compressed_files_belong_to_the_file_beside_them() {
        let site =
            site(&[("a.js", "1"), ("a.js.br", "2"), ("a.js.gz", "3"), ("b.gz", "4"), ("c.br.gz", "5"), ("c.br", "6")]);
        assert_eq!(site.files.keys().collect::<Vec<_>>(), ["a.js", "b.gz", "c.br"]);
        let a = &site.files["a.js"];
        let text = |coded: &Option<Coded>| coded.as_ref().map(|coded| coded.bytes.to_vec());
        assert_eq!((text(&a.brotli), text(&a.gzip)), (Some(b"2".to_vec()), Some(b"3".to_vec())));
        assert_eq!(text(&site.files["c.br"].gzip), Some(b"5".to_vec()));
        assert_eq!((site.file("a.js"), site.file("a.js.br"), site.bytes()), (Some(&b"1"[..]), None, 6));
        let etags = [&a.plain, a.brotli.as_ref().unwrap(), a.gzip.as_ref().unwrap()].map(|coded| &coded.etag);
        assert!(etags[0] != etags[1] && etags[1] != etags[2] && etags[0] != etags[2], "{etags:?}");
    }

    #[test]
    fn files_are_told_by_their_names() {
        for (name, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("app/main.js", "text/javascript"),
            ("tidemark/tidemark_wasm_bg.wasm", "application/wasm"),
            ("manifest.webmanifest", "application/manifest+json"),
            ("icon.SVG", "image/svg+xml"),
            ("icon.png", "image/png"),
            ("style.css", "text/css"),
            ("schema.toml", "text/plain; charset=utf-8"),
            ("tidemark/index.d.ts", "text/plain; charset=utf-8"),
            ("LICENSE", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name), expected, "{name}");
        }
    }
}
