//! Requests and their answers, refusals by cause, connections, and waits for a turn.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::make::{self, SECONDS, seconds};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// A turn to decode a frame.
    Decode,
    /// A turn to apply a batch.
    Apply,
    /// A turn to survey rows.
    Survey,
}

/// The instruments of the endpoint.
#[derive(Debug)]
pub struct Requests {
    answered: IntCounterVec,
    seconds: HistogramVec,
    running: IntGauge,
    received: IntCounterVec,
    sent: IntCounterVec,
    refused: IntCounterVec,
    connections: IntGaugeVec,
    accepted: IntCounter,
    closed: IntCounterVec,
    waits: [Histogram; 3],
    panics: IntCounter,
}

/// One request that runs; it counts until this is dropped.
#[derive(Debug)]
pub struct Running<'r>(&'r IntGauge);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Requests {
    pub(super) fn new(registry: &Registry) -> Self {
        let waits = make::histograms(
            registry,
            "tidemark_turn_wait_seconds",
            "How long requests waited for a turn to decode, to apply or to survey.",
            &SECONDS,
            &["queue"],
        );
        Self {
            answered: make::counters(
                registry,
                "tidemark_http_requests_total",
                "Requests that were answered, by route and status.",
                &["route", "status"],
            ),
            seconds: make::histograms(
                registry,
                "tidemark_http_request_duration_seconds",
                "How long requests took, from their head to their answer.",
                &SECONDS,
                &["route"],
            ),
            running: make::gauge(registry, "tidemark_http_requests_running", "Requests that are being answered."),
            received: make::counters(
                registry,
                "tidemark_http_received_bytes_total",
                "Bytes of the bodies of requests that were read.",
                &["route"],
            ),
            sent: make::counters(
                registry,
                "tidemark_http_sent_bytes_total",
                "Bytes of the bodies of answers.",
                &["route"],
            ),
            refused: make::counters(
                registry,
                "tidemark_refusals_total",
                "Requests that were refused, by status, code and, of 503, reason.",
                &["status", "code", "reason"],
            ),
            connections: make::gauges(
                registry,
                "tidemark_connections",
                "Connections to the endpoint: known, over which a valid token came, or unknown.",
                &["holder"],
            ),
            accepted: make::counter(registry, "tidemark_connections_accepted_total", "Connections that were taken in."),
            closed: make::counters(
                registry,
                "tidemark_connections_closed_total",
                "Connections that were closed because a bound was reached.",
                &["bound"],
            ),
            waits: ["decode", "apply", "survey"].map(|queue| waits.with_label_values(&[queue])),
            panics: make::counter(registry, "tidemark_panics_total", "Faults of this program that were caught."),
        }
    }

    /// A request began.
    pub fn begin(&self) -> Running<'_> {
        self.running.inc();
        Running(&self.running)
    }

    /// A request was answered. `route` is one of the table of routes, or `other`.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration, received: u64, sent: u64) {
        self.answered.with_label_values(&[route, status_text(status)]).inc();
        self.seconds.with_label_values(&[route]).observe(seconds(took));
        self.received.with_label_values(&[route]).inc_by(received);
        self.sent.with_label_values(&[route]).inc_by(sent);
    }

    /// A request was refused.
    pub fn refused(&self, status: u16, code: &str, reason: &str) {
        self.refused.with_label_values(&[status_text(status), code, reason]).inc();
    }

    /// So many connections are there.
    pub fn connections(&self, known: usize, unknown: usize) {
        self.connections.with_label_values(&["known"]).set(known as i64);
        self.connections.with_label_values(&["unknown"]).set(unknown as i64);
    }

    /// A connection was taken in.
    pub fn accepted(&self) {
        self.accepted.inc();
    }

    /// A connection was closed for a bound.
    pub(crate) fn closed(&self, bound: &'static str) {
        self.closed.with_label_values(&[bound]).inc();
    }

    /// A request waited for a turn, with or without success.
    pub fn waited(&self, queue: Queue, wait: Duration) {
        self.waits[queue as usize].observe(seconds(wait));
    }

    /// So many panics were caught since the program began.
    pub fn panics(&self, count: u64) {
        self.panics.inc_by(count.saturating_sub(self.panics.get()));
    }
}

/// A status as a label. Only what this server answers with is one.
const fn status_text(status: u16) -> &'static str {
    match status {
        200 => "200",
        201 => "201",
        204 => "204",
        301 => "301",
        302 => "302",
        303 => "303",
        304 => "304",
        307 => "307",
        308 => "308",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        406 => "406",
        408 => "408",
        409 => "409",
        413 => "413",
        415 => "415",
        422 => "422",
        429 => "429",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}
