//! A Qdrant server's double: its gRPC interface on a port of this machine, answered by the folder's store. It takes requests
//! of exactly the shapes that Qdrant's interface describes, and refuses all others.

mod reading;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use qdrant_client::qdrant;
use qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use qdrant_client::qdrant::points_server::{Points, PointsServer};
use qdrant_client::qdrant::qdrant_server::QdrantServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::super::edge::Edge;
use super::{Batch, DENSE, Mode, Record, SPARSE, ServerPayload, Store, own_id};
use crate::Error;
use crate::lexical::Sparse;

use reading::{read_filter, read_ids, read_point, scored};

type Reply<T> = Result<Response<T>, Status>;

/// What it says that it is.
pub(super) const VERSION: &str = "1.16.0";

/// What the double was asked, and what it should do wrong.
#[derive(Default)]
pub(super) struct Double {
    collection: tokio::sync::Mutex<Option<Collection>>,
    pub(super) keys: Mutex<BTreeSet<String>>,
    pub(super) indexed: Mutex<BTreeSet<String>>,
    /// Every call waits for so long.
    pub(super) slow: Mutex<std::time::Duration>,
}

struct Collection {
    created: qdrant::CreateCollection,
    store: Edge,
    _folder: tempfile::TempDir,
}

impl Double {
    /// Serves on a free port until the test's runtime ends.
    pub(super) async fn start() -> (Arc<Self>, SocketAddr) {
        let double = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(CollectionsServer::from_arc(double.clone()))
            .add_service(PointsServer::from_arc(double.clone()))
            .add_service(QdrantServer::from_arc(double.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (double, address)
    }

    async fn note<T>(&self, request: &Request<T>) {
        if let Some(key) = request.metadata().get("api-key") {
            self.keys.lock().unwrap().insert(key.to_str().unwrap().to_owned());
        }
        let slow = *self.slow.lock().unwrap();
        tokio::time::sleep(slow).await;
    }

    async fn with<T>(&self, work: impl AsyncFnOnce(&Edge) -> Result<T, Error>) -> Result<T, Status> {
        let collection = self.collection.lock().await;
        let collection = collection.as_ref().ok_or_else(|| Status::not_found("no such collection"))?;
        work(&collection.store).await.map_err(|error| Status::internal(error.to_string()))
    }
}

fn wrong(what: &str) -> Status {
    Status::invalid_argument(what.to_owned())
}

fn done() -> Response<qdrant::PointsOperationResponse> {
    Response::new(qdrant::PointsOperationResponse::default())
}

fn collection_done() -> Response<qdrant::CollectionOperationResponse> {
    Response::new(qdrant::CollectionOperationResponse { result: true, time: 0.0 })
}

#[tonic::async_trait]
impl qdrant::qdrant_server::Qdrant for Double {
    async fn health_check(
        &self,
        request: Request<qdrant::HealthCheckRequest>,
    ) -> Reply<qdrant::HealthCheckReply> {
        self.note(&request).await;
        let version = VERSION.to_owned();
        Ok(Response::new(qdrant::HealthCheckReply { version, ..Default::default() }))
    }
}

#[tonic::async_trait]
impl Collections for Double {
    async fn collection_exists(
        &self,
        request: Request<qdrant::CollectionExistsRequest>,
    ) -> Reply<qdrant::CollectionExistsResponse> {
        self.note(&request).await;
        let exists = self.collection.lock().await.is_some();
        let result = Some(qdrant::CollectionExists { exists });
        Ok(Response::new(qdrant::CollectionExistsResponse { result, time: 0.0 }))
    }

    async fn create(
        &self,
        request: Request<qdrant::CreateCollection>,
    ) -> Reply<qdrant::CollectionOperationResponse> {
        let created = request.into_inner();
        let dense = match created.vectors_config.as_ref().and_then(|config| config.config.as_ref()) {
            Some(qdrant::vectors_config::Config::ParamsMap(map)) => map.map.get(DENSE).copied(),
            _ => None,
        };
        let dense = dense.ok_or_else(|| wrong("no named dense vector"))?;
        if dense.distance() != qdrant::Distance::Cosine {
            return Err(wrong("another distance"));
        }
        let sparse = created.sparse_vectors_config.as_ref().and_then(|config| config.map.get(SPARSE));
        if sparse.is_none_or(|sparse| sparse.modifier() != qdrant::Modifier::Idf) {
            return Err(wrong("no named sparse vector with IDF"));
        }
        let folder = tempfile::tempdir().unwrap();
        let info = leafresh_engine::EmbedderInfo {
            name: "double".into(),
            id: "double".into(),
            fingerprint: "double".into(),
            dimension: dense.size as usize,
            longest: 512,
        };
        let store = Edge::open(folder.path().to_owned(), Mode::For(&info)).await;
        let store = store.unwrap().unwrap();
        *self.collection.lock().await = Some(Collection { created, store, _folder: folder });
        Ok(collection_done())
    }

    async fn delete(
        &self,
        _: Request<qdrant::DeleteCollection>,
    ) -> Reply<qdrant::CollectionOperationResponse> {
        *self.collection.lock().await = None;
        Ok(collection_done())
    }

    async fn get(
        &self,
        _: Request<qdrant::GetCollectionInfoRequest>,
    ) -> Reply<qdrant::GetCollectionInfoResponse> {
        let collection = self.collection.lock().await;
        let collection = collection.as_ref().ok_or_else(|| Status::not_found("no such collection"))?;
        let metadata = collection.created.metadata.clone();
        let config = qdrant::CollectionConfig { metadata, ..Default::default() };
        let result = Some(qdrant::CollectionInfo { config: Some(config), ..Default::default() });
        Ok(Response::new(qdrant::GetCollectionInfoResponse { result, time: 0.0 }))
    }

    async fn list(
        &self,
        _: Request<qdrant::ListCollectionsRequest>,
    ) -> Reply<qdrant::ListCollectionsResponse> {
        Err(Status::unimplemented("list"))
    }

    async fn update(
        &self,
        _: Request<qdrant::UpdateCollection>,
    ) -> Reply<qdrant::CollectionOperationResponse> {
        Err(Status::unimplemented("update"))
    }

    async fn update_aliases(
        &self,
        _: Request<qdrant::ChangeAliases>,
    ) -> Reply<qdrant::CollectionOperationResponse> {
        Err(Status::unimplemented("update_aliases"))
    }

    async fn list_collection_aliases(
        &self,
        _: Request<qdrant::ListCollectionAliasesRequest>,
    ) -> Reply<qdrant::ListAliasesResponse> {
        Err(Status::unimplemented("list_collection_aliases"))
    }

    async fn list_aliases(
        &self,
        _: Request<qdrant::ListAliasesRequest>,
    ) -> Reply<qdrant::ListAliasesResponse> {
        Err(Status::unimplemented("list_aliases"))
    }

    async fn collection_cluster_info(
        &self,
        _: Request<qdrant::CollectionClusterInfoRequest>,
    ) -> Reply<qdrant::CollectionClusterInfoResponse> {
        Err(Status::unimplemented("collection_cluster_info"))
    }

    async fn update_collection_cluster_setup(
        &self,
        _: Request<qdrant::UpdateCollectionClusterSetupRequest>,
    ) -> Reply<qdrant::UpdateCollectionClusterSetupResponse> {
        Err(Status::unimplemented("update_collection_cluster_setup"))
    }

    async fn create_shard_key(
        &self,
        _: Request<qdrant::CreateShardKeyRequest>,
    ) -> Reply<qdrant::CreateShardKeyResponse> {
        Err(Status::unimplemented("create_shard_key"))
    }

    async fn delete_shard_key(
        &self,
        _: Request<qdrant::DeleteShardKeyRequest>,
    ) -> Reply<qdrant::DeleteShardKeyResponse> {
        Err(Status::unimplemented("delete_shard_key"))
    }

    async fn list_shard_keys(
        &self,
        _: Request<qdrant::ListShardKeysRequest>,
    ) -> Reply<qdrant::ListShardKeysResponse> {
        Err(Status::unimplemented("list_shard_keys"))
    }
}

#[tonic::async_trait]
impl Points for Double {
    async fn upsert(&self, request: Request<qdrant::UpsertPoints>) -> Reply<qdrant::PointsOperationResponse> {
        self.note(&request).await;
        let request = request.into_inner();
        if request.wait != Some(true) {
            return Err(wrong("a step counts only when it is waited for"));
        }
        let upsert = request.points.into_iter().map(read_point).collect::<Result<_, _>>()?;
        self.with(async |store| store.apply(Batch { upsert, ..Batch::default() }).await).await?;
        Ok(done())
    }

    async fn delete(&self, request: Request<qdrant::DeletePoints>) -> Reply<qdrant::PointsOperationResponse> {
        let remove = read_ids(request.into_inner().points)?;
        self.with(async |store| store.apply(Batch { remove, ..Batch::default() }).await).await?;
        Ok(done())
    }

    async fn set_payload(
        &self,
        request: Request<qdrant::SetPayloadPoints>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        let request = request.into_inner();
        let mut payload = request.payload;
        let origins = payload.remove("origins").ok_or_else(|| wrong("no origins"))?;
        let origins: BTreeSet<String> =
            serde_json::from_value(origins.into_json()).map_err(|_| wrong("origins"))?;
        for id in read_ids(request.points_selector)? {
            let origins = origins.clone();
            self.with(async |store| {
                let records = store.records().await?;
                let found = records.into_iter().find(|record| record.id == id);
                let retag = found.map(|record| Record { origins, ..record }).into_iter().collect();
                store.apply(Batch { retag, ..Batch::default() }).await
            })
            .await?;
        }
        Ok(done())
    }

    async fn create_field_index(
        &self,
        request: Request<qdrant::CreateFieldIndexCollection>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        let request = request.into_inner();
        if request.field_type != Some(qdrant::FieldType::Keyword as i32) {
            return Err(wrong("another type of field"));
        }
        self.indexed.lock().unwrap().insert(request.field_name);
        Ok(done())
    }

    async fn scroll(&self, request: Request<qdrant::ScrollPoints>) -> Reply<qdrant::ScrollResponse> {
        let request = request.into_inner();
        let mut records = self.with(async |store| store.records().await).await?;
        records.sort_by_key(|record| record.id);
        let from = request.offset.as_ref().and_then(own_id);
        records.retain(|record| from.is_none_or(|from| record.id >= from));
        // Smaller pages than asked for, as a server may answer.
        let later = records.split_off(records.len().min(7));
        let page = records.into_iter().map(|record| {
            let document = serde_json::json!({
                "id": "", "category": "", "places": [], "work_types": [], "title": "", "text": "", "short": "", "source": "",
                "origins": record.origins, "fingerprint": record.fingerprint,
            });
            let payload = ServerPayload::try_from(document).unwrap().into();
            qdrant::RetrievedPoint { id: Some(record.id.to_string().into()), payload, ..Default::default() }
        });
        Ok(Response::new(qdrant::ScrollResponse {
            result: page.collect(),
            next_page_offset: later.first().map(|record| record.id.to_string().into()),
            ..Default::default()
        }))
    }

    async fn count(&self, request: Request<qdrant::CountPoints>) -> Reply<qdrant::CountResponse> {
        self.note(&request).await;
        let count = self.with(async |store| store.count().await).await? as u64;
        let result = Some(qdrant::CountResult { count });
        Ok(Response::new(qdrant::CountResponse { result, ..Default::default() }))
    }

    async fn query_batch(
        &self,
        request: Request<qdrant::QueryBatchPoints>,
    ) -> Reply<qdrant::QueryBatchResponse> {
        self.note(&request).await;
        let mut result = Vec::new();
        for query in request.into_inner().query_points {
            result.push(qdrant::BatchResult { result: self.answer(query).await? });
        }
        Ok(Response::new(qdrant::QueryBatchResponse { result, ..Default::default() }))
    }

    async fn get(&self, _: Request<qdrant::GetPoints>) -> Reply<qdrant::GetResponse> {
        Err(Status::unimplemented("get"))
    }

    async fn update_vectors(
        &self,
        _: Request<qdrant::UpdatePointVectors>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        Err(Status::unimplemented("update_vectors"))
    }

    async fn delete_vectors(
        &self,
        _: Request<qdrant::DeletePointVectors>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        Err(Status::unimplemented("delete_vectors"))
    }

    async fn overwrite_payload(
        &self,
        _: Request<qdrant::SetPayloadPoints>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        Err(Status::unimplemented("overwrite_payload"))
    }

    async fn delete_payload(
        &self,
        _: Request<qdrant::DeletePayloadPoints>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        Err(Status::unimplemented("delete_payload"))
    }

    async fn clear_payload(
        &self,
        _: Request<qdrant::ClearPayloadPoints>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        Err(Status::unimplemented("clear_payload"))
    }

    async fn delete_field_index(
        &self,
        _: Request<qdrant::DeleteFieldIndexCollection>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        Err(Status::unimplemented("delete_field_index"))
    }

    async fn create_vector_name(
        &self,
        _: Request<qdrant::CreateVectorNameRequest>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        Err(Status::unimplemented("create_vector_name"))
    }

    async fn delete_vector_name(
        &self,
        _: Request<qdrant::DeleteVectorNameRequest>,
    ) -> Reply<qdrant::PointsOperationResponse> {
        Err(Status::unimplemented("delete_vector_name"))
    }

    async fn search(&self, _: Request<qdrant::SearchPoints>) -> Reply<qdrant::SearchResponse> {
        Err(Status::unimplemented("search"))
    }

    async fn search_batch(
        &self,
        _: Request<qdrant::SearchBatchPoints>,
    ) -> Reply<qdrant::SearchBatchResponse> {
        Err(Status::unimplemented("search_batch"))
    }

    async fn search_groups(
        &self,
        _: Request<qdrant::SearchPointGroups>,
    ) -> Reply<qdrant::SearchGroupsResponse> {
        Err(Status::unimplemented("search_groups"))
    }

    async fn recommend(&self, _: Request<qdrant::RecommendPoints>) -> Reply<qdrant::RecommendResponse> {
        Err(Status::unimplemented("recommend"))
    }

    async fn recommend_batch(
        &self,
        _: Request<qdrant::RecommendBatchPoints>,
    ) -> Reply<qdrant::RecommendBatchResponse> {
        Err(Status::unimplemented("recommend_batch"))
    }

    async fn recommend_groups(
        &self,
        _: Request<qdrant::RecommendPointGroups>,
    ) -> Reply<qdrant::RecommendGroupsResponse> {
        Err(Status::unimplemented("recommend_groups"))
    }

    async fn discover(&self, _: Request<qdrant::DiscoverPoints>) -> Reply<qdrant::DiscoverResponse> {
        Err(Status::unimplemented("discover"))
    }

    async fn discover_batch(
        &self,
        _: Request<qdrant::DiscoverBatchPoints>,
    ) -> Reply<qdrant::DiscoverBatchResponse> {
        Err(Status::unimplemented("discover_batch"))
    }

    async fn update_batch(
        &self,
        _: Request<qdrant::UpdateBatchPoints>,
    ) -> Reply<qdrant::UpdateBatchResponse> {
        Err(Status::unimplemented("update_batch"))
    }

    async fn query(&self, _: Request<qdrant::QueryPoints>) -> Reply<qdrant::QueryResponse> {
        Err(Status::unimplemented("query"))
    }

    async fn query_groups(&self, _: Request<qdrant::QueryPointGroups>) -> Reply<qdrant::QueryGroupsResponse> {
        Err(Status::unimplemented("query_groups"))
    }

    async fn facet(&self, _: Request<qdrant::FacetCounts>) -> Reply<qdrant::FacetResponse> {
        Err(Status::unimplemented("facet"))
    }

    async fn search_matrix_pairs(
        &self,
        _: Request<qdrant::SearchMatrixPoints>,
    ) -> Reply<qdrant::SearchMatrixPairsResponse> {
        Err(Status::unimplemented("search_matrix_pairs"))
    }

    async fn search_matrix_offsets(
        &self,
        _: Request<qdrant::SearchMatrixPoints>,
    ) -> Reply<qdrant::SearchMatrixOffsetsResponse> {
        Err(Status::unimplemented("search_matrix_offsets"))
    }
}

impl Double {
    async fn answer(&self, query: qdrant::QueryPoints) -> Result<Vec<qdrant::ScoredPoint>, Status> {
        let names = match query.with_vectors.and_then(|vectors| vectors.selector_options) {
            Some(qdrant::with_vectors_selector::SelectorOptions::Include(included)) => included.names,
            _ => Vec::new(),
        };
        if names != [DENSE] || query.with_payload.is_none() {
            return Err(wrong("the vector of meaning and the payload are needed"));
        }
        let filter = read_filter(query.filter)?;
        let limit = query.limit.unwrap_or(10) as usize;
        let nearest = match query.query.and_then(|query| query.variant) {
            Some(qdrant::query::Variant::Nearest(vector)) => vector.variant,
            _ => None,
        };
        let (request, by_meaning) = match (nearest, query.using.as_deref()) {
            (Some(qdrant::vector_input::Variant::Dense(dense)), Some(DENSE)) => (
                super::super::Request { dense: Some(dense.data), sparse: Sparse::default(), filter, limit },
                true,
            ),
            (Some(qdrant::vector_input::Variant::Sparse(sparse)), Some(SPARSE)) => {
                let sparse = Sparse { indices: sparse.indices, values: sparse.values };
                (super::super::Request { dense: None, sparse, filter, limit }, false)
            }
            other => return Err(wrong(&format!("a query of another kind: {other:?}"))),
        };
        let found = self.with(async |store| store.candidates(request).await).await?;
        let found = if by_meaning { found.by_meaning } else { found.by_words };
        Ok(found.into_iter().map(scored).collect())
    }
}
