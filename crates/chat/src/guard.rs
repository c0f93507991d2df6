//! Which messages get a fixed reply instead of challenges.

mod classifier;
mod insults;
mod kernel;
mod measure;
mod nonsense;
mod topic;

use std::sync::Arc;

use leafresh_retrieval::QueryVector;

pub use measure::{GateReport, measure_gate};
pub use topic::{Example, Split, Topic};

pub(crate) use self::classifier::Classifier;
use self::classifier::vectors_of;
use crate::session::Reading;
use crate::{Catalog, Document, Error, Files, Replies};
use insults::Insults;
use nonsense::Noise;

use crate::catalog::Keywords;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    Insult,
    Nonsense,
    OffTopic,
}

impl Refusal {
    pub const ALL: [Self; 3] = [Self::Insult, Self::Nonsense, Self::OffTopic];

    /// For logs and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insult => "insult",
            Self::Nonsense => "nonsense",
            Self::OffTopic => "off_topic",
        }
    }

    pub(crate) fn reply(self, replies: &Replies) -> &str {
        match self {
            Self::Insult => &replies.fixed.insult,
            Self::Nonsense => &replies.fixed.nonsense,
            Self::OffTopic => &replies.fixed.off_topic,
        }
    }
}

/// The lists and examples of the catalogue's `gate` folder.
#[derive(Debug)]
pub(crate) struct Guard {
    insults: Insults,
    noise: Noise,
    examples: Vec<Example>,
}

/// From this probability on a message is about the topic; within a conversation less is asked for, and of an answer to
/// what was said before hardly anything.
const ON_TOPIC: f32 = 0.5;
const ON_TOPIC_IN_CONVERSATION: f32 = 0.35;
const ON_TOPIC_AS_FOLLOW_UP: f32 = 0.1;

impl Guard {
    pub(crate) fn load(files: &Files, keywords: &Keywords, documents: &[Document]) -> Result<Self, Error> {
        let examples = topic::load(files)?;
        let tuning =
            examples.iter().filter(|example| example.split == Split::Tune && example.topic == Topic::On);
        let texts = documents
            .iter()
            .flat_map(|document| [&*document.title, &*document.text])
            .chain(tuning.map(|example| &*example.text));
        let noise = Noise::new(&keywords.keyboard_runs, texts);
        Ok(Self { insults: Insults::load(files)?, noise, examples })
    }

    pub(crate) fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// What can be said without knowing what the words mean.
    pub(crate) fn refuses_at_sight(&self, message: &str) -> Option<Refusal> {
        if self.insults.is_in(message) {
            return Some(Refusal::Insult);
        }
        self.noise.is(message).then_some(Refusal::Nonsense)
    }
}

/// Tells whether messages are about the topic.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    pub(crate) catalog: Arc<Catalog>,
    /// None: there is no embedding model, and keywords have to do.
    pub(crate) classifier: Option<Arc<Classifier>>,
}

impl Judge {
    /// `vector` is the message's, where it could be made. `begun`: something was said in the conversation before.
    pub(crate) fn is_off_topic(
        &self,
        message: &str,
        reading: &Reading,
        vector: Option<&QueryVector>,
        begun: bool,
    ) -> bool {
        // A wish is about the conversation; "원래대로" alone says nothing of the topic.
        if reading.is_about_conversation() && reading.bare {
            return false;
        }
        let Some(classifier) = &self.classifier else {
            let about = self.has_keyword(message, reading) || begun && reading.follow_up;
            let keywords = self.catalog.keywords();
            return !about && keywords.words(message).has_any(&keywords.off_topic);
        };
        // It could not be embedded in time: better an answer to the wrong question than none to the right one.
        let Some(vector) = vector else { return false };
        let needed = match (begun, reading.follow_up || reading.is_about_conversation()) {
            (true, true) => ON_TOPIC_AS_FOLLOW_UP,
            (true, false) => ON_TOPIC_IN_CONVERSATION,
            (false, _) => ON_TOPIC,
        };
        classifier.probability(message, vectors_of(vector)) < needed
    }

    fn has_keyword(&self, message: &str, reading: &Reading) -> bool {
        let keywords = self.catalog.keywords();
        reading.is_about_conversation()
            || !reading.categories.is_empty()
            || keywords.words(message).has_any(&keywords.on_topic)
    }
}
