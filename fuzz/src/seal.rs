//! Sealed files as a forger with the key would mend them, so that what is tried is the reader behind the seals.

use blake3::Hasher;
use tidemark_core::sealed::{PRELUDE_BYTES, Purpose};

/// The hash of the token of every station here.
pub fn token_hash() -> [u8; 32] {
    tidemark_core::secret::secret_hash(&crate::station::TOKEN)
}

/// Gives a file its magic and version, and every record that is whole its length's worth of payload and a seal that
/// fits. What follows the last whole record stays as it is.
pub fn mended(data: &[u8], purpose: &Purpose) -> Vec<u8> {
    const HEAD: usize = 5;
    const SEAL: usize = 32;
    let mut file = data.to_vec();
    if file.len() < PRELUDE_BYTES {
        return file;
    }
    file[..4].copy_from_slice(&purpose.magic);
    file[4..PRELUDE_BYTES].copy_from_slice(&[1, 0, 0, 0]);
    let key = blake3::derive_key(purpose.context, &token_hash());
    let mut before = file[..PRELUDE_BYTES].to_vec();
    let mut at = PRELUDE_BYTES;
    while let Some(length) = file.get(at + 1..at + HEAD) {
        let length = u32::from_le_bytes(length.try_into().expect("BUG: four bytes")) as usize;
        let Some(end) = at.checked_add(HEAD + length).filter(|end| end + SEAL <= file.len()) else { break };
        let seal = Hasher::new_keyed(&key).update(&before).update(&file[at..end]).finalize();
        file[end..end + SEAL].copy_from_slice(seal.as_bytes());
        before = seal.as_bytes().to_vec();
        at = end + SEAL;
    }
    file
}
