//! What an answer is made from: what is searched for, what is found, and how that is told.

use leafresh_store::{Role, Standing};
use rand::Rng;
use rand::seq::IndexedRandom;
use tokio::time::{Instant, timeout_at};

use super::{Answering, Subject};
use crate::catalog::{CHALLENGES, Liking, Opening, Person};
use crate::conversations::OpenTurn;
use crate::guard::Refusal;
use crate::library::{Found, Wanted};
use crate::reading::Reading;
use crate::{Category, Document, Grounding};

/// What an answer is made from, best first, and how it may open.
pub(super) struct Chosen {
    pub(super) found: Vec<Found>,
    pub(super) opening: Option<Opening>,
}

/// So many times the documents that an answer is made from are looked at.
const SPARE: usize = 2;

impl Answering {
    /// What to search for: the message, with the question before it where it makes no sense alone; only that question
    /// where it `wishes` for others; nothing where it only says where the conversation goes.
    pub(super) fn searched_text(
        &self,
        message: &str,
        reading: &Reading,
        turn: &OpenTurn,
        wishes: bool,
    ) -> Option<String> {
        if reading.bare {
            return None;
        }
        let catalog = &self.recommender.catalog;
        let earlier = turn.session.as_ref().and_then(|session| {
            let questions = session.turns.iter().filter(|turn| turn.role == Role::User);
            let worth_it = |text: &&str| {
                let reading = Reading::of(text, catalog);
                !reading.bare
                    && reading.reply.is_none()
                    && Refusal::at_sight(text, &reading, true, catalog).is_none()
            };
            questions.map(|turn| turn.text.as_str()).rfind(worth_it)
        });
        match earlier.filter(|_| reading.follow_up || wishes) {
            Some(earlier) if wishes => Some(earlier.to_owned()),
            Some(earlier) => Some(format!("{earlier} {message}")),
            None => (!wishes).then(|| message.to_owned()),
        }
    }

    /// The documents that an answer is made from, as they are told to this person, and what it may open with.
    /// Where nothing is left of the category, the conversation goes to another one.
    pub(super) async fn chosen(&self, subject: &mut Subject, turn: &mut OpenTurn, degraded: bool) -> Chosen {
        let Standing { location, work_type, .. } = turn.standing.clone();
        let person =
            self.recommender.person(subject.message.as_deref(), location.as_deref(), work_type.as_deref());
        let liking = self.likes(subject, &person);
        let mut found = self.found(subject, turn, &liking, degraded).await;
        let mut lead = None;
        if let Some(next) = self.next_category(subject, turn, &found) {
            lead = Some(self.recommender.catalog.intents().exhausted(&subject.category, &next));
            subject.text = format!("{}. {}", next.label, next.description);
            (subject.vector, subject.says_what) = (None, false);
            turn.standing.category.clone_from(&next.code);
            subject.category = next;
            found = self.found(subject, turn, &liking, degraded).await;
        }
        let opening = match lead {
            _ if self.recommender.grounding != Grounding::Select => None,
            Some(lead) => Some(Opening { sentences: vec![lead], of_first: false }),
            None => self.opening(subject, turn, &person, &mut found),
        };
        let found = if subject.message.is_some() { self.settled(found, &liking) } else { found };
        Chosen { found: self.told(found, &person), opening }
    }

    /// The first one, then those that are for somebody of whom no more is known than of this person, and no idea twice: as many
    /// as an answer is made from. Others come in only where an answer would be short of them.
    fn settled(&self, found: Vec<Found>, liking: &Liking) -> Vec<Found> {
        let catalog = &self.recommender.catalog;
        let tellings = catalog.tellings();
        let (mut settled, mut others): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
        for found in found {
            let twin = settled.iter().any(|one| tellings.same_idea(&one.document, &found.document));
            let fits = settled.is_empty() || !twin && tellings.is_for_strangers(&found.document, liking);
            (if fits { &mut settled } else { &mut others }).push(found);
        }
        let missing = CHALLENGES.saturating_sub(settled.len());
        settled.extend(others.into_iter().take(missing));
        settled.truncate(catalog.form().grounding.for_message);
        settled
    }

    /// What is wished for; and who somebody is, where the catalogue knows their work by that only.
    fn likes(&self, subject: &Subject, person: &Person<'_>) -> Liking {
        let people: &[&str] = if person.work.is_none() { &person.people } else { &[] };
        let catalog = &self.recommender.catalog;
        let mentioned = subject.message.as_deref().map(|message| catalog.keywords().mentioned(message));
        Liking {
            season: Some(catalog.form().grounding.season()),
            somewhere: person.place.is_none(),
            // Who somebody is tells more than which of the kinds of work theirs is like.
            at_some_work: person.work.is_none() && people.is_empty(),
            people: people.iter().map(|code| (*code).to_owned()).collect(),
            mentioned: mentioned.unwrap_or_default(),
            who: Some(person.codes()),
            ..subject.liking.clone()
        }
    }

