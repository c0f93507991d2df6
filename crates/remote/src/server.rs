//! What is found out about a server when it is met: its kind, its model, how it tokenises, and whether it keeps to a grammar.

use leafresh_engine::{Grammar, Grammars, Matcher, ModelInfo, Sampling, Slot};
use serde_json::{Value, json};

use crate::client::{Client, Fault};
use crate::dialect::{Ask, Constraint, Form, Input, Piece, Said};
use crate::expression::Expression;
use crate::prompt::Tokenizer;
use crate::settings::{Kind, Upstream};

/// Stands for a turn's content in a rendered chat template.
const CONTENT: &str = "zqxjkvbp";

/// Tokens for the proof that a server keeps to a grammar: as many as its text has bytes, and some.
const PROOF_TOKENS: usize = 24;

/// A server that can be asked.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) kind: Kind,
    pub(crate) model: String,
    /// How it is bound to a grammar. `None`: it can't be.
    pub(crate) form: Option<Form>,
    pub(crate) tokenizer: Option<Tokenizer>,
    pub(crate) adapters: Vec<Adapter>,
    /// Tokens in its context; 0 where it doesn't tell.
    pub(crate) context: usize,
    parameters: u64,
    chat_template: Option<String>,
    pub(crate) bos: String,
    eos: String,
}

/// An adapter, and how it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adapter {
    pub(crate) name: String,
    /// llama-server's number; elsewhere it is asked for as a model.
    pub(crate) number: Option<u64>,
}

/// Why a server can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    /// It won't pass by itself.
    pub(crate) lasts: bool,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        let lasts = matches!(fault, Fault::Refused { status: 400..=404, .. });
        Self { reason: fault.to_string(), lasts }
    }
}

impl Trouble {
    pub(crate) fn lasting(reason: String) -> Self {
        Self { reason, lasts: true }
    }
}

impl Server {
    /// Meets a server.
    pub(crate) async fn meet(upstream: &Upstream) -> Result<Self, Trouble> {
        let client = Client::new(upstream).map_err(Trouble::lasting)?;
        let models = match client.get("/v1/models").await {
            Ok(models) => models,
            // Older servers for one model list none.
            Err(Fault::Refused { status: 404 | 405, .. }) => Value::Null,
            Err(fault) => return Err(fault.into()),
        };
        let kind = match upstream.kind {
            Some(kind) => kind,
            None => kind(&client, &models).await?,
        };
        let listed = models.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let about = about(listed, upstream.model.as_deref())?;
        let model = about.get("id").and_then(Value::as_str).map(str::to_owned);
        let model = model.or_else(|| upstream.model.clone()).unwrap_or_default();
        let props = match kind {
            Kind::LlamaServer => client.get("/props").await?,
            Kind::Tgi => client.get("/info").await?,
            _ => Value::Null,
        };
        let whole = |value: Option<&Value>| value.and_then(Value::as_u64);
        let context = [
            about.get("max_model_len"),
            props.pointer("/default_generation_settings/n_ctx"),
            props.get("max_total_tokens"),
        ];
        let text = |key: &str| props.get(key).and_then(Value::as_str).map(str::to_owned);
        let tokenizer = Tokenizer::find(&client, kind, &model).await?;
        let mut server = Self {
            adapters: adapters(&client, kind, listed, &model).await?,
            form: None,
            context: context.into_iter().find_map(whole).unwrap_or(0) as usize,
            parameters: whole(about.pointer("/meta/n_params")).unwrap_or(0),
            chat_template: text("chat_template").filter(|template| !template.is_empty()),
            bos: text("bos_token").unwrap_or_default(),
            eos: text("eos_token").unwrap_or_default(),
            client,
            kind,
            model,
            tokenizer,
        };
        if kind == Kind::Vllm {
            server.ask_for_the_chat_template().await?;
        }
        for &form in Form::of(kind) {
            if server.keeps_to(form).await? {
                server.form = Some(form);
                break;
            }
        }
        if server.form.is_none() && !upstream.steer {
            return Err(Trouble::lasting(
                "it can't be bound to a grammar, as a regular expression that it was sent and didn't keep to shows; \
                 steer = true uses it all the same, and cuts off what doesn't fit"
                    .into(),
            ));
        }
        Ok(server)
    }

