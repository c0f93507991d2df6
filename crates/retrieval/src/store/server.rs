//! A Qdrant server or cluster: one collection, laid out as the folder's shard is. What it was made for stands in the
//! collection's metadata, which needs Qdrant 1.16 or newer.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use qdrant_client::qdrant::vectors_output::VectorsOptions;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    DeletePointsBuilder, Distance, FieldType, Filter as ServerFilter, Modifier, NamedVectors, PointStruct,
    PointsIdsList, QueryBatchPointsBuilder, QueryPoints, QueryPointsBuilder, ScoredPoint,
    ScrollPointsBuilder, SetPayloadPointsBuilder, SparseVectorParamsBuilder, SparseVectorsConfigBuilder,
    UpsertPointsBuilder, Value, Vector, VectorInput, VectorOutput, VectorParamsBuilder, VectorsConfigBuilder,
    VectorsSelector, vector_output,
};
use qdrant_client::{Payload as ServerPayload, Qdrant, QdrantError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout as timeout_after;

use super::{
    Batch, Candidate, Candidates, DENSE, FILTERED, Filter, Found, Layout, Mode, Payload, Point, PointId,
    Record, Request, SPARSE, Store,
};
use crate::{Document, Error, ServerSettings};

/// Key of the layout among the collection's metadata.
const METADATA: &str = "leafresh";

/// How long a server that failed may take to show that it isn't one for gRPC.
const PROBE: Duration = Duration::from_secs(1);

/// Points read at once.
const PAGE: u32 = 1000;

pub(super) struct Server {
    client: Qdrant,
    url: String,
    collection: String,
}

impl Server {
    pub(super) async fn open(settings: &ServerSettings, mode: Mode<'_>) -> Result<Option<Self>, Error> {
        let server = Self::new(settings)?;
        let there = server.is_there().await?;
        match mode {
            Mode::Existing | Mode::Found(_) if !there => return Ok(None),
            Mode::Existing => {}
            Mode::Found(info) => server.check(&Layout::new(info)).await?,
            Mode::For(info) if there => server.check(&Layout::new(info)).await?,
            Mode::For(info) => server.create(&Layout::new(info)).await?,
            Mode::Rebuild(info) => {
                if there {
                    server.ask(server.client.delete_collection(&server.collection)).await?;
                }
                server.create(&Layout::new(info)).await?;
            }
        }
        Ok(Some(server))
    }

    fn new(settings: &ServerSettings) -> Result<Self, Error> {
        let ServerSettings { url, api_key, collection, timeout } = settings;
        let client = Qdrant::from_url(url)
            .api_key(api_key.as_deref())
            .timeout(*timeout)
            .connect_timeout(*timeout)
            // It would print to the standard output.
            .skip_compatibility_check()
            .build();
        Ok(Self {
            client: client.map_err(|error| failed(url, error))?,
            url: url.clone(),
            collection: collection.clone(),
        })
    }

    /// Whether the collection exists. The first call to a server.
    async fn is_there(&self) -> Result<bool, Error> {
        let url = &self.url;
        match self.ask(self.client.collection_exists(&self.collection)).await {
            Err(_) if matches!(timeout_after(PROBE, speaks_http1(url)).await, Ok(Some(true))) => {
                Err(Error::Store(format!(
                    "{url} answers, but not in gRPC: this is Qdrant's REST port; gRPC is 6334 (retrieval.url)"
                )))
            }
            there => there,
        }
    }

    async fn ask<T>(&self, call: impl Future<Output = Result<T, QdrantError>> + Send) -> Result<T, Error> {
        call.await.map_err(|error| failed(&self.url, error))
    }

    async fn check(&self, layout: &Layout) -> Result<(), Error> {
        let info = self.ask(self.client.collection_info(&self.collection)).await?;
        let metadata =
            info.result.and_then(|info| info.config).map(|config| config.metadata).unwrap_or_default();
        let place = format!("`{}` on {}", self.collection, self.url);
        let found = metadata.get(METADATA).map(|value| serde_json::from_value(value.clone().into_json()));
        match found {
            Some(Ok(found)) => layout.check(&found, &place),
            _ => Err(Error::Mismatch(format!(
                "the collection {place} doesn't say that it is Leafresh's; name another one with retrieval.collection, use \
                 Qdrant 1.16 or newer, or replace it with `leafresh index --rebuild`"
            ))),
        }
    }

    async fn create(&self, layout: &Layout) -> Result<(), Error> {
        let mut vectors = VectorsConfigBuilder::default();
        vectors.add_named_vector_params(
            DENSE,
            VectorParamsBuilder::new(layout.dimension as u64, Distance::Cosine),
        );
        let mut words = SparseVectorsConfigBuilder::default();
        words.add_named_vector_params(SPARSE, SparseVectorParamsBuilder::default().modifier(Modifier::Idf));
        let layout = serde_json::to_value(layout).map_err(|error| failed(&self.url, error))?;
        let create = CreateCollectionBuilder::new(&self.collection)
            .vectors_config(vectors)
            .sparse_vectors_config(words)
            .metadata(HashMap::from([(METADATA.to_owned(), layout)]));
        // Boxed: the client keeps a large request in its future, which every caller would carry.
        Box::pin(self.ask(self.client.create_collection(create))).await?;
        for key in FILTERED {
            let index =
                CreateFieldIndexCollectionBuilder::new(&self.collection, key, FieldType::Keyword).wait(true);
            self.ask(self.client.create_field_index(index)).await?;
        }
        Ok(())
    }

    fn query(&self, request: &Request, vector: VectorInput, name: &str) -> QueryPoints {
        let with_vector = VectorsSelector { names: vec![DENSE.to_owned()] };
        let query = QueryPointsBuilder::new(&self.collection)
            .query(vector)
            .using(name)
            .limit(request.limit as u64)
            .with_payload(true)
            .with_vectors(with_vector);
        match server_filter(&request.filter) {
            Some(filter) => query.filter(filter).build(),
            None => query.build(),
        }
    }
}

/// What a server has of our collection, if that was made for this layout. Nothing is written.
pub(super) async fn examine(settings: &ServerSettings, layout: Option<&Layout>) -> Result<Found, Error> {
    let server = Server::new(settings)?;
    let there = server.is_there().await?;
    let version = Some(server.ask(server.client.health_check()).await?.version);
    if !there {
        return Ok(Found { version, records: None });
    }
    if let Some(layout) = layout {
        server.check(layout).await?;
    }
    Ok(Found { version, records: Some(server.records().await?) })
}

/// Whether what listens there answers as a server of web pages does: one for gRPC speaks HTTP/2 only. None: it can't be told.
async fn speaks_http1(url: &str) -> Option<bool> {
    let host = url.strip_prefix("http://")?.split('/').next()?;
    let mut stream = TcpStream::connect(host).await.ok()?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.ok()?;
    let mut first = [0; 7];
    stream.read_exact(&mut first).await.ok()?;
    Some(&first == b"HTTP/1.")
}

fn failed(url: &str, error: impl std::fmt::Display) -> Error {
    Error::Store(format!(
        "the Qdrant server at {url}: {error}; check that it runs, and retrieval.url and retrieval.api_key"
    ))
}

#[async_trait]
impl Store for Server {
    async fn records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mut offset = None;
        loop {
            let mut page =
                ScrollPointsBuilder::new(&self.collection).limit(PAGE).with_payload(true).with_vectors(false);
            if let Some(offset) = offset {
                page = page.offset::<qdrant_client::qdrant::PointId>(offset);
            }
            let found = self.ask(self.client.scroll(page)).await?;
            for point in found.result {
                let id = point.id.as_ref().and_then(own_id);
                if let (Some(id), Ok(payload)) = (id, read_payload(point.payload)) {
                    records.push(Record { id, fingerprint: payload.fingerprint, origins: payload.origins });
                }
            }
            offset = found.next_page_offset;
            if offset.is_none() {
                return Ok(records);
            }
        }
    }

    async fn apply(&self, batch: Batch) -> Result<(), Error> {
        let Batch { upsert, retag, remove } = batch;
        if !upsert.is_empty() {
            let points = upsert.into_iter().map(|point| self.point(point)).collect::<Result<Vec<_>, _>>()?;
            let upsert = UpsertPointsBuilder::new(&self.collection, points).wait(true);
            self.ask(self.client.upsert_points(upsert)).await?;
        }
        for record in retag {
            let origins: Vec<String> = record.origins.into_iter().collect();
            let payload = HashMap::from([("origins".to_owned(), Value::from(origins))]);
            let retag = SetPayloadPointsBuilder::new(&self.collection, payload)
                .points_selector(PointsIdsList::from(vec![record.id.to_string()]))
                .wait(true);
            self.ask(self.client.set_payload(retag)).await?;
        }
        if !remove.is_empty() {
            let ids: Vec<String> = remove.iter().map(ToString::to_string).collect();
            let remove =
                DeletePointsBuilder::new(&self.collection).points(PointsIdsList::from(ids)).wait(true);
            self.ask(self.client.delete_points(remove)).await?;
        }
        Ok(())
    }

    async fn candidates(&self, request: Request) -> Result<Candidates, Error> {
        let by_meaning = request
            .dense
            .as_ref()
            .map(|vector| self.query(&request, VectorInput::new_dense(vector.clone()), DENSE));
        let words = &request.sparse;
        let by_words = (!words.indices.is_empty()).then(|| {
            let vector = VectorInput::new_sparse(words.indices.clone(), words.values.clone());
            self.query(&request, vector, SPARSE)
        });
        let has_meaning = by_meaning.is_some();
        let queries: Vec<QueryPoints> = by_meaning.into_iter().chain(by_words).collect();
        if queries.is_empty() {
            return Ok(Candidates::default());
        }
        let batch = QueryBatchPointsBuilder::new(&self.collection, queries);
        let answers = self.ask(self.client.query_batch(batch)).await?;
        let mut lists = answers
            .result
            .into_iter()
            .map(|answer| answer.result.into_iter().map(candidate).collect::<Result<Vec<_>, _>>());
        Ok(Candidates {
            by_meaning: if has_meaning { lists.next().transpose()?.unwrap_or_default() } else { Vec::new() },
            by_words: lists.next().transpose()?.unwrap_or_default(),
        })
    }

    async fn count(&self) -> Result<usize, Error> {
        let count = CountPointsBuilder::new(&self.collection).exact(true);
        let found = self.ask(self.client.count(count)).await?;
        Ok(found.result.map_or(0, |result| result.count as usize))
    }

    /// The server does that by itself.
    async fn optimize(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Server {
    fn point(&self, point: Point) -> Result<PointStruct, Error> {
        let Point { id, dense, sparse, payload } = point;
        let payload = serde_json::to_value(&payload).map_err(|error| failed(&self.url, error))?;
        let payload = ServerPayload::try_from(payload).map_err(|error| failed(&self.url, error))?;
        let vectors = NamedVectors::default()
            .add_vector(DENSE, Vector::from(dense))
            .add_vector(SPARSE, Vector::new_sparse(sparse.indices, sparse.values));
        Ok(PointStruct::new(id.to_string(), vectors, payload))
    }
}

fn server_filter(filter: &Filter) -> Option<ServerFilter> {
    let Filter { category, place, work_type, leave_out } = filter;
    let or_any = |key: &str, code: &String| {
        Condition::from(ServerFilter::should([
            Condition::matches(key, code.clone()),
            Condition::is_empty(key),
        ]))
    };
    let mut must = Vec::new();
    must.extend(category.as_ref().map(|code| Condition::matches("category", code.clone())));
    must.extend(place.as_ref().map(|code| or_any("places", code)));
    must.extend(work_type.as_ref().map(|code| or_any("work_types", code)));
    let must_not: Vec<Condition> = if leave_out.is_empty() {
        Vec::new()
    } else {
        ["id", "title"].map(|key| Condition::matches(key, leave_out.clone())).into()
    };
    let given = !(must.is_empty() && must_not.is_empty());
    given.then(|| ServerFilter { must, must_not, ..ServerFilter::default() })
}

fn own_id(id: &qdrant_client::qdrant::PointId) -> Option<PointId> {
    match id.point_id_options.as_ref()? {
        qdrant_client::qdrant::point_id::PointIdOptions::Uuid(uuid) => PointId::parse(uuid),
        qdrant_client::qdrant::point_id::PointIdOptions::Num(_) => None,
    }
}

fn read_payload(payload: HashMap<String, Value>) -> Result<Payload, Error> {
    let object = payload.into_iter().map(|(key, value)| (key, value.into_json())).collect();
    serde_json::from_value(serde_json::Value::Object(object))
        .map_err(|error| Error::Store(format!("the collection holds a point that isn't a document: {error}")))
}

fn candidate(point: ScoredPoint) -> Result<Candidate, Error> {
    let id = point.id.as_ref().and_then(own_id);
    let id = id.ok_or_else(|| Error::Store("the collection holds a point without a UUID".into()))?;
    let document: Document = read_payload(point.payload)?.document.into();
    let dense = match point.vectors.and_then(|vectors| vectors.vectors_options) {
        Some(VectorsOptions::Vectors(mut named)) => {
            named.vectors.remove(DENSE).map(dense).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    Ok(Candidate { id, document, dense, score: point.score })
}

fn dense(vector: VectorOutput) -> Vec<f32> {
    match vector.into_vector() {
        vector_output::Vector::Dense(dense) => dense.data,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod double;
#[cfg(test)]
mod tests;
