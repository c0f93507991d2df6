//! One line for each request, when all of it is over.

use std::time::{Duration, SystemTime};

use leafresh_chat::Record;
use tracing::Span;

/// How a response went out.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) status: u16,
    /// Of its body.
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    /// Not so when the client left, or the connection broke.
    pub(crate) whole: bool,
    /// Why the request was refused.
    pub(crate) reason: Option<String>,
}

/// A stream that a request reads.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: String,
    /// How the request came to it.
    pub(crate) part: &'static str,
    /// It belongs to a session.
    pub(crate) session: bool,
    pub(crate) asked: Asked,
    /// None: it hasn't ended.
    pub(crate) answered: Option<Answered>,
}

/// A person's words, as far as they may be told.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) message: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) work_type: Option<String>,
}

/// What became of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) outcome: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) record: Record,
    pub(crate) first_text: Option<Duration>,
    pub(crate) total: Duration,
    pub(crate) ended: SystemTime,
    /// Of the text that readers got.
    pub(crate) tokens: usize,
    pub(crate) closed: Option<Closed>,
    /// Times that its last reader left.
    pub(crate) parked: u32,
    /// All that have read it.
    pub(crate) readers: usize,
}

/// What a whole answer says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed {
    pub(crate) grounding: &'static str,
    pub(crate) degraded: Option<&'static str>,
    pub(crate) remembered: bool,
}

/// Writes the line. `sent` is none for an answer that nobody read to its end.
pub(crate) fn write(span: &Span, sent: Option<&Sent>, stream: Option<&Stream>) {
    let answered = stream.and_then(|stream| stream.answered.as_ref());
    let record = answered.map(|answered| answered.record).unwrap_or_default();
    let (closed, usage) = (answered.and_then(|answered| answered.closed), record.usage);
    let asked = stream.map(|stream| &stream.asked);
    tracing::info!(
        target: "leafresh::request",
        parent: span,
        status = sent.map(|sent| sent.status),
        reason = sent.and_then(|sent| sent.reason.as_deref()),
        stream = stream.map(|stream| stream.id.as_str()),
        part = stream.map(|stream| stream.part),
        session = stream.map(|stream| stream.session),
        outcome = answered.map(|answered| answered.outcome),
        phase = answered.map(|answered| answered.phase),
        gate = record.verdict,
        grounding = closed.map(|closed| closed.grounding),
        degraded = closed.and_then(|closed| closed.degraded),
        remembered = closed.map(|closed| closed.remembered),
        queue_ms = record.queue.map(milliseconds),
        retrieval_ms = record.retrieval.map(milliseconds),
        prefill_ms = record.prefill.map(milliseconds),
        first_text_ms = answered.and_then(|answered| answered.first_text).map(milliseconds),
        total_ms = answered.map(|answered| milliseconds(answered.total)),
        prompt_tokens = usage.map(|usage| usage.prompt_tokens),
        cached_tokens = usage.map(|usage| usage.cached_tokens),
        generated_tokens = usage.map(|usage| usage.sampled_tokens + usage.forced_tokens),
        text_tokens = answered.map(|answered| answered.tokens),
        continued = usage.map(|usage| usage.continued),
        parked = answered.map(|answered| answered.parked),
        readers = answered.map(|answered| answered.readers),
        sent = sent.map(|sent| if sent.whole { "whole" } else { "cut" }),
        sent_bytes = sent.map(|sent| sent.bytes),
        sent_ms = sent.map(|sent| milliseconds(sent.time)),
        asked = asked.and_then(|asked| asked.message.as_deref()),
        location = asked.and_then(|asked| asked.location.as_deref()),
        work_type = asked.and_then(|asked| asked.work_type.as_deref()),
        "{}", if sent.is_some() { "answered" } else { "ended unread" },
    );
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis() as u64
}
