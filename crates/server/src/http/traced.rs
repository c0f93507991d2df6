//! What the log says of a request: a span around all that is logged meanwhile, and one line when its response has gone out.
//!
//! The path is logged as its pattern and the query not at all: session ids and people's words are in them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use axum::body::Body;
use axum::extract::{FromRef, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tower_http::request_id::RequestId;
use tracing::{Instrument, Span, field};

use super::access;
use super::error::Reason;
use super::paths;
use crate::config::LogText;
use crate::log::line::{self, Sent};
use crate::otlp::{self, Otlp, Trace};
use crate::state::AppState;
use crate::streams::Watched;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What `traceparent` says, and this request's own place in the trace. None where it can't be used: then a trace begins here, or
/// there is none.
fn parent(headers: &HeaderMap) -> Option<Trace> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // A later version may say more behind these four.
    let known = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let whole = is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2) && values.next().is_none();
    let id = u128::from_str_radix(trace, 16).ok().filter(|&id| known && whole && id > 0)?;
    let parent = u64::from_str_radix(parent, 16).ok().filter(|&id| id > 0)?;
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    Some(Trace { id, parent: Some(parent), span: Trace::new_span(), sampled })
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// With what requests are followed.
#[derive(Debug, Clone)]
pub(super) struct Following {
    pub(super) text: LogText,
    pub(super) otlp: Otlp,
}

impl FromRef<AppState> for Following {
    fn from_ref(app: &AppState) -> Self {
        Self { text: app.part(), otlp: app.part() }
    }
}

pub(super) async fn traced(State(following): State<Following>, request: Request, next: Next) -> Response {
    let since = Instant::now();
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let id = id.map(str::to_owned);
    let route = paths::pattern(request.uri().path());
    let begun = || following.otlp.is_on().then(Trace::new);
    let trace = parent(request.headers()).or_else(begun);
    let span = tracing::info_span!(
        "request",
        request_id = id.as_deref().map(field::display),
        trace_id = trace.map(|trace| field::display(format!("{:032x}", trace.id))),
        span_id = trace.map(|trace| field::display(format!("{:016x}", trace.span))),
        parent_id = trace.and_then(|trace| trace.parent).map(|parent| field::display(format!("{parent:016x}"))),
        method = %request.method(),
        route,
    );
    let told = Told::new(request.method(), request.uri().path());
    let method = request.method().clone();
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    let (head, body) = response.into_parts();
    let reason = head.extensions.get::<Reason>().map(|reason| reason.0.clone());
    let sent = Sent { status: status.as_u16(), bytes: 0, time: since.elapsed(), whole: false, reason };
    let watched = head.extensions.get::<Watched>().cloned();
    let line = Line { span, since, told, sent, watched, trace, id, method, route, following };
    Response::from_parts(head, Body::new(Followed { body: Some(body), line }))
}

/// Whether a request is worth a line at the usual level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// What computes, or tells of people.
    Always,
    /// The page and what isn't there: when something is wrong.
    WhenRefused,
    /// Looked at every few seconds by machines.
    Never,
}

impl Told {
    fn new(method: &Method, path: &str) -> Self {
        let watched = path == "/metrics" || path == "/health" || path.starts_with("/health/");
        match () {
            () if watched || method == Method::OPTIONS => Self::Never,
            () if access::needs_key(path) => Self::Always,
            () => Self::WhenRefused,
        }
    }

    fn at(self, status: u16) -> bool {
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::MISDIRECTED_REQUEST];
        match self {
            Self::Always => true,
            Self::WhenRefused => status >= 500 || refused.iter().any(|refused| *refused == status),
            Self::Never => false,
        }
    }
}

/// The line that is written when a response has gone out, or nobody takes it any more.
struct Line {
    span: Span,
    since: Instant,
    told: Told,
    sent: Sent,
    watched: Option<Watched>,
    trace: Option<Trace>,
    id: Option<String>,
    method: Method,
    route: Option<&'static str>,
    following: Following,
}

