//! What is answered to messages about the challenges that were offered: a question gets its answer, and a wish others.

use leafresh_retrieval::QueryVector;
use rand::seq::IndexedRandom;

use super::Answering;
use crate::catalog::{Intent, Liking};
use crate::conversations::OpenTurn;
use crate::history::Told;
use crate::reading::{Reading, Reply, Wish};
use crate::{Document, Recommender, intents};

/// A first message of so few letters can be a greeting and nothing else.
const GREETING: usize = 14;

/// Both those who have children and those with whom one does something.
const CHILDREN: &str = "children";

/// What is short, where nobody says how short.
const SHORT: u16 = 10;

/// What is said about what was offered, and the documents that it is from.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) text: Vec<String>,
    pub(super) documents: Vec<Document>,
}

/// What a message means beside what its words tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) intents: Vec<Intent>,
    /// Something new, whatever it refers to.
    pub(crate) is_new: bool,
}

impl Meant {
    pub(crate) fn wishes(&self) -> impl Iterator<Item = Intent> {
        self.intents.iter().copied().filter(|intent| intent.wants_others())
    }

    /// Tells a reading where the conversation is wished to go.
    pub(crate) fn amend(&self, reading: &mut Reading) {
        if let Some(reply) = self.reply().filter(|_| reading.reply.is_none() && reading.wish.is_none()) {
            (reading.reply, reading.bare) = (Some(reply), true);
        }
        let wish = if self.intents.contains(&Intent::Back) {
            Wish::Restore
        } else if self.intents == [Intent::Another] {
            Wish::Another
        } else {
            return;
        };
        if reading.reply.is_none() && reading.wish.is_none() {
            reading.wish = Some(wish);
        }
    }

    /// The same, of what is said to the challenges that were offered.
    fn reply(&self) -> Option<Reply> {
        match self.intents[..] {
            [Intent::Agree] => Some(Reply::Consent),
            [Intent::Decline] => Some(Reply::Refusal),
            _ => None,
        }
    }
}

impl Recommender {
    /// What a message means, by learned examples: nothing where it asks for something new, names a category, or nobody
    /// knows. Where nothing was `offered` it can be a greeting only.
    pub(crate) fn meant(
        &self,
        message: &str,
        reading: &Reading,
        vector: Option<&QueryVector>,
        offered: bool,
    ) -> Meant {
        let catalog = &self.catalog;
        match reading.reply {
            Some(Reply::Consent | Reply::Refusal) => return Meant::default(),
            Some(Reply::Number(_)) | None => {}
        }
        let (Some(classifier), Some(vector)) = (self.intents.get(), vector) else {
            return Meant::default();
        };
        if catalog.intents().is_empty() || !reading.categories.is_empty() || reading.wish.is_some() {
            return Meant::default();
        }
        let mut meant = intents::meant(classifier, message, vector);
        let greets = |intent: &Intent| matches!(intent, Intent::Hello | Intent::Thanks | Intent::Bye);
        let short = catalog.keywords().words(message).letters() <= GREETING;
        if !(offered || short && meant.iter().all(greets)) {
            return Meant::default();
        }
        // Besides a greeting something new is what counts; besides a question it is hardly meant.
        let is_new = meant.first() == Some(&Intent::New)
            || meant.contains(&Intent::New)
                && !meant.iter().any(|intent| intent.wants_others() || intent.asks_about());
        meant.retain(|intent| *intent != Intent::New);
        let with_children = catalog.tellings().people(Some(&catalog.keywords().words(message)), None);
        if with_children.contains(&CHILDREN) {
            // Company of the dearest kind.
            meant
                .iter_mut()
                .filter(|intent| **intent == Intent::Company)
                .for_each(|intent| *intent = Intent::Children);
            meant.dedup();
        }
        if is_new {
            meant.clear();
        }
        Meant { intents: meant, is_new }
    }
}

impl Answering {
    /// What is said to somebody who wants no challenges; `None` where that can't be answered from the catalogue.
    pub(super) fn written(
        &self,
        meant: &[Intent],
        number: Option<usize>,
        told: &[Told],
        turn: &OpenTurn,
    ) -> Option<Written> {
        if meant.is_empty() || meant.iter().any(|intent| intent.wants_others()) {
            return None;
        }
        let catalog = &self.recommender.catalog;
        let mut written = Written::default();
        for intent in meant {
            let said = turn.unsaid(catalog.intents().said(*intent).to_vec());
            written.text.extend(said.choose(&mut self.rng()).cloned());
        }
        for intent in meant.iter().filter(|intent| intent.asks_about()) {
            let asked = (1..).zip(told).filter(|(n, _)| number.is_none_or(|number| number == *n));
            for (n, Told { title, .. }) in asked {
                let document = catalog.documents().iter().find(|document| document.title == *title)?;
                let text = catalog.tellings().more(document, *intent)?;
                written.text.push(catalog.intents().about(n, title, text));
                if !written.documents.contains(document) {
                    written.documents.push(document.clone());
                }
            }
        }
        (!written.text.is_empty()).then_some(written)
    }

    /// What somebody would rather have than what was offered.
    pub(super) fn liking(&self, message: &str, meant: &[Intent]) -> Liking {
        let catalog = &self.recommender.catalog;
        let has = |intent: Intent| meant.contains(&intent);
        let mut with = Vec::new();
        if has(Intent::Children) {
            with.push(CHILDREN.to_owned());
        }
        if has(Intent::Company) {
            with.extend(catalog.intents().company(&catalog.keywords().words(message)));
        }
        Liking {
            easy: has(Intent::Easier),
            minutes: has(Intent::Quick).then(|| catalog.intents().minutes(message).unwrap_or(SHORT)),
            with,
            ..Liking::default()
        }
    }
}
