//! What a station says of itself: whatever it is, it is taken within bounds or refused, and does nothing to a terminal.

use tidemark_core::limits::VERSION_BYTES_MAX;
use tidemark_core::printable::is_harmful;
use tidemark_core::protocol::ContactRequest;

/// The body of a report.
pub fn run(data: &[u8]) {
    let Ok(said) = serde_json::from_slice::<ContactRequest>(data) else { return };
    let said = said.bounded();
    let most = (1_u64 << 53) - 1;
    assert!([said.pending, said.free_disk_bytes].into_iter().flatten().all(|number| number <= most), "{said:?}");
    assert!([said.now_ms, said.oldest_ms].into_iter().flatten().all(|ms| ms.unsigned_abs() <= most), "{said:?}");
    let version = said.client_version.clone().unwrap_or_default();
    assert!(version.len() <= VERSION_BYTES_MAX && !version.contains(is_harmful), "{version:?}");
    assert_eq!(said.clone().bounded(), said, "what is within bounds stays as it is");
}