    /// Whether it takes requests now.
    pub(crate) async fn is_healthy(&self) -> Result<(), Fault> {
        let path = if self.kind == Kind::Openai { "/v1/models" } else { "/health" };
        match self.client.get(path).await {
            // Who has no such path answers all the same.
            Ok(_) | Err(Fault::Refused { .. }) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    pub(crate) fn info(&self) -> ModelInfo {
        let mut adapters: Vec<String> = self.adapters.iter().map(|adapter| adapter.name.clone()).collect();
        adapters.sort_unstable();
        ModelInfo {
            name: self.model.clone(),
            parameters: self.parameters,
            context: self.context,
            chat_template: self.chat_template.clone(),
            bos: self.bos.clone(),
            eos: self.eos.clone(),
            adapters,
        }
    }

    /// The request for a piece of text, with this adapter.
    pub(crate) fn ask<'a>(&'a self, adapter: Option<&str>, piece: Piece<'a>) -> Ask<'a> {
        let wanted = adapter.and_then(|name| self.adapters.iter().find(|adapter| adapter.name == name));
        let numbered = self.adapters.iter().any(|adapter| adapter.number.is_some());
        let number = wanted.and_then(|adapter| adapter.number);
        Ask {
            kind: self.kind,
            model: wanted.filter(|_| number.is_none()).map_or(&self.model, |adapter| &adapter.name),
            // Those that aren't named are off.
            lora: numbered.then(|| number.map_or(json!([]), |id| json!([{ "id": id, "scale": 1.0 }]))),
            form: self.form,
            piece,
        }
    }

    /// A regular expression is sent that no model keeps to unless it has to: some answer 200 to options that they don't know.
    async fn keeps_to(&self, form: Form) -> Result<bool, Trouble> {
        let letters: String = (0..6).map(|_| char::from(b'a' + rand::random::<u8>() % 26)).collect();
        let regex = format!("zq{letters}[0-9]{{2}}(?:\u{AC00}|\u{B098})kv");
        let constraint =
            Constraint { choices: None, expression: Expression::parse(&regex).map_err(Trouble::lasting)? };
        let text = "The code is ";
        let input = match &self.tokenizer {
            Some(tokenizer) => {
                let mut tokens = tokenizer.bos().to_vec();
                tokens.extend(tokenizer.tokens(text.trim_end(), false).await?);
                Input::Tokens(tokens)
            }
            None => Input::Text(text.trim_end().to_owned()),
        };
        let sampling = Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
            ..Sampling::default()
        };
        let piece = Piece {
            input: &input,
            constraint: Some(&constraint),
            max_tokens: PROOF_TOKENS,
            sampling: &sampling,
            seed: None,
        };
        let ask = Ask { form: Some(form), ..self.ask(None, piece) };
        let written = match self.write(&ask).await {
            Ok(written) => written,
            // It knows the option, or any that it doesn't know, and won't have it.
            Err(Fault::Refused { .. } | Fault::Nonsense(_)) => return Ok(false),
            Err(fault) => return Err(fault.into()),
        };
        let slot = Slot {
            name: "proof".into(),
            grammar: Grammar::Regex(regex),
            max_tokens: 1,
            distinct_from: Vec::new(),
        };
        let mut matcher = Matcher::new(&slot, &[], "", &Grammars::default())
            .map_err(|error| Trouble::lasting(error.to_string()))?;
        Ok(matcher.take(&written) == written.len() && matcher.must_end())
    }

    async fn write(&self, ask: &Ask<'_>) -> Result<String, Fault> {
        let (path, body) = ask.request();
        let mut reply = self.client.stream(path, &body).await?;
        let mut text = String::new();
        while let Some(event) = reply.next().await? {
            let said = Said::read(self.kind, &event)?;
            text.push_str(&said.text);
            if said.done || said.finish.is_some() {
                return Ok(text);
            }
        }
        Err(Fault::Gone("it ended an answer without saying so".into()))
    }

    /// vLLM tells its chat template by what it makes of a turn.
    async fn ask_for_the_chat_template(&mut self) -> Result<(), Fault> {
        let turn = json!([{ "role": "user", "content": CONTENT }]);
        let body = json!({ "model": self.model, "messages": turn, "add_generation_prompt": true });
        let rendered = match self.client.post("/tokenize", &body).await {
            Ok(answer) => self.spelled(answer.get("tokens")).await?,
            Err(Fault::Refused { .. } | Fault::Gone(_)) => None,
            Err(fault) => return Err(fault),
        };
        let bos = self.tokenizer.as_ref().map(|tokenizer| json!(tokenizer.bos()));
        self.bos = self.spelled(bos.as_ref()).await?.unwrap_or_default();
        self.chat_template = rendered.as_deref().and_then(template);
        Ok(())
    }

    async fn spelled(&self, tokens: Option<&Value>) -> Result<Option<String>, Fault> {
        let Some(tokens) = tokens.and_then(Value::as_array).filter(|tokens| !tokens.is_empty()) else {
            return Ok(None);
        };
        match self.client.post("/detokenize", &json!({ "model": self.model, "tokens": tokens })).await {
            Ok(answer) => Ok(answer.get("prompt").and_then(Value::as_str).map(str::to_owned)),
            Err(Fault::Refused { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// A template that puts around a turn what was put around [`CONTENT`].
fn template(rendered: &str) -> Option<String> {
    let (before, after) = rendered.split_once(CONTENT)?;
    let [before, after] = [before, after].map(|text| Value::from(text).to_string());
    Some(format!("{{{{ {before} }}}}{{{{ messages[0]['content'] }}}}{{{{ {after} }}}}"))
}

/// What kind of server it is: by what it says of its models, or by the paths that it has.
async fn kind(client: &Client, models: &Value) -> Result<Kind, Fault> {
    let owner = models.pointer("/data/0/owned_by").and_then(Value::as_str);
    match owner {
        Some("vllm") => return Ok(Kind::Vllm),
        Some("llamacpp") => return Ok(Kind::LlamaServer),
        Some("sglang") => return Ok(Kind::Sglang),
        Some("leafresh") => return Ok(Kind::Leafresh),
        _ => {}
    }
    let paths = [
        ("/props", "/default_generation_settings", Kind::LlamaServer),
        ("/get_model_info", "/model_path", Kind::Sglang),
        ("/info", "/max_total_tokens", Kind::Tgi),
        ("/version", "/version", Kind::Vllm),
    ];
    for (path, key, kind) in paths {
        match client.get(path).await {
            Ok(answer) if answer.pointer(key).is_some() => return Ok(kind),
            Ok(_) | Err(Fault::Refused { .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(Kind::Openai)
}

/// What a server's list says of its model; null where there is no list.
fn about<'a>(listed: &'a [Value], wanted: Option<&str>) -> Result<&'a Value, Trouble> {
    let id = |model: &'a Value| model.get("id").and_then(Value::as_str);
    let Some(wanted) = wanted else {
        let base = listed.iter().find(|model| model.get("parent").is_none_or(Value::is_null));
        return Ok(base.or(listed.first()).unwrap_or(&Value::Null));
    };
    let found = listed.iter().find(|model| id(model) == Some(wanted));
    match found {
        Some(model) => Ok(model),
        None if listed.is_empty() => Ok(&Value::Null),
        None => {
            let names: Vec<&str> = listed.iter().filter_map(id).collect();
            Err(Trouble::lasting(format!("it has no model {wanted:?}; it has {}", names.join(", "))))
        }
    }
}

async fn adapters(client: &Client, kind: Kind, listed: &[Value], model: &str) -> Result<Vec<Adapter>, Fault> {
    if kind != Kind::LlamaServer {
        let of_model = |entry: &&Value| entry.get("parent").and_then(Value::as_str) == Some(model);
        let names = listed.iter().filter(of_model).filter_map(|entry| entry.get("id")?.as_str());
        return Ok(names.map(|name| Adapter { name: name.to_owned(), number: None }).collect());
    }
    let list = match client.get("/lora-adapters").await {
        Ok(list) => list,
        Err(Fault::Refused { .. }) => return Ok(Vec::new()),
        Err(fault) => return Err(fault),
    };
    let adapter = |entry: &Value| {
        let path = std::path::Path::new(entry.get("path")?.as_str()?);
        Some(Adapter { name: path.file_stem()?.to_str()?.to_owned(), number: entry.get("id")?.as_u64() })
    };
    Ok(list.as_array().map(|list| list.iter().filter_map(adapter).collect()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_what_was_around_a_turn() {
        let template = template(&format!("<bos>\"user\"\n{CONTENT}<end>\n")).unwrap();
        assert_eq!(template, r#"{{ "<bos>\"user\"\n" }}{{ messages[0]['content'] }}{{ "<end>\n" }}"#);
        assert_eq!(super::template("nothing of it"), None);
    }

    #[test]
    fn the_model_is_the_one_wanted_or_the_first_that_is_no_adapter() {
        let listed = [
            json!({ "id": "lora", "parent": "base" }),
            json!({ "id": "base", "parent": null, "max_model_len": 9 }),
            json!({ "id": "other" }),
        ];
        let named = |wanted| about(&listed, wanted).map(|about| about["id"].clone());
        assert_eq!(named(None), Ok("base".into()));
        assert_eq!(named(Some("other")), Ok("other".into()));
        let trouble = named(Some("x")).unwrap_err();
        assert!(trouble.lasts && trouble.reason.contains("\"x\"; it has lora, base, other"), "{trouble:?}");
        assert_eq!(about(&[], Some("x")), Ok(&Value::Null));
    }
}
