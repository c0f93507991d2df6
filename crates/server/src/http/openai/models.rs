//! `/v1/models`: what can be asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use leafresh_chat::Recommender;
use leafresh_engine::Embedder;
use serde_json::{Value, json};

use super::super::error::Error;
use super::super::paths::Segment;
use super::error::Refusal;
use super::{Api, json_response, now};

/// Models by the names under which clients choose them.
pub(super) struct Models {
    pub(super) recommender: Arc<Recommender>,
    embedder: Option<Arc<dyn Embedder>>,
}

impl Models {
    /// # Errors
    /// While the model is loading.
    pub(super) fn of(api: &Api) -> Result<Self, Refusal> {
        let recommender = api.installed.get().ok_or(Error::Loading)?;
        let embedder = recommender.embedder();
        Ok(Self { recommender, embedder })
    }

    /// The model that writes, when it is the one that is wanted, or that with the adapter of this name.
    ///
    /// # Errors
    /// There is no such model, or it doesn't write.
    pub(super) fn writing(&self, wanted: &str) -> Result<(&Recommender, Option<String>), Refusal> {
        if is_called(wanted, &self.recommender.backend().model().id) {
            return Ok((&self.recommender, None));
        }
        if let Some(adapter) = self.recommender.adapters().iter().find(|name| is_called(wanted, name)) {
            return Ok((&self.recommender, Some(adapter.clone())));
        }
        if self.embedder.as_ref().is_some_and(|embedder| is_called(wanted, &embedder.info().id)) {
            return Err(Refusal::invalid(
                "model",
                "this one embeds and doesn't write; it is for /v1/embeddings",
            ));
        }
        Err(self.none(wanted))
    }

    /// The model that embeds, when it is the one that is wanted.
    ///
    /// # Errors
    /// There is no such model, or it doesn't embed.
    pub(super) fn embedding(&self, wanted: &str) -> Result<Arc<dyn Embedder>, Refusal> {
        match &self.embedder {
            Some(embedder) if is_called(wanted, &embedder.info().id) => Ok(embedder.clone()),
            _ if is_called(wanted, &self.recommender.backend().model().id) => {
                let instead = match &self.embedder {
                    Some(embedder) => format!("ask for {}", embedder.info().id),
                    None => "this server has none that does (`retrieval.model`)".to_owned(),
                };
                Err(Refusal::invalid("model", format!("this one writes and doesn't embed; {instead}")))
            }
            _ => Err(self.none(wanted)),
        }
    }

    fn none(&self, wanted: &str) -> Refusal {
        Refusal::no_model(wanted, &self.ids())
    }

    fn ids(&self) -> Vec<String> {
        let embedding = self.embedder.iter().map(|embedder| embedder.info().id.clone());
        let adapters = self.recommender.adapters().iter().cloned();
        [self.recommender.backend().model().id.clone()].into_iter().chain(adapters).chain(embedding).collect()
    }
}

/// A file is also found by its whole name.
fn is_called(wanted: &str, id: &str) -> bool {
    wanted.strip_suffix(".gguf").unwrap_or(wanted) == id
}

fn shown(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": now(), "owned_by": "leafresh" })
}

pub(super) async fn list(State(api): State<Api>) -> Response {
    api.told(Models::of(&api).map(|models| {
        let data: Vec<Value> = models.ids().iter().map(|id| shown(id)).collect();
        json_response(&json!({ "object": "list", "data": data }))
    }))
}

pub(super) async fn one(State(api): State<Api>, Segment(wanted): Segment) -> Response {
    api.told(Models::of(&api).and_then(|models| {
        let found = models.ids().into_iter().find(|id| is_called(&wanted, id));
        found.map(|id| json_response(&shown(&id))).ok_or_else(|| models.none(&wanted))
    }))
}
