//! Certificates as tests want them: made when the test runs, so none is in the repository and none runs out.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Somebody who vouches for certificates: a CA with a key of its own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, both as PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key, PKCS #8.
    pub key_pem: String,
    /// The certificate as it stands in a handshake.
    pub der: Vec<u8>,
}

/// The files of a certificate and of its key.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM; only its owner can read it.
    pub key: PathBuf,
}

/// The purpose of a certificate.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Server,
    Client,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy)]
enum Validity {
    Now,
    Past,
    Future,
}

impl Authority {
    /// A new one of this name.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its own certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its own certificate, as it stands in a handshake.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.issuer.der()
    }

    /// Writes its own certificate to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        Ok(std::fs::write(file, self.pem())?)
    }

    /// A certificate of a server with these names and addresses.
    ///
    /// # Errors
    /// When a name is none.
    pub fn server(&self, names: &[&str]) -> Result<Certificate> {
        self.issue(names, names.first().copied().unwrap_or("nobody"), Purpose::Server, Validity::Now)
    }

    /// One that ran out years ago.
    ///
    /// # Errors
    /// When a name is none.
    pub fn expired_server(&self, names: &[&str]) -> Result<Certificate> {
        self.issue(names, names.first().copied().unwrap_or("nobody"), Purpose::Server, Validity::Past)
    }

    /// One that begins years from now.
    ///
    /// # Errors
    /// When a name is none.
    pub fn future_server(&self, names: &[&str]) -> Result<Certificate> {
        self.issue(names, names.first().copied().unwrap_or("nobody"), Purpose::Server, Validity::Future)
    }

    /// A certificate of a client of this name: PostgreSQL takes it for the user's.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn client(&self, name: &str) -> Result<Certificate> {
        self.issue(&[], name, Purpose::Client, Validity::Now)
    }

    fn issue(&self, names: &[&str], common_name: &str, purpose: Purpose, validity: Validity) -> Result<Certificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        match validity {
            Validity::Now => {}
            Validity::Past => {
                (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
            }
            Validity::Future => params.not_before = date_time_ymd(2990, 1, 1),
        }
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Certificate { cert_pem: cert.pem(), key_pem: key.serialize_pem(), der: cert.der().to_vec() })
    }
}

impl Certificate {
    /// Writes certificate and key as `NAME.crt` and `NAME.key`; those of that name are replaced.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<CertificateFiles> {
        let files =
            CertificateFiles { cert: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
        std::fs::write(&files.cert, &self.cert_pem)?;
        std::fs::write(&files.key, &self.key_pem)?;
        #[cfg(unix)]
        std::fs::set_permissions(&files.key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(files)
    }
}
