//! What is asked: lines of a file, or choices drawn from a fixed list.

use std::path::Path;

use anyhow::{Context, bail};
use leafresh_engine::Sampling;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::target::Api;
use crate::json_lines;

/// The codes of the shipped catalogue.
const LOCATIONS: [&str; 4] = ["city", "beach", "mountain", "rural"];
const WORK_TYPES: [&str; 4] = ["office", "field", "sales", "remote"];
const CATEGORIES: [&str; 8] = [
    "ZERO_WASTE",
    "PLOGGING",
    "CARBON_FOOTPRINT",
    "ENERGY_SAVING",
    "UPCYCLING",
    "MEDIA",
    "DIGITAL_CARBON",
    "VEGAN",
];

/// One line of a requests file. Leafresh is asked by the first three, other servers by the prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Question {
    pub(super) location: String,
    pub(super) work_type: String,
    pub(super) category: String,
    /// The adapter that is to write; empty: none.
    pub(super) adapter: String,
    pub(super) prompt: String,
    /// The answer's JSON schema. Without one any text is a valid answer.
    pub(super) schema: Option<Value>,
    pub(super) sampling: Sampling,
    /// Tokens that an answer may have at most.
    pub(super) max_tokens: Option<usize>,
}

impl Question {
    /// Whether the text must be a recommendation, and not just any text.
    pub(super) fn expects_answer(&self) -> bool {
        self.schema.is_some()
    }

    /// The body for llama-server's `/completion`.
    pub(super) fn for_llama_server(&self) -> Map<String, Value> {
        let sampling = &self.sampling;
        let mut body = object(json!({
            "prompt": self.prompt,
            "stream": true,
            "cache_prompt": true,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repetition_penalty,
        }));
        self.add(&mut body, "n_predict");
        if let Some(schema) = &self.schema {
            body.insert("json_schema".into(), schema.clone());
        }
        body
    }

    /// The body for `/v1/chat/completions` or `/v1/completions`, with the names that vLLM and others gave to what
    /// OpenAI has no name for.
    pub(super) fn for_openai(&self, chat: bool) -> Map<String, Value> {
        let sampling = &self.sampling;
        let mut body = object(json!({
            "model": "default",
            "stream": true,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
        }));
        if chat {
            body.insert("messages".into(), json!([{"role": "user", "content": self.prompt}]));
        } else {
            body.insert("prompt".into(), json!(self.prompt));
        }
        self.add(&mut body, "max_tokens");
        if let Some(schema) = &self.schema {
            let schema = json!({"name": "recommendation", "strict": true, "schema": schema});
            body.insert("response_format".into(), json!({"type": "json_schema", "json_schema": schema}));
        }
        body
    }

    fn add(&self, body: &mut Map<String, Value>, cap: &str) {
        if let Some(max_tokens) = self.max_tokens {
            body.insert(cap.into(), json!(max_tokens));
        }
        if let Some(seed) = self.sampling.seed {
            body.insert("seed".into(), json!(seed));
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

/// An endless supply of questions, the same for the same seed or file.
#[derive(Debug)]
pub(super) enum Questions {
    /// Its lines, over and over.
    File(Vec<Question>),
    Drawn {
        seed: u64,
    },
}

impl Questions {
    pub(super) fn new(file: Option<&Path>, api: Api, seed: u64) -> anyhow::Result<Self> {
        let Some(path) = file else {
            if api != Api::Leafresh {
                bail!(
                    "--api {} needs --requests FILE; `leafresh bench requests --count 64 --out FILE` writes one",
                    api.name()
                );
            }
            return Ok(Self::Drawn { seed });
        };
        let mut questions = Vec::new();
        for (line, question) in json_lines::read::<Question>(path).context("--requests")? {
            let missing = match api {
                Api::Leafresh if question.location.is_empty() => "`location`, `work_type` and `category`",
                Api::Openai | Api::LlamaServer if question.prompt.is_empty() => "`prompt`",
                _ => {
                    questions.push(question);
                    continue;
                }
            };
            bail!("{} line {line} has no {missing}, which --api {} asks with", path.display(), api.name());
        }
        if questions.is_empty() {
            bail!("{} holds no request", path.display());
        }
        Ok(Self::File(questions))
    }

    pub(super) fn get(&self, index: usize) -> Question {
        match self {
            Self::File(questions) => questions[index % questions.len()].clone(),
            Self::Drawn { seed } => {
                let mut rng = StdRng::seed_from_u64(*seed);
                // One stream of random numbers for each index, so that the order of asking doesn't matter.
                let salt: u64 = rng.random();
                let rng = &mut StdRng::seed_from_u64(salt.wrapping_add(index as u64));
                let mut draw = |list: &[&str]| list.choose(rng).copied().unwrap_or_default().to_owned();
                Question {
                    location: draw(&LOCATIONS),
                    work_type: draw(&WORK_TYPES),
                    category: draw(&CATEGORIES),
                    ..Question::default()
                }
            }
        }
    }
}