impl Line {
    fn write(&mut self) {
        self.sent.time = self.since.elapsed();
        let Sent { status, bytes, whole, .. } = self.sent;
        if self.told.at(status) {
            let stream = self.watched.take().map(|watched| watched.tell(self.following.text));
            line::write(&self.span, Some(&self.sent), stream.as_ref());
            if let Some(trace) = self.trace {
                self.following.otlp.tell(&otlp::Request {
                    trace,
                    id: self.id.as_deref(),
                    method: self.method.as_str(),
                    route: self.route,
                    sent: &self.sent,
                    stream: stream.as_ref(),
                    ended: SystemTime::now(),
                });
            }
        } else {
            tracing::debug!(target: "leafresh::request", parent: &self.span, status, bytes, whole, "answered");
        }
    }
}

/// A response's body, counted.
struct Followed {
    /// Dropped before the line is written: an answer that ends meanwhile sees that this reader has gone, and tells of itself.
    body: Option<Body>,
    line: Line,
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.line.sent.bytes += bytes;
                self.line.sent.whole = self.body.as_ref().is_none_or(http_body::Body::is_end_stream);
            }
            Poll::Ready(None) => self.line.sent.whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // An empty one isn't polled.
        self.line.sent.whole |= http_body::Body::is_end_stream(self);
        self.body = None;
        self.line.write();
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderValue;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::config;
    use crate::http::request_id;
    use crate::log::tests::Pipe;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn of(values: &[&str]) -> Option<Trace> {
        let header = |value: &&str| (TRACEPARENT, HeaderValue::from_str(value).unwrap());
        parent(&values.iter().map(header).collect())
    }

    #[test]
    fn a_traceparent_is_taken_as_w3c_has_it_and_what_is_none_is_passed_over() {
        let later = format!("cc-{TRACE}-{PARENT}-00-later-versions-say-more");
        for (good, sampled) in [(format!("00-{TRACE}-{PARENT}-01"), true), (later, false)] {
            let trace = of(&[&good]).unwrap();
            assert_eq!(
                format!("{:032x} {:016x}", trace.id, trace.parent.unwrap()),
                format!("{TRACE} {PARENT}")
            );
            assert_eq!((trace.sampled, trace.span > 0), (sampled, true));
        }
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{TRACE}-{PARENT}x-01"),
        ] {
            assert_eq!(of(&[&bad]), None, "{bad}");
        }
        let good = format!("00-{TRACE}-{PARENT}-01");
        assert_eq!(of(&[&good, &good]), None, "two of them");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_machines_look_at_all_the_time_is_not_told() {
        let cases = [
            ("/ai/chatbot/recommendation/base-info", 200, true),
            ("/v1/chat/completions", 200, true),
            ("/", 200, false),
            ("/", 421, true),
            ("/nothing", 404, false),
            ("/docs", 500, true),
            ("/metrics", 200, false),
            ("/metrics", 401, false),
            ("/health/ready", 503, false),
        ];
        for (path, status, told) in cases {
            assert_eq!(Told::new(&Method::GET, path).at(status), told, "{path} {status}");
        }
        assert_eq!(Told::new(&Method::OPTIONS, "/v1/models"), Told::Never);
    }

    #[tokio::test]
    async fn what_is_logged_of_a_request_tells_its_id_and_not_its_query() {
        let following = Following { text: LogText::Off, otlp: Otlp::new(&config::Otlp::default()) };
        let said = || async { tracing::info!("in the handler") };
        let router = Router::new().route("/", get(said)).layer(from_fn_with_state(following, traced));
        let service = TowerToHyperService::new(request_id::identified(router));
        let (log, _guard) = Pipe::of_this_thread();
        for id in ["relay-7", "two words"] {
            let request = Request::get("/?message=secret").header(request_id::NAME, id);
            let request = request.header(TRACEPARENT, format!("00-{TRACE}-{PARENT}-01"));
            service.call(request.body(Body::empty()).unwrap()).await.unwrap();
        }
        let log = log.text();
        let lines: Vec<_> = log.lines().collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("in the handler")), "{log}");
        assert!(lines[0].contains("request{request_id=relay-7 "), "{log}");
        assert!(lines.iter().all(|line| line.contains(&format!("trace_id={TRACE} "))), "{log}");
        // A random one.
        let id = lines[1].split_once("request_id=").unwrap().1.split_once(' ').unwrap().0;
        assert_eq!(id.len(), 36, "{log}");
        assert!(!log.contains("words") && !log.contains("secret"), "{log}");
    }
}
