//! The server's figures. Each server has its own registry, so that two in one process don't mix.

use std::time::Duration;

use leafresh_chat::{DegradedReason, Figures, Refusal, Sessions};
use leafresh_engine::Health;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::phase::Phase;

/// Seconds; from a warm cache on a GPU to a long queue on a small CPU.
const FIRST_TOKEN_BUCKETS: [f64; 12] = [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0, 60.0];
const RETRIEVAL_BUCKETS: [f64; 10] = [0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.3, 0.6, 1.2];
const ANSWER_BUCKETS: [f64; 10] = [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 120.0, 240.0];

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Close,
    Error,
    /// The readers went away and didn't return.
    Left,
    /// Somebody said that it should stop.
    Stopped,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Close, Self::Error, Self::Left, Self::Stopped];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Error => "error",
            Self::Left => "left",
            Self::Stopped => "stopped",
        }
    }
}

/// What streams take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamFigures {
    pub(crate) bytes: usize,
    pub(crate) parked: usize,
}

pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let full = |name: &str| Matcher::Full(name.to_owned());
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(full("leafresh_time_to_first_token_seconds"), &FIRST_TOKEN_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(full("leafresh_retrieval_seconds"), &RETRIEVAL_BUCKETS)
            })
            .and_then(|builder| builder.set_buckets_for_metric(full("leafresh_answer_seconds"), &ANSWER_BUCKETS))
            // Refused only when a list of buckets is empty.
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let metrics = Self { handle: recorder.handle(), recorder };
        metrics.with(describe);
        // These exist from the start, at 0, so that a rate over the first event is right.
        metrics.with(|| {
            let _ = histogram!("leafresh_time_to_first_token_seconds");
            let _ = histogram!("leafresh_retrieval_seconds");
            let _ = histogram!("leafresh_answer_seconds");
            counter!("leafresh_answer_tokens_total").increment(0);
            counter!("leafresh_requests_admitted_total").increment(0);
            gauge!("leafresh_connections").set(0.0);
        });
        for outcome in Outcome::ALL {
            for phase in Phase::ALL {
                metrics.count_ended(outcome, phase, 0);
            }
        }
        metrics
    }

    /// The first text came so long after admission.
    pub(crate) fn first_token(&self, after: Duration) {
        self.with(|| histogram!("leafresh_time_to_first_token_seconds").record(after));
    }

    /// Finding an answer's documents took so long.
    pub(crate) fn retrieved(&self, time: Duration) {
        self.with(|| histogram!("leafresh_retrieval_seconds").record(time));
    }

    /// An answer begins. When it ends, [`Metrics::ended`] counts it once more.
    pub(crate) fn admitted(&self) {
        self.with(|| counter!("leafresh_requests_admitted_total").increment(1));
    }

    /// An answer ended, in this phase.
    pub(crate) fn ended(&self, outcome: Outcome, phase: Phase, after: Duration, tokens: usize) {
        self.count_ended(outcome, phase, 1);
        self.with(|| {
            histogram!("leafresh_answer_seconds").record(after);
            counter!("leafresh_answer_tokens_total").increment(tokens as u64);
        });
    }

    fn count_ended(&self, outcome: Outcome, phase: Phase, by: u64) {
        self.with(|| {
            counter!("leafresh_requests_ended_total", "outcome" => outcome.name(), "phase" => phase.name())
                .increment(by);
        });
    }

    /// A request that was answered with an error before any work.
    pub(crate) fn refused(&self, status: u16) {
        self.with(|| {
            counter!("leafresh_requests_refused_total", "status" => status.to_string()).increment(1);
        });
    }

    /// One connection more, or one less.
    pub(crate) fn connections(&self, by: f64) {
        self.with(|| gauge!("leafresh_connections").increment(by));
    }

    /// What became of messages and answers.
    pub(crate) fn chat(&self, figures: &Figures) {
        self.with(|| {
            for refusal in Refusal::ALL {
                counter!("leafresh_messages_refused_total", "reason" => refusal.name())
                    .absolute(figures.refused(refusal));
            }
            for reason in DegradedReason::ALL {
                counter!("leafresh_answers_degraded_total", "reason" => reason.name())
                    .absolute(figures.degraded(reason));
            }
        });
    }

    /// Conversations that requests hold, and calls of their store that failed.
    pub(crate) fn sessions(&self, sessions: &Sessions) {
        self.with(|| {
            gauge!("leafresh_sessions_in_use").set(sessions.in_use() as f64);
            counter!("leafresh_session_store_failures_total").absolute(sessions.failures());
            counter!("leafresh_session_scrubs_delayed_total").absolute(sessions.delayed_scrubs());
        });
    }

    /// Moves recorded times into their buckets; without it they pile up between two scrapes.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Prometheus' text format.
    pub(crate) fn render(&self, engine: &Health, streams: StreamFigures) -> String {
        self.with(|| {
            gauge!("leafresh_stream_bytes").set(streams.bytes as f64);
            gauge!("leafresh_requests_running").set(engine.running as f64);
            gauge!("leafresh_requests_queued").set(engine.queued as f64);
            gauge!("leafresh_requests_parked").set(streams.parked as f64);
            gauge!("leafresh_kv_cells_used").set(engine.kv_used as f64);
            gauge!("leafresh_kv_cells").set(engine.kv_total as f64);
            counter!("leafresh_log_lines_dropped_total").absolute(crate::log::dropped());
            counter!("leafresh_engine_steps_total").absolute(engine.steps);
            counter!("leafresh_engine_nan_logits_total").absolute(engine.nan_logits);
            counter!("leafresh_engine_preemptions_total").absolute(engine.preemptions);
            counter!("leafresh_engine_restarts_total").absolute(engine.restarts);
            for upstream in &engine.upstreams {
                let labels = [("upstream", upstream.url.clone())];
                gauge!("leafresh_upstream_ready", &labels).set(f64::from(u8::from(upstream.ready)));
                gauge!("leafresh_upstream_running", &labels).set(upstream.running as f64);
                counter!("leafresh_upstream_requests_total", &labels).absolute(upstream.requests);
                counter!("leafresh_upstream_faults_total", &labels).absolute(upstream.faults);
                counter!("leafresh_upstream_misfits_total", &labels).absolute(upstream.misfits);
                counter!("leafresh_upstream_reconnects_total", &labels).absolute(upstream.reconnects);
            }
        });
        self.handle.render()
    }

    /// The macros write to this registry while `work` runs.
    fn with(&self, work: impl FnOnce()) {
        metrics::with_local_recorder(&self.recorder, work);
    }
}

