//! Where vectors lie: in this process, or on a Qdrant server. The same layout in both.

mod edge;
mod journal;
mod server;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use leafresh_engine::EmbedderInfo;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::lexical::Sparse;
use crate::{Document, Error, Location};

/// Of the layout: another number means that an index has to be made anew.
const VERSION: u32 = 2;

/// Names of the vectors of a point.
const DENSE: &str = "meaning";
const SPARSE: &str = "words";

/// Payload keys by which points are filtered.
const FILTERED: [&str; 6] = ["id", "title", "category", "places", "work_types", "origins"];

/// A point's id: the first half of a hash of what the document says, so that the same text is stored once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PointId(pub(crate) u128);

impl PointId {
    pub(crate) fn of(document: &Document) -> Self {
        let Document { category, places, work_types, title, text, short, .. } = document;
        let mut hasher = Sha256::new();
        let lists = [places.join("\n"), work_types.join("\n")];
        for part in [category, &lists[0], &lists[1], title, text, short] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(first_half(hasher))
    }
}

fn first_half(hasher: Sha256) -> u128 {
    let digest = hasher.finalize();
    digest[..16].iter().fold(0, |number, &byte| number << 8 | u128::from(byte))
}

/// As a UUID, which is how Qdrant wants it.
impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        f.write_str(&parts.join("-"))
    }
}

impl fmt::Debug for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PointId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex: String = text.chars().filter(|&character| character != '-').collect();
        (hex.len() == 32).then(|| u128::from_str_radix(&hex, 16).ok()).flatten().map(Self)
    }
}

impl Serialize for PointId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PointId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no UUID")))
    }
}

/// What is stored beside the vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload {
    #[serde(flatten)]
    pub(crate) document: Fields,
    /// Files and folders that it comes from: it goes when the last of them lets it go.
    pub(crate) origins: BTreeSet<String>,
    /// Of the document, id and source included.
    pub(crate) fingerprint: String,
}

/// A document's fields. Apart from [`Document`] because that one refuses unknown keys, of which a payload has some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fields {
    id: String,
    category: String,
    places: Vec<String>,
    work_types: Vec<String>,
    title: String,
    text: String,
    short: String,
    source: String,
}

impl From<Document> for Fields {
    fn from(document: Document) -> Self {
        let Document { id, category, places, work_types, title, text, short, questions: _, source } =
            document;
        Self { id, category, places, work_types, title, text, short, source }
    }
}

impl From<Fields> for Document {
    fn from(fields: Fields) -> Self {
        let Fields { id, category, places, work_types, title, text, short, source } = fields;
        Self { id, category, places, work_types, title, text, short, questions: Vec::new(), source }
    }
}

impl Payload {
    pub(crate) fn new(document: Document, origins: BTreeSet<String>) -> Self {
        let fingerprint = fingerprint(&document);
        Self { document: document.into(), origins, fingerprint }
    }
}

/// Changes whenever anything of the document does.
pub(crate) fn fingerprint(document: &Document) -> String {
    let mut hasher = Sha256::new();
    hasher.update(PointId::of(document).0.to_le_bytes());
    for part in [&document.id, &document.source].into_iter().chain(&document.questions) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    format!("{:032x}", first_half(hasher))
}

/// A document with its vectors.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) id: PointId,
    pub(crate) dense: Vec<f32>,
    pub(crate) sparse: Sparse,
    pub(crate) payload: Payload,
}

/// What the index holds, without texts and vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: PointId,
    pub(crate) fingerprint: String,
    pub(crate) origins: BTreeSet<String>,
}

/// One step of indexing.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) upsert: Vec<Point>,
    /// Points that stay as they are, but come from elsewhere now.
    pub(crate) retag: Vec<Record>,
    pub(crate) remove: Vec<PointId>,
}

/// Which points may be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) category: Option<String>,
    pub(crate) place: Option<String>,
    pub(crate) work_type: Option<String>,
    /// Ids and titles.
    pub(crate) leave_out: Vec<String>,
}

/// What to look for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) dense: Option<Vec<f32>>,
    pub(crate) sparse: Sparse,
    pub(crate) filter: Filter,
    /// Candidates of each kind.
    pub(crate) limit: usize,
}

/// A point near the question.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) id: PointId,
    pub(crate) document: Document,
    /// Of the document.
    pub(crate) dense: Vec<f32>,
    /// In its own list: the greater, the nearer.
    pub(crate) score: f32,
}

/// Both lists best first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    pub(crate) by_meaning: Vec<Candidate>,
    pub(crate) by_words: Vec<Candidate>,
}

