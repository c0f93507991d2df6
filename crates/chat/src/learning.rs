//! What is made ready before the first request: the prompt's beginning in the engine's cache, and what is learned from the
//! catalogue.

use std::sync::Arc;

use leafresh_engine::{Delta, Grammar, Program, Progress, Prompt, Request, Segment, Slot};
use leafresh_retrieval::Metric;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::addressing::Addressing;
use crate::brief::Brief;
use crate::guard::{Classifier, Judge, Refusal, alarm, topic};
use crate::kept::{self, Key};
use crate::{Error, Intent, Recommender, intents};

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
            stop: Vec::new(),
        };
        let mut generation = self.backend.generate(Request {
            adapter: None,
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
        let vector = match self.library.search.as_ref().filter(|search| search.can_embed()) {
            Some(search) => Some(search.embed(message).await?),
            None => None,
        };
        Ok(self.judge().refusal(message, vector.as_ref()))
    }

    /// What a message about challenges that were offered means: for measuring it. Empty without an embedding model.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when the message can't be embedded.
    pub async fn intents(&self, message: &str) -> Result<Vec<Intent>, Error> {
        self.learn().await?;
        let (Some(search), Some(classifier)) = (&self.library.search, self.intents.get()) else {
            return Ok(Vec::new());
        };
        Ok(intents::meant(classifier, message, &search.embed(message).await?))
    }

    /// Tells what is wrong with messages, as well as it can at the moment.
    pub(crate) fn judge(&self) -> Judge {
        let [topic, alarm] = [&self.topic, &self.alarm].map(|learned| learned.get().cloned());
        Judge { catalog: self.catalog.clone(), topic, alarm }
    }

    /// Learns what takes time, or reads what was learned before: from the catalogue's questions how to put documents into
    /// order, from its examples what alarms and what is about the topic, and what its openings mean. Until then, and without an
    /// embedding model, documents are in the order of plain cosines, lists of words tell, and openings are drawn. The first time takes two or three minutes.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when the embedding model can't compute.
    pub async fn learn(&self) -> Result<(), Error> {
        let Some(search) = self.library.search.as_ref() else { return Ok(()) };
        let Some(model) = search.model() else { return Ok(()) };
        // First what somebody's life may hang on.
        if self.alarm.get().is_none() {
            let labelled = alarm::learned_from(&self.catalog);
            let classes = labelled.iter().map(|(_, class)| format!("{class:?}")).collect::<Vec<_>>();
            let examples = labelled.iter().zip(&classes).flat_map(|((text, _), class)| [*text, class]);
            let key = kept::key([model.fingerprint.as_str()].into_iter().chain(examples));
            let fits = |classifier: &Classifier| classifier.fits(model.dimension, alarm::CLASSES);
            let anew = async || {
                tracing::info!("the gate learns what distress, danger and insults sound like");
                alarm::learn(&self.catalog, search).await
            };
            if let Some(classifier) = self.recall("alarm.bin", key, fits, anew).await? {
                // Of two that learn at once one is enough.
                let _ = self.alarm.set(Arc::new(classifier));
            }
        }
        // Then what is quick, and what answers are read by.
        if self.intents.get().is_none() {
            let labelled = intents::learned_from(&self.catalog);
            let classes = labelled.iter().map(|(_, classes)| format!("{classes:?}")).collect::<Vec<_>>();
            let examples = labelled.iter().zip(&classes).flat_map(|((text, _), classes)| [*text, classes]);
            let key = kept::key([model.fingerprint.as_str()].into_iter().chain(examples));
            let fits = |classifier: &Classifier| classifier.fits(model.dimension, intents::CLASSES);
            let anew = async || intents::learn(&self.catalog, search).await;
            if let Some(classifier) = self.recall("intents.bin", key, fits, anew).await? {
                let _ = self.intents.set(Arc::new(classifier));
            }
        }
        if self.addressing.get().is_none() {
            let openings = Addressing::learned_from(&self.catalog);
            let key = kept::key([model.fingerprint.as_str()].into_iter().chain(openings));
            let fits = |addressing: &Addressing| addressing.fits(model.dimension);
            let anew = async || Addressing::learn(&self.catalog, search).await;
            if let Some(addressing) = self.recall("openings.bin", key, fits, anew).await? {
                let _ = self.addressing.set(addressing);
            }
        }
        if !search.has_metric() {
            let documents = self.catalog.documents();
            let questions = documents
                .iter()
                .flat_map(|document| std::iter::once(&document.id).chain(&document.questions));
            let key =
                kept::key([model.fingerprint.as_str()].into_iter().chain(questions.map(String::as_str)));
            let fits = |metric: &Metric| metric.fits(model.dimension);
            let anew = async || Ok(search.learn_metric(documents).await?);
            if let Some(metric) = self.recall("metric.bin", key, fits, anew).await? {
                search.use_metric(metric);
            }
        }
        if self.topic.get().is_none() {
            let examples = topic::learned_from(self.catalog.examples());
            let key = kept::key([model.fingerprint.as_str()].into_iter().chain(examples));
            let fits = |classifier: &Classifier| classifier.fits(model.dimension, topic::CLASSES);
            let anew = async || {
                tracing::info!("the gate learns what is about the topic");
                topic::learn(self.catalog.examples(), search).await.map(Some)
            };
            if let Some(classifier) = self.recall("topic.bin", key, fits, anew).await? {
                let _ = self.topic.set(Arc::new(classifier));
            }
        }
        Ok(())
    }

    /// What is kept under this name, if it is for this key; else what `anew` learns, which is kept then.
    async fn recall<T: Serialize + DeserializeOwned + Send + 'static>(
        &self,
        name: &str,
        key: Key,
        fits: impl Fn(&T) -> bool,
        anew: impl AsyncFnOnce() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let Some(file) = self.kept.as_ref().map(|folder| folder.join(name)) else { return anew().await };
        let read = file.clone();
        let kept = beside(move || kept::read(&read, &key)).await?;
        if let Some(kept) = kept.filter(|kept| fits(kept)) {
            return Ok(Some(kept));
        }
        let Some(learned) = anew().await? else { return Ok(None) };
        let write = move || {
            if let Err(error) = kept::write(&file, &key, &learned) {
                tracing::warn!(%error, file = %file.display(), "what was learned can't be kept; the next start learns again");
            }
            learned
        };
        Ok(Some(beside(write).await?))
    }
}

/// Files of many megabytes are read and written on a thread for that.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Error::Settings(format!("what was learned could not be read or kept: {panic}")))
}
