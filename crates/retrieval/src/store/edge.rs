//! Qdrant in this process: a folder.
//!
//! `shard/` is Qdrant's, `journal.jsonl` says what in it counts, `manifest.json` what it was made for, `lock` keeps other
//! processes out. This release of Qdrant writes a log but doesn't read it after a crash, so a step counts only once the shard
//! is flushed and the journal says so.

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use qdrant_edge::external::{serde_json as edge_json, uuid::Uuid};
use qdrant_edge::{
    Condition, CreateIndex, Distance, EdgeConfig, EdgeConfigBuilder, EdgeShard,
    EdgeSparseVectorParamsBuilder, EdgeVectorParamsBuilder, FieldCondition, FieldIndexOperations,
    Filter as EdgeFilter, JsonPath, Match, Modifier, NamedQuery, OperationError, PayloadFieldSchema,
    PayloadSchemaType, PointId as EdgeId, PointInsertOperations, PointOperations, PointStruct, QueryEnum,
    ScoredPoint, ScrollRequest, SearchRequest, SparseVector, UpdateOperation, Vector, VectorInternal,
    VectorStructInternal, Vectors, WalOptions, WithPayloadInterface, WithVector,
};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::journal::{self, Journal, write_whole};
use super::{
    Batch, Candidate, Candidates, DENSE, FILTERED, Filter, Layout, Mode, Payload, Point, PointId, Record,
    Request, SPARSE, Store,
};
use crate::Error;
use crate::lexical::Sparse;

const SHARD: &str = "shard";
const JOURNAL: &str = "journal.jsonl";
const MANIFEST: &str = "manifest.json";
const LOCK: &str = "lock";

/// Bytes of one file of the shard's log.
const LOG_FILE: usize = 4 << 20;

/// Steps after which the log's old files go. They are never read again, and would fill memory and disk.
const STEPS_PER_LOG: usize = 32;

/// Points read at once.
const PAGE: usize = 4096;

pub(super) struct Edge {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    /// None only while it is closed and opened again, and after that failed.
    shard: RwLock<Option<EdgeShard>>,
    writing: Mutex<Writing>,
    /// Held as long as the folder is in use. Released by the system when the process dies.
    _lock: File,
}

struct Writing {
    journal: Journal,
    steps: usize,
}

impl Edge {
    pub(super) async fn open(folder: PathBuf, mode: Mode<'_>) -> Result<Option<Self>, Error> {
        if matches!(mode, Mode::Existing | Mode::Found(_)) && !folder.join(MANIFEST).exists() {
            return Ok(None);
        }
        let (layout, rebuild) = match mode {
            Mode::Existing => (None, false),
            Mode::Found(info) | Mode::For(info) => (Some(Layout::new(info)), false),
            Mode::Rebuild(info) => (Some(Layout::new(info)), true),
        };
        let inner = blocking(move || Inner::open(folder, layout, rebuild)).await?;
        Ok(Some(Self { inner }))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.inner.clone();
        blocking(move || work(&inner)).await
    }
}

/// Qdrant's calls block and compute.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(Error::Store(format!("the index's thread failed: {panic}"))))
}

#[async_trait]
impl Store for Edge {
    async fn records(&self) -> Result<Vec<Record>, Error> {
        self.run(|inner| Ok(inner.writing().journal.records().values().cloned().collect())).await
    }

    async fn apply(&self, batch: Batch) -> Result<(), Error> {
        self.run(move |inner| inner.apply(batch)).await
    }

    async fn candidates(&self, request: Request) -> Result<Candidates, Error> {
        self.run(move |inner| inner.candidates(&request)).await
    }

    async fn count(&self) -> Result<usize, Error> {
        self.run(|inner| Ok(inner.writing().journal.records().len())).await
    }

    async fn optimize(&self) -> Result<(), Error> {
        self.run(|inner| {
            let _writing = inner.writing();
            inner.with_shard(|shard| shard.optimize().map(drop))?;
            inner.flush()
        })
        .await
    }
}

impl Inner {
    fn open(folder: PathBuf, layout: Option<Layout>, rebuild: bool) -> Result<Arc<Self>, Error> {
        let io = |path: PathBuf| move |source| Error::Io { path, source };
        std::fs::create_dir_all(&folder).map_err(io(folder.clone()))?;
        let lock = lock(&folder)?;
        let found = read_manifest(&folder)?;
        if let (Some(layout), Some(found), false) = (&layout, &found, rebuild) {
            layout.check(found, &format!("in {}", folder.display()))?;
        }
        let shard = match (layout, found) {
            (Some(layout), found) if rebuild || found.is_none() => create(&folder, &layout)?,
            _ => load(&folder)?,
        };
        let journal = folder.join(JOURNAL);
        let journal = Journal::open(&journal).map_err(io(journal))?;
        let inner = Self {
            folder,
            shard: RwLock::new(Some(shard)),
            writing: Mutex::new(Writing { journal, steps: 0 }),
            _lock: lock,
        };
        inner.reconcile()?;
        Ok(Arc::new(inner))
    }

