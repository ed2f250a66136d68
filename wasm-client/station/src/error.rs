//! The errors of a station.

use tidemark_client::Error;
use tidemark_client::bundle::BundleError;
use tidemark_client::sync::join::JoinError;
use tidemark_client::sync::rejoin::RejoinError;

use crate::entropy::NoEntropy;

/// An error of a station.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The file.
    #[error(transparent)]
    Store(#[from] Error),
    /// Joining.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Rejoining.
    #[error(transparent)]
    Rejoin(#[from] RejoinError),
    /// The server cannot be reached; nothing is lost.
    #[error("{0}")]
    Unreachable(String),
    /// A bundle or a receipt.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}
