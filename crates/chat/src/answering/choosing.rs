//! What an answer is made from: what is searched for, what is found, and how that is told.

use leafresh_store::{Role, Standing};
use rand::Rng;
use tokio::time::{Instant, timeout_at};

use super::{Answering, Subject};
use crate::Grounding;
use crate::catalog::CHALLENGES;
use crate::conversations::OpenTurn;
use crate::guard::Refusal;
use crate::library::{Found, Wanted};
use crate::reading::Reading;

impl Answering {
    /// What to search for: the message, with the question before it where it makes no sense alone; nothing where it
    /// only says where the conversation goes.
    pub(super) fn searched_text(&self, message: &str, reading: &Reading, turn: &OpenTurn) -> Option<String> {
        if reading.bare {
            return None;
        }
        let catalog = &self.recommender.catalog;
        let earlier = turn.session.as_ref().and_then(|session| {
            let questions = session.turns.iter().filter(|turn| turn.role == Role::User);
            let worth_it = |text: &&str| {
                let reading = Reading::of(text, catalog);
                !reading.bare && Refusal::at_sight(text, &reading, true, catalog).is_none()
            };
            questions.map(|turn| turn.text.as_str()).rfind(worth_it)
        });
        match earlier.filter(|_| reading.follow_up) {
            Some(earlier) => Some(format!("{earlier} {message}")),
            None => Some(message.to_owned()),
        }
    }

    /// The documents that an answer is made from, as they are told to this person.
    pub(super) async fn documents(&self, subject: &Subject, turn: &OpenTurn, degraded: bool) -> Vec<Found> {
        let found = self.found(subject, turn, degraded).await;
        self.told(found, subject.message.as_deref(), &turn.standing)
    }

    async fn found(&self, subject: &Subject, turn: &OpenTurn, degraded: bool) -> Vec<Found> {
        let recommender = &self.recommender;
        if recommender.grounding == Grounding::None {
            return Vec::new();
        }
        let standing = &turn.standing;
        let (location, work_type) = (standing.location.as_deref(), standing.work_type.as_deref());
        let wanted = Wanted {
            text: &subject.text,
            vector: subject.vector.clone(),
            offered: turn.offered(),
            ..recommender.wanted(subject.message.as_deref(), location, work_type, &subject.category)
        };
        if !degraded && !subject.unread {
            let until = Instant::now() + recommender.deadlines.retrieval;
            match self.timed(timeout_at(until, recommender.library.find(&wanted))).await {
                Ok(found) => return found,
                Err(_) => tracing::warn!("search took too long; documents come from the catalogue"),
            }
        }
        recommender.library.without_search().find(&wanted).await
    }

    /// Documents as they are told to this person, and none whose idea another one has.
    fn told(&self, found: Vec<Found>, message: Option<&str>, standing: &Standing) -> Vec<Found> {
        let catalog = &self.recommender.catalog;
        let (location, work_type) = (standing.location.as_deref(), standing.work_type.as_deref());
        let place = location.and_then(|text| catalog.place(text));
        let work = work_type.and_then(|text| catalog.work_type(text));
        let surroundings: Vec<&str> = [place, work].into_iter().flatten().map(|term| &*term.code).collect();
        let [message, job] = [message, work_type].map(|text| text.map(|text| catalog.keywords().words(text)));
        let people = catalog.tellings().people(message.as_ref(), job.as_ref());
        let mut rng = self.rng();
        let mut spare = found.len().saturating_sub(CHALLENGES);
        let mut told: Vec<Found> = Vec::with_capacity(found.len());
        for Found { document, score } in found {
            let twin = told.iter().any(|earlier| catalog.tellings().same_idea(&earlier.document, &document));
            if twin && spare > 0 {
                spare -= 1;
                continue;
            }
            let document = catalog
                .tellings()
                .told(&document, &people, &surroundings, |count| rng.random_range(0..count));
            told.push(Found { document, score });
        }
        told
    }
}
