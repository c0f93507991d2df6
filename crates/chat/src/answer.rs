//! An answer as a program, and the program's deltas as the reader's events.

use std::collections::BTreeMap;

use leafresh_engine::{Delta, Grammar, Program, Progress, Segment, Slot};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalog::source;
use crate::documents::Found;
use crate::fallback::Endings;
use crate::{
    Answer, Category, Challenge, DegradedReason, Document, Error, Event, Files, Grounding, Kind, Source,
};

/// Challenges in an answer: the contract's number.
pub(crate) const CHALLENGES: usize = 3;

/// `answer.toml`, with the pieces put into the patterns.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    pieces: BTreeMap<String, String>,
    recommend: Part,
    title: Part,
    description: Part,
    pub(crate) grounding: GroundingForm,
    pub(crate) sampling: SamplingForm,
    pub(crate) fallback: Endings,
}

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) grounding: Grounding,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    pattern: String,
    /// For models that choose among documents; without it `pattern` is for all.
    select_pattern: Option<String>,
    /// The same, for answers to a message.
    message_pattern: Option<String>,
    max_tokens: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroundingForm {
    pub(crate) documents: usize,
    /// For choices they are drawn from the best so many; for a message the best so many are taken.
    pub(crate) pool: usize,
    pub(crate) for_message: usize,
    pub(crate) select_below_parameters: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SamplingForm {
    pub(crate) exempt: Vec<String>,
}

impl Form {
    pub(crate) fn load(files: &Files) -> Result<Self, Error> {
        let (text, path) = source::read(files, "answer.toml")?;
        let mut form: Self = source::from_toml(&text, &path)?;
        let line = |key: &str| source::line_of(&text, text.find(key).unwrap_or(0));
        let counts = [("documents", form.grounding.documents), ("for_message", form.grounding.for_message)];
        for (key, count) in counts {
            if count < CHALLENGES {
                let reason = format!("`{key}` is {count}, but an answer needs {CHALLENGES}");
                return Err(source::error_on_line(&path, line(&format!("\n{key} =")) + 1, reason));
            }
        }
        for sentence in form.fallback.texts().filter(|text| !text.is_empty()) {
            source::check_line(sentence.trim_start()).map_err(|reason| {
                source::error_on_line(&path, line(sentence), format!("`fallback`: a text {reason}"))
            })?;
        }
        let pieces = form.pieces.clone();
        let parts = [
            ("recommend", &mut form.recommend),
            ("title", &mut form.title),
            ("description", &mut form.description),
        ];
        for (key, part) in parts {
            let patterns = [&mut part.pattern]
                .into_iter()
                .chain(&mut part.select_pattern)
                .chain(&mut part.message_pattern);
            for pattern in patterns {
                *pattern = fill(pattern, &pieces, pieces.len()).map_err(|reason| {
                    source::error_on_line(&path, line(&format!("[{key}]")), format!("`pattern`: {reason}"))
                })?;
            }
        }
        Ok(form)
    }

    /// The program of one answer: what the reader sees, with slots where the model writes.
    ///
    /// # Errors
    /// [`Error::Engine`] when the documents don't make a program (fewer than three titles to select from).
    pub(crate) fn program(
        &self,
        shape: Shape,
        category: &Category,
        documents: &[&Document],
    ) -> Result<Program, Error> {
        let mut segments = vec![Segment::Slot(self.recommend.slot("recommend".into(), shape, category))];
        for number in 1..=CHALLENGES {
            segments.push(Segment::Fixed(format!("\n\n{number}. ")));
            let mut title = self.title.slot(format!("title_{number}"), shape, category);
            title.distinct_from = (1..number).map(title_slot).collect();
            let mut description = self.description.slot(format!("description_{number}"), shape, category);
            if shape.grounding == Grounding::Select {
                title.grammar =
                    Grammar::Choices(documents.iter().map(|document| document.title.clone()).collect());
                let texts = |document: &&Document| {
                    (document.title.clone(), vec![document.text.clone(), document.short.clone()])
                };
                description.grammar =
                    Grammar::Lookup { of: title_slot(number), table: documents.iter().map(texts).collect() };
            }
            segments.extend([Segment::Slot(title), Segment::Fixed("\n".into()), Segment::Slot(description)]);
        }
        Ok(Program::new(segments)?)
    }

    /// The answer's JSON schema (draft 2020-12), for engines that take one instead of a program.
    pub(crate) fn schema(&self, shape: Shape, category: &Category, documents: &[&Document]) -> Value {
        let text = |part: &Part| json!({"type": "string", "pattern": format!("^(?:{})$", part.pattern(shape, category))});
        let challenge = |title: Value, description: Value| {
            json!({
                "type": "object",
                "properties": {"title": title, "description": description},
                "required": ["title", "description"],
                "additionalProperties": false,
            })
        };
        let items = if shape.grounding == Grounding::Select {
            let choices = documents.iter().map(|document| {
                challenge(json!({"const": document.title}), json!({"enum": [document.text, document.short]}))
            });
            json!({"anyOf": choices.collect::<Vec<_>>()})
        } else {
            challenge(text(&self.title), text(&self.description))
        };
        json!({
            "type": "object",
            "properties": {
                "recommend": text(&self.recommend),
                "challenges": {"type": "array", "items": items, "minItems": CHALLENGES, "maxItems": CHALLENGES},
            },
            "required": ["recommend", "challenges"],
            "additionalProperties": false,
        })
    }
}

impl Part {
    /// The pattern for a request in this category.
    fn pattern(&self, shape: Shape, category: &Category) -> String {
        let message = self.message_pattern.as_ref().filter(|_| shape.kind == Kind::FreeText);
        let select =
            message.or(self.select_pattern.as_ref()).filter(|_| shape.grounding == Grounding::Select);
        select.unwrap_or(&self.pattern).replace(CATEGORY, &escape(&category.label))
    }

    fn slot(&self, name: String, shape: Shape, category: &Category) -> Slot {
        let grammar = Grammar::Regex(self.pattern(shape, category));
        Slot { name, grammar, max_tokens: self.max_tokens, distinct_from: Vec::new() }
    }
}

/// Stands in a pattern for the label of the category asked for.
const CATEGORY: &str = "{category}";

/// Makes every character of a text match only itself. No other character is escaped: engines that take the pattern as a
/// part of a JSON schema know no `\ `, and some then drop the whole pattern.
fn escape(text: &str) -> String {
    text.chars().flat_map(|c| r"\.+*?()|[]{}^$".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Slot 0 is the recommendation; each challenge has a title and a description.
fn title_slot(number: usize) -> usize {
    2 * number - 1
}

/// Puts pieces in for `{name}`; quantifiers such as `{2,5}` hold no letters and stay. `depth` bounds pieces in pieces.
fn fill(pattern: &str, pieces: &BTreeMap<String, String>, depth: usize) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        filled.push_str(before);
        let close = after.find('}').ok_or("a `{` without its `}`")?;
        let name = &after[1..close];
        if &after[..=close] == CATEGORY {
            filled.push_str(CATEGORY); // Each request has its own.
        } else if name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            let piece = pieces.get(name).ok_or_else(|| format!("there is no piece `{name}` in [pieces]"))?;
            let inner = depth.checked_sub(1).ok_or_else(|| format!("piece `{name}` contains itself"))?;
            filled.push_str(&fill(piece, pieces, inner)?);
        } else {
            filled.push_str(&after[..=close]);
        }
        rest = &after[close + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

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
                // It fits category, place and work type exactly.
                sources.push(source(document, 1.0));
            }
        }
        sources
    }
}

