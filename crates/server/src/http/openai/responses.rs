//! `/v1/responses` in its plain form: text in, text out. Nothing is stored, so each request brings all that was said.

use axum::response::Response;
use leafresh_chat::{Message, Role};
use leafresh_engine::Sampling;
use serde_json::{Value, json};

use super::super::error::Error;
use super::chat;
use super::error::Refusal;
use super::fields::Fields;
use super::models::Models;
use super::options::{self, Format, Options};
use super::stream::{self, Form, named_event};
use super::writing::{Finish, Spent, Whole};
use super::{Api, Asker, identifier, json_response, now};

/// What clients send and doesn't change an answer.
const WITHOUT_EFFECT: [&str; 11] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
    "max_tool_calls",
    "stream_options",
    "include",
];

/// What OpenAI's API has and this server hasn't, and what to do instead.
const NOT_HERE: [(&str, &str); 7] = [
    ("previous_response_id", "nothing is stored; send all that was said as `input`"),
    ("conversation", "nothing is stored; send all that was said as `input`"),
    ("prompt", "nothing is stored; send the text itself as `instructions` and `input`"),
    ("tools", "models aren't given tools here; leave them out, or ask for JSON by `text.format`"),
    ("background", "an answer is written while its client waits; leave it out"),
    ("reasoning", "models aren't told how to think; leave it out"),
    ("top_logprobs", "aren't told; leave it out"),
];

struct Asked {
    model: String,
    messages: Vec<Message>,
    options: Options,
    head: Echo,
}

/// What a response repeats of its request.
#[derive(Clone)]
struct Echo {
    instructions: Option<String>,
    max_output_tokens: Option<usize>,
    temperature: f64,
    top_p: f64,
    format: Value,
}

impl Asked {
    fn read(mut fields: Fields) -> Result<Self, Refusal> {
        let model = fields.required_text("model", "the name of a model, as /v1/models lists them")?;
        let instructions = fields.text("instructions")?;
        let input = fields.take("input");
        let input = match input.ok_or_else(|| Refusal::missing("input", "a text, or a list of messages"))? {
            Value::String(text) => vec![Message { role: Role::User, content: text }],
            list => chat::messages("input", list)?,
        };
        let system = instructions.clone().map(|content| Message { role: Role::System, content });
        let (format, shown) = text_format(&mut fields)?;
        fields.ignore(&WITHOUT_EFFECT);
        fields.without(&NOT_HERE)?;
        options::no_tool_choice(&mut fields)?;
        options::no_truncation(&mut fields)?;
        let max_output_tokens = fields.whole("max_output_tokens", (1, options::MOST_TOKENS))?;
        let sampling = options::sampling(&mut fields)?;
        let Sampling { temperature, top_p, .. } = sampling;
        let stream = fields.flag("stream")?.then_some(true);
        fields.end()?;
        let head = Echo {
            instructions,
            max_output_tokens,
            temperature: as_written(temperature),
            top_p: as_written(top_p),
            format: shown,
        };
        let options =
            Options { sampling, n: 1, max_tokens: max_output_tokens, stop: Vec::new(), format, stream };
        Ok(Self { model, messages: system.into_iter().chain(input).collect(), options, head })
    }
}

/// As a person wrote it: 0.1, and not the number nearest to that which the engine has.
fn as_written(number: f32) -> f64 {
    (f64::from(number) * 1e6).round() / 1e6
}

/// The form that is asked for, and how that was said.
fn text_format(fields: &mut Fields) -> Result<(Format, Value), Refusal> {
    let plain = (Format::Text, json!({ "type": "text" }));
    let Some(text) = fields.take("text") else { return Ok(plain) };
    let mut text = Fields::of("text", text)?;
    let format = text.take("format");
    text.without(&[("verbosity", "models aren't told how much to say; say it in words")])?;
    text.end()?;
    let Some(format) = format else { return Ok(plain) };
    Ok((options::response_format("text.format", format.clone())?, format))
}

pub(super) async fn answer(api: &Api, asker: &Asker, fields: Fields) -> Result<Response, Refusal> {
    let Asked { model, messages, options, head } = Asked::read(fields)?;
    let models = Models::of(api)?;
    let (recommender, adapter) = models.writing(&model)?;
    api.door.ask(&asker.identity)?;
    let streams = options.stream.is_some();
    let task = chat::task(&models, "input", messages, options, api.settings.max_tokens)?;
    asker.takes_long();
    let writing = task.begin(api, recommender, adapter, &asker.identity).await?;
    let said = Said { id: identifier("resp"), item: identifier("msg"), created: now(), model, echo: head };
    if streams {
        return stream::respond(
            writing,
            Events { said, text: String::new(), finish: Finish::Stop, number: 0 },
        )
        .await;
    }
    let (answers, spent) = writing.whole().await?;
    let Some(Whole { text, finish }) = answers.into_iter().next() else {
        return Err(Error::Internal.into());
    };
    Ok(json_response(&said.response(Some((&text, finish, spent)))))
}

