//! Putting documents in, and taking out those that are gone.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leafresh_engine::Embedder;

use crate::corpus::{Corpus, Origins};
use crate::lexical::Sparse;
use crate::meaning::vectors_of;
use crate::store::{Batch, Mode, Payload, Point, PointId, Record, Store, fingerprint, open};
use crate::vector::indexed_text;
use crate::{Document, Error, Location, Search};

/// Documents of one step: it is on the disk as a whole, which takes a fraction of a second.
const STEP: usize = 256;

/// Texts embedded between two looks at whether to stop.
const EMBEDDED_AT_ONCE: usize = 64;

/// Documents from which on the index is made fast again at the end.
const WORTH_OPTIMIZING: usize = 10_000;

/// An index that can be changed.
#[derive(Clone)]
pub struct Index {
    embedder: Arc<dyn Embedder>,
    store: Arc<dyn Store>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("model", &self.embedder.info().name).finish_non_exhaustive()
    }
}

/// What indexing a corpus would do.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Documents in the corpus, passages of long ones counted.
    pub documents: usize,
    /// Of them, those that say the same as another one.
    pub duplicates: usize,
    /// Of them, those that are indexed as they are.
    pub unchanged: usize,
    /// To be embedded, with all that they come from.
    embed: HashMap<PointId, Origins>,
    retag: Vec<Record>,
    remove: Vec<PointId>,
}

impl Plan {
    /// Documents to be embedded.
    pub fn new_documents(&self) -> usize {
        self.embed.len()
    }

    /// Documents to be taken out.
    pub fn gone(&self) -> usize {
        self.remove.len()
    }

    pub fn is_empty(&self) -> bool {
        self.embed.is_empty() && self.retag.is_empty() && self.remove.is_empty()
    }
}

/// How far indexing is: documents of those to be embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: usize,
    pub total: usize,
}

/// What indexing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    pub embedded: usize,
    pub removed: usize,
    /// It was stopped; what is done counts, and the same command goes on from there.
    pub stopped: bool,
}

impl Index {
    /// Opens an index for this embedding model; an empty one is made when there is none.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when it was made with another model, [`Error::Locked`] when another process has the folder,
    /// [`Error::Store`] when the server can't be reached.
    pub async fn open(location: &Location, embedder: Arc<dyn Embedder>) -> Result<Self, Error> {
        Self::with(location, Mode::For(embedder.info()), embedder.clone()).await
    }

    /// Opens an index after removing everything in it.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Store`].
    pub async fn rebuild(location: &Location, embedder: Arc<dyn Embedder>) -> Result<Self, Error> {
        Self::with(location, Mode::Rebuild(embedder.info()), embedder.clone()).await
    }

    async fn with(location: &Location, mode: Mode<'_>, embedder: Arc<dyn Embedder>) -> Result<Self, Error> {
        let store = open(location, mode).await?;
        let store = store.ok_or_else(|| Error::Store(format!("there is no index at {location}")))?;
        Ok(Self { embedder, store })
    }

