//! A server for tests: our own engine with its fake model, behind the paths and in the words of other servers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use leafresh_engine::fake::FakeModel;
use leafresh_engine::{
    Backend, Delta, Grammar, Local, LocalSettings, Model, Piece, Program, Progress, Prompt, Request,
    Sampling, Segment, Slot, Tokenizer, Vocab,
};
use leafresh_remote::Kind;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

/// What goes wrong with one request for text, or what it is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Trick {
    /// Nothing.
    Fine,
    /// The connection breaks after so many events.
    Break(usize),
    /// It says no more after so many events.
    Hang(usize),
    /// The answer ends after so many events, without a word of it.
    End(usize),
    /// An event that is no JSON, after so many.
    Garbage(usize),
    /// The engine died, as vLLM says it, after so many events.
    Error(usize),
    /// A status, and for how long to stay away.
    Status(u16, Option<&'static str>),
    /// It writes this, whatever it was asked for, a piece for each.
    Say(&'static [&'static str]),
}

pub(crate) struct Options {
    pub(crate) kind: Kind,
    /// Whether it keeps to grammars; those that don't say 200 all the same.
    pub(crate) binds: bool,
    /// What it wants to be shown.
    pub(crate) key: Option<&'static str>,
    /// Before each event.
    pub(crate) pause: Duration,
    /// Special tokens that begin a text.
    pub(crate) bos: bool,
    pub(crate) adapters: &'static [&'static str],
    pub(crate) seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: Kind::Vllm,
            binds: true,
            key: None,
            pause: Duration::ZERO,
            bos: true,
            adapters: &[],
            seed: 1,
        }
    }
}

pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

struct Inner {
    options: Options,
    engine: Local,
    tokenizer: Arc<dyn Tokenizer>,
    vocab: Arc<Vocab>,
    tricks: Mutex<VecDeque<Trick>>,
    /// Bodies of requests for text, the proofs left out.
    asked: Mutex<Vec<Value>>,
    live: AtomicUsize,
}

/// Begins every text there: a byte of its vocabulary that no text has.
const BOS: u32 = 2;

impl Double {
    pub(crate) async fn new(options: Options) -> Self {
        let inner = Arc::new(Inner::new(options));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, task: serve(inner.clone(), listener), inner }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests for text go like this, one after the other; those behind them are fine.
    pub(crate) fn plays(&self, tricks: impl IntoIterator<Item = Trick>) {
        self.inner.tricks.lock().unwrap().extend(tricks);
    }

    /// What it was asked to write so far.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.inner.asked.lock().unwrap().clone()
    }

    /// Answers that somebody listens to.
    pub(crate) fn live(&self) -> usize {
        self.inner.live.load(Ordering::SeqCst)
    }

    /// The process ends: connections break, and its port refuses.
    pub(crate) async fn die(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Another process, at the same address.
    pub(crate) async fn rise(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        self.task = serve(self.inner.clone(), listener);
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// In one task, so that with it all of its connections end.
fn serve(inner: Arc<Inner>, listener: TcpListener) -> JoinHandle<()> {
    let mut router = Router::new();
    if inner.options.kind == Kind::Tgi {
        router = router
            .route("/info", get(|| async { Json(json!({ "model_id": "fake", "max_total_tokens": 4096 })) }));
    }
    let router = router
        .route("/health", get(|| async { "" }))
        .route("/v1/models", get(models))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .route("/v1/completions", post(completions))
        .route("/generate_stream", post(completions))
        .layer(axum::middleware::from_fn_with_state(inner.clone(), guard))
        .with_state(inner);
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            connections.spawn(async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    })
}

async fn guard(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    request: HttpRequest,
    next: axum::middleware::Next,
) -> Response {
    let shown = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let right = inner.options.key.is_none_or(|key| shown == Some(format!("Bearer {key}")));
    if right || request.uri().path() == "/health" {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, Json(json!({ "error": "Unauthorized" }))).into_response()
    }
}

async fn models(State(inner): State<Arc<Inner>>) -> Response {
    let owner = match inner.options.kind {
        Kind::Vllm => "vllm",
        Kind::LlamaServer => "llamacpp",
        Kind::Sglang => "sglang",
        Kind::Leafresh => "leafresh",
        Kind::Tgi | Kind::Openai => "somebody",
    };
    let mut list = vec![json!({ "id": "fake", "owned_by": owner, "parent": null, "max_model_len": 8192 })];
    list.extend(
        inner.options.adapters.iter().map(|name| json!({ "id": name, "owned_by": owner, "parent": "fake" })),
    );
    Json(json!({ "object": "list", "data": list })).into_response()
}

