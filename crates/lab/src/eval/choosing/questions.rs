//! What has to be chosen, with what a reader accepts: the test half of the labelled choices.

use leafresh_chat::{Asking, Files, Recommender};
use leafresh_engine::Prompt;

use super::super::choices;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Documents,
    Openings,
    Variants,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Documents, Self::Openings, Self::Variants];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Openings => "openings",
            Self::Variants => "variants",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Documents => "acceptable ones of the documents found for a message",
            Self::Openings => "acceptable ones of the openings of the first acceptable document",
            Self::Variants => "acceptable ones of a document's texts for particular people",
        }
    }
}

/// One choice.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) kind: Kind,
    /// What somebody wrote, or who they are.
    pub(super) request: String,
    /// What the model would write one of these behind, with the request and without.
    pub(super) prompt: Prompt,
    pub(super) without: Prompt,
    pub(super) texts: Vec<String>,
    /// What of each is compared by meaning.
    pub(super) meant: Vec<String>,
    /// At least one of them is.
    pub(super) acceptable: Vec<bool>,
}

impl Question {
    /// How likely a draw is right.
    pub(super) fn chance(&self) -> f64 {
        let right = self.acceptable.iter().filter(|acceptable| **acceptable).count();
        right as f64 / self.acceptable.len().max(1) as f64
    }
}

/// # Errors
/// With file and line, when the labelled data can't be used; when a prompt can't be made.
pub(super) fn of(files: &Files, recommender: &Recommender) -> anyhow::Result<Vec<Question>> {
    let catalog = recommender.catalog();
    let mut questions = Vec::new();
    for found in choices::found(files, catalog)? {
        let asking = Asking {
            message: Some(&found.message),
            category: &found.documents[0].category,
            ..Asking::default()
        };
        let nothing = Asking { message: Some(""), ..asking };
        let general = catalog
            .category(asking.category)
            .map(|category| catalog.general_opening(category))
            .unwrap_or_default();
        let first_title = format!("{general}\n\n1. ");
        questions.push(Question {
            kind: Kind::Documents,
            request: found.message.clone(),
            prompt: recommender.prompt_for(&asking, &first_title)?,
            without: recommender.prompt_for(&nothing, &first_title)?,
            texts: found.documents.iter().map(|document| document.title.clone()).collect(),
            meant: found
                .documents
                .iter()
                .map(|document| format!("{}. {}", document.title, document.text))
                .collect(),
            acceptable: found.acceptable.clone(),
        });
        let first = (0..found.documents.len())
            .find(|&index| found.acceptable[index] && !found.openings[index].is_empty());
        if let Some(first) = first {
            let texts = catalog.openings_of(found.documents[first]).to_vec();
            questions.push(Question {
                kind: Kind::Openings,
                request: found.message.clone(),
                prompt: recommender.prompt_for(&asking, "")?,
                without: recommender.prompt_for(&nothing, "")?,
                acceptable: texts.iter().map(|text| found.openings[first].contains(text)).collect(),
                meant: texts.clone(),
                texts,
            });
        }
    }
    for told in choices::told(files, catalog)? {
        let document = told.document;
        let (place, work) = (told.place.as_deref(), told.work.as_deref());
        let asking = Asking {
            message: told.says.as_deref(),
            location: place,
            work_type: work,
            category: &document.category,
        };
        let nothing =
            Asking { message: told.says.as_ref().map(|_| ""), location: None, work_type: None, ..asking };
        let general = catalog
            .category(asking.category)
            .map(|category| catalog.general_opening(category))
            .unwrap_or_default();
        let begun = format!("{general}\n\n1. {}\n", document.title);
        let texts: Vec<String> = recommender.variants(document).into_iter().map(str::to_owned).collect();
        let label = |term: Option<&leafresh_chat::Term>, text: Option<&str>| {
            term.map_or_else(|| text.unwrap_or_default().to_owned(), |term| term.phrase.clone())
        };
        let who = [
            told.says.clone().unwrap_or_default(),
            label(place.and_then(|text| catalog.place(text)), place),
            label(work.and_then(|text| catalog.work_type(text)), work),
        ];
        questions.push(Question {
            kind: Kind::Variants,
            request: who.join(" ").trim().to_owned(),
            prompt: recommender.prompt_for(&asking, &begun)?,
            without: recommender.prompt_for(&nothing, &begun)?,
            acceptable: texts.iter().map(|text| told.acceptable.contains(text)).collect(),
            meant: texts.clone(),
            texts,
        });
    }
    questions.retain(|question| question.acceptable.iter().any(|acceptable| *acceptable));
    Ok(questions)
}
