//! What an answer would be made from, without one: for measuring how it is chosen.

use crate::{Document, Error, Recommender};

/// What an answer would begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// Index of the document.
    pub document: usize,
    /// Indices of its openings, of which the model chooses.
    pub openings: Vec<usize>,
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

    /// A document's variants for particular people: their texts.
    pub fn variants(&self, document: &Document) -> Vec<&str> {
        self.catalog.tellings().variants(document).collect()
    }
}
