//! TLS by rustls, beneath HTTP: the server is known by what the station's file says, and what speaks against it is a
//! fact, not a text.

mod connector;
mod fault;
mod options;
mod verify;

pub(super) use self::connector::{Noted, TlsConnector};
pub use self::options::{Identity, TlsFileError, TlsOptions, read_ca};
