//! Content negotiation: the coding of a file that a client takes, and the bytes that it has already (RFC 9110,
//! sections 12.5.3 and 13.1.2).

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_NONE_MATCH};

use super::files::{Coded, File};

/// A client's liking for each coding, in thousandths; 0: it does not take it.
#[derive(Debug, PartialEq, Eq)]
struct Liking {
    brotli: u16,
    gzip: u16,
    plain: u16,
}

impl Liking {
    fn of(headers: &HeaderMap) -> Self {
        let (mut brotli, mut gzip, mut plain, mut others) = (None, None, None, None);
        let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
        for element in lists.flat_map(|list| list.split(',')) {
            let (coding, quality) = element.split_once(';').map_or((element, None), |(coding, q)| (coding, Some(q)));
            let liking = quality.map_or(Some(1000), thousandths).unwrap_or(0);
            match coding.trim().to_ascii_lowercase().as_str() {
                "br" => brotli = Some(liking),
                "gzip" | "x-gzip" => gzip = Some(liking),
                "identity" => plain = Some(liking),
                "*" => others = Some(liking),
                _ => {}
            }
        }
        // Who does not name it takes it as it is, if nothing better is there.
        let unnamed = if others == Some(0) { 0 } else { 1 };
        Self {
            brotli: brotli.or(others).unwrap_or(0),
            gzip: gzip.or(others).unwrap_or(0),
            plain: plain.unwrap_or(unnamed),
        }
    }
}

/// `q=0.5` in thousandths.
fn thousandths(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    let quality: f32 = value.trim().parse().ok()?;
    (name.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&quality)).then_some((quality * 1000.0) as u16)
}

/// The coding the client likes best, the smallest of equal ones, and its name. Who takes none that is there gets the
/// plain file.
pub(super) fn choose<'a>(file: &'a File, headers: &HeaderMap) -> (&'a Coded, Option<&'static str>) {
    let liking = Liking::of(headers);
    let mut best = (&file.plain, None, liking.plain);
    // From the largest to the smallest.
    for (coded, name, liking) in [(&file.gzip, "gzip", liking.gzip), (&file.brotli, "br", liking.brotli)] {
        if let Some(coded) = coded
            && liking > 0
            && liking >= best.2
        {
            best = (coded, Some(name), liking);
        }
    }
    (best.0, best.1)
}

/// The client has the bytes of this tag. A proxy may have made the tag a weak one.
pub(super) fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || etag == tag.strip_prefix("W/").unwrap_or(tag))
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::site;
    use super::*;

    fn header(name: hyper::header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_smallest_coding_a_client_takes_is_chosen() {
        let site = site(&[("f", "p"), ("f.br", "b"), ("f.gz", "z"), ("g", "p"), ("g.gz", "z"), ("h", "p")]);
        for (values, both, gzip_only) in [
            (&["gzip, deflate, br, zstd"][..], Some("br"), Some("gzip")),
            (&["gzip, deflate"], Some("gzip"), Some("gzip")),
            (&["x-gzip"], Some("gzip"), Some("gzip")),
            (&["GZIP;q=0.5 , BR;Q=0.5"], Some("br"), Some("gzip")),
            (&["gzip;q=1.0, br;q=0.9"], Some("gzip"), Some("gzip")),
            (&["gzip", "br"], Some("br"), Some("gzip")),
            (&["br;q=0, gzip;q=0.001"], Some("gzip"), Some("gzip")),
            (&["br;q=0"], None, None),
            (&["*"], Some("br"), Some("gzip")),
            (&["*, br;q=0"], Some("gzip"), Some("gzip")),
            (&["*;q=0"], None, None),
            (&["identity, br;q=0.5"], None, None),
            (&["identity;q=0, gzip;q=0.1"], Some("gzip"), Some("gzip")),
            (&["identity"], None, None),
            (&["deflate, zstd"], None, None),
            (&[""], None, None),
            (&[], None, None),
            (&["br;q=nan"], None, None),
            (&["br;q=2"], None, None),
            (&["br;level=9"], None, None),
            (&[",,;,=;q"], None, None),
        ] {
            let headers = header(ACCEPT_ENCODING, values);
            assert_eq!(choose(&site.files["f"], &headers).1, both, "{values:?}");
            assert_eq!(choose(&site.files["g"], &headers).1, gzip_only, "{values:?}");
            assert_eq!(choose(&site.files["h"], &headers).1, None, "{values:?}");
        }
        let brotli = choose(&site.files["f"], &header(ACCEPT_ENCODING, &["br"])).0;
        assert_eq!(&brotli.bytes[..], b"b");
    }

    #[test]
    fn a_client_is_asked_by_tag_what_it_has() {
        let tag = HeaderValue::from_static("\"ab\"");
        for (values, expected) in [
            (&["\"ab\""][..], true),
            (&["W/\"ab\""], true),
            (&["\"xy\", \"ab\""], true),
            (&["\"xy\"", "\"ab\""], true),
            (&["*"], true),
            (&["\"a\""], false),
            (&["ab"], false),
            (&["\"xy\""], false),
            (&[""], false),
            (&[], false),
        ] {
            assert_eq!(has(&header(IF_NONE_MATCH, values), &tag), expected, "{values:?}");
        }
    }
}
