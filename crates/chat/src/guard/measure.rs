//! How well the gate tells messages apart, measured on examples that it has not learned from.

use std::sync::Arc;

use leafresh_retrieval::{QueryVector, Search};

use super::{Classifier, Judge, Refusal};
use crate::Error;
use crate::catalog::{Catalog, Split, Topic};
use crate::reading::Reading;

/// What became of the labelled messages of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateReport {
    pub off_topic: usize,
    pub caught: usize,
    pub on_topic: usize,
    pub let_through: usize,
    /// Messages that came out wrong, and what they are labelled.
    pub wrong: Vec<(String, Topic)>,
}

impl GateReport {
    /// The share of the messages off the topic that get a fixed reply.
    pub fn caught_share(&self) -> f64 {
        self.caught as f64 / self.off_topic.max(1) as f64
    }

    /// The share of the messages on the topic that get challenges.
    pub fn let_through_share(&self) -> f64 {
        self.let_through as f64 / self.on_topic.max(1) as f64
    }
}

/// Puts the messages for testing through the gate, each as the first one of a conversation. Takes seconds.
///
/// # Errors
/// [`Error::Retrieval`] when they can't be embedded.
pub async fn measure_gate(catalog: &Arc<Catalog>, search: Option<&Search>) -> Result<GateReport, Error> {
    let messages: Vec<_> = catalog.examples().iter().filter(|example| example.split == Split::Test).collect();
    let search = search.filter(|search| search.can_embed());
    let (classifier, vectors) = match search {
        Some(search) => {
            let texts = messages.iter().map(|example| example.text.clone()).collect();
            let classifier = Classifier::train(catalog.examples(), search).await?;
            let vectors = search.embed_all(texts).await?.into_iter().map(Some).collect();
            (Some(Arc::new(classifier)), vectors)
        }
        None => (None, vec![None; messages.len()]),
    };
    let judge = Judge { catalog: catalog.clone(), classifier };
    let mut report = GateReport { off_topic: 0, caught: 0, on_topic: 0, let_through: 0, wrong: Vec::new() };
    for (example, vector) in messages.iter().zip(&vectors) {
        let refused = refusal(&judge, &example.text, vector.as_ref()).is_some();
        let (count, right) = match example.topic {
            Topic::Off => (&mut report.off_topic, &mut report.caught),
            Topic::On => (&mut report.on_topic, &mut report.let_through),
        };
        *count += 1;
        if refused == (example.topic == Topic::Off) {
            *right += 1;
        } else {
            report.wrong.push((example.text.clone(), example.topic));
        }
    }
    Ok(report)
}

fn refusal(judge: &Judge, message: &str, vector: Option<&QueryVector>) -> Option<Refusal> {
    let reading = Reading::of(message, &judge.catalog);
    Refusal::at_sight(message, &reading, false, &judge.catalog)
        .or_else(|| judge.is_off_topic(message, &reading, vector, false).then_some(Refusal::OffTopic))
}