#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// All there is.
    async fn records(&self) -> Result<Vec<Record>, Error>;

    /// Does one step. When it returns, the step survives a crash.
    async fn apply(&self, batch: Batch) -> Result<(), Error>;

    async fn candidates(&self, request: Request) -> Result<Candidates, Error>;

    /// Points there are.
    async fn count(&self) -> Result<usize, Error>;

    /// Makes search fast again after many steps.
    async fn optimize(&self) -> Result<(), Error>;
}

/// A store that is opened while others hold it already.
#[derive(Default)]
pub(crate) struct Later {
    store: OnceLock<Arc<dyn Store>>,
}

impl Later {
    /// Only the first call counts.
    pub(crate) fn open(&self, store: Arc<dyn Store>) {
        let _ = self.store.set(store);
    }

    fn now(&self) -> Result<&Arc<dyn Store>, Error> {
        self.store.get().ok_or(Error::NotOpen)
    }
}

#[async_trait]
impl Store for Later {
    async fn records(&self) -> Result<Vec<Record>, Error> {
        self.now()?.records().await
    }

    async fn apply(&self, batch: Batch) -> Result<(), Error> {
        self.now()?.apply(batch).await
    }

    async fn candidates(&self, request: Request) -> Result<Candidates, Error> {
        self.now()?.candidates(request).await
    }

    async fn count(&self) -> Result<usize, Error> {
        self.now()?.count().await
    }

    async fn optimize(&self) -> Result<(), Error> {
        self.now()?.optimize().await
    }
}

/// What an index is made for. Kept beside it, so that a change is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) version: u32,
    /// Name and fingerprint of the embedding model, and the numbers in its vectors.
    pub(crate) model: String,
    pub(crate) fingerprint: String,
    pub(crate) dimension: usize,
}

impl Layout {
    fn new(info: &EmbedderInfo) -> Self {
        Self {
            version: VERSION,
            model: info.name.clone(),
            fingerprint: info.fingerprint.clone(),
            dimension: info.dimension,
        }
    }

    /// # Errors
    /// [`Error::Mismatch`] when what was found isn't what this layout needs.
    fn check(&self, found: &Self, place: &str) -> Result<(), Error> {
        let reason = if found.version != self.version {
            format!("has layout {}, this release needs {}", found.version, self.version)
        } else if found.dimension != self.dimension {
            let Self { model, dimension, .. } = self;
            format!(
                "was made with {} ({} dimensions), but the embedding model is {model} ({dimension} dimensions)",
                found.model, found.dimension
            )
        } else if found.fingerprint != self.fingerprint {
            let short = |fingerprint: &str| fingerprint.chars().take(12).collect::<String>();
            format!(
                "was made with another embedding model: {} {}, now {} {}",
                found.model,
                short(&found.fingerprint),
                self.model,
                short(&self.fingerprint)
            )
        } else {
            return Ok(());
        };
        Err(Error::Mismatch(format!(
            "the index {place} {reason}; make it anew with `leafresh index --rebuild PATH…`, or without paths for the \
             catalogue's documents alone"
        )))
    }
}

/// How to open an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode<'a> {
    /// As it is, whatever it was made with: for search by words.
    Existing,
    /// As it is, if it was made for this embedding model.
    Found(&'a EmbedderInfo),
    /// For this embedding model; made when there is none.
    For(&'a EmbedderInfo),
    /// Emptied first.
    Rebuild(&'a EmbedderInfo),
}

/// Opens the index at this place. None: there is none, and `mode` doesn't make one.
pub(crate) async fn open(location: &Location, mode: Mode<'_>) -> Result<Option<Arc<dyn Store>>, Error> {
    Ok(match location {
        Location::Folder(folder) => {
            edge::Edge::open(folder.clone(), mode).await?.map(|store| Arc::new(store) as Arc<dyn Store>)
        }
        Location::Server(server) => {
            server::Server::open(server, mode).await?.map(|store| Arc::new(store) as Arc<dyn Store>)
        }
    })
}

/// What a look at an index finds.
#[derive(Debug)]
pub(crate) struct Found {
    /// Of a Qdrant server.
    pub(crate) version: Option<String>,
    /// None: there is no index.
    pub(crate) records: Option<Vec<Record>>,
}

/// Looks at the index at this place without changing anything, also while another process has it. A model has to be the one that
/// it was made for.
pub(crate) async fn examine(location: &Location, model: Option<&EmbedderInfo>) -> Result<Found, Error> {
    let layout = model.map(Layout::new);
    match location {
        Location::Folder(folder) => {
            let records = edge::examine(folder, layout.as_ref())?;
            Ok(Found { version: None, records })
        }
        Location::Server(server) => server::examine(server, layout.as_ref()).await,
    }
}
