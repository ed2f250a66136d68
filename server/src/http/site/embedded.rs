//! The notebook that was there when this program was built (`server/build.rs`).

use std::sync::Arc;

use bytes::Bytes;

use super::files::Site;

/// Path below `wasm-client/web/site/notebook`, and the bytes.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/notebook.rs"));

impl Site {
    /// The notebook in this program; empty when it was built without.
    #[must_use]
    pub fn embedded() -> Arc<Self> {
        Arc::new(Self::of(FILES.iter().map(|&(path, bytes)| (path.to_owned(), Bytes::from_static(bytes))).collect()))
    }
}