    fn writing(&self) -> std::sync::MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<EdgeShard>> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<EdgeShard>> {
        self.shard.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look at the shard, beside others.
    fn with_shard<T>(&self, work: impl FnOnce(&EdgeShard) -> Result<T, OperationError>) -> Result<T, Error> {
        let shard = self.read();
        let shard = shard.as_ref().ok_or_else(|| self.closed())?;
        work(shard).map_err(|error| self.failed(&error))
    }

    fn closed(&self) -> Error {
        Error::Store(format!("the index in {} could not be opened again", self.folder.display()))
    }

    fn failed(&self, error: &OperationError) -> Error {
        Error::Store(format!("the index in {}: {error}", self.folder.display()))
    }

    /// Removes what a crash left in the shard without its counting, and forgets what counts but isn't there.
    fn reconcile(&self) -> Result<(), Error> {
        let mut writing = self.writing();
        let present: HashSet<PointId> = self.with_shard(all_ids)?.into_iter().collect();
        let records = writing.journal.records();
        let strays: Vec<PointId> = present.iter().filter(|id| !records.contains_key(id)).copied().collect();
        let lost: Vec<PointId> = records.keys().filter(|id| !present.contains(id)).copied().collect();
        if !strays.is_empty() {
            tracing::info!(count = strays.len(), "removing documents of an unfinished step");
            self.with_shard(|shard| remove(shard, &strays))?;
            self.flush()?;
        }
        if !lost.is_empty() {
            tracing::warn!(
                count = lost.len(),
                "documents are missing from the index; index their files again"
            );
            self.commit(&mut writing, Vec::new(), &lost)?;
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), Error> {
        let mut writing = self.writing();
        let Batch { upsert, retag, remove: gone } = batch;
        let mut added: Vec<Record> = upsert
            .iter()
            .map(|Point { id, payload, .. }| Record {
                id: *id,
                fingerprint: payload.fingerprint.clone(),
                origins: payload.origins.clone(),
            })
            .collect();
        // Where points come from is read from the journal alone.
        added.extend(retag);
        self.with_shard(|shard| {
            let points: Vec<_> = upsert.into_iter().map(point).collect::<Result<_, _>>()?;
            if !points.is_empty() {
                let points = PointInsertOperations::PointsList(points);
                shard.update(UpdateOperation::PointOperation(PointOperations::UpsertPoints(points)))?;
            }
            remove(shard, &gone)
        })?;
        fail_point(&self.folder, "update")?;
        self.flush()?;
        fail_point(&self.folder, "flush")?;
        self.commit(&mut writing, added, &gone)?;
        fail_point(&self.folder, "commit")?;
        writing.steps += 1;
        if writing.steps.is_multiple_of(STEPS_PER_LOG) {
            self.reopen()?;
        }
        Ok(())
    }

    fn commit(&self, writing: &mut Writing, added: Vec<Record>, removed: &[PointId]) -> Result<(), Error> {
        let path = self.folder.join(JOURNAL);
        writing.journal.commit(added, removed).map_err(|source| Error::Io { path, source })
    }

    /// Alone: Qdrant's `flush` doesn't wait for others, and panics when the disk refuses.
    fn flush(&self) -> Result<(), Error> {
        let shard = self.write();
        let shard = shard.as_ref().ok_or_else(|| self.closed())?;
        catch_unwind(AssertUnwindSafe(|| shard.flush()))
            .map_err(|_| Error::Store(format!("{}: the disk refused a write", self.folder.display())))
    }

    fn reopen(&self) -> Result<(), Error> {
        let mut shard = self.write();
        drop(shard.take());
        *shard = Some(load(&self.folder)?);
        Ok(())
    }

    fn candidates(&self, request: &Request) -> Result<Candidates, Error> {
        let filter = edge_filter(&request.filter);
        let search = |query: VectorInternal, name: &str| SearchRequest {
            query: QueryEnum::Nearest(NamedQuery { query, using: Some(name.into()) }),
            filter: filter.clone(),
            params: None,
            limit: request.limit,
            offset: 0,
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: Some(WithVector::Selector(vec![DENSE.into()])),
            score_threshold: None,
        };
        let by_meaning = match &request.dense {
            Some(vector) => self.find(search(VectorInternal::Dense(vector.clone()), DENSE))?,
            None => Vec::new(),
        };
        let by_words = if request.sparse.indices.is_empty() {
            Vec::new()
        } else {
            self.find(search(VectorInternal::Sparse(sparse(&request.sparse)), SPARSE))?
        };
        Ok(Candidates { by_meaning, by_words })
    }

    fn find(&self, search: SearchRequest) -> Result<Vec<Candidate>, Error> {
        let found = self.with_shard(|shard| shard.search(search))?;
        found.into_iter().map(candidate).collect()
    }
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| Error::Io { path, source })?;
    let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    locked.map_err(|error| not_locked(folder, error))?;
    Ok(file)
}

fn not_locked(folder: &Path, error: Errno) -> Error {
    match error {
        Errno::WOULDBLOCK => Error::Locked(folder.to_owned()),
        // Network disks without a lock service, and drivers that know no locks.
        Errno::NOLCK | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP => Error::NoLocks(folder.to_owned()),
        other => Error::Io { path: folder.join(LOCK), source: other.into() },
    }
}

fn read_manifest(folder: &Path) -> Result<Option<Layout>, Error> {
    let path = folder.join(MANIFEST);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
            let place = path.display();
            Error::Mismatch(format!(
                "{place} is damaged ({error}); make the index anew with `leafresh index --rebuild`"
            ))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path, source }),
    }
}

