//! Asking one question and timing the answer.

use std::error::Error;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::outcome::{Outcome, message};
use super::questions::Question;
use super::reading::{Parser, Reader};
use super::target::{Api, Target};

/// How much of an error's body is read.
const ERROR_BODY: usize = 4096;

const BASE_INFO: &str = "/ai/chatbot/recommendation/base-info";

/// One request. Times are seconds since the level's start.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// When it should have been sent. In a closed loop that is when it was.
    pub(super) due: f64,
    pub(super) sent: f64,
    /// When bytes with text in them came. Several texts that came together count once.
    pub(super) arrivals: Vec<f64>,
    /// Events with text in them.
    pub(super) texts: usize,
    pub(super) end: f64,
    pub(super) text: String,
    pub(super) outcome: Outcome,
}

/// Sends questions to one server.
#[derive(Debug)]
pub(super) struct Asker {
    http: Client,
    api: Api,
    url: String,
    overrides: Map<String, Value>,
    timeout: Duration,
}

impl Asker {
    pub(super) fn new(target: &Target) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        for given in &target.headers {
            let (name, value) = given.split_once(':').context("--header expects NAME: VALUE")?;
            let name: HeaderName = name.trim().parse().context("--header: not a header's name")?;
            headers.insert(name, value.trim().parse().context("--header: not a header's value")?);
        }
        let base = target.url.trim_end_matches('/');
        if !base.starts_with("http://") {
            bail!(
                "--url {base}: expected http://HOST:PORT (https is not supported: measure beside the server)"
            );
        }
        let overrides = match target.body.as_deref().map(serde_json::from_str) {
            None => Map::new(),
            Some(Ok(Value::Object(overrides))) => overrides,
            Some(_) => bail!("--body expects a JSON object such as '{{\"model\":\"NAME\"}}'"),
        };
        let path = target.path.as_deref().unwrap_or(match target.api {
            Api::Leafresh => BASE_INFO,
            Api::Openai => "/v1/chat/completions",
            Api::LlamaServer => "/completion",
        });
        // A proxy of the environment would be measured too. Whoever asks comes with a connection of their own: a server that
        // closes idle ones, as llama-server does, would seem to break answers.
        let http = Client::builder().no_proxy().pool_max_idle_per_host(0).default_headers(headers).build()?;
        Ok(Self {
            http,
            api: target.api,
            url: format!("{base}{path}"),
            overrides,
            timeout: Duration::from_secs_f64(target.timeout),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks, and reads to the end. `due` and the record's times count from `origin`.
    pub(super) async fn ask(&self, question: &Question, origin: Instant, due: Option<f64>) -> Record {
        let sent = origin.elapsed().as_secs_f64();
        let mut record = Record {
            due: due.unwrap_or(sent),
            sent,
            arrivals: Vec::new(),
            texts: 0,
            end: sent,
            text: String::new(),
            outcome: Outcome::Valid,
        };
        let answer = self.read(question, origin, &mut record);
        record.outcome = match timeout(self.timeout, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(reason)) => Outcome::Failed(reason),
            Err(_) => Outcome::Failed(format!("no end after {} s", self.timeout.as_secs_f64())),
        };
        record.end = origin.elapsed().as_secs_f64();
        record
    }

    /// The outcome of an answer that came to its end mark, or why it didn't.
    async fn read(
        &self,
        question: &Question,
        origin: Instant,
        record: &mut Record,
    ) -> Result<Outcome, String> {
        let mut response = self.request(question).send().await.map_err(|error| reason(&error))?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return Err(format!("no event stream, but {}", kind.unwrap_or("a body of no type")));
        }
        let mut parser = Parser::default();
        let mut reader = Reader::new(self.api, question.expects_answer());
        while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
            let now = origin.elapsed().as_secs_f64();
            for event in parser.push(&chunk)? {
                let before = record.text.len();
                let ended = reader.event(&event, &mut record.text)?;
                if record.text.len() > before {
                    record.texts += 1;
                    if record.arrivals.last() != Some(&now) {
                        record.arrivals.push(now);
                    }
                }
                if ended {
                    return Ok(reader.verdict(&record.text));
                }
            }
        }
        reader.end_of_body()?;
        Ok(reader.verdict(&record.text))
    }

    fn request(&self, question: &Question) -> RequestBuilder {
        if self.api == Api::Leafresh {
            let query = [
                ("location", &question.location),
                ("workType", &question.work_type),
                ("category", &question.category),
                ("adapter", &question.adapter),
            ];
            // With details it says where an answer came from the catalogue.
            return self.http.get(&self.url).query(&query).query(&[("details", "1")]);
        }
        let mut body = match self.api {
            Api::LlamaServer => question.for_llama_server(),
            _ => question.for_openai(self.url.ends_with("/chat/completions")),
        };
        for (key, value) in &self.overrides {
            if value.is_null() {
                body.remove(key);
            } else {
                body.insert(key.clone(), value.clone());
            }
        }
        let body = Value::Object(body).to_string();
        self.http.post(&self.url).header(header::CONTENT_TYPE, "application/json").body(body)
    }
}

/// The innermost cause: the outer ones say only that something failed, and hold addresses that would make every
/// reason another one.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = if error.is_connect() { "can't connect" } else { "the connection broke" };
    format!("{what}: {cause}")
}

/// Status and message of a response that is an error.
async fn refusal(mut response: Response) -> String {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ERROR_BODY {
            break;
        }
    }
    let body = String::from_utf8_lossy(&body);
    let json: Value = serde_json::from_str(&body).unwrap_or_else(|_| json!({ "message": body }));
    format!("HTTP {status}: {}", message(&json))
}
