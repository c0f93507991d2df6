//! A request as spans: one for all of it, and for the answer that it began one for each stage.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Trace;
use super::message::{ERROR, INTERNAL, KeyValue, SERVER, Span, Status, Value};
use crate::log::line::{Answered, Sent, Stream};

/// A request that is over.
pub(crate) struct Request<'a> {
    pub(crate) trace: Trace,
    pub(crate) id: Option<&'a str>,
    pub(crate) method: &'a str,
    pub(crate) route: Option<&'a str>,
    pub(crate) sent: &'a Sent,
    pub(crate) stream: Option<&'a Stream>,
    pub(crate) ended: SystemTime,
}

impl Request<'_> {
    pub(super) fn spans(&self) -> Vec<Span> {
        let answered = self.stream.and_then(|stream| stream.answered.as_ref());
        let failed = self.sent.status >= 500 || answered.is_some_and(|answered| answered.outcome == "error");
        let whole = Span {
            trace: self.trace.id.to_be_bytes().to_vec(),
            id: self.trace.span.to_be_bytes().to_vec(),
            parent: self.trace.parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
            name: self
                .route
                .map_or_else(|| self.method.to_owned(), |route| format!("{} {route}", self.method)),
            kind: SERVER,
            start_time_unix_nano: nanoseconds(self.ended - self.sent.time),
            end_time_unix_nano: nanoseconds(self.ended),
            attributes: self.attributes(),
            status: failed.then_some(Status { code: ERROR }),
        };
        let began = self.stream.filter(|stream| stream.part == "first").and(answered);
        let stages = began.into_iter().flat_map(stages).map(|(name, from, to)| Span {
            trace: whole.trace.clone(),
            id: rand::random::<u64>().max(1).to_be_bytes().to_vec(),
            parent: whole.id.clone(),
            name: name.to_owned(),
            kind: INTERNAL,
            start_time_unix_nano: nanoseconds(from),
            end_time_unix_nano: nanoseconds(to),
            ..Span::default()
        });
        let stages: Vec<_> = stages.collect();
        std::iter::once(whole).chain(stages).collect()
    }

    /// In the words of OpenTelemetry's conventions for HTTP and for models, and ours.
    fn attributes(&self) -> Vec<KeyValue> {
        let (stream, answered) = (self.stream, self.stream.and_then(|stream| stream.answered.as_ref()));
        let closed = answered.and_then(|answered| answered.closed);
        let usage = answered.and_then(|answered| answered.record.usage);
        let text = |text: &str| Value::from(text);
        let attributes = [
            ("http.request.method", Some(text(self.method))),
            ("http.route", self.route.map(text)),
            ("http.response.status_code", Some(usize::from(self.sent.status).into())),
            ("gen_ai.usage.input_tokens", usage.map(|usage| usage.prompt_tokens.into())),
            (
                "gen_ai.usage.output_tokens",
                usage.map(|usage| (usage.sampled_tokens + usage.forced_tokens).into()),
            ),
            ("leafresh.request_id", self.id.map(text)),
            ("leafresh.reason", self.sent.reason.as_deref().map(text)),
            ("leafresh.sent_whole", Some(self.sent.whole.into())),
            ("leafresh.stream", stream.map(|stream| text(&stream.id))),
            ("leafresh.part", stream.map(|stream| text(stream.part))),
            ("leafresh.outcome", answered.map(|answered| text(answered.outcome))),
            ("leafresh.gate", answered.and_then(|answered| answered.record.verdict).map(text)),
            ("leafresh.grounding", closed.map(|closed| text(closed.grounding))),
            ("leafresh.degraded", closed.and_then(|closed| closed.degraded).map(text)),
            ("leafresh.remembered", closed.map(|closed| closed.remembered.into())),
            ("leafresh.first_text_ms", answered.and_then(|answered| answered.first_text).map(milliseconds)),
            ("leafresh.cached_tokens", usage.map(|usage| usage.cached_tokens.into())),
        ];
        let known = attributes.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value?)));
        known.collect()
    }
}

/// When each stage of an answer was. How long it took was measured; where it lay follows from their order.
fn stages(answered: &Answered) -> Vec<(&'static str, SystemTime, SystemTime)> {
    let Answered { record, ended, total, first_text, .. } = *answered;
    let mut at = ended - total;
    let mut stages = Vec::new();
    let measured = [("retrieval", record.retrieval), ("queue", record.queue), ("prefill", record.prefill)];
    for (name, time) in measured {
        let Some(time) = time else { continue };
        let end = (at + time).min(ended);
        stages.push((name, at, end));
        at = end;
    }
    if first_text.is_some() {
        stages.push(("write", at, ended));
    }
    stages
}

fn milliseconds(time: Duration) -> Value {
    (time.as_millis() as usize).into()
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use leafresh_chat::Record;

    use super::*;

    #[test]
    fn the_stages_of_an_answer_lie_within_it_and_in_their_order() {
        let ms = Duration::from_millis;
        let ended = UNIX_EPOCH + Duration::from_secs(1000);
        let record = Record {
            queue: Some(ms(300)),
            retrieval: Some(ms(50)),
            prefill: Some(ms(100)),
            ..Record::default()
        };
        let answered = Answered {
            outcome: "close",
            phase: "writing",
            record,
            first_text: Some(ms(500)),
            total: ms(2000),
            ended,
            tokens: 1,
            closed: None,
            parked: 0,
            readers: 1,
        };
        let began = ended - ms(2000);
        let at = |from, to| (began + ms(from), began + ms(to));
        let named: Vec<_> =
            stages(&answered).into_iter().map(|(name, from, to)| (name, (from, to))).collect();
        assert_eq!(
            named,
            [
                ("retrieval", at(0, 50)),
                ("queue", at(50, 350)),
                ("prefill", at(350, 450)),
                ("write", at(450, 2000))
            ]
        );
        // It waited, and somebody stopped it.
        let waited = Answered {
            record: Record { queue: Some(ms(5000)), ..Record::default() },
            first_text: None,
            ..answered
        };
        assert_eq!(stages(&waited), [("queue", began, ended)]);
    }
}
