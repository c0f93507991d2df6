//! What an answer is to be about, and what the engine is given for it: the prompt and the program.

use leafresh_engine::{Program, Prompt, Sampling};
use serde::Serialize;

use crate::catalog::{Layout, Liking, Opening, Person, PromptRequest, Shape};
use crate::history::Exchange;
use crate::library::Wanted;
use crate::{BaseInfo, Category, Document, Error, Grounding, Recommender};

/// Everything that the engine would be given for a request.
#[derive(Debug, Serialize)]
pub struct Preview {
    pub prompt: Prompt,
    pub program: Program,
    /// The program as a JSON schema.
    pub schema: serde_json::Value,
    pub sampling: Sampling,
    pub grounding: Grounding,
}

/// Characters of a place or kind of work that the catalogue doesn't know: the contract's bound.
const LONGEST_VALUE: usize = 50;

/// Where the operator can change what the engine can't run.
fn in_answer_form(error: leafresh_engine::Error) -> Error {
    match error {
        leafresh_engine::Error::Program(reason) => {
            Error::Settings(format!("the catalogue's answer.toml: {reason}"))
        }
        other => other.into(),
    }
}

/// What an answer is to be about, before the engine sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Brief<'a> {
    /// None: three choices.
    pub(crate) message: Option<&'a str>,
    pub(crate) location: Option<&'a str>,
    pub(crate) work_type: Option<&'a str>,
    pub(crate) category: &'a Category,
    /// Best first.
    pub(crate) documents: &'a [&'a Document],
    pub(crate) history: &'a [Exchange],
}

impl Recommender {
    /// Whatever is asked for and drawn, the answer fits.
    pub(crate) fn check(&self) -> Result<(), Error> {
        // Text that the catalogue doesn't know is longer than any label of it.
        let unknown = "\u{AC00}".repeat(LONGEST_VALUE);
        let (place, work_type) = (self.catalog.places().first(), self.catalog.work_types().first());
        let known = (place.map(|place| &*place.code), work_type.map(|work_type| &*work_type.code));
        let own = (Some(&*unknown), Some(&*unknown));
        for category in self.catalog.categories() {
            let longest = self.catalog.fitting(&category.code, None, None).into_iter();
            let longest: Vec<Document> =
                longest.map(|document| self.catalog.tellings().longest(document)).collect();
            let documents: Vec<&Document> = longest.iter().collect();
            for (message, (location, work_type)) in [(None, known), (None, own), (Some(&*unknown), own)] {
                let brief = Brief {
                    message,
                    location,
                    work_type,
                    category,
                    documents: &documents[..documents.len().min(self.catalog.form().grounding.documents)],
                    history: &[],
                };
                let prompt = self.prompt(&brief)?;
                let shape = self.shape(&brief);
                for opening in [None, self.longest_opening(category)] {
                    let program =
                        self.catalog.form().program(shape, category, &documents, opening.as_ref())?;
                    self.backend.check(&prompt, &program).map_err(in_answer_form)?;
                }
            }
        }
        Ok(())
    }

    fn longest_opening(&self, category: &Category) -> Option<Opening> {
        let of_documents = self.catalog.documents().iter();
        let of_documents = of_documents.filter(|document| document.category == category.code);
        let of_documents =
            of_documents.flat_map(|document| self.catalog.tellings().openings(document)).cloned();
        let of_people = self.catalog.openings().all().filter(|(code, _)| *code == category.code);
        let longest = of_documents.chain(of_people.map(|(_, text)| text)).max_by_key(String::len)?;
        Some(Opening { sentences: vec![longest], of_first: true })
    }

    /// What the engine would be given for these choices.
    ///
    /// # Errors
    /// [`Error::Settings`] when the catalogue has no such category.
    pub fn preview(&self, request: &BaseInfo) -> Result<Preview, Error> {
        let Some(category) = self.catalog.category(&request.category) else {
            return Err(Error::Settings(format!("there is no category {:?}", request.category)));
        };
        let (location, work_type) = (Some(&*request.location), Some(&*request.work_type));
        let wanted = self.wanted(None, location, work_type, category);
        let found =
            if self.grounding == Grounding::None { Vec::new() } else { self.library.ranked(&wanted, &[]) };
        let documents: Vec<&Document> = found.iter().map(|found| &found.document).collect();
        let brief =
            Brief { message: None, location, work_type, category, documents: &documents, history: &[] };
        let shape = self.shape(&brief);
        let opening = self.opening(category, &self.person(None, location, work_type));
        let form = self.catalog.form();
        Ok(Preview {
            schema: form.schema(shape, category, &documents, opening.as_ref()),
            prompt: self.prompt(&brief)?,
            program: form.program(shape, category, &documents, opening.as_ref())?,
            sampling: self.settings.sampling.clone(),
            grounding: self.grounding,
        })
    }

