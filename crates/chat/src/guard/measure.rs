//! How well the gate tells messages apart, measured on examples that it has not learned from.

use std::sync::Arc;

use leafresh_retrieval::Search;

use super::{Judge, Refusal, alarm, topic};
use crate::Error;
use crate::catalog::{Catalog, Split, Topic};

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

/// The gate by itself, as it stands before the first message of a conversation.
#[derive(Debug)]
pub struct Gatekeeper<'a> {
    judge: Judge,
    /// That can embed.
    search: Option<&'a Search>,
}

impl<'a> Gatekeeper<'a> {
    /// Learns from the catalogue's examples, which takes minutes; without an embedding model lists have to do.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when they can't be embedded.
    pub async fn learn(catalog: &Arc<Catalog>, search: Option<&'a Search>) -> Result<Self, Error> {
        let search = search.filter(|search| search.can_embed());
        let (topic, alarm) = match search {
            Some(search) => {
                let topic = topic::learn(catalog.examples(), search).await?;
                (Some(Arc::new(topic)), alarm::learn(catalog, search).await?.map(Arc::new))
            }
            None => (None, None),
        };
        Ok(Self { judge: Judge { catalog: catalog.clone(), topic, alarm }, search })
    }

    /// Why each message would not be answered with challenges.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when they can't be embedded.
    pub async fn refusals(&self, messages: &[String]) -> Result<Vec<Option<Refusal>>, Error> {
        let vectors = match self.search {
            Some(search) => search.embed_all(messages.to_vec()).await?.into_iter().map(Some).collect(),
            None => vec![None; messages.len()],
        };
        Ok(messages
            .iter()
            .zip(&vectors)
            .map(|(message, vector)| self.judge.refusal(message, vector.as_ref()))
            .collect())
    }

    /// Puts the messages for testing through the gate.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when they can't be embedded.
    pub async fn measure(&self) -> Result<GateReport, Error> {
        let examples = self.judge.catalog.examples();
        let messages: Vec<_> = examples.iter().filter(|example| example.split == Split::Test).collect();
        let texts: Vec<String> = messages.iter().map(|example| example.text.clone()).collect();
        let refusals = self.refusals(&texts).await?;
        let mut report =
            GateReport { off_topic: 0, caught: 0, on_topic: 0, let_through: 0, wrong: Vec::new() };
        for (example, refusal) in messages.iter().zip(&refusals) {
            let (count, right) = match example.topic {
                Topic::Off => (&mut report.off_topic, &mut report.caught),
                Topic::On => (&mut report.on_topic, &mut report.let_through),
            };
            *count += 1;
            if refusal.is_some() == (example.topic == Topic::Off) {
                *right += 1;
            } else {
                report.wrong.push((example.text.clone(), example.topic));
            }
        }
        Ok(report)
    }
}
