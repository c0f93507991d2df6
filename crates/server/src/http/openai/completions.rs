//! `/v1/completions`: a text that the model goes on with, without a chat around it.

use axum::response::Response;
use leafresh_engine::{Piece, Prompt};
use serde_json::{Value, json};

use super::admission::Task;
use super::error::Refusal;
use super::fields::{Fields, unexpected};
use super::models::Models;
use super::options::Options;
use super::stream::{self, Form, event};
use super::writing::{Finish, Spent, Whole};
use super::{Api, Asker, identifier, json_response, now, usage};

/// Prompts in one request, at most.
const MOST_PROMPTS: usize = 32;

/// Tokens of an answer where nobody says so, as OpenAI's API has it.
const DEFAULT_TOKENS: usize = 16;

struct Asked {
    model: String,
    prompts: Vec<String>,
    options: Options,
}

impl Asked {
    fn read(mut fields: Fields) -> Result<Self, Refusal> {
        let model = fields.required_text("model", "the name of a model, as /v1/models lists them")?;
        let prompt = fields.take("prompt");
        let prompts = prompts(prompt.ok_or_else(|| Refusal::missing("prompt", "the text to go on with"))?)?;
        if fields.whole("best_of", (0, usize::MAX))?.is_some_and(|best_of| best_of > 1) {
            return Err(Refusal::unsupported("best_of", "isn't supported; ask for several with `n`"));
        }
        let options = Options::read(&mut fields)?;
        fields.end()?;
        Ok(Self { model, prompts, options })
    }
}

/// One text or several, none of them blank: a model has to have something to go on with.
fn prompts(prompt: Value) -> Result<Vec<String>, Refusal> {
    let expected = format!("a text, or a list of up to {MOST_PROMPTS} texts");
    let list = match prompt {
        Value::String(text) => vec![Value::String(text)],
        Value::Array(list) if (1..=MOST_PROMPTS).contains(&list.len()) => list,
        Value::Array(list) => {
            return Err(Refusal::invalid("prompt", format!("expected {expected}, found {}", list.len())));
        }
        other => return Err(unexpected("prompt", &expected, &other)),
    };
    let text = |value| match value {
        Value::String(text) if text.trim_end_matches(' ').is_empty() => {
            Err(Refusal::invalid("prompt", "is empty; the model goes on with what there is"))
        }
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Array(_) => Err(Refusal::unsupported(
            "prompt",
            "tokens can't be given by their numbers; send the text itself",
        )),
        other => Err(unexpected("prompt", &expected, &other)),
    };
    list.into_iter().map(text).collect()
}

pub(super) async fn answer(api: &Api, asker: &Asker, fields: Fields) -> Result<Response, Refusal> {
    let Asked { model, prompts, options } = Asked::read(fields)?;
    let models = Models::of(api)?;
    let (recommender, adapter) = models.writing(&model)?;
    api.door.ask(&asker.identity)?;
    let stream = options.stream;
    let prompts = prompts.into_iter().map(|text| Prompt { pieces: vec![Piece::Text(text)] }).collect();
    let task = Task { prompts, param: "prompt", options, default_tokens: DEFAULT_TOKENS };
    asker.takes_long();
    let writing = task.begin(api, recommender, adapter, &asker.identity).await?;
    let head = Head { id: identifier("cmpl"), created: now(), model };
    if let Some(include_usage) = stream {
        return stream::respond(writing, Chunks { head, include_usage }).await;
    }
    let (answers, spent) = writing.whole().await?;
    let shown = |(index, answer): (usize, Whole)| choice(index, &answer.text, Some(answer.finish));
    let choices: Vec<Value> = answers.into_iter().enumerate().map(shown).collect();
    let mut object = head.object(&choices);
    object["usage"] = usage(spent);
    Ok(json_response(&object))
}

struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    fn object(&self, choices: &[Value]) -> Value {
        let Self { id, created, model } = self;
        json!({ "id": id, "object": "text_completion", "created": created, "model": model, "choices": choices })
    }
}

fn choice(index: usize, text: &str, finish: Option<Finish>) -> Value {
    json!({ "index": index, "text": text, "logprobs": null, "finish_reason": finish.map(Finish::name) })
}

/// A stream of `text_completion`.
struct Chunks {
    head: Head,
    include_usage: bool,
}

impl Chunks {
    fn chunk(&self, choices: &[Value], usage: Value) -> String {
        let mut chunk = self.head.object(choices);
        if self.include_usage {
            chunk["usage"] = usage;
        }
        event(&chunk)
    }
}

impl Form for Chunks {
    fn text(&mut self, choice: usize, text: &str) -> String {
        self.chunk(&[self::choice(choice, text, None)], Value::Null)
    }

    fn end(&mut self, choice: usize, finish: Finish) -> String {
        self.chunk(&[self::choice(choice, "", Some(finish))], Value::Null)
    }

    fn close(&mut self, spent: Spent) -> String {
        let last = if self.include_usage { self.chunk(&[], usage(spent)) } else { String::new() };
        last + stream::DONE
    }
}
