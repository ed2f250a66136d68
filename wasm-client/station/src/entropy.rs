//! The one place of this program that draws randomness: from the operating system.

use tidemark_client::Secret;

/// The operating system has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers: {0}")]
pub struct NoEntropy(#[from] getrandom::Error);

#[allow(clippy::disallowed_methods)] // This module is the program's source of randomness.
fn random<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A new station's uuid: version 4 (RFC 9562).
///
/// # Errors
/// When there is no randomness.
pub fn station_uuid() -> Result<[u8; 16], NoEntropy> {
    let mut uuid = random::<16>()?;
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    Ok(uuid)
}

/// A new token.
///
/// # Errors
/// When there is no randomness.
pub fn token() -> Result<Secret, NoEntropy> {
    random().map(Secret)
}

/// A number that makes this process wait differently from others.
///
/// # Errors
/// When there is no randomness.
pub fn seed() -> Result<u64, NoEntropy> {
    random().map(u64::from_le_bytes)
}
