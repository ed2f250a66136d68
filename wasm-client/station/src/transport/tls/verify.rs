//! The judgement of a server's certificate.
//!
//! - Of **authorities** (the system's, or those of a file): one of them vouches for the chain, it is valid now, and for
//!   the name in the URL. A certificate that is itself in the file is taken as it is.
//! - Of a **pin**: the server's own certificate is the pinned one, and nothing else is asked, as with a key that one
//!   knows; or the pinned one stands in the chain that the server shows, vouches for it, and all is asked as above. The
//!   name is, too: an authority may vouch for other machines, and none of those is this server.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tidemark_core::joincode::Pin;

/// What a pin that no certificate has is told as.
pub(super) const OTHER_PIN: CertificateError = CertificateError::ApplicationVerificationFailure;

/// A server that an authority vouches for.
#[derive(Debug)]
pub(super) struct Known {
    roots: RootCertStore,
    exactly: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Known {
    /// Of these authorities; `None` when none of them is one.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let algorithms = provider.signature_verification_algorithms;
        (!roots.is_empty()).then_some(Self { roots, exactly: certificates, algorithms })
    }
}

/// A server with a certificate that one knows.
#[derive(Debug)]
pub(super) struct Pinned {
    pin: Pin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    pub(super) fn new(pin: Pin, provider: &Arc<CryptoProvider>) -> Self {
        Self { pin, algorithms: provider.signature_verification_algorithms }
    }

    fn is(&self, der: &[u8]) -> bool {
        ring::digest::digest(&ring::digest::SHA256, der).as_ref() == self.pin.0
    }
}

/// An authority vouches for a chain, now, and for this name.
fn vouched(
    own: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    roots: &RootCertStore,
    name: &ServerName<'_>,
    now: UnixTime,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<ServerCertVerified, Error> {
    let parsed = ParsedCertificate::try_from(own)?;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, chain, now, algorithms.all)?;
    verify_server_name(&parsed, name)?;
    Ok(ServerCertVerified::assertion())
}

macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, signature, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let vouched = vouched(own, chain, &self.roots, name, now, self.algorithms);
        // Who names the certificate itself knows the server by it.
        if vouched.is_err() && self.exactly.iter().any(|known| known.as_ref() == own.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        vouched
    }

    signatures!();
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is(own) {
            return Ok(ServerCertVerified::assertion());
        }
        let pinned = chain.iter().find(|certificate| self.is(certificate));
        let pinned = pinned.ok_or(Error::InvalidCertificate(OTHER_PIN))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        vouched(own, chain, &roots, name, now, self.algorithms)
    }

    signatures!();
}
