//! What a certificate says of itself, for people; and its pin.

use std::fmt;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tidemark_core::joincode::Pin;
use x509_parser::extensions::GeneralName;

use super::TlsFileError;

/// A certificate, as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The names and addresses that it is for; its subject where it has none.
    pub names: Vec<String>,
    /// Whether those are what clients compare with the name that they asked for, and not its subject.
    pub has_names: bool,
    /// Whether it vouches for others: an authority's own.
    pub is_authority: bool,
    /// Since when it is valid, seconds since 1970 UTC.
    pub from_s: i64,
    /// Until when, seconds since 1970 UTC.
    pub until_s: i64,
}

impl Described {
    /// Whether it is valid at a time, in milliseconds since 1970 UTC.
    #[must_use]
    pub const fn is_valid_at(&self, now_ms: i64) -> bool {
        let now_s = now_ms.div_euclid(1000);
        self.from_s <= now_s && now_s <= self.until_s
    }

    /// From when, UTC.
    #[must_use]
    pub fn from(&self) -> String {
        day(self.from_s)
    }

    /// Until when, UTC.
    #[must_use]
    pub fn until(&self) -> String {
        day(self.until_s)
    }
}

/// A time to the second, UTC.
fn day(seconds: i64) -> String {
    tidemark_core::timestamp::format(seconds.saturating_mul(1_000_000))
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "for {}, valid until {}", self.names.join(", "), self.until())
    }
}

/// Describes a certificate; `None` when it cannot be read.
#[must_use]
pub fn describe(der: &[u8]) -> Option<Described> {
    let (_, x509) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut names: Vec<String> = Vec::new();
    if let Ok(Some(alternative)) = x509.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(printable(name)),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        }));
    }
    let has_names = !names.is_empty();
    if !has_names {
        names.push(printable(&x509.subject().to_string()));
    }
    let (from_s, until_s) = (x509.validity().not_before.timestamp(), x509.validity().not_after.timestamp());
    Some(Described { names, has_names, is_authority: x509.is_ca(), from_s, until_s })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

/// A certificate is a file of somebody else's: nothing of it reaches a terminal as it is.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect()
}

/// The pin of a certificate.
#[must_use]
pub fn pin_of(der: &[u8]) -> Pin {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let mut pin = [0; 32];
    pin.copy_from_slice(digest.as_ref());
    Pin(pin)
}

/// The certificates in a PEM file, in order; at least one.
///
/// # Errors
/// When it cannot be read, is no PEM, or has none.
pub fn certificates_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    parsed(file, &contents(file)?)
}

/// The pin of the one certificate in a PEM file.
///
/// # Errors
/// As [`certificates_of`]; when there are several.
pub fn pin_of_file(file: &Path) -> Result<Pin, TlsFileError> {
    let certificates = certificates_of(file)?;
    match certificates.as_slice() {
        [certificate] => Ok(pin_of(certificate)),
        several => Err(TlsFileError::Several { file: file.to_owned(), count: several.len() }),
    }
}

/// A file's bytes.
pub(super) fn contents(file: &Path) -> Result<Vec<u8>, TlsFileError> {
    const BYTES_MAX: u64 = 1 << 20;
    let unreadable = |error: String| TlsFileError::Unreadable { file: file.to_owned(), error };
    let length = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
    if length > BYTES_MAX {
        return Err(unreadable(format!("{length} bytes; certificates have at most {BYTES_MAX}")));
    }
    std::fs::read(file).map_err(|error| unreadable(error.to_string()))
}

/// The certificates in PEM.
pub(super) fn parsed(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates =
        certificates.map_err(|error| TlsFileError::Pem { file: file.to_owned(), detail: error.to_string() })?;
    if certificates.is_empty() {
        return Err(TlsFileError::NoCertificate { file: file.to_owned() });
    }
    Ok(certificates)
}
