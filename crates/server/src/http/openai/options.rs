//! What all requests for text may say of how it is to be written.

use leafresh_engine::Sampling;
use serde_json::Value;

use super::error::Refusal;
use super::fields::{Fields, unexpected};
use super::schema;

/// Answers to one prompt, at most.
const MOST_CHOICES: usize = 8;

/// Texts that end an answer, at most, as OpenAI's API has it.
const MOST_STOPS: usize = 4;

/// More than any context holds.
pub(super) const MOST_TOKENS: usize = 10_000_000;

/// What a model may write where nothing is asked of its form.
const ANY_TEXT: &str = "(?s:.)*";

/// What clients send and doesn't change an answer.
const WITHOUT_EFFECT: [&str; 9] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
    "prediction",
];

/// What OpenAI's API has and this server hasn't, and what to do instead.
const NOT_HERE: [(&str, &str); 11] = [
    ("frequency_penalty", "isn't supported; leave it out, or try `repetition_penalty` above 1"),
    ("presence_penalty", "isn't supported; leave it out, or try `repetition_penalty` above 1"),
    ("logit_bias", "isn't supported; leave it out"),
    ("logprobs", "aren't told; leave it out"),
    ("top_logprobs", "aren't told; leave it out"),
    ("tools", "models aren't given tools here; leave them out, or ask for JSON by `response_format`"),
    ("functions", "models aren't given functions here; leave them out, or ask for JSON by `response_format`"),
    ("suffix", "isn't supported; leave it out"),
    ("echo", "isn't supported; the prompt is known to whoever sent it"),
    ("web_search_options", "the model can't search the web; leave it out"),
    ("audio", "there is only text; leave it out"),
];

/// How an answer is to be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    pub(super) sampling: Sampling,
    /// Answers to each prompt.
    pub(super) n: usize,
    pub(super) max_tokens: Option<usize>,
    pub(super) stop: Vec<String>,
    pub(super) format: Format,
    /// `Some` when it is to come as it is written; whether the last chunk tells what it took.
    pub(super) stream: Option<bool>,
}

/// What form an answer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    /// A regular expression of what is allowed.
    Json(String),
}

impl Format {
    pub(super) fn regex(&self) -> &str {
        match self {
            Self::Text => ANY_TEXT,
            Self::Json(regex) => regex,
        }
    }
}

impl Options {
    /// # Errors
    /// A value that can't be used or isn't supported.
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Refusal> {
        fields.ignore(&WITHOUT_EFFECT);
        fields.without(&NOT_HERE)?;
        no_tool_choice(fields)?;
        let [newer, older] =
            ["max_completion_tokens", "max_tokens"].map(|key| fields.whole(key, (1, MOST_TOKENS)));
        let format = fields.take("response_format");
        Ok(Self {
            sampling: sampling(fields)?,
            n: fields.whole("n", (1, MOST_CHOICES))?.unwrap_or(1),
            max_tokens: newer?.or(older?),
            stop: stop(fields.take("stop"))?,
            format: format.map_or(Ok(Format::Text), |format| response_format("response_format", format))?,
            stream: streaming(fields)?,
        })
    }
}

/// What isn't said is as OpenAI's API has it, and what that hasn't is off.
pub(super) fn sampling(fields: &mut Fields) -> Result<Sampling, Refusal> {
    let seed = match fields.take("seed") {
        None => None,
        Some(value) => match value.as_i64() {
            Some(seed) => Some(seed.cast_unsigned()),
            None => return Err(unexpected("seed", "a whole number", &value)),
        },
    };
    let mut share = |key, least, most, default: f64| {
        fields.number(key, (least, most)).map(|number| number.unwrap_or(default) as f32)
    };
    Ok(Sampling {
        temperature: share("temperature", 0.0, 2.0, 1.0)?,
        top_p: share("top_p", 0.0, 1.0, 1.0)?,
        min_p: share("min_p", 0.0, 1.0, 0.0)?,
        repetition_penalty: share("repetition_penalty", 0.01, 10.0, 1.0)?,
        top_k: fields.whole("top_k", (0, MOST_TOKENS))?.unwrap_or(0),
        penalty_exempt: Vec::new(),
        seed,
    })
}