/// What a folder holds, if it is an index made for this layout. Its files are only read.
pub(super) fn examine(folder: &Path, layout: Option<&Layout>) -> Result<Option<Vec<Record>>, Error> {
    let Some(found) = read_manifest(folder)? else { return Ok(None) };
    if let Some(layout) = layout {
        layout.check(&found, &format!("in {}", folder.display()))?;
    }
    if !folder.join(SHARD).is_dir() {
        return Err(damaged(folder, "its folder `shard` is missing"));
    }
    let journal = folder.join(JOURNAL);
    let records = journal::read(&journal).map_err(|source| Error::Io { path: journal, source })?;
    Ok(Some(records))
}

/// An empty index; the manifest comes last and makes it one.
fn create(folder: &Path, layout: &Layout) -> Result<EdgeShard, Error> {
    let shard_folder = folder.join(SHARD);
    for (path, is_folder) in
        [(folder.join(MANIFEST), false), (folder.join(JOURNAL), false), (shard_folder.clone(), true)]
    {
        let removed = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(Error::Io { path, source }),
            _ => {}
        }
    }
    let io = |source| Error::Io { path: folder.to_owned(), source };
    std::fs::create_dir_all(&shard_folder).map_err(io)?;
    let failed = |error: OperationError| Error::Store(format!("{}: {error}", folder.display()));
    let shard = EdgeShard::new(&shard_folder, config(layout)).map_err(failed)?;
    for key in FILTERED {
        let field_schema = Some(PayloadFieldSchema::FieldType(PayloadSchemaType::Keyword));
        let index = CreateIndex { field_name: path_of(key), field_schema };
        let operation = FieldIndexOperations::CreateIndex(index);
        shard.update(UpdateOperation::FieldIndexOperation(operation)).map_err(failed)?;
    }
    shard.flush();
    let manifest = serde_json::to_vec_pretty(layout).map_err(std::io::Error::from).map_err(io)?;
    write_whole(&folder.join(MANIFEST), &manifest).map_err(io)?;
    Ok(shard)
}

fn config(layout: &Layout) -> EdgeConfig {
    EdgeConfigBuilder::new()
        .vector(DENSE, EdgeVectorParamsBuilder::new(layout.dimension, Distance::Cosine).build())
        .sparse_vector(SPARSE, EdgeSparseVectorParamsBuilder::new().modifier(Modifier::Idf).build())
        .wal_options(WalOptions { segment_capacity: LOG_FILE, ..WalOptions::default() })
        .build()
}

fn load(folder: &Path) -> Result<EdgeShard, Error> {
    let shard = folder.join(SHARD);
    prune_log(&shard.join("wal")).map_err(|source| Error::Io { path: shard.clone(), source })?;
    // Qdrant asserts some of what it expects of its files.
    catch_unwind(AssertUnwindSafe(|| EdgeShard::load(&shard, None)))
        .map_err(|_| damaged(folder, "Qdrant can't read it"))?
        .map_err(|error| damaged(folder, &error.to_string()))
}

fn damaged(folder: &Path, reason: &str) -> Error {
    let place = folder.display();
    Error::Store(format!(
        "the index in {place} is damaged ({reason}); make it anew with `leafresh index --rebuild`"
    ))
}