async fn tokenize(State(inner): State<Arc<Inner>>, Json(body): Json<Value>) -> Response {
    if !matches!(inner.options.kind, Kind::Vllm | Kind::Sglang) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (text, bos) = match body["messages"][0]["content"].as_str() {
        Some(content) => (format!("<user>{content}<eos>\n<model>"), true),
        None => (body["prompt"].as_str().unwrap().to_owned(), body["add_special_tokens"] == true),
    };
    // As Hugging Face's tokenizers: special tokens are special wherever they stand.
    let mut tokens = inner.tokenizer.tokenize(&text, true);
    if bos && inner.options.bos {
        tokens.insert(0, BOS);
    }
    Json(json!({ "count": tokens.len(), "max_model_len": 8192, "tokens": tokens })).into_response()
}

async fn detokenize(State(inner): State<Arc<Inner>>, Json(body): Json<Value>) -> Json<Value> {
    Json(json!({ "prompt": inner.spelled(&body["tokens"]).replace('\u{2}', "<bos>") }))
}

async fn completions(State(inner): State<Arc<Inner>>, Json(body): Json<Value>) -> Response {
    let Some(ask) = inner.read(&body) else {
        let reason =
            json!({ "error": { "message": "no such thing", "type": "BadRequestError", "code": 400 } });
        return (StatusCode::BAD_REQUEST, Json(reason)).into_response();
    };
    let proof = ask.prompt.contains("The code is");
    let mut trick = Trick::Fine;
    if !proof {
        inner.asked.lock().unwrap().push(body);
        trick = inner.tricks.lock().unwrap().pop_front().unwrap_or(Trick::Fine);
    }
    if let Trick::Status(status, after) = trick {
        let body = Json(json!({ "error": { "message": "told to", "code": status } }));
        let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
        if let Some(after) = after {
            response.headers_mut().insert("retry-after", after.parse().unwrap());
        }
        return response;
    }
    let (events, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        inner.live.fetch_add(1, Ordering::SeqCst);
        tokio::select! {
            () = events.closed() => {}
            () = inner.write(ask, trick, &events) => {}
        }
        inner.live.fetch_sub(1, Ordering::SeqCst);
    });
    let headers = [("content-type", "text/event-stream")];
    (headers, Body::from_stream(ReceiverStream::new(stream))).into_response()
}

/// A request for text, read.
struct Ask {
    prompt: String,
    grammar: Option<Grammar>,
    max_tokens: usize,
    seed: Option<u64>,
    adapter: bool,
}

type Events = mpsc::Sender<Result<Bytes, std::io::Error>>;

impl Inner {
    fn new(options: Options) -> Self {
        let model = FakeModel::new(options.seed);
        let (tokenizer, vocab) = (model.tokenizer(), model.vocab());
        Self {
            engine: Local::start(Box::new(model), &LocalSettings::default()).unwrap(),
            options,
            tokenizer,
            vocab,
            tricks: Mutex::default(),
            asked: Mutex::default(),
            live: AtomicUsize::new(0),
        }
    }

