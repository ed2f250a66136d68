//! Receipts: any bytes are answered; none trims what its chain does not prove to be upstream.

use std::io::Cursor as Bytes;

use tidemark_client::bundle::{Receipted, import_receipt};
use tidemark_core::receipt::PURPOSE;

use crate::seal::mended;
use crate::station::{chains, check_tidemark, with};

/// The bytes are a receipt; then the same with seals that fit. A hole in it is filled with the station's own chain,
/// which no fuzzer guesses.
pub fn run(data: &[u8]) {
    let chains = chains();
    let attempts =
        [data.to_vec(), mended(data, &PURPOSE), mended(&with_chain(data, &chains.last().expect("BUG").0), &PURPOSE)];
    for file in attempts {
        with(|store| {
            let taken = import_receipt(store, 1, Bytes::new(&file));
            check_tidemark(store, &chains);
            let tidemark = store.meta().expect("the row is whole").tidemark.seq;
            match taken {
                Ok(Receipted::Acked { tidemark: told, changes, .. }) => {
                    assert_eq!((told, changes), (tidemark, tidemark))
                }
                Ok(Receipted::Stale { .. }) | Err(_) => assert_eq!(tidemark, 0, "refused, but something was trimmed"),
            }
        });
    }
}

/// Replaces 32 bytes of `C`.
fn with_chain(data: &[u8], chain: &[u8; 32]) -> Vec<u8> {
    let mut data = data.to_vec();
    if let Some(at) = data.windows(32).position(|window| window.iter().all(|&byte| byte == b'C')) {
        data[at..at + 32].copy_from_slice(chain);
    }
    data
}
