//! The ways a join code is handed out: in words, as a link to the field notebook, and as a QR code for a phone. The
//! code stays alone on the last line, where scripts take it.

use serde_json::json;
use tidemark_core::joincode::JoinCode;

use super::terminal::{print_json, shown_ms};
use crate::fleet::qr;
use crate::http::MOUNT;

/// The purpose of a code.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'i> {
    /// A new station.
    Join,
    /// A station that had a code before, and has not joined yet.
    JoinAfterAll,
    /// A file that takes the place of this station.
    Replace(&'i str),
    /// Another token for the station of this number.
    Rotate(u32),
}

/// A code, and what it is for.
pub(super) struct Invitation<'i> {
    /// The station's name.
    pub(super) name: &'i str,
    /// Its purpose.
    pub(super) purpose: Purpose<'i>,
    /// The server's URL and the secret.
    pub(super) code: JoinCode,
    /// Until when it can be used, milliseconds since 1970 UTC.
    pub(super) expires_at_ms: i64,
}

impl Invitation<'_> {
    /// The page that takes the code by itself. Only for a station that joins: a browser cannot go on under another
    /// number.
    fn link(&self, code: &str) -> Option<String> {
        let joins = matches!(self.purpose, Purpose::Join | Purpose::JoinAfterAll);
        joins.then(|| format!("{}{MOUNT}#join={code}", self.code.url))
    }

    /// Prints it.
    pub(super) fn show(&self, as_json: bool) -> anyhow::Result<()> {
        let (name, url, code) = (self.name, &self.code.url, self.code.encode());
        let link = self.link(&code);
        if as_json {
            let (replaces, rotates) = match self.purpose {
                Purpose::Join | Purpose::JoinAfterAll => (None, None),
                Purpose::Replace(old) => (Some(old), None),
                Purpose::Rotate(number) => (None, Some(number)),
            };
            return print_json(&json!({
                "name": name,
                "url": url,
                "replaces": replaces,
                "rotates": rotates,
                "expires_at_ms": self.expires_at_ms,
                "pin": self.code.pin.map(|pin| pin.to_hex()),
                "notebook": link,
                "code": code,
            }));
        }
        let until = shown_ms(Some(self.expires_at_ms));
        match self.purpose {
            Purpose::Join => say!("station {name:?} may join {url} until {until} UTC."),
            Purpose::JoinAfterAll => say!(
                "station {name:?} has not joined yet; it may do so at {url} until {until} UTC. Its former code has ended."
            ),
            Purpose::Replace(old) => {
                say!(
                    "station {name:?} may replace {old:?} at {url} until {until} UTC; {old:?} is revoked when it does."
                );
            }
            Purpose::Rotate(number) => say!(
                "the token of station {number} {name:?} has ended; it may take another one at {url} until {until} UTC."
            ),
        }
        let verb = if matches!(self.purpose, Purpose::Replace(_)) { "rejoin" } else { "join" };
        if let Some(pin) = self.code.pin {
            say!("The station takes only a server that shows the certificate with this pin (SHA-256): {pin}");
        }
        say!("The code works once. On the station: tidemark {verb} CODE (or: tidemark {verb} CODE --server URL)");
        if let Some(link) = link {
            say!("In a browser, as the field notebook: {link}");
            if let Some(drawn) = qr::drawn(&link) {
                say!("{drawn}");
            }
        }
        say!("{code}");
        Ok(())
    }
}
