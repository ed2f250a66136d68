//! The database of a command and the schema to go by, as they are typed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tidemark_core::schema::Schema;

use crate::config::{ServerConfig, load_schema};
use crate::database::{DEFAULT_DATABASE, DatabaseUrl};
use crate::fleet::invitation::{self, NAME_BYTES_MAX};
use crate::server::{open_upstream, schema_of_database};
use crate::upstream::Upstream;

/// The database of a command, and the schema to go by.
#[derive(Args)]
pub(super) struct Place {
    /// The database: sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host:port/database.
    #[arg(long, env = "TIDEMARK_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database: Option<String>,
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
        Ok(self.database.as_deref().unwrap_or(DEFAULT_DATABASE).parse()?)
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

/// A name that an operator gives to a station or a reader.
pub(super) fn checked_name<'n>(whose: &str, name: &'n str) -> anyhow::Result<&'n str> {
    let Some(name) = invitation::checked_name(name) else {
        anyhow::bail!("a {whose}'s name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
    };
    Ok(name)
}