/// Removes the log's finished files but the last, whose name tells the number of the next operation.
fn prune_log(folder: &Path) -> std::io::Result<()> {
    let mut closed = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(number) = name.strip_prefix("closed-").and_then(|number| number.parse::<u64>().ok()) {
            closed.push((number, path));
        }
    }
    closed.sort_unstable();
    closed.pop();
    closed.iter().try_for_each(|(_, path)| std::fs::remove_file(path))
}

fn path_of(key: &str) -> JsonPath {
    key.parse().expect("a plain key is a path")
}

fn edge_id(id: PointId) -> EdgeId {
    EdgeId::Uuid(Uuid::from_u128(id.0))
}

fn own_id(id: &EdgeId) -> Option<PointId> {
    match id {
        EdgeId::Uuid(uuid) => Some(PointId(uuid.as_u128())),
        EdgeId::NumId(_) => None,
    }
}

fn sparse(vector: &Sparse) -> SparseVector {
    SparseVector { indices: vector.indices.clone(), values: vector.values.clone() }
}

fn point(point: Point) -> Result<qdrant_edge::PointStructPersisted, OperationError> {
    let Point { id, dense, sparse: words, payload } = point;
    let payload =
        edge_json::to_value(&payload).map_err(|error| OperationError::service_error(error.to_string()))?;
    let vectors =
        Vectors::new_named([(DENSE, Vector::new_dense(dense)), (SPARSE, Vector::from(sparse(&words)))]);
    Ok(PointStruct::new(edge_id(id), vectors, payload).into())
}

fn remove(shard: &EdgeShard, ids: &[PointId]) -> Result<(), OperationError> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids = ids.iter().copied().map(edge_id).collect();
    shard.update(UpdateOperation::PointOperation(PointOperations::DeletePoints { ids }))
}

fn all_ids(shard: &EdgeShard) -> Result<Vec<PointId>, OperationError> {
    let mut ids = Vec::new();
    let mut offset = None;
    loop {
        let (points, next) = shard.scroll(ScrollRequest {
            offset,
            limit: Some(PAGE),
            with_payload: Some(WithPayloadInterface::Bool(false)),
            with_vector: WithVector::Bool(false),
            ..ScrollRequest::default()
        })?;
        ids.extend(points.iter().filter_map(|point| own_id(&point.id)));
        offset = next;
        if offset.is_none() {
            return Ok(ids);
        }
    }
}

fn edge_filter(filter: &Filter) -> Option<EdgeFilter> {
    let Filter { category, place, work_type, leave_out } = filter;
    let is = |key: &str, values: &[String]| {
        Condition::Field(FieldCondition::new_match(path_of(key), Match::from(values.to_vec())))
    };
    let or_any = |key: &str, value: &String| {
        let empty = Condition::IsEmpty(path_of(key).into());
        let either = vec![is(key, std::slice::from_ref(value)), empty];
        Condition::Filter(EdgeFilter { should: Some(either), ..EdgeFilter::new() })
    };
    let mut must = Vec::new();
    must.extend(category.as_ref().map(|code| is("category", std::slice::from_ref(code))));
    must.extend(place.as_ref().map(|code| or_any("places", code)));
    must.extend(work_type.as_ref().map(|code| or_any("work_types", code)));
    let must_not =
        if leave_out.is_empty() { Vec::new() } else { vec![is("id", leave_out), is("title", leave_out)] };
    let given = |conditions: Vec<Condition>| (!conditions.is_empty()).then_some(conditions);
    let filter = EdgeFilter { must: given(must), must_not: given(must_not), ..EdgeFilter::new() };
    (filter.must.is_some() || filter.must_not.is_some()).then_some(filter)
}

fn candidate(point: ScoredPoint) -> Result<Candidate, Error> {
    let strange =
        |reason: String| Error::Store(format!("the index holds a point that isn't a document: {reason}"));
    let payload = point.payload.ok_or_else(|| strange("it has no payload".into()))?;
    let payload: Payload = edge_json::from_value(edge_json::Value::Object(payload.0))
        .map_err(|error| strange(error.to_string()))?;
    let id = own_id(&point.id).ok_or_else(|| strange(format!("its id is {:?}", point.id)))?;
    let dense = match point.vector {
        Some(VectorStructInternal::Named(mut named)) => match named.remove(DENSE) {
            Some(VectorInternal::Dense(vector)) => vector,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    Ok(Candidate { id, document: payload.document.into(), dense, score: point.score })
}

/// Where tests let a step fail.
#[cfg(test)]
use tests::fail_point;

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "the tests' one fails")]
fn fail_point(_: &Path, _: &str) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests;
