//! The request that asks a server about rows.

use tidemark_core::survey::{Ask, DigestRequest};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::sync::{Method, Request, ServerUrl, Stop, StopKind};

/// How long a server may read.
const TIMEOUT_MS: u64 = 60_000;

/// A question to the server about the station's rows; the second way out: it cannot be asked.
pub(crate) fn request_of(store: &Store, id: u64, asks: Vec<Ask>) -> Result<std::result::Result<Request, Stop>> {
    let meta = store.meta()?;
    let (Some(token), Some(server), Some(_)) = (meta.token, meta.server, meta.membership) else {
        let message = Error::NotJoined { file: store.file().to_owned() }.to_string();
        return Ok(Err(Stop::new(StopKind::NotJoined, message)));
    };
    let url = match ServerUrl::parse(&server) {
        Ok(server) => server.join("/v1/digest"),
        Err(error) => return Ok(Err(Stop::new(StopKind::Refused, format!("{}: {error}", store.file())))),
    };
    let request = DigestRequest { fingerprint: store.schema().fingerprint().to_hex(), asks };
    Ok(Ok(Request {
        id,
        method: Method::Post,
        url,
        token: Some(token),
        content_type: Some("application/json"),
        body: serde_json::to_vec(&request).expect("BUG: names, numbers and hashes serialise"),
        timeout_ms: TIMEOUT_MS,
    }))
}