    /// The documents to look for; whoever knows more changes it.
    pub(crate) fn wanted<'a>(
        &'a self,
        message: Option<&'a str>,
        location: Option<&str>,
        work_type: Option<&str>,
        category: &'a Category,
    ) -> Wanted<'a> {
        let form = &self.catalog.form().grounding;
        let (count, pool) =
            if message.is_some() { (form.for_message, 0) } else { (form.documents, form.pool) };
        Wanted {
            text: message.unwrap_or(&category.description),
            vector: None,
            category: &category.code,
            place: location.and_then(|text| self.catalog.place(text)).map(|place| &*place.code),
            work_type: work_type.and_then(|text| self.catalog.work_type(text)).map(|work| &*work.code),
            offered: &[],
            liking: Liking::default(),
            count,
            pool,
            challenges: self.grounding == Grounding::Select,
            seed: self.settings.sampling.seed,
        }
    }

    /// Whom an answer is for, by what was chosen and said.
    pub(crate) fn person<'a>(
        &'a self,
        message: Option<&str>,
        location: Option<&'a str>,
        work_type: Option<&'a str>,
    ) -> Person<'a> {
        let catalog = &*self.catalog;
        let place = location.and_then(|text| catalog.place(text));
        let work = work_type.and_then(|text| catalog.work_type(text));
        let [message, job] = [message, work_type].map(|text| text.map(|text| catalog.keywords().words(text)));
        let (openings, keywords, gate) = (catalog.openings(), catalog.keywords(), catalog.gate());
        let harmless = |text: &&str| gate.emergency(text).is_none() && !gate.insults(text);
        let place_text = location.filter(|text| openings.may_repeat_place(text, keywords));
        Person {
            place: place.map(|place| &*place.code),
            work: work.map(|work| &*work.code),
            people: catalog.tellings().people(message.as_ref(), job.as_ref()),
            own_place: place_text.filter(|_| place.is_none()).filter(harmless),
            own_work: work_type
                .filter(|_| work.is_none())
                .filter(harmless)
                .and_then(|text| openings.doer(text, keywords)),
        }
    }

    /// What an answer to three choices may open with: what is true of the person. None where the catalogue says nothing,
    /// and where the model writes.
    fn opening(&self, category: &Category, person: &Person<'_>) -> Option<Opening> {
        let sentences = self.catalog.openings().of(&category.code, person).into_iter().next()?;
        (self.grounding == Grounding::Select).then_some(Opening { sentences, of_first: false })
    }

    pub(crate) fn shape(&self, brief: &Brief) -> Shape {
        let knows_place = brief.location.is_none_or(|text| self.catalog.place(text).is_some());
        let knows_work = brief.work_type.is_none_or(|text| self.catalog.work_type(text).is_some());
        // Somebody's own words may be anything, an order to the model too: it doesn't repeat them.
        let describes = brief.message.is_none() && knows_place && knows_work;
        Shape { describes, grounding: self.grounding }
    }

    pub(crate) fn prompt(&self, brief: &Brief) -> Result<Prompt, Error> {
        let shown = if self.grounding == Grounding::Context { brief.documents } else { &[] };
        let place = brief.location.and_then(|text| self.catalog.place(text));
        let work_type = brief.work_type.and_then(|text| self.catalog.work_type(text));
        let request = PromptRequest {
            message: brief.message,
            location: place.map_or(brief.location.unwrap_or_default(), |place| &place.label),
            place_phrase: place.map(|place| &*place.phrase),
            work_type: work_type.map_or(brief.work_type.unwrap_or_default(), |work_type| &work_type.label),
            work_phrase: work_type.map(|work_type| &*work_type.phrase),
            category: brief.category,
            documents: shown,
            history: brief.history,
        };
        let layout = Layout {
            chat: self.settings.chat_template,
            model: self.backend.model(),
            tokens: self.settings.prompt_tokens,
            count: &|text| self.backend.count_tokens(text),
        };
        self.catalog.prompts().prompt(&request, &layout)
    }
}
