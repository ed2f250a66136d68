//! TLS of the endpoint: who is let in, renewal while connections stay, and both versions of HTTP within their bounds.

mod http2;
mod memory;
mod plain;
mod renewal;
mod shaking;
