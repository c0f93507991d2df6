//! `/v1/chat/completions`.

use axum::response::Response;
use leafresh_chat::{Conversation, Message, Role};
use serde_json::{Value, json};

use super::admission::Task;
use super::error::Refusal;
use super::fields::{Fields, unexpected};
use super::models::Models;
use super::options::Options;
use super::stream::{self, Form, event};
use super::writing::{Finish, Spent};
use super::{Api, Asker, identifier, json_response, now, usage};

/// A request, as it came.
struct Asked {
    model: String,
    messages: Vec<Message>,
    options: Options,
}

impl Asked {
    fn read(mut fields: Fields) -> Result<Self, Refusal> {
        let model = fields.required_text("model", "the name of a model, as /v1/models lists them")?;
        let list = fields.take("messages");
        let list = list.ok_or_else(|| Refusal::missing("messages", "the messages of the chat so far"))?;
        let messages = messages("messages", list)?;
        let modalities = fields.take("modalities");
        if modalities.is_some_and(|modalities| modalities != json!(["text"])) {
            return Err(Refusal::unsupported("modalities", "there is only [\"text\"]"));
        }
        let options = Options::read(&mut fields)?;
        fields.end()?;
        Ok(Self { model, messages, options })
    }
}

/// Messages of a chat, at least one.
///
/// # Errors
/// Another role or content than text.
pub(super) fn messages(path: &str, list: Value) -> Result<Vec<Message>, Refusal> {
    let list = match list {
        Value::Array(list) if !list.is_empty() => list,
        other => return Err(unexpected(path, "a list of messages, at least one", &other)),
    };
    let numbered = list.into_iter().enumerate();
    numbered.map(|(index, message)| self::message(&format!("{path}[{index}]"), message)).collect()
}

fn message(path: &str, message: Value) -> Result<Message, Refusal> {
    let mut fields = Fields::of(path, message)?;
    let role = fields.required_text("role", "system, user or assistant")?;
    let role = match role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => {
            let message = "models aren't given tools here, so there are no results of them";
            return Err(Refusal::unsupported(&fields.path("role"), message));
        }
        other => {
            let message = format!("expected system, user or assistant, found \"{other}\"");
            return Err(Refusal::invalid(&fields.path("role"), message));
        }
    };
    let path_of_content = fields.path("content");
    let content = match fields.take("content") {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => {
            let numbered = parts.into_iter().enumerate();
            let parts = numbered.map(|(index, part)| text_of(&format!("{path_of_content}[{index}]"), part));
            parts.collect::<Result<Vec<_>, _>>()?.join("\n")
        }
        Some(other) => return Err(unexpected(&path_of_content, "a string or a list of texts", &other)),
        None => return Err(Refusal::missing(&path_of_content, "a string or a list of texts")),
    };
    // Templates know roles only; names don't change what is said.
    fields.ignore(&["name", "refusal", "annotations", "id", "status", "type"]);
    let none = "models aren't given tools here, so none were called";
    fields.without(&[("tool_calls", none), ("function_call", none), ("audio", "there is only text")])?;
    fields.end()?;
    Ok(Message { role, content })
}

fn text_of(path: &str, part: Value) -> Result<String, Refusal> {
    let mut fields = Fields::of(path, part)?;
    let kind = fields.required_text("type", "text")?;
    if !matches!(kind.as_str(), "text" | "input_text" | "output_text") {
        let message = format!("the model reads text only; \"{kind}\" can't be read");
        return Err(Refusal::unsupported(path, message));
    }
    let text = fields.required_text("text", "a string")?;
    fields.ignore(&["annotations", "logprobs"]);
    fields.end()?;
    Ok(text)
}

/// The prompt of a chat, and what ends its answers beside what was asked for.
///
/// # Errors
/// What the model's chat template refuses.
pub(super) fn task(
    models: &Models,
    param: &'static str,
    messages: Vec<Message>,
    mut options: Options,
    default_tokens: usize,
) -> Result<Task, Refusal> {
    let conversation = Conversation::new(models.recommender.backend().model(), messages);
    let Conversation { prompt, stop } =
        conversation.map_err(|reason| Refusal::invalid(param, format!("the model {reason}")))?;
    options.stop.extend(stop);
    Ok(Task { prompts: vec![prompt], param, options, default_tokens })
}

pub(super) async fn answer(api: &Api, asker: &Asker, fields: Fields) -> Result<Response, Refusal> {
    let Asked { model, messages, options } = Asked::read(fields)?;
    let models = Models::of(api)?;
    let (recommender, adapter) = models.writing(&model)?;
    api.door.ask(&asker.identity)?;
    let stream = options.stream;
    let task = task(&models, "messages", messages, options, api.settings.max_tokens)?;
    asker.takes_long();
    let writing = task.begin(api, recommender, adapter, &asker.identity).await?;
    let head = Head { id: identifier("chatcmpl"), created: now(), model };
    if let Some(include_usage) = stream {
        let began = vec![false; writing.choices()];
        return stream::respond(writing, Chunks { head, include_usage, began }).await;
    }
    let (answers, spent) = writing.whole().await?;
    let choice = |(index, answer): (usize, super::writing::Whole)| {
        let message = json!({ "role": "assistant", "content": answer.text, "refusal": null });
        json!({ "index": index, "message": message, "logprobs": null, "finish_reason": answer.finish.name() })
    };
    let choices: Vec<Value> = answers.into_iter().enumerate().map(choice).collect();
    let mut object = head.object("chat.completion", &choices);
    object["usage"] = usage(spent);
    Ok(json_response(&object))
}

/// What all objects of an answer have in common.
struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    fn object(&self, kind: &str, choices: &[Value]) -> Value {
        let Self { id, created, model } = self;
        json!({ "id": id, "object": kind, "created": created, "model": model, "choices": choices })
    }
}

/// A stream of `chat.completion.chunk`.
struct Chunks {
    head: Head,
    include_usage: bool,
    /// Whether a choice has said who speaks.
    began: Vec<bool>,
}

impl Chunks {
    fn chunk(&self, choices: &[Value], usage: Value) -> String {
        let mut chunk = self.head.object("chat.completion.chunk", choices);
        if self.include_usage {
            chunk["usage"] = usage;
        }
        event(&chunk)
    }

    fn delta(&mut self, choice: usize, mut delta: Value, finish: Option<Finish>) -> String {
        if !std::mem::replace(&mut self.began[choice], true) {
            delta["role"] = "assistant".into();
            // A delta without content, such as that of an empty answer, isn't expected first.
            if delta["content"].is_null() {
                delta["content"] = "".into();
            }
        }
        let finish = finish.map(Finish::name);
        self.chunk(
            &[json!({ "index": choice, "delta": delta, "logprobs": null, "finish_reason": finish })],
            Value::Null,
        )
    }
}

impl Form for Chunks {
    fn text(&mut self, choice: usize, text: &str) -> String {
        self.delta(choice, json!({ "content": text }), None)
    }

    fn end(&mut self, choice: usize, finish: Finish) -> String {
        self.delta(choice, json!({}), Some(finish))
    }

    fn close(&mut self, spent: Spent) -> String {
        let last = if self.include_usage { self.chunk(&[], usage(spent)) } else { String::new() };
        last + stream::DONE
    }
}
