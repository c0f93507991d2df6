//! Spans of requests for a receiver of OpenTelemetry's protocol (OTLP over HTTP with protobuf), where one is configured.
//!
//! A request's spans are made when it is over, from what its line in the log is made from, and sent a second later with those of
//! others. No request waits for that: what the receiver doesn't take is counted and gone.

mod message;
mod spans;

pub(crate) use spans::Request;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message;
use reqwest::Client;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use self::message::{
    ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span,
};
use crate::config;

/// Spans that may wait, and those that are sent together.
const WAITING: usize = 4096;
const TOGETHER: usize = 512;

const BETWEEN: Duration = Duration::from_secs(1);

/// For one request to the receiver, and for the last ones at the server's end.
const PATIENCE: Duration = Duration::from_secs(5);
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// A receiver that takes nothing is spoken of no more often.
const COMPLAINTS: Duration = Duration::from_mins(1);

/// A trace (W3C Trace Context), and a request's place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) id: u128,
    /// Who asked; none where the trace begins here.
    pub(crate) parent: Option<u64>,
    pub(crate) span: u64,
    /// Whether who asked records it.
    pub(crate) sampled: bool,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { id: rand::random::<u128>().max(1), parent: None, span: Self::new_span(), sampled: true }
    }

    pub(crate) fn new_span() -> u64 {
        rand::random::<u64>().max(1)
    }
}

/// Where spans go in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Otlp(Option<Arc<Shared>>);

struct Shared {
    spans: mpsc::Sender<Span>,
    dropped: AtomicU64,
    /// Until the server runs.
    exporter: Mutex<Option<Exporter>>,
}

struct Exporter {
    url: String,
    service: String,
    spans: mpsc::Receiver<Span>,
    client: Client,
}

/// A running exporter.
pub(crate) struct Exporting {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Otlp {
    pub(crate) fn new(config: &config::Otlp) -> Self {
        let Some(endpoint) = &config.endpoint else { return Self(None) };
        let (sender, spans) = mpsc::channel(WAITING);
        let exporter = Exporter {
            url: format!("{}/v1/traces", endpoint.as_str()),
            service: config.service_name.clone(),
            spans,
            client: Client::new(),
        };
        let exporter = Mutex::new(Some(exporter));
        Self(Some(Arc::new(Shared { spans: sender, dropped: AtomicU64::new(0), exporter })))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Spans that no receiver took.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |shared| shared.dropped.load(Ordering::Relaxed))
    }

    /// A request is over.
    pub(crate) fn tell(&self, request: &Request) {
        let Some(shared) = self.0.as_ref().filter(|_| request.trace.sampled) else { return };
        for span in request.spans() {
            if shared.spans.try_send(span).is_err() {
                shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Sends spans from now on; only the first call does.
    pub(crate) fn start(&self) -> Option<Exporting> {
        let shared = self.0.clone()?;
        let exporter = shared.exporter.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(exporter.run(shared, ended));
        Some(Exporting { end, task })
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Exporting {
    /// Sends what is left, for a moment.
    pub(crate) async fn finish(self) {
        let _ = self.end.send(());
        let _ = timeout(LAST_MOMENTS, self.task).await;
    }
}

impl Exporter {
    async fn run(mut self, shared: Arc<Shared>, mut ended: oneshot::Receiver<()>) {
        let mut due = interval(BETWEEN);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained: Option<Instant> = None;
        let mut last = false;
        while !last {
            tokio::select! {
                _ = due.tick() => {}
                _ = &mut ended => last = true,
            }
            loop {
                let batch: Vec<_> =
                    std::iter::from_fn(|| self.spans.try_recv().ok()).take(TOGETHER).collect();
                if batch.is_empty() {
                    break;
                }
                let count = batch.len();
                let Err(reason) = self.send(batch).await else { continue };
                shared.dropped.fetch_add(count as u64, Ordering::Relaxed);
                if complained.is_none_or(|at| at.elapsed() >= COMPLAINTS) {
                    complained = Some(Instant::now());
                    tracing::warn!(url = self.url, reason, "spans are lost: otlp.endpoint takes none");
                }
            }
        }
    }

    /// What was wrong, in words.
    async fn send(&self, spans: Vec<Span>) -> Result<(), String> {
        let attributes = vec![
            KeyValue::new("service.name", &*self.service),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let message = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes }),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
            }],
        };
        let request = self.client.post(&self.url).header("content-type", "application/x-protobuf");
        let answer = request.timeout(PATIENCE).body(message.encode_to_vec()).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answers {}", answer.status())) }
    }
}
