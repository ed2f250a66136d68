//! TLS of the endpoint: the certificate that the server shows, kept up to date while connections stay.
//!
//! ```text
//! files ── read: parsed, checked, described ──▶ keeper: what new handshakes get ──▶ http::talk
//!    └──────── looked at every few seconds, and on SIGHUP ────────┘
//! ```
//!
//! | file | what lives there |
//! |---|---|
//! | `files` | where certificate, key and the clients' authority are, and what can be wrong with them |
//! | `read` | from files to what rustls serves with |
//! | `certificate` | what a certificate says of itself, for people; its pin |
//! | `needed` | until when the certificates are good, and what clients make of them |
//! | `handshake` | why a handshake failed |
//! | `keeper` | the certificate in use, and its renewal |
//! | `make` | an authority and a certificate of one's own |

mod certificate;
mod files;
mod handshake;
mod keeper;
pub mod make;
mod needed;
mod read;

pub use self::certificate::{Described, certificates_of, describe, pin_of, pin_of_file};
pub use self::files::{ClientCa, TlsFileError, TlsFiles};
pub use self::handshake::HandshakeFailure;
pub use self::keeper::{Reloaded, Tls};
pub use self::needed::{Doubt, Role};
pub use self::read::examine;
