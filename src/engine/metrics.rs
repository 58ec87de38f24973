//! Counters and gauges, in the exposition format of Prometheus.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Labels = Vec<(String, String)>;

/// What one engine has done. Two engines in one process count apart.
pub struct Metrics {
    registry: Registry,
    pub(super) jobs_created: Counter,
    pub(super) jobs_ended: Family<Labels, Counter>,
    pub(super) jobs_running: Gauge,
    pub(super) events: Counter,
    pub(super) calls: Family<Labels, Counter>,
    pub(super) subtrees: Family<Labels, Counter>,
    pub(super) streams: Gauge,
    pub(super) log_reads: Counter,
    pub(super) documents_read: Family<Labels, Counter>,
    pub(super) webhooks: Family<Labels, Counter>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("rivulet");
        let metrics = Self {
            jobs_created: Counter::default(),
            jobs_ended: Family::default(),
            jobs_running: Gauge::default(),
            events: Counter::default(),
            calls: Family::default(),
            subtrees: Family::default(),
            streams: Gauge::default(),
            log_reads: Counter::default(),
            documents_read: Family::default(),
            webhooks: Family::default(),
            registry: Registry::default(),
        };
        registry.register(
            "jobs_created",
            "Jobs accepted",
            metrics.jobs_created.clone(),
        );
        registry.register(
            "jobs_ended",
            "Jobs ended on this node, by status",
            metrics.jobs_ended.clone(),
        );
        registry.register(
            "jobs_running",
            "Jobs running on this node",
            metrics.jobs_running.clone(),
        );
        registry.register(
            "events",
            "Events committed by this node",
            metrics.events.clone(),
        );
        registry.register(
            "calls",
            "Provider calls, by model and outcome",
            metrics.calls.clone(),
        );
        registry.register(
            "subtrees",
            "Subtrees settled, by outcome",
            metrics.subtrees.clone(),
        );
        registry.register("streams", "Open event streams", metrics.streams.clone());
        registry.register(
            "log_reads",
            "Pages that streams read from the store",
            metrics.log_reads.clone(),
        );
        registry.register(
            "documents_read",
            "Uploaded files, by outcome",
            metrics.documents_read.clone(),
        );
        registry.register(
            "webhooks",
            "Tries to send a webhook from this node, by what became of the delivery",
            metrics.webhooks.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }

    /// All metrics as text.
    pub(super) fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// One label.
pub(super) fn label(name: &str, value: &str) -> Labels {
    vec![(name.to_owned(), value.to_owned())]
}
