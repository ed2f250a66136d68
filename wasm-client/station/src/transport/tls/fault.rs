//! From rustls' errors to the facts that the engine has for them.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};
use tidemark_client::sync::Untrusted;

use super::verify::OTHER_PIN;

/// The fact that an error of a connection is, and what there is to add; `None` when it is not about TLS.
pub(super) fn of_io(error: &io::Error) -> Option<(Untrusted, Option<String>)> {
    error.get_ref()?.downcast_ref::<Error>().map(of)
}

/// The fact that an error of TLS is.
pub(super) fn of(error: &Error) -> (Untrusted, Option<String>) {
    use AlertDescription as Alert;
    let fact = match error {
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
            return (Untrusted::WrongName, names(presented));
        }
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => Untrusted::UnknownAuthority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Untrusted::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Untrusted::NotYetValid,
            CertificateError::NotValidForName => Untrusted::WrongName,
            other if *other == OTHER_PIN => Untrusted::OtherPin,
            other => return (Untrusted::Other, Some(other.to_string())),
        },
        Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRevoked
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied,
        ) => Untrusted::ClientRefused,
        Error::InvalidMessage(_) => Untrusted::NotTls,
        other => return (Untrusted::Other, Some(other.to_string())),
    };
    (fact, None)
}

/// The names that a certificate is for, as people write them.
fn names(presented: &[String]) -> Option<String> {
    let names = presented.iter().map(|name| {
        let name = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest.trim_end_matches(')'));
        tidemark_client::printable(name.trim_matches('"'))
    });
    let names: Vec<String> = names.take(8).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
