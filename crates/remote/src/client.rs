//! Asking one server over HTTP, within its deadlines.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::settings::Upstream;
use crate::sse::Events;

/// Of what a server says about a refusal so much is repeated, in characters.
const LONGEST_REASON: usize = 300;

/// A body that isn't a stream; those of lists of models are the longest.
const LONGEST_BODY: usize = 8 << 20;

/// How long a connection is kept for the next request: less than uvicorn does, which is under vLLM and SGLang.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why a server did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It can't be reached, broke off, or failed.
    Gone(String),
    /// It said nothing for too long.
    Silent(String),
    /// What it said is no answer.
    Nonsense(String),
    /// It takes no more at the moment, and may have said for how long.
    Full(Option<Duration>),
    /// It won't do this.
    Refused { status: u16, reason: String },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone(reason) | Self::Silent(reason) | Self::Nonsense(reason) => f.write_str(reason),
            Self::Full(_) => f.write_str("it takes no more requests"),
            Self::Refused { status, reason } => write!(f, "it answers {status}: {reason}"),
        }
    }
}

/// One server, as it is asked.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: Http,
    url: String,
    key: Option<HeaderValue>,
    connect: Duration,
    first: Duration,
    idle: Duration,
}

impl Client {
    /// # Errors
    /// A sentence about the key, or the HTTP library.
    pub(crate) fn new(upstream: &Upstream) -> Result<Self, String> {
        let key = upstream.key.as_ref().map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.read()?))
                .map_err(|_| "the key holds characters that no header may hold".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        });
        let http = http(&upstream.url, upstream.connect)?;
        Ok(Self {
            http,
            url: upstream.url.clone(),
            key: key.transpose()?,
            connect: upstream.connect,
            first: upstream.first,
            idle: upstream.idle,
        })
    }

    /// A JSON answer; what isn't JSON is null.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.whole(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        self.whole(Method::POST, path, Some(body)).await
    }

    /// Begins an answer that comes in events.
    pub(crate) async fn stream(&self, path: &str, body: &Value) -> Result<Reply, Fault> {
        let due = Instant::now() + self.first;
        let response = self.send(Method::POST, path, Some(body), due).await?;
        let body = response.into_body();
        Ok(Reply { body, events: Events::default(), ready: Vec::new().into_iter(), due, idle: self.idle })
    }

    async fn whole(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Fault> {
        let due = Instant::now() + self.connect + self.first;
        let mut response = self.send(method, path, body, due).await?;
        let body = read(response.body_mut(), due).await?;
        Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        due: Instant,
    ) -> Result<Response<Incoming>, Fault> {
        let uri: Uri = format!("{}{path}", self.url).parse().map_err(|error| gone(&error))?;
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        let body = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(body)).map_err(|error| gone(&error))?;
        let sent = timeout_at(due, self.http.request(request)).await;
        let mut response = sent.map_err(|_| silent())?.map_err(|error| gone(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let after = retry_after(&response);
        // It may be long in coming, too.
        let body =
            read(response.body_mut(), due.min(Instant::now() + self.connect)).await.unwrap_or_default();
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Fault::Full(after),
            StatusCode::REQUEST_TIMEOUT => Fault::Gone(format!("it answers {status}")),
            status if status.is_server_error() => {
                Fault::Gone(format!("it answers {status}: {}", reason(&body)))
            }
            status => Fault::Refused { status: status.as_u16(), reason: reason(&body) },
        })
    }
}

/// An answer that comes in events. Dropping it closes the connection, which ends the work on the other side.
#[derive(Debug)]
pub(crate) struct Reply {
    body: Incoming,
    events: Events,
    ready: std::vec::IntoIter<Vec<u8>>,
    /// When the next event has to have come.
    due: Instant,
    idle: Duration,
}

impl Reply {
    /// The data of the next event; `None` where the answer ends.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            if let Some(event) = self.ready.next() {
                self.due = Instant::now() + self.idle;
                return Ok(Some(event));
            }
            let frame = timeout_at(self.due, self.body.frame()).await.map_err(|_| silent())?;
            let Some(frame) = frame else { return Ok(None) };
            let Ok(bytes) = frame.map_err(|error| gone(&error))?.into_data() else { continue };
            self.ready = self.events.push(&bytes).map_err(Fault::Nonsense)?.into_iter();
        }
    }
}

/// Connections to one server. Certificates are looked for only where they are needed: not every machine has some.
fn http(url: &str, connect: Duration) -> Result<Http, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(connect));
    tcp.set_nodelay(true);
    let tls = ClientConfig::builder();
    let tls = if url.starts_with("https:") {
        tls.with_native_roots()
            .map_err(|error| format!("the system's certificates can't be used: {error}"))?
    } else {
        tls.with_root_certificates(RootCertStore::empty())
    };
    let connector = HttpsConnector::from((tcp, tls.with_no_client_auth()));
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION)
        .build(connector))
}

async fn read(from: &mut Incoming, due: Instant) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(frame) = timeout_at(due, from.frame()).await.map_err(|_| silent())? {
        let Ok(bytes) = frame.map_err(|error| gone(&error))?.into_data() else { continue };
        body.extend_from_slice(&bytes);
        if body.len() > LONGEST_BODY {
            return Err(Fault::Nonsense(format!("it answers with more than {LONGEST_BODY} bytes")));
        }
    }
    Ok(body)
}

fn silent() -> Fault {
    Fault::Silent("it said nothing for too long".into())
}

fn gone(error: &dyn Error) -> Fault {
    Fault::Gone(causes(error))
}

/// An error with its causes, in one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Seconds, or a date (RFC 9110, 10.2.3), which only servers in front of servers send.
fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    text.parse().map(Duration::from_secs).ok()
}

/// What a body says is wrong: OpenAI's form, vLLM's, FastAPI's, or the text itself.
fn reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let said = ["/error/message", "/error", "/detail", "/message"];
    let said = said.iter().find_map(|path| json.pointer(path).filter(|said| !said.is_null()));
    let said = said.map_or_else(
        || text.trim().to_owned(),
        |said| said.as_str().map_or_else(|| said.to_string(), str::to_owned),
    );
    said.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(LONGEST_REASON)
        .collect()
}

/// Up to a quarter longer, so that many who wait don't come back at the same moment.
pub(crate) fn scattered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + rand::random::<f64>() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_says_is_found_and_bounded() {
        let cases = [
            (r#"{"error":{"message":"too long","type":"x","code":400}}"#, "too long"),
            (r#"{"error":"Unauthorized"}"#, "Unauthorized"),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            (r#"{"message":"no\nmodel"}"#, "no model"),
            ("plain", "plain"),
            ("", ""),
        ];
        for (body, expected) in cases {
            assert_eq!(reason(body.as_bytes()), expected);
        }
        assert_eq!(reason("가".repeat(1000).as_bytes()).chars().count(), LONGEST_REASON);
    }

    #[test]
    fn a_pause_is_lengthened_by_a_quarter_at_most() {
        let pause = Duration::from_secs(4);
        assert!((pause..=Duration::from_secs(5)).contains(&scattered(pause)));
    }
}
