//! What an answer would be made from, without one: for measuring how it is chosen.

use leafresh_engine::{Piece, Prompt};

use crate::brief::Brief;
use crate::catalog::Liking;
use crate::{BaseInfo, Document, Error, Recommender};

/// What an answer would begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// Index of the document.
    pub document: usize,
    /// Indices of its openings, of which the model chooses.
    pub openings: Vec<usize>,
}

/// Whether a document is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fits {
    /// At this time of the year.
    pub season: bool,
    /// Nothing is needed that the person, as far as they are known, hasn't.
    pub needs: bool,
}

/// What somebody asks for, as a prompt tells it. `Default` says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asking<'a> {
    /// None: three choices.
    pub message: Option<&'a str>,
    pub location: Option<&'a str>,
    pub work_type: Option<&'a str>,
    /// Its code.
    pub category: &'a str,
}

impl Recommender {
    /// What of these documents, best first, an answer to a message would begin with. `None` without an embedding model.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when the message can't be embedded.
    pub async fn first(&self, message: &str, documents: &[&Document]) -> Result<Option<First>, Error> {
        self.learn().await?;
        let (Some(addressing), Some(search)) = (self.addressing.get(), &self.library.search) else {
            return Ok(None);
        };
        let vector = search.embed(message).await?;
        let tellings = self.catalog.tellings();
        let openings = documents.iter().map(|document| tellings.openings(document).len());
        let all: Vec<Vec<usize>> = openings.map(|count| (0..count).collect()).collect();
        let first = addressing.first(vector.as_slice(), documents, &all);
        Ok(first.map(|(document, openings)| First { document, openings }))
    }

    /// The two texts of a document as it is told to somebody who says this and chose or named this place and work.
    pub fn told(
        &self,
        document: &Document,
        says: Option<&str>,
        location: Option<&str>,
        work_type: Option<&str>,
    ) -> [String; 2] {
        let person = self.person(says, location, work_type);
        let surroundings = person.surroundings();
        let told = self.catalog.tellings().told(document, &person.people, &surroundings, |_| 0);
        [told.text, told.short]
    }

    /// Everything that an answer to these choices may open with, where the model chooses: one of them is drawn.
    pub fn openings(&self, request: &BaseInfo) -> Vec<String> {
        let person = self.person(None, Some(&request.location), Some(&request.work_type));
        self.catalog.openings().of(&request.category, &person).into_iter().next().unwrap_or_default()
    }

    /// What the engine would be given, and what of the answer is written already.
    ///
    /// # Errors
    /// [`Error::Settings`] when the catalogue has no such category, or its prompts can't be made.
    pub fn prompt_for(&self, asking: &Asking<'_>, begun: &str) -> Result<Prompt, Error> {
        let Asking { message, location, work_type, category } = *asking;
        let category = self.catalog.category(category);
        let category =
            category.ok_or_else(|| Error::Settings(format!("there is no category {:?}", asking.category)))?;
        let brief = Brief { message, location, work_type, category, documents: &[], history: &[] };
        let mut prompt = self.prompt(&brief)?;
        match prompt.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push_str(begun),
            _ => prompt.pieces.push(Piece::Text(begun.to_owned())),
        }
        Ok(prompt)
    }

    /// Whether a document is right now, and for somebody who says this and chose or named this place and work.
    pub fn fits(
        &self,
        document: &Document,
        says: Option<&str>,
        location: Option<&str>,
        work_type: Option<&str>,
    ) -> Fits {
        let person = self.person(says, location, work_type);
        let mentioned = says.map(|message| self.catalog.keywords().mentioned(message)).unwrap_or_default();
        let liking = Liking { who: Some(person.codes()), mentioned, ..Liking::default() };
        let tellings = self.catalog.tellings();
        Fits {
            season: tellings.is_in_season(document, self.catalog.form().grounding.season()),
            needs: tellings.has_needs(document, &liking),
        }
    }

    /// A document's variants for particular people: their texts.
    pub fn variants(&self, document: &Document) -> Vec<&str> {
        self.catalog.tellings().variants(document).collect()
    }
}
