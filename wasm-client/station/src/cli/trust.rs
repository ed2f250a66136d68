//! Whom to trust, as every command that asks a server takes it.

use std::path::PathBuf;

use tidemark_client::Store;
use tidemark_client::trust::Trust;

use super::fatal::Fatal;
use crate::station::Station;
use crate::transport::{HttpTransport, Identity, TlsOptions, read_ca};

/// What stands here holds for this command; `join`, `rejoin` and `server` keep the authority with the server in the
/// station's file.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TrustArgs {
    /// Trust the server if one of the authorities in this file (PEM) vouches for it, in place of those of this system;
    /// or if its own certificate is in it. `join`, `rejoin` and `server` keep it in the station's file.
    #[arg(long, global = true, env = "TIDEMARK_CA", value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// The certificate to show to a server that asks for one, PEM.
    #[arg(long, global = true, env = "TIDEMARK_CLIENT_CERT", value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Its private key, PEM, not encrypted.
    #[arg(long, global = true, env = "TIDEMARK_CLIENT_KEY", value_name = "FILE")]
    client_key: Option<PathBuf>,
}

impl TrustArgs {
    /// The authorities that are given for this command.
    pub(super) fn given(&self) -> Result<Option<Trust>, Fatal> {
        let read = self.ca.as_deref().map(read_ca).transpose();
        read.map_err(|error| Fatal::new(format!("--ca {error}")))
    }

    /// The files that are given for this command, with their options.
    #[cfg(windows)]
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &std::path::Path)> {
        let all = [("--ca", &self.ca), ("--client-cert", &self.client_cert), ("--client-key", &self.client_key)];
        all.into_iter().filter_map(|(option, file)| Some((option, file.as_deref()?)))
    }

    fn identity(&self) -> Result<Option<Identity>, Fatal> {
        match (&self.client_cert, &self.client_key) {
            (Some(cert), Some(key)) => {
                let identity = Identity::read(cert, key);
                identity.map(Some).map_err(|error| Fatal::new(format!("--client-cert, --client-key: {error}")))
            }
            (None, None) => Ok(None),
            _ => Err(Fatal::new("give --client-cert FILE and --client-key FILE, both or neither")),
        }
    }

    /// The station of an open file, that trusts whom it is told.
    pub(super) fn station(&self, store: Store) -> Result<Station, Fatal> {
        Ok(Station::from(store).trusting(self.given()?, self.identity()?))
    }

    /// The network, for a file.
    pub(super) fn transport(&self, store: &Store) -> Result<HttpTransport, Fatal> {
        let trust = match self.given()? {
            Some(trust) => trust,
            None => store.trust()?,
        };
        Ok(HttpTransport::with(TlsOptions { trust, identity: self.identity()? }))
    }
}