    async fn found(&self, subject: &Subject, turn: &OpenTurn, liking: &Liking, degraded: bool) -> Vec<Found> {
        let recommender = &self.recommender;
        if recommender.grounding == Grounding::None {
            return Vec::new();
        }
        let standing = &turn.standing;
        let (location, work_type) = (standing.location.as_deref(), standing.work_type.as_deref());
        let wanted = recommender.wanted(subject.message.as_deref(), location, work_type, &subject.category);
        let wanted = Wanted {
            text: &subject.text,
            vector: subject.vector.clone(),
            offered: turn.offered(),
            liking: liking.clone(),
            // Some of them aren't for everybody.
            count: if subject.message.is_some() { SPARE * wanted.count } else { wanted.count },
            ..wanted
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

    /// The category to go on with, where too little of this one is left that wasn't offered before: the one with most.
    fn next_category(&self, subject: &Subject, turn: &OpenTurn, found: &[Found]) -> Option<Category> {
        let catalog = &self.recommender.catalog;
        let new = |document: &Document| !turn.offered().contains(&document.id);
        let left = found.iter().filter(|found| new(&found.document)).count();
        if !subject.may_move || catalog.intents().is_empty() || found.is_empty() || left >= CHALLENGES {
            return None;
        }
        let Standing { location, work_type, .. } = &turn.standing;
        let fresh = |category: &&Category| {
            let fitting = catalog.fitting(&category.code, location.as_deref(), work_type.as_deref());
            fitting.into_iter().filter(|document| new(document)).count()
        };
        let others = catalog.categories().iter().filter(|category| category.code != subject.category.code);
        others.max_by_key(fresh).filter(|category| fresh(category) >= CHALLENGES).cloned()
    }

    /// What the answer may open with: where a message says what it is about, with what answers it, and the document that
    /// this belongs to comes first; else with what is true of the person. None where the catalogue has neither.
    fn opening(
        &self,
        subject: &Subject,
        turn: &OpenTurn,
        person: &Person<'_>,
        found: &mut [Found],
    ) -> Option<Opening> {
        let catalog = &self.recommender.catalog;
        let mut leads = subject.wishes.iter().map(|wish| catalog.intents().lead(*wish));
        if let Some(leads) = leads.find(|leads| !leads.is_empty()) {
            return self.one_of(&turn.unsaid(leads.to_vec()));
        }
        if subject.says_what {
            let (place, sentences) = self.answering(subject, turn, found).unwrap_or_else(|| {
                let first = found.first().map(|found| catalog.tellings().openings(&found.document).to_vec());
                (0, turn.unsaid(first.unwrap_or_default()))
            });
            if !sentences.is_empty() {
                found[..=place].rotate_right(1);
                return Some(Opening { sentences, of_first: true });
            }
        }
        // What says most of the person comes first, and then what is as true and says less.
        let openings = catalog.openings().of(&subject.category.code, person);
        if let Some(left) =
            openings.iter().map(|openings| turn.not_said(openings)).find(|left| !left.is_empty())
        {
            return self.one_of(&left);
        }
        let first = found.first().map(|found| turn.not_said(catalog.tellings().openings(&found.document)));
        match first.filter(|left| !left.is_empty()) {
            Some(sentences) => Some(Opening { sentences, of_first: true }),
            None => self.one_of(openings.first()?),
        }
    }

    /// All are as true: what the model would choose is the same for everybody, so one is drawn.
    fn one_of(&self, sentences: &[String]) -> Option<Opening> {
        let sentence = sentences.choose(&mut self.rng())?.clone();
        Some(Opening { sentences: vec![sentence], of_first: false })
    }

    /// The openings that answer the message, and the index of the document they belong to; `None` where nobody knows what
    /// it means.
    fn answering(&self, subject: &Subject, turn: &OpenTurn, found: &[Found]) -> Option<(usize, Vec<String>)> {
        let (addressing, message) = (self.recommender.addressing.get()?, subject.vector.as_ref()?);
        let tellings = self.recommender.catalog.tellings();
        let nearest = found.iter().take(self.recommender.catalog.form().grounding.for_message);
        let documents: Vec<&Document> = nearest.map(|found| &found.document).collect();
        let unsaid = |document: &&Document| {
            let openings = tellings.openings(document);
            let unsaid = turn.unsaid(openings.to_vec());
            (0..openings.len()).filter(|&index| unsaid.contains(&openings[index])).collect()
        };
        let allowed: Vec<Vec<usize>> = documents.iter().map(unsaid).collect();
        let (first, chosen) = addressing.first(message.as_slice(), &documents, &allowed)?;
        let openings = tellings.openings(documents[first]);
        Some((first, chosen.into_iter().map(|index| openings[index].clone()).collect()))
    }

    /// Documents as they are told to this person, and none whose idea another one has.
    fn told(&self, found: Vec<Found>, person: &Person<'_>) -> Vec<Found> {
        let tellings = self.recommender.catalog.tellings();
        let surroundings = person.surroundings();
        let mut rng = self.rng();
        let mut spare = found.len().saturating_sub(CHALLENGES);
        let mut told: Vec<Found> = Vec::with_capacity(found.len());
        for Found { document, score } in found {
            let twin = told.iter().any(|earlier| tellings.same_idea(&earlier.document, &document));
            if twin && spare > 0 {
                spare -= 1;
                continue;
            }
            let document =
                tellings.told(&document, &person.people, &surroundings, |count| rng.random_range(0..count));
            told.push(Found { document, score });
        }
        told
    }
}
