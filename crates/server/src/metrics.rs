//! The server's figures. Each server has its own registry, so that two in one process don't mix.
//!
//! What labels can say is a closed list: never a text of people, a key or an address.

mod names;
mod process;

use std::time::Duration;

use leafresh_chat::{Answer, DegradedReason, Figures, Grounding, Rating, Record, Refusal, Sessions};
use leafresh_engine::Health;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::phase::Phase;

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

    /// In vLLM's words.
    fn finished_reason(self) -> &'static str {
        match self {
            Self::Close => "stop",
            Self::Error => "error",
            Self::Left | Self::Stopped => "abort",
        }
    }
}

/// What is known of an answer when it ends.
pub(crate) struct Ended<'a> {
    pub(crate) outcome: Outcome,
    pub(crate) phase: Phase,
    pub(crate) total: Duration,
    /// Of the text that its readers got.
    pub(crate) tokens: usize,
    pub(crate) record: &'a Record,
    /// The whole answer, and whether it belongs to a session.
    pub(crate) closed: Option<(&'a Answer, bool)>,
}

/// What streams take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamFigures {
    pub(crate) bytes: usize,
    pub(crate) parked: usize,
}

/// What the server knows of itself when it is asked.
pub(crate) struct Now {
    pub(crate) ready: bool,
    pub(crate) engine: Health,
    pub(crate) streams: StreamFigures,
    pub(crate) spans_dropped: u64,
}

pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // Refused only when a list of buckets is empty.
        let builder = names::builder().unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let metrics = Self { handle: recorder.handle(), recorder };
        metrics.with(|| {
            names::describe();
            begin_at_zero();
            gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        });
        metrics.chat(&Figures::default());
        metrics
    }

    /// The first text came so long after admission.
    pub(crate) fn first_token(&self, after: Duration) {
        self.with(|| histogram!(names::TIME_TO_FIRST_TOKEN).record(after));
    }

    /// More text came so long after the one before.
    pub(crate) fn next_token(&self, after: Duration) {
        self.with(|| histogram!(names::INTER_TOKEN_LATENCY).record(after));
    }

    /// An answer begins. When it ends, [`Metrics::ended`] counts it once more.
    pub(crate) fn admitted(&self) {
        self.with(|| counter!(names::REQUESTS_ADMITTED).increment(1));
    }

    /// A request reads what was begun for an equal one.
    pub(crate) fn joined(&self) {
        self.with(|| counter!(names::REQUESTS_JOINED).increment(1));
    }

    /// A request reads an answer on from where it was cut off.
    pub(crate) fn resumed(&self) {
        self.with(|| counter!(names::REQUESTS_RESUMED).increment(1));
    }

    /// Nobody reads an answer any more.
    pub(crate) fn parked(&self) {
        self.with(|| counter!(names::GENERATIONS_PARKED).increment(1));
    }

    /// Somebody reads it again.
    pub(crate) fn returned(&self) {
        self.with(|| counter!(names::GENERATIONS_CONTINUED, "cause" => "returned").increment(1));
    }

    /// An answer ended.
    pub(crate) fn ended(&self, ended: &Ended) {
        let Ended { outcome, phase, record, .. } = *ended;
        self.with(|| {
            counter!(names::REQUESTS_ENDED, "outcome" => outcome.name(), "phase" => phase.name())
                .increment(1);
            counter!(names::REQUEST_SUCCESS, "finished_reason" => outcome.finished_reason()).increment(1);
            counter!(names::ANSWER_TOKENS).increment(ended.tokens as u64);
            histogram!(names::E2E_REQUEST_LATENCY).record(ended.total);
            let stages = [
                (names::REQUEST_QUEUE_TIME, record.queue),
                (names::RETRIEVAL_SECONDS, record.retrieval),
                (names::REQUEST_PREFILL_TIME, record.prefill),
            ];
            for (name, time) in stages {
                if let Some(time) = time {
                    histogram!(name).record(time);
                }
            }
            if let Some(usage) = record.usage {
                histogram!(names::REQUEST_PROMPT_TOKENS).record(usage.prompt_tokens as f64);
                let generated = usage.sampled_tokens + usage.forced_tokens;
                histogram!(names::REQUEST_GENERATION_TOKENS).record(generated as f64);
            }
            if let Some((answer, in_session)) = ended.closed {
                counter!(names::ANSWERS, "grounding" => answer.grounding.name()).increment(1);
                if in_session {
                    counter!(names::TURNS, "remembered" => yes_or_no(answer.remembered)).increment(1);
                }
            }
        });
    }

    /// Somebody said what they think of an answer.
    pub(crate) fn rated(&self, rating: Rating) {
        self.with(|| counter!(names::FEEDBACK, "rating" => rating.as_str()).increment(1));
    }

    /// A request that was answered with an error before any work.
    pub(crate) fn refused(&self, status: u16) {
        self.with(|| counter!(names::REQUESTS_REFUSED, "status" => status.to_string()).increment(1));
    }

    /// A request below `/v1` was answered, or begun to be.
    pub(crate) fn openai(&self, path: &'static str, status: u16) {
        self.with(|| {
            counter!(names::OPENAI_REQUESTS, "path" => path, "status" => status.to_string()).increment(1);
        });
    }

    /// One connection more, or one less.
    pub(crate) fn connections(&self, by: f64) {
        self.with(|| gauge!(names::CONNECTIONS).increment(by));
    }

    /// What became of messages and answers.
    pub(crate) fn chat(&self, figures: &Figures) {
        self.with(|| {
            counter!(names::MESSAGES).absolute(figures.messages());
            counter!(names::GATE_WITHOUT_MEANING).absolute(figures.unread());
            for refusal in Refusal::ALL {
                counter!(names::MESSAGES_REFUSED, "reason" => refusal.name())
                    .absolute(figures.refused(refusal));
            }
            for reason in DegradedReason::ALL {
                counter!(names::ANSWERS_DEGRADED, "reason" => reason.name())
                    .absolute(figures.degraded(reason));
            }
        });
    }

    /// Conversations that requests hold, and calls of their store that failed.
    pub(crate) fn sessions(&self, sessions: &Sessions) {
        self.with(|| {
            gauge!(names::SESSIONS_IN_USE).set(sessions.in_use() as f64);
            counter!(names::SESSION_STORE_FAILURES).absolute(sessions.failures());
            counter!(names::SESSION_SCRUBS_DELAYED).absolute(sessions.delayed_scrubs());
        });
    }

    /// Moves recorded times into their buckets; without it they pile up between two scrapes.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Prometheus' text format.
    pub(crate) fn render(&self, now: &Now) -> String {
        let Now { ready, engine, streams, spans_dropped } = now;
        self.with(|| {
            gauge!(names::READY).set(if *ready { 1.0 } else { 0.0 });
            counter!(names::SPANS_DROPPED).absolute(*spans_dropped);
            gauge!(names::STREAM_BYTES).set(streams.bytes as f64);
            gauge!(names::REQUESTS_PARKED).set(streams.parked as f64);
            counter!(names::LOG_LINES_DROPPED).absolute(crate::log::dropped());
            set_engine(engine);
        });
        let mut text = self.handle.render();
        process::render(engine.pid, &mut text);
        text
    }

    /// The macros write to this registry while `work` runs.
    fn with(&self, work: impl FnOnce()) {
        metrics::with_local_recorder(&self.recorder, work);
    }
}

