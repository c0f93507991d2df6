//! Which messages get a fixed reply instead of challenges.

pub(crate) mod alarm;
mod classifier;
mod kernel;
mod letters;
mod measure;
pub(crate) mod topic;

use std::sync::Arc;

use leafresh_retrieval::QueryVector;

pub use measure::{GateReport, Gatekeeper};

pub(crate) use self::classifier::{Classifier, Cut, embed, learn, vectors_of};
pub(crate) use self::letters::Letters;
use crate::catalog::{Catalog, Emergency, Replies};
use crate::reading::Reading;

/// What keeps a message from being answered with challenges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Somebody thinks of suicide or self-harm.
    Distress,
    /// Somebody is in danger at this moment.
    Danger,
    Insult,
    Nonsense,
    OffTopic,
    /// "네", with nothing before it that it could answer.
    Short,
}

impl Refusal {
    pub const ALL: [Self; 6] =
        [Self::Distress, Self::Danger, Self::Insult, Self::Nonsense, Self::OffTopic, Self::Short];

    /// For logs and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Distress => "distress",
            Self::Danger => "danger",
            Self::Insult => "insult",
            Self::Nonsense => "nonsense",
            Self::OffTopic => "off_topic",
            Self::Short => "short",
        }
    }

    pub(crate) fn reply(self, replies: &Replies) -> &str {
        match self {
            Self::Distress => &replies.fixed.distress,
            Self::Danger => &replies.fixed.danger,
            Self::Insult => &replies.fixed.insult,
            Self::Nonsense => &replies.fixed.nonsense,
            Self::OffTopic => &replies.fixed.off_topic,
            Self::Short => &replies.fixed.short,
        }
    }

    /// What can be said without knowing what the words mean. `offered`: challenges were offered before, which a message
    /// of a word can be an answer to.
    pub(crate) fn at_sight(
        message: &str,
        reading: &Reading,
        offered: bool,
        catalog: &Catalog,
    ) -> Option<Self> {
        let gate = catalog.gate();
        match gate.emergency(message) {
            Some(Emergency::Distress) => return Some(Self::Distress),
            Some(Emergency::Danger) => return Some(Self::Danger),
            None => {}
        }
        if gate.insults(message) {
            return Some(Self::Insult);
        }
        if reading.reply.is_some() {
            return (!offered).then_some(Self::Short);
        }
        gate.is_noise(message).then_some(Self::Nonsense)
    }
}

/// From this probability on a message is about the topic; within a conversation less is asked for, and of an answer to
/// what was said before hardly anything.
const ON_TOPIC: f32 = 0.5;
const ON_TOPIC_IN_CONVERSATION: f32 = 0.35;
const ON_TOPIC_AS_FOLLOW_UP: f32 = 0.1;

/// Tells what is wrong with messages.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    pub(crate) catalog: Arc<Catalog>,
    /// None: there is no embedding model, and keywords have to do.
    pub(crate) topic: Option<Arc<Classifier>>,
    pub(crate) alarm: Option<Arc<Classifier>>,
}

impl Judge {
    /// As [`Refusal::at_sight`]; where the message could be embedded, by examples rather than by lists.
    pub(crate) fn at_sight(
        &self,
        message: &str,
        reading: &Reading,
        vector: Option<&QueryVector>,
        offered: bool,
    ) -> Option<Refusal> {
        let (Some(alarm), Some(vector), None) = (&self.alarm, vector, reading.reply) else {
            return Refusal::at_sight(message, reading, offered, &self.catalog);
        };
        let gate = self.catalog.gate();
        let raised = alarm::raised(alarm, message, vector, gate);
        // "아무거나" is near to many an insult; that it is none its words tell. Distress is never reasoned away.
        let raised =
            raised.filter(|raised| *raised != Refusal::Insult || !reading.bare || gate.insults(message));
        raised.or_else(|| gate.is_noise(message).then_some(Refusal::Nonsense))
    }

    /// What is wrong with a message that begins a conversation.
    pub(crate) fn refusal(&self, message: &str, vector: Option<&QueryVector>) -> Option<Refusal> {
        let reading = Reading::of(message, &self.catalog);
        let off_topic = || self.is_off_topic(message, &reading, vector, false).then_some(Refusal::OffTopic);
        self.at_sight(message, &reading, vector, false).or_else(off_topic)
    }

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
        let Some(classifier) = &self.topic else {
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
        topic::probability(classifier, message, vectors_of(vector)) < needed
    }

    fn has_keyword(&self, message: &str, reading: &Reading) -> bool {
        let keywords = self.catalog.keywords();
        reading.is_about_conversation()
            || !reading.categories.is_empty()
            || keywords.words(message).has_any(&keywords.on_topic)
    }
}
