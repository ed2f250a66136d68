//! The certificates that the server needs, and handshakes that fail.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::make;

/// The instruments. The labels are names of `Role` and `HandshakeFailure` in [`crate::tls`].
#[derive(Debug)]
pub struct Tls {
    expiry: IntGaugeVec,
    failures: IntCounterVec,
}

impl Tls {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            expiry: make::gauges(
                registry,
                "tidemark_tls_certificate_expiry_timestamp_seconds",
                "Until when the certificates are good, seconds since 1970 UTC: the server's own, and the first to end of \
                 the others that it shows, and of its clients' authority.",
                &["certificate"],
            ),
            failures: make::counters(
                registry,
                "tidemark_tls_handshake_failures_total",
                "Handshakes of TLS that failed, by cause.",
                &["cause"],
            ),
        }
    }

    /// So long a certificate is good, in seconds since 1970 UTC; `None`: there is none.
    pub fn expires(&self, certificate: &'static str, until_s: Option<i64>) {
        match until_s {
            Some(until_s) => self.expiry.with_label_values(&[certificate]).set(until_s),
            // What is not there has nothing to remove.
            None => drop(self.expiry.remove_label_values(&[certificate])),
        }
    }

    /// A cause for which handshakes may fail: it is told with 0 until one does.
    pub fn handshakes_may_fail(&self, cause: &'static str) {
        drop(self.failures.with_label_values(&[cause]));
    }

    /// A handshake failed.
    pub fn handshake_failed(&self, cause: &'static str) {
        self.failures.with_label_values(&[cause]).inc();
    }
}
