//! What is said to which kind of server, and what it says: requests for a piece of text, and the events of the answer.

use leafresh_engine::Sampling;
use serde_json::{Map, Value, json};

use crate::client::Fault;
use crate::expression::Expression;
use crate::notation;
use crate::settings::Kind;

/// Where a server takes what it may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// vLLM since 0.11: `structured_outputs`.
    StructuredOutputs,
    /// vLLM before: `guided_regex`, `guided_choice`.
    Guided,
    /// SGLang: `regex`.
    Regex,
    /// llama-server: `grammar`, in GBNF.
    Grammar,
    /// text-generation-inference: `parameters.grammar`.
    Parameters,
}

impl Form {
    /// Those that a kind of server may know, the likeliest first.
    pub(crate) fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Vllm => &[Self::StructuredOutputs, Self::Guided],
            Kind::Sglang => &[Self::Regex],
            Kind::LlamaServer => &[Self::Grammar],
            Kind::Tgi => &[Self::Parameters],
            Kind::Leafresh => &[Self::StructuredOutputs],
            Kind::Openai => &[Self::StructuredOutputs, Self::Regex, Self::Grammar, Self::Guided],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StructuredOutputs => "structured_outputs",
            Self::Guided => "guided_regex",
            Self::Regex => "regex",
            Self::Grammar => "grammar",
            Self::Parameters => "parameters.grammar",
        }
    }

    fn put(self, constraint: &Constraint, body: &mut Map<String, Value>) {
        let regex = || Value::from(notation::regex(&constraint.expression));
        match (self, &constraint.choices) {
            (Self::StructuredOutputs, Some(choices)) => {
                body.insert("structured_outputs".into(), json!({ "choice": choices }));
            }
            (Self::StructuredOutputs, None) => {
                body.insert("structured_outputs".into(), json!({ "regex": regex() }));
            }
            (Self::Guided, Some(choices)) => _ = body.insert("guided_choice".into(), json!(choices)),
            (Self::Guided, None) => _ = body.insert("guided_regex".into(), regex()),
            (Self::Regex, _) => _ = body.insert("regex".into(), regex()),
            (Self::Grammar, _) => {
                body.insert("grammar".into(), notation::gbnf(&constraint.expression).into());
            }
            (Self::Parameters, _) => {
                body.insert("grammar".into(), json!({ "type": "regex", "value": regex() }));
            }
        }
    }
}

/// What a server may write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Constraint {
    /// The same as a list, where it is one.
    pub(crate) choices: Option<Vec<String>>,
    pub(crate) expression: Expression,
}

/// What a server is to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Tokens(Vec<u32>),
    Text(String),
}

/// A piece of text that is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) input: &'a Input,
    pub(crate) constraint: Option<&'a Constraint>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: &'a Sampling,
    /// Of `sampling` the seed, for this piece.
    pub(crate) seed: Option<u64>,
}

/// A request for it.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) kind: Kind,
    pub(crate) model: &'a str,
    /// llama-server's adapters that are on, where it has any.
    pub(crate) lora: Option<Value>,
    /// How the server is bound to the constraint; `None`: it can't be.
    pub(crate) form: Option<Form>,
    pub(crate) piece: Piece<'a>,
}

impl Ask<'_> {
    /// Where it goes, and its body.
    pub(crate) fn request(&self) -> (&'static str, Value) {
        if self.kind == Kind::Tgi {
            return ("/generate_stream", self.for_tgi());
        }
        let piece = &self.piece;
        let prompt = match piece.input {
            Input::Tokens(tokens) => json!(tokens),
            Input::Text(text) => json!(text),
        };
        let Sampling { temperature, top_p, top_k, min_p, repetition_penalty, .. } = *piece.sampling;
        let body = json!({
            "model": self.model,
            "prompt": prompt,
            "max_tokens": piece.max_tokens,
            "temperature": decimal(temperature),
            "top_p": decimal(top_p),
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        let Value::Object(mut body) = body else { return ("/v1/completions", body) };
        // What isn't set may be something else by default, so that "off" is said too.
        let off: Value = if self.kind == Kind::LlamaServer { 0.into() } else { (-1).into() };
        let top_k = if top_k == 0 { off } else { json!(top_k) };
        let more: &[(&str, Value)] = match self.kind {
            Kind::Vllm | Kind::Sglang => &[
                ("top_k", top_k),
                ("min_p", decimal(min_p)),
                ("repetition_penalty", decimal(repetition_penalty)),
            ],
            Kind::LlamaServer => &[
                ("top_k", top_k),
                ("min_p", decimal(min_p)),
                ("repeat_penalty", decimal(repetition_penalty)),
                ("cache_prompt", true.into()),
            ],
            Kind::Leafresh => &[("repetition_penalty", decimal(repetition_penalty))],
            Kind::Tgi | Kind::Openai => &[],
        };
        body.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        if let Some(seed) = piece.seed {
            // Some have 32 bits for it, and a sign.
            body.insert("seed".into(), (seed & 0x7fff_ffff).into());
        }
        if let Some(lora) = &self.lora {
            body.insert("lora".into(), lora.clone());
        }
        if let Some((form, constraint)) = self.form.zip(piece.constraint) {
            form.put(constraint, &mut body);
        }
        ("/v1/completions", body.into())
    }

    /// What isn't said is off there, and what is off may not be said.
    fn for_tgi(&self) -> Value {
        let piece = &self.piece;
        let Sampling { temperature, top_p, top_k, repetition_penalty, .. } = *piece.sampling;
        let mut parameters = Map::new();
        parameters.insert("max_new_tokens".into(), piece.max_tokens.into());
        parameters.insert("repetition_penalty".into(), decimal(repetition_penalty));
        if temperature > 0.0 {
            parameters.insert("do_sample".into(), true.into());
            parameters.insert("temperature".into(), decimal(temperature));
            if top_p < 1.0 {
                parameters.insert("top_p".into(), decimal(top_p));
            }
            if top_k > 0 {
                parameters.insert("top_k".into(), top_k.into());
            }
        }
        if let Some(seed) = piece.seed {
            parameters.insert("seed".into(), seed.into());
        }
        if let Some((form, constraint)) = self.form.zip(piece.constraint) {
            form.put(constraint, &mut parameters);
        }
        let text = if let Input::Text(text) = piece.input { text } else { "" };
        json!({ "inputs": text, "parameters": parameters })
    }
}

/// 0.3, and not 0.30000001192092896.
fn decimal(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// How a server ended a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// By its own will, or because its grammar allows nothing more.
    Stop,
    /// At `max_tokens`.
    Length,
}

/// What a piece of text cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) prompt: usize,
    pub(crate) cached: usize,
}

