//! How far a server's certificate is looked at, as `sslmode` says it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Looks at a server's certificate. That the server holds its key is checked in any case.
#[derive(Debug)]
pub(super) struct Verifier {
    /// The signatures that are known.
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// Who vouches; `None`: whoever answers is taken.
    pub(super) roots: Option<Arc<RootCertStore>>,
    /// The certificates of a file of authorities, as they stand there.
    pub(super) pinned: Vec<CertificateDer<'static>>,
    /// It must be for the name that was asked for.
    pub(super) names: bool,
}

/// It is over, or has not begun.
const fn is_of_another_time(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    )
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let cert = ParsedCertificate::try_from(end_entity)?;
        let signed = verify_server_cert_signed_by_trust_anchor(&cert, roots, intermediates, now, self.algorithms.all);
        match signed {
            // A certificate that signed itself and calls itself an authority, as the recipe of PostgreSQL's manual
            // makes it, is no server's for this library. Whoever put this very certificate into the file means it; its
            // time has been looked at first.
            Err(error) if self.pinned.contains(end_entity) && !is_of_another_time(&error) => {}
            // Such a one that nobody named.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) => {
                return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
            }
            signed => signed?,
        }
        if self.names {
            verify_server_name(&cert, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
