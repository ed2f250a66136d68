//! The database of a command and the schema to go by, as they are typed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use tidemark_core::schema::Schema;
use tidemark_settings::secret;

use crate::config::{ServerConfig, load_schema};
use crate::database::{DEFAULT_DATABASE, DatabaseUrl, DatabaseUrlError};
use crate::fleet::invitation::{self, NAME_BYTES_MAX};
use crate::server::{open_upstream, schema_of_database};
use crate::upstream::Upstream;

/// The database of a command, and the schema to go by.
#[derive(Args)]
pub(super) struct Place {
    /// The database: sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host:port/database.
    #[arg(long, env = "TIDEMARK_DATABASE_URL", hide_env_values = true, value_name = "URL", default_value = DEFAULT_DATABASE)]
    database: String,
    /// A file with the database's URL on its one line, instead of --database. It may begin with
    /// $CREDENTIALS_DIRECTORY/, where systemd puts the credentials of a service.
    #[arg(long, value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    /// A file with the password for a PostgreSQL URL without one.
    #[arg(long, value_name = "FILE")]
    database_password_file: Option<PathBuf>,
    /// The schema file; without it, the schema the database was migrated to, and for a new one the shipped schema.
    #[arg(long, env = "TIDEMARK_SCHEMA", value_name = "FILE")]
    pub(super) schema: Option<PathBuf>,
}

/// The options of a command that prints facts.
#[derive(Args)]
pub(super) struct Look {
    /// As JSON, for programs.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) place: Place,
}

/// The place where a schema was found.
pub(super) enum FoundIn<'o> {
    /// In the file that was named.
    File(&'o Path),
    /// In the database.
    Database,
    /// In this program: nothing was named, and the database is new.
    Shipped,
}

impl Place {
    pub(super) fn database(&self) -> anyhow::Result<DatabaseUrl> {
        self.database_or_key().map_err(|(_, error)| error)
    }

    /// The database; where none can be made of what is said, the setting that is to blame.
    pub(super) fn database_or_key(&self) -> Result<DatabaseUrl, (&'static str, anyhow::Error)> {
        let variables: Vec<_> = std::env::vars_os().collect();
        let secret = |key: &'static str, file: &Path| {
            secret::read(file, &variables).map_err(|error| (key, anyhow::Error::msg(error)))
        };
        let (key, url) = match &self.database_url_file {
            Some(file) => ("database_url_file", secret("database_url_file", file)?),
            None => ("database", self.database.clone()),
        };
        let database: DatabaseUrl = url.parse().map_err(|error: DatabaseUrlError| (key, error.into()))?;
        match &self.database_password_file {
            None => Ok(database),
            Some(file) => {
                let key = "database_password_file";
                database.with_password(&secret(key, file)?).map_err(|error| (key, error.into()))
            }
        }
    }

    /// Of the settings here that name a file, the hash of what it says.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn contents(&self) -> anyhow::Result<Vec<(&'static str, blake3::Hash)>> {
        let variables: Vec<_> = std::env::vars_os().collect();
        let mut contents = Vec::new();
        let secrets =
            [("database_url_file", &self.database_url_file), ("database_password_file", &self.database_password_file)];
        for (key, file) in secrets {
            if let Some(file) = file {
                let secret = secret::read(file, &variables).map_err(anyhow::Error::msg)?;
                contents.push((key, blake3::hash(secret.as_bytes())));
            }
        }
        if let Some(file) = &self.schema {
            contents.push(("schema", blake3::hash(load_schema(file)?.fingerprint().to_hex().as_bytes())));
        }
        Ok(contents)
    }

    /// The upstream, opened by the schema to go by.
    pub(super) async fn upstream(&self) -> anyhow::Result<Arc<dyn Upstream>> {
        Ok(self.open().await?.1)
    }

    /// [`Place::upstream`], and the configuration it was opened with.
    pub(super) async fn open(&self) -> anyhow::Result<(ServerConfig, Arc<dyn Upstream>)> {
        let config = self.config().await?;
        let upstream = open_upstream(&config).await?;
        Ok((config, upstream))
    }

    pub(super) async fn config(&self) -> anyhow::Result<ServerConfig> {
        let mut config = ServerConfig::new(self.database()?);
        config.schema = Arc::new(self.schema(&config.database).await?.0);
        Ok(config)
    }

    /// The schema to go by, and where it was found: the named file, else the schema the database was migrated to,
    /// else the shipped one.
    pub(super) async fn schema(&self, database: &DatabaseUrl) -> anyhow::Result<(Schema, FoundIn<'_>)> {
        if let Some(file) = &self.schema {
            return Ok((load_schema(file)?, FoundIn::File(file)));
        }
        Ok(match schema_of_database(database).await? {
            Some(recorded) => (recorded, FoundIn::Database),
            None => (tidemark_core::schema::shrinkage(), FoundIn::Shipped),
        })
    }
}

/// A name that an operator gives to a station, a reader or an operator: `whose` is that word with its article.
pub(super) fn checked_name<'n>(whose: &str, name: &'n str) -> anyhow::Result<&'n str> {
    let Some(name) = invitation::checked_name(name) else {
        bail!("{whose}'s name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
    };
    Ok(name)
}