/// What an event says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) finish: Option<Finish>,
    pub(crate) cost: Option<Cost>,
    /// The answer is over.
    pub(crate) done: bool,
}

impl Said {
    /// # Errors
    /// [`Fault::Gone`] when the server says that it has failed, [`Fault::Nonsense`] when it says what no server should.
    pub(crate) fn read(kind: Kind, data: &[u8]) -> Result<Self, Fault> {
        if data.trim_ascii() == b"[DONE]" {
            return Ok(Self { done: true, ..Self::default() });
        }
        let event: Value = serde_json::from_slice(data)
            .map_err(|error| Fault::Nonsense(format!("an event is no JSON: {error}")))?;
        if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
            let reason = error.get("message").unwrap_or(error);
            return Err(Fault::Gone(reason.as_str().map_or_else(|| reason.to_string(), str::to_owned)));
        }
        if kind == Kind::Tgi { Self::of_tgi(&event) } else { Self::of_completion(&event) }
    }

    fn of_completion(event: &Value) -> Result<Self, Fault> {
        let Some(choices) = event.get("choices").and_then(Value::as_array) else {
            return Err(Fault::Nonsense("an event has no choices".into()));
        };
        let cost = event.get("usage").filter(|usage| usage.is_object()).map(|usage| Cost {
            prompt: number(usage.get("prompt_tokens")),
            cached: number(usage.pointer("/prompt_tokens_details/cached_tokens")),
        });
        let Some(choice) = choices.first() else { return Ok(Self { cost, ..Self::default() }) };
        let text = match choice.get("text") {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(_) => return Err(Fault::Nonsense("an event's text is no text".into())),
        };
        let finish = match choice.get("finish_reason").and_then(Value::as_str) {
            None => None,
            Some("length") => Some(Finish::Length),
            Some("stop" | "eos_token" | "stop_sequence") => Some(Finish::Stop),
            Some(other) => return Err(Fault::Gone(format!("it ended with finish_reason {other:?}"))),
        };
        Ok(Self { text, finish, cost, done: false })
    }

    fn of_tgi(event: &Value) -> Result<Self, Fault> {
        let Some(token) = event.get("token") else {
            return Err(Fault::Nonsense("an event has no token".into()));
        };
        let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
        let text = token.get("text").and_then(Value::as_str).filter(|_| !special);
        let details = event.get("details").filter(|details| details.is_object());
        let finish = match details.and_then(|details| details.get("finish_reason")).and_then(Value::as_str) {
            Some("length") => Some(Finish::Length),
            Some(_) => Some(Finish::Stop),
            // Without details the whole text says that it is the end.
            None => event.get("generated_text").filter(|text| text.is_string()).map(|_| Finish::Stop),
        };
        let cost = details.map(|details| Cost { prompt: number(details.get("input_length")), cached: 0 });
        Ok(Self { text: text.unwrap_or_default().to_owned(), finish, cost, done: finish.is_some() })
    }
}