/// Each series there can be, so that a rate over the first event is right; of refusals those that alerts look at.
fn begin_at_zero() {
    for outcome in Outcome::ALL {
        counter!(names::REQUEST_SUCCESS, "finished_reason" => outcome.finished_reason()).increment(0);
        for phase in Phase::ALL {
            counter!(names::REQUESTS_ENDED, "outcome" => outcome.name(), "phase" => phase.name())
                .increment(0);
        }
    }
    for grounding in Grounding::ALL {
        counter!(names::ANSWERS, "grounding" => grounding.name()).increment(0);
    }
    for rating in Rating::ALL {
        counter!(names::FEEDBACK, "rating" => rating.as_str()).increment(0);
    }
    for remembered in [true, false] {
        counter!(names::TURNS, "remembered" => yes_or_no(remembered)).increment(0);
    }
    for status in ["429", "503"] {
        counter!(names::REQUESTS_REFUSED, "status" => status).increment(0);
    }
    counter!(names::GENERATIONS_CONTINUED, "cause" => "returned").increment(0);
    for name in [
        names::REQUESTS_ADMITTED,
        names::REQUESTS_JOINED,
        names::REQUESTS_RESUMED,
        names::GENERATIONS_PARKED,
        names::ANSWER_TOKENS,
        names::SESSION_STORE_FAILURES,
        names::SESSION_SCRUBS_DELAYED,
    ] {
        counter!(name).increment(0);
    }
    for name in [names::CONNECTIONS, names::SESSIONS_IN_USE] {
        gauge!(name).set(0.0);
    }
}

fn set_engine(engine: &Health) {
    for (running, queued) in [
        (names::REQUESTS_RUNNING, names::REQUESTS_QUEUED),
        (names::NUM_REQUESTS_RUNNING, names::NUM_REQUESTS_WAITING),
    ] {
        gauge!(running).set(engine.running as f64);
        gauge!(queued).set(engine.queued as f64);
    }
    gauge!(names::KV_CELLS_USED).set(engine.kv_used as f64);
    gauge!(names::KV_CELLS).set(engine.kv_total as f64);
    gauge!(names::KV_CACHE_USAGE).set(engine.kv_used as f64 / engine.kv_total.max(1) as f64);
    let counts = [
        (names::ENGINE_STEPS, engine.steps),
        (names::ENGINE_NAN_LOGITS, engine.nan_logits),
        (names::ENGINE_RESTARTS, engine.restarts),
        (names::NUM_PREEMPTIONS, engine.preemptions),
        (names::PREFIX_CACHE_QUERIES, engine.prefix_queries),
        (names::PREFIX_CACHE_HITS, engine.prefix_hits),
        (names::PROMPT_TOKENS, engine.prompt_tokens),
        (names::GENERATION_TOKENS, engine.generation_tokens),
    ];
    for (name, count) in counts {
        counter!(name).absolute(count);
    }
    let causes =
        [("preempted", engine.preemptions), ("fault", engine.retries), ("engine_died", engine.taken_over)];
    for (cause, count) in causes {
        counter!(names::GENERATIONS_CONTINUED, "cause" => cause).absolute(count);
    }
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
