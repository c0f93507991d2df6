//! Every figure: its name, what kind it is, what it means. Where vLLM has the same, the name behind our prefix is vLLM's.
//! A test holds `docs/metrics.md` against what `/metrics` says.

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

/// What the exporter is told of a figure.
enum Kind {
    Counter,
    Gauge,
    /// The upper bounds of its buckets.
    Histogram(&'static [f64]),
}

use Kind::{Counter, Gauge, Histogram};

macro_rules! figures {
    ($($constant:ident: $kind:expr, $name:literal, $help:literal;)*) => {
        $(pub(super) const $constant: &str = $name;)*
        const ALL: &[(&str, Kind, &str)] = &[$(($name, $kind, $help)),*];
    };
}

/// Seconds; from a warm cache on a GPU to a long queue on a small CPU.
const FIRST_TOKEN: &[f64] = &[0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0, 60.0];
/// Between two steps of the model: 5 ms on a GPU, 100 ms with eight writers on two cores, seconds when it is stuck.
const BETWEEN_TOKENS: &[f64] =
    &[0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0];
/// Up to deadlines.queue_seconds, and beyond for who was parked meanwhile.
const WAITING: &[f64] = &[0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0];
const RETRIEVAL: &[f64] = &[0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.3, 0.6, 1.2];
const PREFILL: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0];
const ANSWER: &[f64] = &[0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 120.0, 240.0];
const TOKENS: &[f64] = &[16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

figures! {
    // As vLLM has them.
    TIME_TO_FIRST_TOKEN: Histogram(FIRST_TOKEN), "leafresh_time_to_first_token_seconds",
        "From admission to the first text";
    INTER_TOKEN_LATENCY: Histogram(BETWEEN_TOKENS), "leafresh_inter_token_latency_seconds",
        "Between two pieces of text of an answer that come of different steps of the model";
    E2E_REQUEST_LATENCY: Histogram(ANSWER), "leafresh_e2e_request_latency_seconds",
        "From admission to the end, whatever it was";
    REQUEST_QUEUE_TIME: Histogram(WAITING), "leafresh_request_queue_time_seconds",
        "Waiting for earlier requests of the session and for a place in the batch, of one answer";
    REQUEST_PREFILL_TIME: Histogram(PREFILL), "leafresh_request_prefill_time_seconds",
        "From the place in the batch to the text that follows, of one answer";
    REQUEST_PROMPT_TOKENS: Histogram(TOKENS), "leafresh_request_prompt_tokens",
        "Tokens of the prompt of one finished generation";
    REQUEST_GENERATION_TOKENS: Histogram(TOKENS), "leafresh_request_generation_tokens",
        "Tokens of one finished generation: sampled, forced and fixed";
    NUM_REQUESTS_RUNNING: Gauge, "leafresh_num_requests_running", "As leafresh_requests_running";
    NUM_REQUESTS_WAITING: Gauge, "leafresh_num_requests_waiting", "As leafresh_requests_queued";
    NUM_PREEMPTIONS: Counter, "leafresh_num_preemptions_total",
        "Times that a request gave its KV cells to others";
    KV_CACHE_USAGE: Gauge, "leafresh_kv_cache_usage_ratio", "KV cells in use, of all there are: 0 to 1";
    PREFIX_CACHE_QUERIES: Counter, "leafresh_prefix_cache_queries_total",
        "Tokens that the prefix cache was asked for, each time that a request got a place in the batch";
    PREFIX_CACHE_HITS: Counter, "leafresh_prefix_cache_hits_total", "Those of them that it had";
    PROMPT_TOKENS: Counter, "leafresh_prompt_tokens_total", "Tokens of prompts that were read";
    GENERATION_TOKENS: Counter, "leafresh_generation_tokens_total",
        "Tokens that generations wrote: sampled, forced and fixed";
    REQUEST_SUCCESS: Counter, "leafresh_request_success_total",
        "Admitted requests by how they finished: stop is a whole answer, abort somebody's wish";

    // Requests and answers.
    REQUESTS_RUNNING: Gauge, "leafresh_requests_running", "Requests in the running batch";
    REQUESTS_QUEUED: Gauge, "leafresh_requests_queued", "Requests waiting for a place in the batch";
    REQUESTS_PARKED: Gauge, "leafresh_requests_parked", "Generations waiting for their reader to return";
    REQUESTS_ADMITTED: Counter, "leafresh_requests_admitted_total", "Requests that an answer was begun for";
    REQUESTS_JOINED: Counter, "leafresh_requests_joined_total",
        "Requests that an equal one's answer was read to from its beginning";
    REQUESTS_RESUMED: Counter, "leafresh_requests_resumed_total",
        "Requests that read an answer on from where they had been cut off";
    REQUESTS_ENDED: Counter, "leafresh_requests_ended_total", "Admitted requests by outcome and phase";
    REQUESTS_REFUSED: Counter, "leafresh_requests_refused_total", "Requests refused before any work, by status";
    OPENAI_REQUESTS: Counter, "leafresh_openai_requests_total", "Requests below /v1, by path and status";
    GENERATIONS_PARKED: Counter, "leafresh_generations_parked_total", "Times that an answer's last reader left";
    GENERATIONS_CONTINUED: Counter, "leafresh_generations_continued_total",
        "Times that a generation went on from its text, by what had stopped it";
    ANSWERS: Counter, "leafresh_answers_total", "Whole answers by how documents were used";
    ANSWERS_DEGRADED: Counter, "leafresh_answers_degraded_total",
        "Answers from the catalogue, as a whole or in part, by reason";
    ANSWER_TOKENS: Counter, "leafresh_answer_tokens_total",
        "Tokens of the text that readers got, whoever wrote it";
    RETRIEVAL_SECONDS: Histogram(RETRIEVAL), "leafresh_retrieval_seconds",
        "Embedding a request and searching, of one answer";

    // The gate.
    MESSAGES: Counter, "leafresh_messages_total", "Messages that the gate looked at";
    FEEDBACK: Counter, "leafresh_feedback_total", "What people said that they think of answers, by rating";
    MESSAGES_REFUSED: Counter, "leafresh_messages_refused_total",
        "Messages that got a fixed reply, by reason";
    GATE_WITHOUT_MEANING: Counter, "leafresh_gate_without_meaning_total",
        "Messages that there was no time to embed: the gate had keywords only";

    // Conversations.
    SESSIONS_IN_USE: Gauge, "leafresh_sessions_in_use", "Conversations that a request uses or waits for";
    TURNS: Counter, "leafresh_turns_total",
        "Whole answers in a conversation, by whether the turn was saved";
    SESSION_STORE_FAILURES: Counter, "leafresh_session_store_failures_total",
        "Calls of the store for conversations that failed";
    SESSION_SCRUBS_DELAYED: Counter, "leafresh_session_scrubs_delayed_total",
        "Times that deleted words stayed in the write-ahead log at first, because another process read it";

    // The server and its engine.
    READY: Gauge, "leafresh_ready", "1 while /health/ready says 200, else 0";
    BUILD_INFO: Gauge, "leafresh_build_info", "1, with the server's version";
    CONNECTIONS: Gauge, "leafresh_connections", "Open connections";
    STREAM_BYTES: Gauge, "leafresh_stream_bytes", "Memory for the events of answers that run or are kept";
    LOG_LINES_DROPPED: Counter, "leafresh_log_lines_dropped_total",
        "Lines of the log that nobody took from stderr in time";
    SPANS_DROPPED: Counter, "leafresh_spans_dropped_total", "Spans that otlp.endpoint did not take";
    KV_CELLS_USED: Gauge, "leafresh_kv_cells_used", "KV cells that running requests hold";
    KV_CELLS: Gauge, "leafresh_kv_cells", "KV cells there are";
    ENGINE_STEPS: Counter, "leafresh_engine_steps_total", "Batches decoded";
    ENGINE_RESTARTS: Counter, "leafresh_engine_restarts_total",
        "Times that the engine's process was started again";
    ENGINE_NAN_LOGITS: Counter, "leafresh_engine_nan_logits_total", "Logits that were NaN and counted as -inf";
}

/// An exporter that knows each histogram's buckets.
///
/// # Errors
/// None in practice: no list of buckets is empty.
pub(super) fn builder() -> Result<PrometheusBuilder, BuildError> {
    ALL.iter().try_fold(PrometheusBuilder::new(), |builder, (name, kind, _)| match kind {
        Histogram(buckets) => builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets),
        Counter | Gauge => Ok(builder),
    })
}

/// Tells the recorder what each means, and has those without labels exist from the start, at 0, so that a rate over the first
/// event is right.
pub(super) fn describe() {
    for (name, kind, help) in ALL {
        match kind {
            Counter => describe_counter!(*name, *help),
            Gauge => describe_gauge!(*name, *help),
            Histogram(_) => {
                describe_histogram!(*name, *help);
                let _ = metrics::histogram!(*name);
            }
        }
    }
}