fn number(value: Option<&Value>) -> usize {
    value.and_then(Value::as_u64).map_or(0, |number| number as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraint(choices: Option<&[&str]>) -> Constraint {
        Constraint {
            choices: choices.map(|choices| choices.iter().map(|&text| text.to_owned()).collect()),
            expression: Expression::parse("(?:가|나다)").unwrap(),
        }
    }

    fn body(kind: Kind, form: Option<Form>, choices: Option<&[&str]>, sampling: &Sampling) -> Value {
        let constraint = constraint(choices);
        let input = if kind == Kind::Tgi { Input::Text("x".into()) } else { Input::Tokens(vec![1, 2]) };
        let piece = Piece {
            input: &input,
            constraint: Some(&constraint),
            max_tokens: 7,
            sampling,
            seed: sampling.seed,
        };
        Ask { kind, model: "m", lora: None, form, piece }.request().1
    }

    #[test]
    fn each_server_is_told_in_its_own_words() {
        let sampling = Sampling { seed: Some(1 << 40 | 5), top_k: 0, ..Sampling::default() };
        let list = ["가", "나다"];
        let vllm = body(Kind::Vllm, Some(Form::StructuredOutputs), Some(&list), &sampling);
        assert_eq!(vllm["structured_outputs"], json!({ "choice": ["가", "나다"] }));
        assert_eq!(
            (&vllm["top_k"], &vllm["seed"], &vllm["temperature"]),
            (&json!(-1), &json!(5), &json!(0.3))
        );
        let vllm = body(Kind::Vllm, Some(Form::StructuredOutputs), None, &sampling);
        assert_eq!(vllm["structured_outputs"], json!({ "regex": "나다|가" }));
        let older = body(Kind::Vllm, Some(Form::Guided), None, &sampling);
        assert_eq!(older["guided_regex"], "나다|가");
        assert_eq!(
            body(Kind::Vllm, Some(Form::Guided), Some(&list), &sampling)["guided_choice"],
            json!(list)
        );
        assert_eq!(body(Kind::Sglang, Some(Form::Regex), Some(&list), &sampling)["regex"], "나다|가");
        let llama = body(Kind::LlamaServer, Some(Form::Grammar), Some(&list), &sampling);
        assert_eq!(llama["grammar"], "root ::= \"나\" \"다\"|\"가\"");
        assert_eq!((&llama["top_k"], &llama["repeat_penalty"]), (&json!(0), &json!(1.1)));
        let plain = body(Kind::Openai, None, None, &Sampling::default());
        for key in ["top_k", "min_p", "repetition_penalty", "seed", "regex", "grammar", "lora"] {
            assert!(plain.get(key).is_none(), "{key} is no key of OpenAI's");
        }
        assert_eq!((&plain["prompt"], &plain["max_tokens"]), (&json!([1, 2]), &json!(7)));
    }

    #[test]
    fn text_generation_inference_is_told_only_what_is_on() {
        let sampling = Sampling { temperature: 0.0, top_p: 1.0, top_k: 0, ..Sampling::default() };
        let greedy = body(Kind::Tgi, Some(Form::Parameters), None, &sampling);
        assert_eq!(
            greedy,
            json!({ "inputs": "x", "parameters": {
                "max_new_tokens": 7, "repetition_penalty": 1.1, "grammar": { "type": "regex", "value": "나다|가" },
            }})
        );
        let drawn = body(Kind::Tgi, None, None, &Sampling::default());
        assert_eq!(
            (&drawn["parameters"]["top_k"], &drawn["parameters"]["do_sample"]),
            (&json!(50), &json!(true))
        );
    }

    #[test]
    fn what_servers_say_is_read() {
        let said = |kind, text: &str| Said::read(kind, text.as_bytes());
        let text = |text: &str| Said { text: text.into(), ..Said::default() };
        let cases = [
            (Kind::Vllm, r#"{"choices":[{"index":0,"text":"가","finish_reason":null}]}"#, text("가")),
            (
                Kind::LlamaServer,
                r#"{"choices":[{"text":"나","finish_reason":"length"}],"usage":{"prompt_tokens":3}}"#,
                Said {
                    finish: Some(Finish::Length),
                    cost: Some(Cost { prompt: 3, cached: 0 }),
                    ..text("나")
                },
            ),
            (
                Kind::Vllm,
                r#"{"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":8}}}"#,
                Said { cost: Some(Cost { prompt: 9, cached: 8 }), ..Said::default() },
            ),
            (Kind::Openai, " [DONE] ", Said { done: true, ..Said::default() }),
            (
                Kind::Tgi,
                r#"{"index":1,"token":{"id":1,"text":"다","special":false},"details":null}"#,
                text("다"),
            ),
            (
                Kind::Tgi,
                r#"{"token":{"text":"</s>","special":true},"generated_text":"다","details":{"finish_reason":"eos_token"}}"#,
                Said {
                    finish: Some(Finish::Stop),
                    cost: Some(Cost::default()),
                    done: true,
                    ..Said::default()
                },
            ),
        ];
        for (kind, event, expected) in cases {
            assert_eq!(said(kind, event), Ok(expected), "{event}");
        }
        let failed = said(Kind::Vllm, r#"{"error":{"message":"EngineCore died","code":500}}"#);
        assert_eq!(failed, Err(Fault::Gone("EngineCore died".into())));
        for nonsense in ["{", "{}", r#"{"choices":[{"text":1}]}"#, "<html>"] {
            assert!(matches!(said(Kind::Openai, nonsense), Err(Fault::Nonsense(_))), "{nonsense}");
        }
        assert!(matches!(
            said(Kind::Vllm, r#"{"choices":[{"text":"","finish_reason":"abort"}]}"#),
            Err(Fault::Gone(_))
        ));
    }
}