/// Without tools there is nothing to choose.
pub(super) fn no_tool_choice(fields: &mut Fields) -> Result<(), Refusal> {
    for key in ["tool_choice", "function_call"] {
        match fields.take(key) {
            None => {}
            Some(Value::String(choice)) if matches!(choice.as_str(), "none" | "auto") => {}
            Some(_) => {
                let message = "models aren't given tools here; leave it out, or say \"none\"";
                return Err(Refusal::unsupported(&fields.path(key), message));
            }
        }
    }
    Ok(())
}

/// What is too long is refused, and not cut.
pub(super) fn no_truncation(fields: &mut Fields) -> Result<(), Refusal> {
    match fields.text("truncation")?.as_deref() {
        None | Some("disabled") => Ok(()),
        Some(_) => Err(Refusal::unsupported("truncation", "what is too long is refused; leave it out")),
    }
}

fn stop(value: Option<Value>) -> Result<Vec<String>, Refusal> {
    let expected = format!("a string or a list of up to {MOST_STOPS} strings, none of them empty");
    let texts = match value {
        None => Vec::new(),
        Some(Value::String(text)) => vec![Value::String(text)],
        Some(Value::Array(texts)) => texts,
        Some(other) => return Err(unexpected("stop", &expected, &other)),
    };
    if texts.len() > MOST_STOPS {
        return Err(Refusal::invalid("stop", format!("expected {expected}, found {}", texts.len())));
    }
    let text = |value| match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        other => Err(unexpected("stop", &expected, &other)),
    };
    texts.into_iter().map(text).collect()
}

fn streaming(fields: &mut Fields) -> Result<Option<bool>, Refusal> {
    let stream = fields.flag("stream")?;
    let Some(options) = fields.take("stream_options") else {
        return Ok(stream.then_some(false));
    };
    if !stream {
        return Err(Refusal::invalid("stream_options", "is allowed only with `stream`: true"));
    }
    let mut options = Fields::of("stream_options", options)?;
    let include_usage = options.flag("include_usage")?;
    options.ignore(&["include_obfuscation"]);
    options.end()?;
    Ok(Some(include_usage))
}

/// The form that is asked for. In a response `json_schema` is a part of the format, in a completion an object of its own.
///
/// # Errors
/// A schema that can't be followed.
pub(super) fn response_format(path: &str, value: Value) -> Result<Format, Refusal> {
    let mut fields = Fields::of(path, value)?;
    let kind = fields.required_text("type", "text, json_object or json_schema")?;
    let format = match kind.as_str() {
        "text" => Format::Text,
        "json_object" => Format::Json(schema::any_object()),
        "json_schema" => match fields.take("json_schema") {
            Some(inner) => {
                let mut inner = Fields::of(&fields.path("json_schema"), inner)?;
                let format = schema_of(&mut inner)?;
                inner.end()?;
                format
            }
            None => schema_of(&mut fields)?,
        },
        _ => {
            let message = format!("expected text, json_object or json_schema, found \"{kind}\"");
            return Err(Refusal::invalid(&fields.path("type"), message));
        }
    };
    fields.end()?;
    Ok(format)
}

