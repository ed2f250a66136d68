//! Database URLs. One is the only secret of a configuration: its password is never shown.
//!
//! | module | what lives there |
//! |---|---|
//! | [`postgres`] | a PostgreSQL URL: what the driver takes, and what it does not know |
//! | [`encryption`] | the options on TLS, and what they come to together |

pub mod encryption;
pub mod postgres;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use thiserror::Error;

pub use self::postgres::{PostgresUrl, PostgresUrlError};

/// The database when none is named.
pub const DEFAULT_DATABASE: &str = "sqlite:///tidemark-upstream.db";

/// The place of an upstream database.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// The embedded one: `sqlite:///relative.db`, `sqlite:////absolute.db`.
    Sqlite(PathBuf),
    /// `postgresql://…` or `postgres://…`.
    Postgres(Box<PostgresUrl>),
}

/// A word that names no database this server can use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatabaseUrlError {
    /// Another scheme, or none.
    #[error(
        "{0} names no database: use sqlite:///relative.db, sqlite:////absolute/path.db or postgresql://user:password@host:port/database"
    )]
    Scheme(String),
    /// `sqlite://` without a path.
    #[error(
        "{0} names no file: write sqlite:///relative.db or sqlite:////absolute/path.db (three slashes, then the path)"
    )]
    SqlitePath(String),
    /// Not a connection string.
    #[error(
        "{url} is not a PostgreSQL URL: {message}; its form is postgresql://user:password@host:port/database?sslmode=verify-full"
    )]
    Postgres {
        /// The URL, its password hidden.
        url: String,
        /// The mistake.
        message: String,
    },
    /// A password for what takes none, or has one.
    #[error("{0} takes no password from a file: only the URL of a PostgreSQL without one does")]
    Password(String),
}

impl DatabaseUrl {
    /// The same, with a password.
    ///
    /// # Errors
    /// When it is no PostgreSQL, or has a password already.
    pub fn with_password(self, password: &str) -> Result<Self, DatabaseUrlError> {
        match self {
            Self::Postgres(mut config) if config.get_password().is_none() => {
                config.set_password(password);
                Ok(Self::Postgres(config))
            }
            other => Err(DatabaseUrlError::Password(other.to_string())),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = url.strip_prefix("sqlite://") {
            let path = rest.strip_prefix('/').filter(|path| !path.is_empty() && !path.ends_with('/'));
            return path
                .map(|path| Self::Sqlite(PathBuf::from(path)))
                .ok_or_else(|| DatabaseUrlError::SqlitePath(hide_password(url)));
        }
        if url.starts_with("postgresql://") || url.starts_with("postgres://") {
            let bad = |message: String| DatabaseUrlError::Postgres { url: hide_password(url), message };
            return url
                .parse()
                .map(|url| Self::Postgres(Box::new(url)))
                .map_err(|error: PostgresUrlError| bad(error.to_string()));
        }
        Err(DatabaseUrlError::Scheme(hide_password(url)))
    }
}

/// The URL with everything that may be a password replaced by `***`: between user and the last `@`, and in options.
/// Where an `@` stands behind a `?`, nobody knows which of the two is part of a password, and nothing is shown.
#[must_use]
pub fn hide_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return hide_in_words(url) };
    let (place, options) = rest.split_once('?').map_or((rest, None), |(place, options)| (place, Some(options)));
    if options.is_some_and(|options| options.contains('@')) {
        return format!("{scheme}://***");
    }
    let mut shown = format!("{scheme}://");
    let (user, host) = place.rsplit_once('@').map_or((None, place), |(user, host)| (Some(user), host));
    if let Some(user) = user {
        let (name, password) = user.split_once(':').map_or((user, ""), |(name, _)| (name, ":***"));
        shown.extend([name, password, "@"]);
    }
    shown.push_str(host);
    if let Some(options) = options {
        let options: Vec<String> = options
            .split('&')
            .map(|option| match option.split_once('=') {
                Some((name, _)) if is_of_a_password(name) => format!("{name}=***"),
                _ => option.to_owned(),
            })
            .collect();
        shown.push('?');
        shown.push_str(&options.join("&"));
    }
    shown
}

/// What is no URL, as `host=db password=…` of libpq, or one that lacks its slashes: up to what may be secret.
fn hide_in_words(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let user = if text.contains('@') { text.find(':') } else { None };
    match [lower.find("pass"), lower.find("pwd"), user].into_iter().flatten().min() {
        Some(at) => format!("{}***", &text[..at]),
        None => text.to_owned(),
    }
}

/// The name of an option is one of a password's, however it is written.
fn is_of_a_password(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
    name.contains("pass") || name.contains("pwd")
}

impl fmt::Display for DatabaseUrl {
    /// Shows what may be shown: no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:///{}", path.display()),
            Self::Postgres(url) => fmt::Display::fmt(url, f),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn sqlite_urls_follow_sqlalchemy() {
        let path = |url: &str| match url.parse() {
            Ok(DatabaseUrl::Sqlite(path)) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path("sqlite:///a/b.db"), Path::new("a/b.db"));
        assert_eq!(path("sqlite:////a/b.db"), Path::new("/a/b.db"));
        for bad in ["sqlite://", "sqlite:///", "sqlite://a.db", "sqlite:///dir/"] {
            assert!(matches!(bad.parse::<DatabaseUrl>(), Err(DatabaseUrlError::SqlitePath(_))), "{bad}");
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        for bad in ["", "x.db", "mysql://u:secret@h/d", "http://h", "sqlite:/x", "file:secret"] {
            let error = bad.parse::<DatabaseUrl>().unwrap_err();
            assert!(matches!(error, DatabaseUrlError::Scheme(_)), "{bad}");
            assert!(!error.to_string().contains("u:secret"), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgresql://u:s3cr3t@h:1/d",
            "postgres://u:s3cr3t@h:x/d",
            "postgres://u:s3:cr3t@s3cr3t@h/d?password=s3cr3t",
            "postgres://h/d?password=s3cr3t&bogus=1",
            "mysql://u:s3cr3t@h/d",
            "postgres://u:s3cr3t@[::1/d",
            "postgres://h/d?password=s3@cr3t&bogus=1",
            "postgres://u:s3cr3t@h/d?password=s3@cr3t&bogus=1",
            "postgres://u@h/d?PASSWORD=s3cr3t",
            "postgres://u@h/d?p%61ssword=s3cr3t&bogus=1",
            "mysql://h/d?password=s3@cr3t",
            "postgres://u:s3?cr3t@h/d",
            "host=db user=u password=s3cr3t",
            "host=db user=u password = 's3 cr3t' dbname=d",
        ] {
            let shown = match url.parse::<DatabaseUrl>() {
                Ok(url) => format!("{url} {url:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("cr3t"), "{shown}");
        }
    }
}