/// A response, as far as it is known from the beginning.
struct Said {
    id: String,
    item: String,
    created: u64,
    model: String,
    echo: Echo,
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn status(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "completed",
        Finish::Length => "incomplete",
    }
}

impl Said {
    fn item(&self, status: &str, content: &[Value]) -> Value {
        json!({ "type": "message", "id": self.item, "status": status, "role": "assistant", "content": content })
    }

    /// All of it; without what was written while it is being written.
    fn response(&self, written: Option<(&str, Finish, Spent)>) -> Value {
        let Self { id, created, model, echo, .. } = self;
        let Echo { instructions, max_output_tokens, temperature, top_p, format } = echo;
        let status = written.map_or("in_progress", |(_, finish, _)| status(finish));
        let cut = written.is_some_and(|(_, finish, _)| finish == Finish::Length);
        let usage = written.map(|(_, _, Spent { prompt, cached, completion })| {
            json!({
                "input_tokens": prompt,
                "input_tokens_details": { "cached_tokens": cached },
                "output_tokens": completion,
                "output_tokens_details": { "reasoning_tokens": 0 },
                "total_tokens": prompt + completion,
            })
        });
        let output: Vec<Value> =
            written.iter().map(|(text, finish, _)| self.item(self::status(*finish), &[part(text)])).collect();
        json!({
            "id": id,
            "object": "response",
            "created_at": created,
            "status": status,
            "error": null,
            "incomplete_details": cut.then(|| json!({ "reason": "max_output_tokens" })),
            "instructions": instructions,
            "max_output_tokens": max_output_tokens,
            "metadata": {},
            "model": model,
            "output": output,
            "parallel_tool_calls": false,
            "previous_response_id": null,
            "store": false,
            "temperature": temperature,
            "text": { "format": format },
            "tool_choice": "none",
            "tools": [],
            "top_p": top_p,
            "truncation": "disabled",
            "usage": usage,
        })
    }
}

/// A stream of events, each with its name and number.
struct Events {
    said: Said,
    text: String,
    finish: Finish,
    number: u64,
}

impl Events {
    fn event(&mut self, name: &str, mut data: Value) -> String {
        data["type"] = name.into();
        data["sequence_number"] = self.number.into();
        self.number += 1;
        named_event(name, &data)
    }

    /// An event about the only text.
    fn about_text(&mut self, name: &str, mut data: Value) -> String {
        data["item_id"] = self.said.item.clone().into();
        data["output_index"] = 0.into();
        data["content_index"] = 0.into();
        self.event(name, data)
    }
}

impl Form for Events {
    fn begin(&mut self) -> String {
        let response = json!({ "response": self.said.response(None) });
        let item = self.said.item("in_progress", &[]);
        [
            self.event("response.created", response.clone()),
            self.event("response.in_progress", response),
            self.event("response.output_item.added", json!({ "output_index": 0, "item": item })),
            self.about_text("response.content_part.added", json!({ "part": part("") })),
        ]
        .concat()
    }

    fn text(&mut self, _: usize, text: &str) -> String {
        self.text.push_str(text);
        self.about_text("response.output_text.delta", json!({ "delta": text, "logprobs": [] }))
    }

    fn end(&mut self, _: usize, finish: Finish) -> String {
        self.finish = finish;
        let item = self.said.item(status(finish), &[part(&self.text)]);
        let (text, part) = (self.text.clone(), part(&self.text));
        [
            self.about_text("response.output_text.done", json!({ "text": text, "logprobs": [] })),
            self.about_text("response.content_part.done", json!({ "part": part })),
            self.event("response.output_item.done", json!({ "output_index": 0, "item": item })),
        ]
        .concat()
    }

    fn close(&mut self, spent: Spent) -> String {
        let response = self.said.response(Some((&self.text, self.finish, spent)));
        let name = format!("response.{}", status(self.finish));
        self.event(&name, json!({ "response": response }))
    }

    fn fail(&mut self, refusal: &Refusal) -> String {
        let mut data = refusal.json();
        for key in ["code", "message", "param"] {
            data[key] = data["error"][key].clone();
        }
        self.event("error", data)
    }
}