fn source(document: &Document, score: f32) -> Source {
    Source {
        id: document.id.clone(),
        title: document.title.clone(),
        category: document.category.clone(),
        score: score.clamp(0.0, 1.0),
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
    use super::*;
    use proptest::prelude::*;

    const SELECT: Shape = Shape { kind: Kind::BaseInfo, grounding: Grounding::Select };

    fn catalog() -> crate::Catalog {
        crate::Catalog::of(&Files::built_in()).unwrap()
    }

    #[test]
    fn pieces_are_put_in_for_their_names_and_quantifiers_stay() {
        let pieces = BTreeMap::from([("a".into(), "[가-힣]".into()), ("b".into(), "{a}{2}".into())]);
        for (pattern, expected) in [
            ("{b}{3,5}x", Ok("[가-힣]{2}{3,5}x")),
            ("{category}{a}", Ok("{category}[가-힣]")),
            ("{c}", Err("no piece `c`")),
            ("{a", Err("without its `}`")),
        ] {
            match (fill(pattern, &pieces, pieces.len()), expected) {
                (Ok(filled), Ok(expected)) => assert_eq!(filled, expected),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (filled, expected) => panic!("{pattern}: {filled:?}, not {expected:?}"),
            }
        }
        let circle = BTreeMap::from([("a".into(), "{b}".into()), ("b".into(), "{a}".into())]);
        assert!(fill("{a}", &circle, circle.len()).unwrap_err().contains("contains itself"));
    }

    /// Deltas as an engine would send them, for slots cut into these pieces.
    fn events(slots: &[Vec<String>]) -> Vec<Event> {
        let catalog = catalog();
        let category = catalog.categories()[0].clone();
        let shape = Shape { kind: Kind::BaseInfo, grounding: Grounding::None };
        let program = catalog.form().program(shape, &category, &[]).unwrap();
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
        let program = catalog.form().program(SELECT, &category, &documents).unwrap();
        let found =
            documents.iter().map(|&document| Found { document: document.clone(), score: 0.5 }).collect();
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
    }

    #[test]
    fn the_schema_says_what_the_program_says() {
        let catalog = catalog();
        let category = &catalog.categories()[0];
        let documents = catalog.fitting(&category.code, None, None);
        let schema = catalog.form().schema(SELECT, category, &documents[..4]);
        assert_eq!(schema["properties"]["challenges"]["minItems"], 3);
        let choices = schema["properties"]["challenges"]["items"]["anyOf"].as_array().unwrap();
        assert_eq!(choices.len(), 4);
        assert_eq!(choices[0]["properties"]["title"]["const"], *documents[0].title);
        let pattern = schema["properties"]["recommend"]["pattern"].as_str().unwrap();
        assert!(pattern.contains(&category.label) && !pattern.contains("{category}"), "{pattern}");
    }

    #[test]
    fn a_label_in_a_pattern_stands_for_itself_and_its_spaces_stay_as_they_are() {
        for (label, escaped) in
            [("에너지 절약", "에너지 절약"), ("a.b (c+d)^|", r"a\.b \(c\+d\)\^\|"), ("-%/\"", "-%/\"")]
        {
            assert_eq!(escape(label), escaped);
        }
    }
}
