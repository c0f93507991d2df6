//! Asking, and what came back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use leafresh_chat::{Event, Recommender};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::data::Expect;
use super::plan::{Chain, Task};
use crate::bench::reading;

/// The `data` of `close`, as a client reads it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) recommend: String,
    pub(super) challenges: Vec<Challenge>,
    pub(super) grounding: String,
    pub(super) degraded: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Challenge {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) category: String,
    pub(super) label: String,
}

impl Answer {
    /// A fixed reply.
    pub(super) fn refuses(&self) -> bool {
        self.challenges.is_empty()
    }
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) task: Task,
    /// Milliseconds from asking to the first text and to the end.
    pub(super) ttft_ms: Option<f64>,
    pub(super) latency_ms: f64,
    /// None: it failed.
    pub(super) answer: Option<Answer>,
    /// What is wrong with it.
    pub(super) fault: Option<String>,
}

impl Record {
    pub(super) fn valid(&self) -> bool {
        self.answer.is_some() && self.fault.is_none()
    }

    pub(super) fn refused(&self) -> bool {
        self.answer.as_ref().is_some_and(Answer::refuses)
    }

    /// Whether it was answered or refused as it should be.
    pub(super) fn as_expected(&self) -> bool {
        self.answer.is_some() && self.refused() == (self.task.expect == Expect::Refusal)
    }
}

/// The same catalogue and engine with every seed.
pub(super) type Subject = Arc<dyn Fn(Option<u64>) -> Arc<Recommender> + Send + Sync>;

/// Works the chains off, so many at once. Ends early when `stop` does; what had not ended then is left out.
pub(super) async fn ask_all(
    subject: &Subject,
    chains: Vec<Chain>,
    at_once: usize,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(&Record),
) -> Vec<Record> {
    let waiting = Arc::new(Mutex::new(VecDeque::from(chains)));
    let (records, mut received) = mpsc::unbounded_channel();
    // Dropping the set ends whatever still runs.
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (waiting, records, subject) = (waiting.clone(), records.clone(), subject.clone());
        workers.spawn(async move {
            let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(chain) = next() {
                for task in chain {
                    let record = ask(&subject(task.seed), task).await;
                    // Nobody listens after Ctrl-C.
                    let _ = records.send(record);
                }
            }
        });
    }
    drop(records);
    tokio::pin!(stop);
    let mut all = Vec::new();
    loop {
        tokio::select! {
            record = received.recv() => match record {
                Some(record) => {
                    progress(&record);
                    all.push(record);
                }
                None => return all,
            },
            () = &mut stop => return all,
        }
    }
}

async fn ask(recommender: &Recommender, task: Task) -> Record {
    let began = Instant::now();
    let ms = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
    let mut record = Record { task, ttft_ms: None, latency_ms: 0.0, answer: None, fault: None };
    let mut text = String::new();
    let closed = match recommender.start(&record.task.command, None) {
        Err(error) => Err(error.to_string()),
        Ok(mut events) => loop {
            match events.next().await {
                Some(Event::Text(piece)) => {
                    record.ttft_ms.get_or_insert_with(|| ms(began));
                    text.push_str(&piece);
                }
                Some(Event::Challenge { .. }) => {}
                Some(Event::Close(answer)) => {
                    break serde_json::to_value(&answer).map_err(|error| error.to_string());
                }
                Some(Event::Error(failure)) => break Err(format!("{failure:?}")),
                None => break Err("the events ended without an end mark".into()),
            }
        },
    };
    record.latency_ms = ms(began);
    match closed {
        Ok(close) => {
            record.fault = fault(&close, &text, recommender);
            record.answer = serde_json::from_value(close).ok();
        }
        Err(reason) => record.fault = Some(reason),
    }
    record
}

/// What is wrong with an answer that came to its end.
fn fault(close: &Value, text: &str, recommender: &Recommender) -> Option<String> {
    let challenges = close["challenges"].as_array().map_or(&[][..], Vec::as_slice);
    if challenges.is_empty() {
        let empty = close["sources"].as_array().is_none_or(Vec::is_empty);
        return (close["recommend"] != text || text.is_empty() || !empty)
            .then(|| "a fixed reply that isn't just its text".to_owned());
    }
    let known = |challenge: &Value| {
        recommender.catalog().categories().iter().any(|category| {
            challenge["category"] == category.code.as_str() && challenge["label"] == category.label.as_str()
        })
    };
    let parts = challenges.iter().flat_map(|challenge| [&challenge["title"], &challenge["description"]]);
    let mut parts = parts.chain([&close["recommend"]]);
    if parts.any(|part| part.as_str().is_none_or(|part| part.contains(['\n', '\r']))) {
        return Some("a line break inside a part".into());
    }
    if !challenges.iter().all(known) {
        return Some("a category that isn't the catalogue's".into());
    }
    reading::of_leafresh(close, text)
}
