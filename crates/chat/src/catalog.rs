//! The domain as data: what can be chosen, what the server says, and the documents that answers are made from.

mod choices;
mod documents;
mod files;
mod form;
mod gate;
mod intent;
mod intents;
mod keywords;
mod openings;
mod prompts;
mod replies;
pub(crate) mod source;
mod tellings;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use choices::{Category, Term};
pub use files::Files;
pub(crate) use form::{CHALLENGES, Endings, Opening, Shape, title_slot};
pub(crate) use gate::{AlarmKind, Emergency, Gate};

pub use gate::{Example, Split, Topic};
pub use intent::Intent;
pub(crate) use intents::Intents;
pub(crate) use keywords::{Coded, Keywords, Mentions, Said, ShortReplies};
pub use leafresh_retrieval::Document;
pub(crate) use openings::{Openings, Person};
pub(crate) use prompts::{Layout, Request as PromptRequest};
pub use replies::Replies;

use crate::Error;
use choices::{CATEGORIES, Lists};
use form::Form;
use prompts::Prompts;
use source::error_on_line;
pub(crate) use tellings::{Liking, Season, Tellings};

/// An answer has three challenges, and one document is behind each.
const DOCUMENTS_PER_ANSWER: usize = CHALLENGES;

/// A loaded and validated catalogue. It doesn't change; a new one is loaded and put in its place.
#[derive(Debug)]
pub struct Catalog {
    lists: Lists,
    documents: Vec<Document>,
    tellings: Tellings,
    openings: Openings,
    intents: Intents,
    replies: Replies,
    form: Form,
    prompts: Prompts,
    keywords: Keywords,
    gate: Gate,
}

impl Catalog {
    /// Loads and validates the folder: `categories.toml`, `replies.toml`, `answer.toml`, `keywords.toml`,
    /// `prompts/*.j2`, `documents/*.jsonl`, `gate/*`; and, where there are any, `tellings/*`, `openings.jsonl`, `intents/*`.
    ///
    /// # Errors
    /// [`Error::Io`] when a file can't be read, [`Error::Catalog`] with file, line and key for the first fault in one.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        Self::of(&Files::in_folder(dir))
    }

    /// [`Catalog::load`], wherever the files lie.
    ///
    /// # Errors
    /// As there.
    pub fn of(files: &Files) -> Result<Self, Error> {
        let lists = Lists::load(files)?;
        let replies = Replies::load(files)?;
        let documents = documents::load(files, &lists)?;
        let keywords = Keywords::load(files, &lists)?;
        let gate = Gate::load(files, &keywords, &documents)?;
        let (form, prompts) = (Form::load(files)?, Prompts::load(files)?);
        let tellings = Tellings::load(files, &lists, &documents)?;
        let openings = Openings::load(files, &lists)?;
        let intents = Intents::load(files, &lists)?;
        let catalog =
            Self { lists, documents, tellings, openings, intents, replies, form, prompts, keywords, gate };
        catalog.check_coverage(files)?;
        Ok(catalog)
    }

    /// In the order in which they are shown.
    pub fn categories(&self) -> &[Category] {
        self.lists.categories.items()
    }

    /// In the order in which they are shown.
    pub fn places(&self) -> &[Term] {
        self.lists.places.items()
    }

    /// In the order in which they are shown.
    pub fn work_types(&self) -> &[Term] {
        self.lists.work_types.items()
    }

    /// The category with this code, label or alias. Spaces, case, width, what shows
    /// nothing and the way Hangul is composed don't matter.
    pub fn category(&self, text: &str) -> Option<&Category> {
        self.lists.categories.find(text)
    }

    /// The place with this code, label or alias, compared as [`Catalog::category`] does.
    pub fn place(&self, text: &str) -> Option<&Term> {
        self.lists.places.find(text)
    }

    /// The kind of work with this code, label or alias, compared as [`Catalog::category`] does.
    pub fn work_type(&self, text: &str) -> Option<&Term> {
        self.lists.work_types.find(text)
    }

    /// All documents, in the order of their files' names and then of their lines.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// Every description that an answer may give of a document: its own, and those for particular people.
    pub fn descriptions<'a>(&'a self, document: &'a Document) -> impl Iterator<Item = &'a str> {
        self.tellings.texts(document)
    }

    pub(crate) fn tellings(&self) -> &Tellings {
        &self.tellings
    }

    pub(crate) fn intents(&self) -> &Intents {
        &self.intents
    }

    pub(crate) fn openings(&self) -> &Openings {
        &self.openings
    }

    /// The sentences that an answer may open with whose first challenge is this document.
    pub fn openings_of(&self, document: &Document) -> &[String] {
        self.tellings.openings(document)
    }

    /// What an answer opens with that says nothing but its category.
    pub fn general_opening(&self, category: &Category) -> String {
        self.form.fallback.recommend.replace("{category}", &category.label)
    }

    /// Every sentence that an answer may open with where the model chooses it.
    pub fn opening_sentences(&self) -> impl Iterator<Item = String> {
        let of_documents = self.documents.iter().flat_map(|document| self.tellings.openings(document));
        let of_people = self.openings.all().map(|(_, text)| text);
        of_documents.chain(self.intents.leads()).cloned().chain(of_people)
    }

    /// Every sentence that the server itself says.
    pub fn replies(&self) -> &Replies {
        &self.replies
    }

    /// How an answer looks.
    pub(crate) fn form(&self) -> &Form {
        &self.form
    }

    pub(crate) fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    pub(crate) fn keywords(&self) -> &Keywords {
        &self.keywords
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Labelled messages for the gate: some to learn from, others to measure it with.
    pub fn examples(&self) -> &[Example] {
        self.gate.examples()
    }

    /// The documents of a category that fit place and work type; a value the catalogue doesn't know fits all of them.
    ///
    /// At least three for a category of this catalogue, whatever the other two are; none for any other text.
    pub fn fitting(&self, category: &str, place: Option<&str>, work_type: Option<&str>) -> Vec<&Document> {
        let Some(category) = self.category(category) else {
            return Vec::new();
        };
        let place = place.and_then(|text| self.place(text));
        let work_type = work_type.and_then(|text| self.work_type(text));
        let fits = |codes: &[String], term: Option<&Term>| term.is_none_or(|term| codes.contains(&term.code));
        self.documents
            .iter()
            .filter(|document| document.category == category.code)
            .filter(|document| fits(&document.places, place) && fits(&document.work_types, work_type))
            .collect()
    }

    /// Whoever asks gets an answer: every combination of choices has the documents that one needs.
    fn check_coverage(&self, files: &Files) -> Result<(), Error> {
        let Lists { categories, places, work_types } = &self.lists;
        for (category, line) in categories.with_lines() {
            let mut short = Vec::new();
            for place in places.items() {
                for work_type in work_types.items() {
                    let found = self.fitting(&category.code, Some(&place.code), Some(&work_type.code)).len();
                    if found < DOCUMENTS_PER_ANSWER {
                        short.push(format!(
                            "place `{}` with work type `{}` has {found}",
                            place.code, work_type.code
                        ));
                    }
                }
            }
            if let Some(first) = short.first() {
                let more =
                    if short.len() > 1 { format!(" (and {} more)", short.len() - 1) } else { String::new() };
                let reason = format!(
                    "category `{}` needs {DOCUMENTS_PER_ANSWER} documents for every place and work type, but {first}{more}; \
                     add documents with these codes to documents/*.jsonl",
                    category.code
                );
                return Err(error_on_line(&files.path(CATEGORIES), line, reason));
            }
        }
        Ok(())
    }
}
