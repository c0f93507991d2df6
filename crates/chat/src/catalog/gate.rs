//! The lists and examples of the folder `gate`.

mod disguises;
mod distress;
mod examples;
mod insults;
mod noise;

use leafresh_retrieval::Document;

pub(crate) use distress::Emergency;
pub(crate) use examples::{AlarmKind, Alarming};
pub use examples::{Example, Split, Topic};

use super::{Files, Keywords};
use crate::Error;
use distress::Emergencies;
use insults::Insults;
use noise::Noise;

/// What is recognised by lists.
#[derive(Debug)]
pub(crate) struct Gate {
    emergencies: Emergencies,
    insults: Insults,
    noise: Noise,
    examples: Vec<Example>,
    alarming: Vec<Alarming>,
}

impl Gate {
    pub(super) fn load(files: &Files, keywords: &Keywords, documents: &[Document]) -> Result<Self, Error> {
        let examples = examples::load(files)?;
        let tuning =
            examples.iter().filter(|example| example.split == Split::Tune && example.topic == Topic::On);
        let texts = documents
            .iter()
            .flat_map(|document| [&*document.title, &*document.text])
            .chain(tuning.map(|example| &*example.text));
        let noise = Noise::new(&keywords.keyboard_runs, texts);
        Ok(Self {
            emergencies: Emergencies::load(files)?,
            insults: Insults::load(files)?,
            noise,
            examples,
            alarming: examples::load_alarming(files)?,
        })
    }

    /// Labelled messages: on the topic or off it.
    pub(crate) fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Labelled messages: distress, danger, insults, and what only sounds like them.
    pub(crate) fn alarming(&self) -> &[Alarming] {
        &self.alarming
    }

    /// Whether somebody is in distress or in danger.
    pub(crate) fn emergency(&self, message: &str) -> Option<Emergency> {
        self.emergencies.of(message)
    }

    pub(crate) fn insults(&self, message: &str) -> bool {
        self.insults.is_in(message)
    }

    /// Whether it holds no words.
    pub(crate) fn is_noise(&self, message: &str) -> bool {
        self.noise.is(message)
    }
}