fn describe() {
    describe_gauge!("leafresh_requests_running", "Requests in the running batch");
    describe_gauge!("leafresh_requests_queued", "Requests waiting for a place in the batch");
    describe_gauge!("leafresh_requests_parked", "Generations waiting for their reader to return");
    describe_gauge!("leafresh_connections", "Open connections");
    describe_gauge!("leafresh_stream_bytes", "Memory for the events of answers that run or are kept");
    describe_gauge!("leafresh_sessions_in_use", "Conversations that a request uses or waits for");
    describe_gauge!("leafresh_kv_cells_used", "KV cells that running requests hold");
    describe_gauge!("leafresh_kv_cells", "KV cells there are");
    describe_histogram!("leafresh_time_to_first_token_seconds", "From admission to the first text");
    describe_histogram!("leafresh_retrieval_seconds", "Embedding a request and searching, of one answer");
    describe_histogram!("leafresh_answer_seconds", "From admission to the end, whatever it was");
    describe_counter!("leafresh_answer_tokens_total", "Tokens of the text that readers got");
    describe_counter!("leafresh_requests_admitted_total", "Requests that an answer was begun for");
    describe_counter!("leafresh_requests_ended_total", "Admitted requests by outcome and phase");
    describe_counter!("leafresh_requests_refused_total", "Requests refused before any work, by status");
    describe_counter!("leafresh_messages_refused_total", "Messages that got a fixed reply, by reason");
    describe_counter!(
        "leafresh_answers_degraded_total",
        "Answers from the catalogue, as a whole or in part, by reason"
    );
    describe_counter!(
        "leafresh_session_store_failures_total",
        "Calls of the store for conversations that failed"
    );
    describe_counter!(
        "leafresh_session_scrubs_delayed_total",
        "Times that deleted words stayed in the write-ahead log at first, because another process read it"
    );
    describe_counter!(
        "leafresh_gate_without_meaning_total",
        "Messages that there was no time to embed: the gate had keywords only"
    );
    describe_counter!(
        "leafresh_log_lines_dropped_total",
        "Lines of the log that nobody took from stderr in time"
    );
    describe_counter!("leafresh_engine_steps_total", "Batches decoded");
    describe_counter!(
        "leafresh_engine_preemptions_total",
        "Times that a request gave its KV cells to others"
    );
    describe_counter!(
        "leafresh_engine_restarts_total",
        "Times that the engine's process was started again, or an upstream met anew"
    );
    describe_gauge!("leafresh_upstream_ready", "Whether an upstream is asked now");
    describe_gauge!("leafresh_upstream_running", "Generations that have a place at an upstream");
    describe_counter!("leafresh_upstream_requests_total", "Pieces of text that an upstream was asked for");
    describe_counter!("leafresh_upstream_faults_total", "Of these, those that it failed at");
    describe_counter!("leafresh_upstream_misfits_total", "Of these, those that didn't fit the grammar");
    describe_counter!("leafresh_upstream_reconnects_total", "Times that an upstream was met anew");
    describe_counter!("leafresh_engine_nan_logits_total", "Logits that were NaN and counted as -inf");
}
