//! What is made ready before the first request: the prompt's beginning in the engine's cache, and a gate that has learned.

use std::sync::Arc;

use leafresh_engine::{Delta, Grammar, Program, Progress, Prompt, Request, Segment, Slot};
use leafresh_retrieval::{QueryVector, Search};

use crate::brief::Brief;
use crate::guard::{self, Classifier, Judge, Refusal};
use crate::session::Reading;
use crate::{Error, Recommender};

impl Recommender {
    /// Has the engine read what all prompts begin with, so that the first person doesn't wait for it. Takes seconds.
    ///
    /// # Errors
    /// [`Error::Engine`] when the model can't compute.
    pub async fn warm(&self) -> Result<(), Error> {
        let Some(category) = self.catalog.categories().first() else {
            return Ok(());
        };
        for message in [None, Some("")] {
            let brief =
                Brief { message, location: None, work_type: None, category, documents: &[], history: &[] };
            self.read(self.prompt(&brief)?).await?;
        }
        Ok(())
    }

    /// Reads a prompt into the cache.
    async fn read(&self, prompt: Prompt) -> Result<(), Error> {
        // One token has to be chosen, so the whole prompt has to be read.
        let slot = Slot {
            name: "warm".into(),
            grammar: Grammar::Choices(vec!["0".into(), "1".into()]),
            max_tokens: 4,
            distinct_from: Vec::new(),
        };
        let mut generation = self.backend.generate(Request {
            prompt,
            program: Program::new(vec![Segment::Slot(slot)])?,
            progress: Progress::default(),
            sampling: self.settings.sampling.clone(),
        })?;
        while let Some(delta) = generation.next().await {
            if let Delta::Failed(error) = delta {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// What is wrong with a message that begins a conversation; None: it is answered. Nothing is generated.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when the message can't be embedded.
    pub async fn refusal(&self, message: &str) -> Result<Option<Refusal>, Error> {
        self.learn().await?;
        if let Some(refusal) = self.catalog.guard().refuses_at_sight(message) {
            return Ok(Some(refusal));
        }
        let vector = match self.library.search.as_ref().filter(|search| search.can_embed()) {
            Some(search) => Some(search.embed(message).await?),
            None => None,
        };
        let reading = Reading::of(message, &self.catalog);
        let vector = vector.as_ref().map(QueryVector::as_slice);
        let off_topic = self.judge().is_off_topic(message, &reading, vector, false);
        Ok(off_topic.then_some(Refusal::OffTopic))
    }

    /// Tells what is about the topic, as well as it can at the moment.
    pub(crate) fn judge(&self) -> Judge {
        Judge { catalog: self.catalog.clone(), classifier: self.classifier.get().cloned() }
    }

    /// Has the gate learn from the catalogue's examples what is about the topic, or read what it learned before. Until then,
    /// and without an embedding model, keywords tell. The first time takes up to half a minute.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when the embedding model can't compute.
    pub async fn learn(&self) -> Result<(), Error> {
        let Some(search) = self.library.search.as_ref() else { return Ok(()) };
        let Some(model) = search.model() else { return Ok(()) };
        if self.classifier.get().is_none() {
            let key = guard::key_of_kept(&model.fingerprint, self.catalog.examples());
            let kept = self.kept.as_ref().and_then(|file| guard::read_kept(file, &key, model.dimension));
            let classifier = match kept {
                Some(classifier) => classifier,
                None => self.learn_anew(search, &key).await?,
            };
            // Of two that learn at once one is enough.
            let _ = self.classifier.set(Arc::new(classifier));
        }
        Ok(())
    }

    async fn learn_anew(&self, search: &Search, key: &[u8; 32]) -> Result<Classifier, Error> {
        tracing::info!("the gate learns from the catalogue's examples");
        let classifier = Classifier::train(self.catalog.examples(), search).await?;
        if let Some(file) = &self.kept
            && let Err(error) = guard::write_kept(file, key, &classifier)
        {
            tracing::warn!(%error, file = %file.display(), "what the gate learned can't be kept; the next start learns again");
        }
        Ok(classifier)
    }
}
