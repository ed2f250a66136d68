//! How a request came.

/// A request came over TLS: a mark in its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encrypted;
