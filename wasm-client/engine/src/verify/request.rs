//! The request that asks a server about rows.

use tidemark_core::protocol::path;
use tidemark_core::survey::{Ask, DigestRequest};

use crate::error::Result;
use crate::store::Store;
use crate::sync::conversation::Joined;
use crate::sync::{Request, Stop};

/// The time that a server may read, in milliseconds.
const TIMEOUT_MS: u64 = 60_000;

/// Makes the request for questions about rows; the inner error says why the server cannot be asked.
pub(crate) fn request_of(store: &Store, id: u64, asks: Vec<Ask>) -> Result<std::result::Result<Request, Stop>> {
    let meta = store.meta()?;
    let request = DigestRequest { fingerprint: store.schema().fingerprint().to_hex(), asks };
    Ok(Joined::of(store.file(), &meta).map(|joined| {
        let request = Request::json(&joined.server, path::DIGEST, Some(joined.token), &request);
        request.within_ms(TIMEOUT_MS).numbered(id)
    }))
}
