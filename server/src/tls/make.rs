//! An authority and a certificate of one's own: for a server without a public name. The station knows the authority by
//! the pin in its join code, so that the server's certificate can be renewed without a word to the stations.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tidemark_core::joincode::Pin;

use super::certificate::{certificates_of, describe, pin_of};

/// How long the authority is valid, in days: longer than the server's machine lasts.
const AUTHORITY_DAYS: u32 = 7_300;
/// Clocks that are behind by less take a certificate that was just made.
const BEFORE_MS: i64 = 86_400_000;

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The server's certificate, followed by the authority's.
    pub cert: PathBuf,
    /// The server's key.
    pub key: PathBuf,
    /// The pin of the authority.
    pub pin: Pin,
    /// The authority was made, too.
    pub is_new_authority: bool,
    /// Until when the server's certificate is valid, UTC.
    pub until: String,
}

/// Makes a server's certificate in a folder, with the authority that is there, or a new one.
///
/// # Errors
/// When a name is none, or a file cannot be read or written, or the folder has a server's certificate or key that is
/// not of this authority; nothing that is there is replaced but one that is.
pub fn make(folder: &Path, names: &[String], days: u32, now_ms: i64) -> anyhow::Result<Made> {
    for name in names {
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-*:".contains(&b));
        if !is_name || (name.contains(':') && name.parse::<std::net::IpAddr>().is_err()) {
            bail!("--name {name:?} is neither a name nor an address: write it without https:// and without a port");
        }
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let [ca, ca_key, cert, key] = ["ca.crt", "ca.key", "server.crt", "server.key"].map(|name| folder.join(name));
    let there = |file: &Path| file.try_exists().with_context(|| file.display().to_string());
    let known = if there(&ca)? { certificates_of(&ca)? } else { Vec::new() };
    if there(&cert)? && !certificates_of(&cert).is_ok_and(|chain| chain.iter().skip(1).any(|der| known.contains(der))) {
        bail!(
            "{}: is there, and not of the authority in {}: it is not replaced. Name another folder, or move it and its key away",
            cert.display(),
            ca.display()
        );
    }
    if there(&key)? && !there(&cert)? {
        bail!(
            "{}: is there without its certificate: it is not replaced. Name another folder, or move it away",
            key.display()
        );
    }
    let (authority_pem, issuer, is_new_authority) = match (there(&ca)?, there(&ca_key)?) {
        (true, true) => {
            let pem = |file: &Path| std::fs::read_to_string(file).with_context(|| file.display().to_string());
            let signer = KeyPair::from_pem(&pem(&ca_key)?).with_context(|| ca_key.display().to_string())?;
            let text = pem(&ca)?;
            let issuer = Issuer::from_ca_cert_pem(&text, signer).with_context(|| ca.display().to_string())?;
            (text, issuer, false)
        }
        (false, false) => {
            let (text, key_text, issuer) = authority(now_ms)?;
            write(&ca_key, &key_text, 0o600)?;
            write(&ca, &text, 0o644)?;
            (text, issuer, true)
        }
        _ => bail!(
            "{}: has only one of ca.crt and ca.key; bring the other back, or name another folder",
            folder.display()
        ),
    };
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("tidemark", String::as_str));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_time(&mut params, now_ms, days)?;
    let server_key = KeyPair::generate()?;
    let server = params.signed_by(&server_key, &issuer)?;
    let until = describe(server.der()).map(|described| described.until()).unwrap_or_default();
    // The key first: a server that looks in between waits for the certificate.
    write(&key, &server_key.serialize_pem(), 0o600)?;
    write(&cert, &format!("{}{authority_pem}", server.pem()), 0o644)?;
    let pin = certificates_of(&ca)?.first().map(|der| pin_of(der)).context("the authority has no certificate")?;
    Ok(Made { ca, cert, key, pin, is_new_authority, until })
}

/// A new authority: its certificate and key as PEM, and what signs with it.
fn authority(now_ms: i64) -> anyhow::Result<(String, String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Tidemark, own authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_time(&mut params, now_ms, AUTHORITY_DAYS)?;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key_text = key.serialize_pem();
    Ok((certificate.pem(), key_text, Issuer::new(params, key)))
}

fn set_time(params: &mut CertificateParams, now_ms: i64, days: u32) -> anyhow::Result<()> {
    let at = |ms: i64| time::OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000));
    params.not_before = at(now_ms - BEFORE_MS)?;
    params.not_after = at(now_ms + i64::from(days) * 86_400_000)?;
    Ok(())
}

/// Writes a file whole or not at all, with this mode.
fn write(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let written = (|| {
        // What is left of a run that was cut off; never written to, since others may read it.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        let mut out = options.open(&new)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&new, file)
    })();
    written.with_context(|| file.display().to_string())
}
