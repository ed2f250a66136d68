//! Traces for OpenTelemetry (feature `otel`), sent over HTTP to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names
//! (`http://127.0.0.1:4318`); none without it. What the SDK takes from its other variables, as how many are sampled
//! (`OTEL_TRACES_SAMPLER`), it takes.

use std::sync::OnceLock;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::terminal::complain;
use crate::spans::TARGET;

/// The variable that names the collector.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Sends spans, if a collector is named.
pub(super) fn layer<S>() -> Option<impl Layer<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    std::env::var_os(ENDPOINT).filter(|endpoint| !endpoint.is_empty())?;
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build();
    let exporter =
        exporter.inspect_err(|error| complain(&format!("no traces are sent to {ENDPOINT}: {error}"))).ok()?;
    let resource = Resource::builder().with_service_name("tidemark-server").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let tracer = provider.tracer("tidemark-server");
    let _ = PROVIDER.set(provider);
    Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter_fn(|meta| meta.target() == TARGET)))
}

/// Sends what is left, at the end of the program.
pub(super) fn finish() {
    if let Some(provider) = PROVIDER.get() {
        let _ = provider.shutdown();
    }
}
