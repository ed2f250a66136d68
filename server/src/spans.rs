//! Spans of a request and of a batch on its way, for OpenTelemetry (feature `otel`). Without the feature they are
//! nothing, and cost nothing. They carry numbers: of stations, changes and bytes; never what is in a row.

/// The target of all of them: other layers leave them out by it.
#[cfg(feature = "otel")]
pub const TARGET: &str = "tidemark_server::spans";

/// A span with fields, as `tracing::info_span!` makes it.
#[cfg(feature = "otel")]
macro_rules! span {
    ($($span:tt)*) => { ::tracing::info_span!(target: "tidemark_server::spans", $($span)*) };
}

/// No span.
#[cfg(not(feature = "otel"))]
macro_rules! span {
    ($($span:tt)*) => {
        ::tracing::Span::none()
    };
}

pub(crate) use span;