    /// A handle for finding what is in it.
    pub fn search(&self) -> Search {
        Search::new(Some(self.embedder.clone()), self.store.clone())
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Reads the corpus and compares it with the index. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Document`] and [`Error::Io`] when a file can't be read, [`Error::Store`].
    pub async fn plan(&self, corpus: &Corpus) -> Result<Plan, Error> {
        let records = self.store.records().await?;
        let (corpus, embedder) = (corpus.clone(), self.embedder.clone());
        blocking(move || plan(&corpus, &*embedder, records)).await
    }

    /// Carries out a plan made for this corpus. `stop` ends it after the documents at hand; what is done counts.
    ///
    /// # Errors
    /// As [`Index::plan`], and [`Error::Engine`] when the model fails. What was done before counts.
    pub async fn run(
        &self,
        corpus: &Corpus,
        plan: Plan,
        stop: &Arc<AtomicBool>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Report, Error> {
        let total = plan.embed.len();
        let mut report = Report { removed: plan.remove.len(), ..Report::default() };
        // First what is gone: nobody should find it while the rest is embedded.
        if !(plan.remove.is_empty() && plan.retag.is_empty()) {
            self.store.apply(Batch { upsert: Vec::new(), retag: plan.retag, remove: plan.remove }).await?;
        }
        progress(Progress { done: 0, total });
        let (sender, mut steps) = tokio::sync::mpsc::channel(1);
        let (corpus, embedder, stop) = (corpus.clone(), self.embedder.clone(), stop.clone());
        // Embeds the next step while the last one goes to the disk.
        let embedding = tokio::task::spawn_blocking(move || {
            Embedding {
                embedder: &*embedder,
                stop: &stop,
                sender,
                waiting: Vec::new(),
                texts: 0,
                step: Vec::new(),
            }
            .run(&corpus, plan.embed)
        });
        while let Some(upsert) = steps.recv().await {
            report.embedded += Vec::len(&upsert);
            self.store.apply(Batch { upsert, ..Batch::default() }).await?;
            progress(Progress { done: report.embedded, total });
        }
        report.stopped = embedding.await.map_err(|panic| Error::Store(panic.to_string()))??;
        if report.embedded >= WORTH_OPTIMIZING {
            self.store.optimize().await?;
        }
        Ok(report)
    }

    /// [`Index::plan`] and [`Index::run`] without a word: for a corpus that takes seconds.
    ///
    /// # Errors
    /// As those.
    pub async fn update(&self, corpus: &Corpus) -> Result<Report, Error> {
        let plan = self.plan(corpus).await?;
        self.run(corpus, plan, &Arc::default(), |_| {}).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(Error::Store(format!("reading the documents failed: {panic}"))))
}

fn plan(corpus: &Corpus, embedder: &dyn Embedder, records: Vec<Record>) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    // What each document's point should be; of several that say the same, the first gives id and source.
    let mut wanted: HashMap<PointId, (String, Origins)> = HashMap::new();
    corpus.for_each(embedder, |origin, document| {
        plan.documents += 1;
        let entry = wanted.entry(PointId::of(&document));
        let (_, origins) = entry
            .and_modify(|_| plan.duplicates += 1)
            .or_insert_with(|| (fingerprint(&document), Origins::new()));
        origins.insert(origin.to_owned());
        Ok(())
    })?;
    for record in records {
        let elsewhere: Origins =
            record.origins.iter().filter(|origin| !corpus.covers(origin)).cloned().collect();
        match wanted.remove(&record.id) {
            Some((fingerprint, origins)) => {
                let origins: Origins = origins.into_iter().chain(elsewhere.iter().cloned()).collect();
                // Another origin's id and source are as good as these.
                let same = record.fingerprint == fingerprint || !elsewhere.is_empty();
                if !same {
                    plan.embed.insert(record.id, origins);
                } else if origins == record.origins {
                    plan.unchanged += 1;
                } else {
                    plan.unchanged += 1;
                    plan.retag.push(Record { origins, ..record });
                }
            }
            None if elsewhere == record.origins => {}
            None if elsewhere.is_empty() => plan.remove.push(record.id),
            None => plan.retag.push(Record { origins: elsewhere, ..record }),
        }
    }
    plan.embed.extend(wanted.into_iter().map(|(id, (_, origins))| (id, origins)));
    Ok(plan)
}

/// The corpus read a second time, what the plan names embedded, and sent off in steps.
struct Embedding<'a> {
    embedder: &'a dyn Embedder,
    stop: &'a AtomicBool,
    sender: tokio::sync::mpsc::Sender<Vec<Point>>,
    waiting: Vec<(PointId, Document, Origins)>,
    /// Texts that these are embedded as.
    texts: usize,
    step: Vec<Point>,
}

/// Why reading ended early.
enum End {
    Stopped,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Embedding<'_> {
    /// Whether it was stopped.
    fn run(mut self, corpus: &Corpus, mut wanted: HashMap<PointId, Origins>) -> Result<bool, Error> {
        let mut end = None;
        let embedder = self.embedder;
        let read = corpus.for_each(embedder, |_, document| {
            let id = PointId::of(&document);
            if let Some(origins) = wanted.remove(&id) {
                self.texts += 1 + document.questions.len();
                self.waiting.push((id, document, origins));
            }
            if self.texts < EMBEDDED_AT_ONCE {
                return Ok(());
            }
            self.embed().map_err(|reason| {
                end = Some(reason);
                Error::Store(String::new())
            })
        });
        let end = match (read, end) {
            (Ok(()), _) => self.embed(),
            (Err(_), Some(end)) => Err(end),
            (Err(error), None) => Err(End::Failed(error)),
        };
        // What is embedded isn't thrown away, whatever came after it.
        let sent = self.send();
        match end {
            Ok(()) => Ok(!sent),
            Err(End::Stopped) => Ok(true),
            Err(End::Failed(error)) => Err(error),
        }
    }

    fn embed(&mut self) -> Result<(), End> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(End::Stopped);
        }
        self.texts = 0;
        let vectors = vectors_of(self.embedder, self.waiting.iter().map(|(_, document, _)| document))?;
        self.step.extend(self.waiting.drain(..).zip(vectors).map(|((id, document, origins), dense)| Point {
            id,
            dense,
            sparse: Sparse::of_document(&indexed_text(&document), &document.questions),
            payload: Payload::new(document, origins),
        }));
        if self.step.len() >= STEP && !self.send() {
            return Err(End::Stopped);
        }
        Ok(())
    }

    /// Whether somebody still wants it.
    fn send(&mut self) -> bool {
        let step = std::mem::take(&mut self.step);
        step.is_empty() || self.sender.blocking_send(step).is_ok()
    }
}

#[cfg(test)]
mod tests;