    fn spelled(&self, tokens: &Value) -> String {
        let tokens = tokens.as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32);
        let bytes: Vec<u8> = tokens
            .flat_map(|token| {
                // Special tokens spell something here as they do there.
                let piece = self.vocab.piece(token);
                if piece.is_empty() { b"<eos>".to_vec() } else { piece.to_vec() }
            })
            .collect();
        String::from_utf8(bytes).unwrap()
    }

    fn read(&self, body: &Value) -> Option<Ask> {
        let options = body.get("parameters").unwrap_or(body);
        let regex = |value: &Value| value.as_str().map(|regex| Grammar::Regex(regex.to_owned()));
        let list = |value: &Value| {
            let list = value.as_array()?.iter().map(|text| text.as_str().unwrap().to_owned());
            Some(Grammar::Choices(list.collect()))
        };
        let grammar = match self.options.kind {
            _ if !self.options.binds => None,
            Kind::Vllm | Kind::Leafresh => {
                let wanted = &body["structured_outputs"];
                regex(&wanted["regex"]).or_else(|| list(&wanted["choice"]))
            }
            Kind::Sglang | Kind::Openai => regex(&body["regex"]),
            Kind::Tgi => regex(&options["grammar"]["value"]),
            Kind::LlamaServer => None,
        };
        let prompt = body.get("prompt").unwrap_or(&body["inputs"]);
        let prompt = match prompt.as_str() {
            Some(text) => text.to_owned(),
            None => self.spelled(prompt),
        };
        let max_tokens = options.get("max_tokens").unwrap_or(&options["max_new_tokens"]).as_u64()? as usize;
        if matches!(&grammar, Some(Grammar::Regex(regex)) if regex.contains("\u{AC1D}")) {
            return None;
        }
        Some(Ask {
            prompt,
            grammar,
            max_tokens,
            seed: options["seed"].as_u64(),
            adapter: body["model"].as_str().is_some_and(|model| self.options.adapters.contains(&model)),
        })
    }

    async fn write(&self, ask: Ask, trick: Trick, events: &Events) {
        let mut said = 0;
        let mut pieces = match trick {
            Trick::Say(pieces) => pieces.iter().map(|&piece| piece.to_owned()).collect::<Vec<_>>(),
            _ => self.pieces(&ask).await,
        };
        let length = pieces.len() > ask.max_tokens;
        pieces.truncate(ask.max_tokens);
        let count = pieces.len();
        for (index, piece) in pieces.into_iter().enumerate() {
            if self.fails(&trick, said, events).await {
                return;
            }
            tokio::time::sleep(self.options.pause).await;
            let finish = (index + 1 == count).then_some(if length { "length" } else { "stop" });
            self.say(&piece, finish, events).await;
            said += 1;
        }
        if count == 0 && !self.fails(&trick, said, events).await {
            self.say("", Some("stop"), events).await;
        }
        if self.options.kind != Kind::Tgi {
            let usage = json!({ "choices": [], "usage": { "prompt_tokens": ask.prompt.chars().count(), "prompt_tokens_details": { "cached_tokens": 3 } } });
            let _ = events.send(Ok(format!("data: {usage}\n\ndata: [DONE]\n\n").into())).await;
        }
    }

    /// Text by text as our own engine writes it.
    async fn pieces(&self, ask: &Ask) -> Vec<String> {
        let grammar = ask.grammar.clone().unwrap_or_else(|| Grammar::Regex("[가-힣 .!\n]{1,200}".into()));
        let slot = Slot { name: "all".into(), grammar, max_tokens: 2000, distinct_from: Vec::new() };
        let request = Request {
            adapter: None,
            prompt: Prompt {
                pieces: vec![Piece::Text(format!("{}{}", ask.prompt, if ask.adapter { "!" } else { "" }))],
            },
            program: Program::new(vec![Segment::Slot(slot)]).unwrap(),
            progress: Progress::default(),
            sampling: Sampling {
                seed: ask.seed,
                temperature: 1.0,
                top_k: 0,
                top_p: 1.0,
                ..Sampling::default()
            },
        };
        let mut generation = self.engine.generate(request).unwrap();
        let mut pieces = Vec::new();
        while let Some(delta) = generation.next().await {
            match delta {
                Delta::Text { text, .. } => pieces.push(text),
                Delta::Failed(error) => panic!("the double's engine: {error}"),
                Delta::SlotDone { .. } | Delta::Done(_) => {}
            }
        }
        pieces
    }

    /// Whether it goes wrong here.
    async fn fails(&self, trick: &Trick, said: usize, events: &Events) -> bool {
        let last = match *trick {
            Trick::Break(after) if said == after => Err(std::io::Error::other("a fault for a test")),
            Trick::Hang(after) if said == after => return std::future::pending().await,
            Trick::End(after) if said == after => return true,
            Trick::Garbage(after) if said == after => Ok("data: {\"choices\": [{\n\n".into()),
            Trick::Error(after) if said == after => {
                Ok("data: {\"error\": {\"message\": \"EngineCore died\", \"code\": 500}}\n\ndata: [DONE]\n\n"
                    .into())
            }
            _ => return false,
        };
        let _ = events.send(last).await;
        true
    }

    async fn say(&self, text: &str, finish: Option<&str>, events: &Events) {
        let event = if self.options.kind == Kind::Tgi {
            let details = finish.map(|finish| {
                let reason = if finish == "stop" { "eos_token" } else { finish };
                json!({ "finish_reason": reason, "generated_tokens": 1, "input_length": 1 })
            });
            json!({ "index": 1, "token": { "id": 1, "text": text, "special": false }, "details": details })
        } else {
            json!({ "object": "text_completion", "choices": [{ "index": 0, "text": text, "finish_reason": finish }] })
        };
        let bytes = format!(": keep-alive\n\ndata: {event}\n\n").into_bytes();
        // Cut where no character and no line ends.
        let (first, second) = bytes.split_at(bytes.len() * 2 / 3);
        for part in [first, second] {
            let _ = events.send(Ok(Bytes::copy_from_slice(part))).await;
        }
    }
}
