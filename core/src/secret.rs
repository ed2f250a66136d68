//! Secrets as a server keeps them: hashed.

/// The hash under which a secret of 32 random bytes (a join code's, a station's token) is kept.
///
/// The secret itself is as random as the hash, so no salt and no slow hash is needed.
#[must_use]
pub fn secret_hash(secret: &[u8; 32]) -> [u8; 32] {
    *blake3::hash(secret).as_bytes()
}
