//! The program's deltas as the reader's events, and the answer that they make.

use leafresh_engine::{Delta, Program, Progress, Segment};

use crate::catalog::{CHALLENGES, Category, Document, title_slot};
use crate::event::{Answer, Challenge, DegradedReason, Event, Grounding, Source};
use crate::library::Found;

/// Turns one generation's deltas into events, fixed text included.
#[derive(Debug)]
pub(crate) struct Writer {
    program: Program,
    /// Index of the segment being written.
    segment: usize,
    progress: Progress,
    category: Category,
    grounding: Grounding,
    documents: Vec<Found>,
    /// Titles of documents that the catalogue completed the answer with.
    completed_with: Vec<Document>,
    degraded: Option<DegradedReason>,
}

impl Writer {
    pub(crate) fn new(
        program: Program,
        category: Category,
        grounding: Grounding,
        documents: Vec<Found>,
    ) -> Self {
        Self {
            program,
            segment: 0,
            progress: Progress::default(),
            category,
            grounding,
            documents,
            completed_with: Vec::new(),
            degraded: None,
        }
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn category(&self) -> &Category {
        &self.category
    }

    /// What the answer may be made from.
    pub(crate) fn documents(&self) -> &[Found] {
        &self.documents
    }

    /// From here on the answer comes from these documents of the catalogue.
    pub(crate) fn degrade(&mut self, reason: DegradedReason, documents: Vec<Document>) {
        self.degraded = Some(reason);
        self.completed_with = documents;
    }

    /// Takes text or the end of a slot and gives what the reader is to get.
    pub(crate) fn push(&mut self, delta: Delta) -> Vec<Event> {
        match delta {
            Delta::Text { text, .. } => {
                self.progress.partial.push_str(&text);
                vec![Event::Text(text)]
            }
            Delta::SlotDone { text, .. } => {
                let mut events = Vec::new();
                self.progress.partial.clear();
                self.progress.done.push(text);
                if let Some((number, challenge)) = self.finished_challenge() {
                    events.push(Event::Challenge { number, challenge });
                }
                self.segment += 1;
                while let Some(Segment::Fixed(text)) = self.program.segments().get(self.segment) {
                    events.push(Event::Text(text.clone()));
                    self.segment += 1;
                }
                events
            }
            Delta::Done(_) | Delta::Failed(_) => Vec::new(),
        }
    }

    /// The challenge whose description was the last slot to end.
    fn finished_challenge(&self) -> Option<(usize, Challenge)> {
        let done = self.progress.done.len();
        let number = done / 2;
        (done % 2 == 1 && number > 0).then(|| (number, self.challenge(number)))
    }

    fn challenge(&self, number: usize) -> Challenge {
        let slot = title_slot(number);
        Challenge {
            title: self.progress.done[slot].clone(),
            description: self.progress.done[slot + 1].clone(),
            category: self.category.code.clone(),
            label: self.category.label.clone(),
        }
    }

    /// The answer, once the program is finished.
    pub(crate) fn answer(&self) -> Answer {
        let challenges: Vec<Challenge> = (1..=CHALLENGES).map(|number| self.challenge(number)).collect();
        let sources = self.sources(&challenges);
        let grounding = match (self.grounding, sources.is_empty()) {
            (_, true) => Grounding::None,
            // Without the model's help the catalogue's documents are the answer.
            (Grounding::None, false) => Grounding::Select,
            (grounding, false) => grounding,
        };
        Answer {
            recommend: self.progress.done[0].clone(),
            sources,
            challenges,
            grounding,
            degraded: self.degraded.is_some(),
            degraded_reason: self.degraded,
            remembered: false,
        }
    }

    /// The documents behind the answer: those selected, or all that the prompt held.
    fn sources(&self, challenges: &[Challenge]) -> Vec<Source> {
        let selected =
            |document: &Document| challenges.iter().any(|challenge| challenge.title == document.title);
        let mut sources: Vec<Source> = self
            .documents
            .iter()
            .filter(|found| self.grounding == Grounding::Context || selected(&found.document))
            .map(|found| source(&found.document, found.score))
            .collect();
        for document in self.completed_with.iter().filter(|document| selected(document)) {
            if !sources.iter().any(|source| source.id == document.id) {
                sources.push(source(document, None));
            }
        }
        sources
    }
}

/// Without what its telling knows.
pub(crate) fn source(document: &Document, score: Option<f32>) -> Source {
    Source {
        id: document.id.clone(),
        title: document.title.clone(),
        category: document.category.clone(),
        score: score.map(|score| score.clamp(0.0, 1.0)),
        minutes: None,
        proof: None,
    }
}

impl Answer {
    /// The text that a reader has seen: exactly what the texts of its stream join to.
    pub fn render(&self) -> String {
        let mut text = self.recommend.clone();
        for (index, challenge) in self.challenges.iter().enumerate() {
            let Challenge { title, description, .. } = challenge;
            text.extend(["\n\n", &(index + 1).to_string(), ". ", title, "\n", description]);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::{Files, Shape};

    const SELECT: Shape = Shape { describes: true, grounding: Grounding::Select };

    fn catalog() -> crate::Catalog {
        crate::Catalog::of(&Files::built_in()).unwrap()
    }

    /// Deltas as an engine would send them, for slots cut into these pieces.
    fn events(slots: &[Vec<String>]) -> Vec<Event> {
        let catalog = catalog();
        let category = catalog.categories()[0].clone();
        let shape = Shape { describes: true, grounding: Grounding::None };
        let program = catalog.form().program(shape, &category, &[], None).unwrap();
        let mut writer = Writer::new(program, category, Grounding::None, Vec::new());
        let mut events = Vec::new();
        for (slot, pieces) in slots.iter().enumerate() {
            for text in pieces.iter().cloned() {
                events.extend(writer.push(Delta::Text { slot, text }));
            }
            events.extend(writer.push(Delta::SlotDone { slot, text: pieces.concat() }));
        }
        events.push(Event::Close(writer.answer()));
        events
    }

    proptest! {
        #[test]
        fn texts_join_to_the_rendering_and_each_challenge_comes_before_the_next_number(
            slots in proptest::collection::vec(proptest::collection::vec("[가-힣a-z ]{1,6}", 1..5), 7..=7),
        ) {
            let events = events(&slots);
            let Some(Event::Close(answer)) = events.last() else { panic!("no end: {events:?}") };
            let mut text = String::new();
            let mut typed = Vec::new();
            for event in &events {
                match event {
                    Event::Text(piece) => text.push_str(piece),
                    Event::Challenge { number, challenge } => {
                        prop_assert!(text.ends_with(&challenge.description), "directly after its last text");
                        let next = format!("\n\n{}. ", number + 1);
                        prop_assert!(!text.contains(&next), "before the next number");
                        typed.push(challenge.clone());
                    }
                    Event::Close(_) | Event::Error(_) => {}
                }
            }
            prop_assert_eq!(&text, &answer.render());
            prop_assert_eq!(&typed, &answer.challenges);
            prop_assert!(answer.sources.is_empty());
        }
    }

    #[test]
    fn a_selected_answer_names_the_documents_it_chose() {
        let catalog = catalog();
        let category = catalog.categories()[1].clone();
        let documents: Vec<&Document> =
            catalog.fitting(&category.code, None, None).into_iter().take(5).collect();
        let program = catalog.form().program(SELECT, &category, &documents, None).unwrap();
        let found = documents
            .iter()
            .map(|&document| Found { document: document.clone(), score: Some(0.5) })
            .collect();
        let mut writer = Writer::new(program, category, Grounding::Select, found);
        let mut texts = vec!["추천합니다.".to_owned()];
        for document in [4, 0, 2].map(|index| documents[index]) {
            texts.extend([document.title.clone(), document.short.clone()]);
        }
        for (slot, text) in texts.into_iter().enumerate() {
            writer.push(Delta::SlotDone { slot, text });
        }
        let answer = writer.answer();
        let ids: Vec<&str> = answer.sources.iter().map(|source| &*source.id).collect();
        assert_eq!(ids, [0, 2, 4].map(|index| &*documents[index].id));
        assert!(answer.sources.iter().all(|source| source.score == Some(0.5)));
    }
}