fn schema_of(fields: &mut Fields) -> Result<Format, Refusal> {
    // It is followed strictly whether or not that is asked for.
    fields.ignore(&["name", "description", "strict"]);
    let path = fields.path("schema");
    let schema = fields.take("schema").ok_or_else(|| Refusal::missing(&path, "the schema to be followed"))?;
    schema::of_schema(&schema, &path).map(Format::Json)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Options, Refusal> {
        let mut fields = Fields::of("", body).unwrap();
        let options = Options::read(&mut fields)?;
        fields.end()?;
        Ok(options)
    }

    #[test]
    fn what_is_not_said_is_as_openai_has_it() {
        let options = read(json!({})).unwrap();
        let Sampling { temperature, top_p, min_p, repetition_penalty, .. } = options.sampling;
        assert_eq!(format!("{temperature} {top_p} {min_p} {repetition_penalty}"), "1 1 0 1");
        assert_eq!((options.sampling.top_k, options.sampling.seed, options.n), (0, None, 1));
        assert_eq!((options.max_tokens, options.stream, options.format), (None, None, Format::Text));
    }

    #[test]
    fn what_is_said_is_followed() {
        let options = read(json!({
            "temperature": 0, "top_p": 0.5, "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.2, "seed": -1,
            "n": 3, "max_tokens": 5, "max_completion_tokens": 7.0, "stop": "끝", "stream": true,
            "stream_options": { "include_usage": true, "include_obfuscation": false },
            "response_format": { "type": "text" }, "user": "me", "metadata": { "a": "b" }, "store": true,
            "tools": [], "tool_choice": "none", "logprobs": false, "logit_bias": {}, "frequency_penalty": 0,
            "presence_penalty": 0.0, "parallel_tool_calls": true, "service_tier": "auto", "function_call": "auto",
        }))
        .unwrap();
        let Sampling { temperature, top_p, min_p, repetition_penalty, .. } = options.sampling;
        assert_eq!(format!("{temperature} {top_p} {min_p} {repetition_penalty}"), "0 0.5 0.1 1.2");
        assert_eq!((options.sampling.top_k, options.sampling.seed, options.n), (40, Some(u64::MAX), 3));
        assert_eq!((options.max_tokens, options.stream), (Some(7), Some(true)));
        assert_eq!(options.stop, ["끝"]);
        let stops = read(json!({ "stop": ["a", "b"] })).unwrap().stop;
        assert_eq!(stops, ["a", "b"]);
    }

    #[test]
    fn what_can_not_be_followed_is_refused_by_name() {
        let cases = [
            (json!({ "temperature": 3 }), "temperature", "from 0 to 2"),
            (json!({ "top_p": "1" }), "top_p", "from 0 to 1"),
            (json!({ "n": 9 }), "n", "from 1 to 8"),
            (json!({ "max_tokens": 0 }), "max_tokens", "from 1"),
            (json!({ "seed": 1.5 }), "seed", "whole number"),
            (json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop", "up to 4"),
            (json!({ "stop": [""] }), "stop", "none of them empty"),
            (json!({ "stop": 1 }), "stop", "found 1"),
            (json!({ "stream": "yes" }), "stream", "true or false"),
            (json!({ "stream_options": {} }), "stream_options", "only with `stream`"),
            (
                json!({ "stream": true, "stream_options": { "x": 1 } }),
                "stream_options.x",
                "no such parameter",
            ),
            (json!({ "frequency_penalty": 0.5 }), "frequency_penalty", "repetition_penalty"),
            (json!({ "logprobs": true }), "logprobs", "aren't told"),
            (json!({ "tools": [{}] }), "tools", "response_format"),
            (json!({ "tool_choice": "required" }), "tool_choice", "none"),
            (json!({ "tool_choice": { "type": "function" } }), "tool_choice", "none"),
            (json!({ "max_tokns": 5 }), "max_tokns", "no such parameter"),
            (json!({ "response_format": "json" }), "response_format", "an object"),
            (json!({ "response_format": {} }), "response_format.type", "required"),
            (json!({ "response_format": { "type": "xml" } }), "response_format.type", "found \"xml\""),
            (
                json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "a" } } }),
                "response_format.json_schema.schema",
                "required",
            ),
            (
                json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": { "not": {} } } } }),
                "response_format.json_schema.schema.type",
                "missing",
            ),
        ];
        for (body, param, words) in cases {
            let refusal = read(body.clone()).expect_err(&body.to_string());
            assert_eq!(refusal.param.as_deref(), Some(param), "{body}");
            assert!(refusal.message.contains(words) && refusal.status == 400, "{}", refusal.message);
        }
    }

    #[test]
    fn a_schema_becomes_an_expression_wherever_it_stands() {
        let schema = json!({ "type": "integer", "minimum": 0, "maximum": 9 });
        let within = json!({ "type": "json_schema", "json_schema": { "name": "digit", "strict": true, "schema": schema } });
        let beside = json!({ "type": "json_schema", "name": "digit", "schema": schema });
        for format in [within, beside] {
            assert_eq!(response_format("f", format).unwrap(), Format::Json("(?:[0-9])".into()));
        }
    }
}
