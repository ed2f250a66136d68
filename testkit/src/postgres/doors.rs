//! Whom a private cluster lets in, and how: over TLS, with a certificate of the client's own, or in the clear.
//!
//! The owner of the cluster ([`PostgresCluster::admin`]) always comes in with a password in the clear.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::PostgresCluster;
use super::install::{is_root, output_of};
use super::roles::ADMIN;
use crate::certificates::{Authority, Certificate};
use crate::world::wait_for;

/// How everybody else comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// With a password, over TLS or not.
    Open,
    /// With a password, over TLS only (`hostssl`).
    Tls,
    /// With a password, in the clear only (`hostnossl`).
    Clear,
    /// Over TLS, with a certificate in place of the password, whose common name is the user.
    Certificate,
    /// Over TLS, with a password and any certificate of the authority.
    PasswordAndCertificate,
}

impl Door {
    const fn rule(self) -> &'static str {
        match self {
            Self::Open => "host all all 127.0.0.1/32 scram-sha-256",
            Self::Tls => "hostssl all all 127.0.0.1/32 scram-sha-256",
            Self::Clear => "hostnossl all all 127.0.0.1/32 scram-sha-256",
            Self::Certificate => "hostssl all all 127.0.0.1/32 cert",
            Self::PasswordAndCertificate => "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca",
        }
    }
}

impl PostgresCluster {
    /// Gives a private cluster a certificate, or another one: it speaks TLS from the next connection on. `clients`
    /// vouches for the certificates of those who come in.
    ///
    /// # Errors
    /// When a file cannot be written, or the server does not take it.
    ///
    /// # Panics
    /// When the cluster is shared.
    pub fn speak_tls(&self, certificate: &Certificate, clients: Option<&Authority>) -> Result<()> {
        let data = self.folder().join("data");
        let files = certificate.write(&data, "server")?;
        self.give(&files.key)?;
        let admin = self.admin("postgres")?;
        if let Some(clients) = clients {
            clients.write(&data.join("clients.pem"))?;
            admin.batch("ALTER SYSTEM SET ssl_ca_file = 'clients.pem'")?;
        }
        admin.batch("ALTER SYSTEM SET ssl = on")?;
        self.reload()
    }

    /// Lets everybody in by this door, from the next connection on.
    ///
    /// # Errors
    /// When the file cannot be written, or the server does not take it.
    ///
    /// # Panics
    /// When the cluster is shared.
    pub fn let_in(&self, door: Door) -> Result<()> {
        let rules = format!("host all {ADMIN} 127.0.0.1/32 scram-sha-256\n{}\n", door.rule());
        std::fs::write(self.folder().join("data/pg_hba.conf"), rules)?;
        self.reload()
    }

    /// A file becomes that of the user whom the server runs as.
    fn give(&self, file: &Path) -> Result<()> {
        if is_root()? {
            output_of(Command::new("chown").arg("postgres").arg(file)).context("there is no user postgres")?;
        }
        Ok(())
    }

    /// The configuration is read again, and holds for the next connection.
    fn reload(&self) -> Result<()> {
        const READ_AT: &str = "SELECT pg_conf_load_time()::text";
        let admin = self.admin("postgres")?;
        let before: String = admin.value(READ_AT)?;
        admin.value::<bool>("SELECT pg_reload_conf()")?;
        wait_for("PostgreSQL to read its configuration", Duration::from_secs(20), || {
            let now: String = self.admin("postgres")?.value(READ_AT)?;
            Ok((now != before).then_some(()))
        })
    }
}
