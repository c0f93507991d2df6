//! `/v1/embeddings`.

use std::sync::Arc;

use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use leafresh_engine::Embedder;
use leafresh_retrieval::as_embedded;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::error::Error;
use super::error::Refusal;
use super::fields::{Fields, unexpected};
use super::models::Models;
use super::{Api, Asker, json_response};

/// Texts in one request, at most, as OpenAI's API has it.
const MOST_TEXTS: usize = 2048;

/// Embedded together: in between it is seen whether anybody still waits for them.
const AT_ONCE: usize = 16;

struct Asked {
    model: String,
    texts: Vec<String>,
    /// As text instead of numbers.
    base64: bool,
    dimensions: Option<usize>,
}

impl Asked {
    fn read(mut fields: Fields) -> Result<Self, Refusal> {
        let model = fields.required_text("model", "the name of a model, as /v1/models lists them")?;
        let input = fields.take("input");
        let texts = texts(input.ok_or_else(|| Refusal::missing("input", "a text, or a list of texts"))?)?;
        let base64 = match fields.text("encoding_format")?.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(other) => {
                let message = format!("expected float or base64, found \"{other}\"");
                return Err(Refusal::invalid("encoding_format", message));
            }
        };
        let dimensions = fields.whole("dimensions", (1, usize::MAX))?;
        fields.ignore(&["user"]);
        fields.end()?;
        Ok(Self { model, texts, base64, dimensions })
    }
}

fn texts(input: Value) -> Result<Vec<String>, Refusal> {
    let expected = format!("a text, or a list of up to {MOST_TEXTS} texts");
    let list = match input {
        Value::String(text) => return Ok(vec![text]),
        Value::Array(list) if (1..=MOST_TEXTS).contains(&list.len()) => list,
        Value::Array(list) => {
            return Err(Refusal::invalid("input", format!("expected {expected}, found {}", list.len())));
        }
        other => return Err(unexpected("input", &expected, &other)),
    };
    let text = |(index, value)| match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Array(_) => {
            let message = "tokens can't be given by their numbers; send the texts themselves (LangChain's \
                           OpenAIEmbeddings does with check_embedding_ctx_length=False)";
            Err(Refusal::unsupported("input", message))
        }
        other => Err(unexpected(&format!("input[{index}]"), "a string", &other)),
    };
    list.into_iter().enumerate().map(text).collect()
}

pub(super) async fn answer(api: &Api, asker: &Asker, fields: Fields) -> Result<Response, Refusal> {
    let Asked { model, texts, base64: as_text, dimensions } = Asked::read(fields)?;
    let models = Models::of(api)?;
    let embedder = models.embedding(&model)?;
    let dimension = embedder.info().dimension;
    if dimensions.is_some_and(|wanted| wanted != dimension) {
        let message = format!("this model's vectors have {dimension} numbers, and can't have fewer");
        return Err(Refusal::unsupported("dimensions", message));
    }
    api.door.ask(&asker.identity)?;
    if api.life.draining() {
        return Err(Error::Draining.into());
    }
    let _permit = api.door.permit(&asker.identity)?;
    let _running = api.life.begin();
    asker.takes_long();
    let waiting = timeout(models.recommender.deadlines().queue, api.turns.embedding.turn()).await;
    let _turn = waiting.ok().flatten().ok_or(Error::Overloaded)?;
    let mut tokens = 0;
    let mut data = Vec::with_capacity(texts.len());
    for some in texts.chunks(AT_ONCE) {
        let embedded = embed(embedder.clone(), some.to_vec(), data.len()).await?;
        tokens += embedded.tokens;
        for vector in embedded.vectors {
            let embedding = if as_text { Value::from(encoded(&vector)) } else { json!(vector) };
            data.push(json!({ "object": "embedding", "index": data.len(), "embedding": embedding }));
        }
    }
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    Ok(json_response(&json!({ "object": "list", "data": data, "model": model, "usage": usage })))
}

struct Embedded {
    vectors: Vec<Vec<f32>>,
    tokens: usize,
}

/// Away from those who serve others. `first` is the number of the first text.
async fn embed(embedder: Arc<dyn Embedder>, texts: Vec<String>, first: usize) -> Result<Embedded, Refusal> {
    let work = move || {
        let texts: Vec<String> = texts.iter().map(|text| as_embedded(text)).collect();
        let longest = embedder.info().longest;
        let mut tokens = 0;
        for (index, text) in texts.iter().enumerate() {
            let count = embedder.count_tokens(text);
            if count > longest {
                let path = format!("input[{}]", first + index);
                let message =
                    format!("has {count} tokens, and the model reads {longest}; cut it into several");
                return Err(Refusal::context_length(&path, format!("{path}: {message}")));
            }
            tokens += count;
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        match embedder.embed(&texts) {
            Ok(embeddings) => {
                let vectors = embeddings.into_iter().map(|embedding| embedding.meaning).collect();
                Ok(Embedded { vectors, tokens })
            }
            Err(error) => {
                tracing::error!(%error, "texts could not be embedded");
                Err(Error::Internal.into())
            }
        }
    };
    // A fault in there is in the log.
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Internal)?
}

/// The numbers' bytes, lowest first, as clients in Python ask for them by default.
fn encoded(vector: &[f32]) -> String {
    BASE64_STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}
