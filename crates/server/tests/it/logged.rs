//! What the log tells of requests: one line each, with all that happened, and no word that somebody wrote.

use std::io::Write;
use std::sync::{Arc, Mutex};

use leafresh_server::config::LogText;
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;

use crate::support::{
    BASE_INFO, Connection, FREE_TEXT, SSE, Server, Setup, VALID, VALID_BODY, get, post, read, read_some,
    request, until, until_async,
};

/// What is logged on this thread, where all of a test's server runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let builder = tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false);
        let subscriber = builder.with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines about requests, once there are so many.
    async fn lines(&self, count: usize) -> Vec<Value> {
        let lines = || -> Vec<Value> {
            let lines =
                self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
            lines.into_iter().filter(|line| line["target"] == "leafresh::request").collect()
        };
        until("there are the lines", || lines().len() >= count).await;
        // One too many would come now.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert_eq!(lines().len(), count, "{}", self.text());
        lines()
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn a_request_has_one_line_with_every_stage_of_its_answer_and_nothing_of_what_was_written() {
    let (log, _guard) = Log::start();
    let server = Server::start().await;
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let headers = [SSE, ("X-Request-Id", "relay-7"), ("traceparent", &traceparent)];
    // "집에서 할 일", at "달나라".
    let target = format!(
        "{FREE_TEXT}?message=%EC%A7%91%EC%97%90%EC%84%9C%20%ED%95%A0%20%EC%9D%BC&location=%EB%8B%AC%EB%82%98%EB%9D%BC&sessionId=secret-id"
    );
    let answer = Connection::ask(server.address, &get(&target, &headers)).await;
    let events = read(&answer.body());
    assert_eq!(events.last().unwrap().name, "close");
    let line = &log.lines(1).await[0];
    let span = &line["span"];
    let expected = json!({
        "name": "request", "request_id": "relay-7", "trace_id": TRACE, "parent_id": "00f067aa0ba902b7",
        "span_id": span["span_id"], "method": "GET", "route": FREE_TEXT,
    });
    assert_eq!(span, &expected);
    assert_eq!(span["span_id"].as_str().unwrap().len(), 16);
    for (field, value) in [
        ("message", json!("answered")),
        ("status", json!(200)),
        ("stream", json!(events[0].stream())),
        ("part", json!("first")),
        ("session", json!(true)),
        ("outcome", json!("close")),
        ("phase", json!("writing")),
        ("gate", json!("passed")),
        ("remembered", json!(false)),
        ("continued", json!(0)),
        ("parked", json!(0)),
        ("readers", json!(1)),
        ("sent", json!("whole")),
        ("sent_bytes", json!(answer.body().len())),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(["none", "select", "context"].iter().any(|grounding| line["grounding"] == *grounding), "{line}");
    for stage in ["queue_ms", "prefill_ms", "first_text_ms", "total_ms", "sent_ms"] {
        assert!(line[stage].is_u64(), "{stage} in {line}");
    }
    for count in ["prompt_tokens", "generated_tokens", "text_tokens"] {
        assert!(line[count].as_u64().unwrap() > 0, "{count} in {line}");
    }
    assert!(line["cached_tokens"].is_u64(), "{line}");
    for absent in ["asked", "location", "work_type", "reason", "degraded"] {
        assert!(line.get(absent).is_none(), "{absent} in {line}");
    }
    let log = log.text();
    assert!(!log.contains("집에서") && !log.contains("달나라") && !log.contains("secret-id"), "{log}");
}

#[tokio::test]
async fn what_is_refused_has_its_reason_and_what_only_tells_of_a_session_its_pattern() {
    let (log, _guard) = Log::start();
    let server = Server::start().await;
    Connection::ask(server.address, &get("/health", &[])).await;
    Connection::ask(server.address, &get("/metrics", &[])).await;
    Connection::ask(server.address, &get("/", &[])).await;
    Connection::ask(server.address, &request("OPTIONS", BASE_INFO, &[], b"")).await;
    Connection::ask(server.address, &get("/ai/chatbot/sessions/secret-id", &[])).await;
    Connection::ask(server.address, &post(BASE_INFO, &[], "{}")).await;
    Connection::ask(server.address, &get(BASE_INFO, &[SSE])).await;
    Connection::ask(server.address, &get("/", &[("Host", "elsewhere.example")])).await;
    let lines = log.lines(4).await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| json!([line["span"]["method"], line["span"]["route"], line["status"], line["reason"]]))
        .collect();
    let missing = "required field missing: location";
    let expected = [
        json!(["GET", "/ai/chatbot/sessions/{id}", 404, "no such path"]),
        json!(["POST", BASE_INFO, 400, missing]),
        // As its client sees it.
        json!(["GET", BASE_INFO, 200, missing]),
        json!(["GET", "/", 421, "a host that server.hosts doesn't name"]),
    ];
    assert_eq!(told, expected);
    assert!(lines.iter().all(|line| line.get("stream").is_none()), "{lines:?}");
    assert!(!log.text().contains("secret-id"));
}

#[tokio::test]
async fn who_joins_leaves_and_returns_has_a_line_each_and_the_last_tells_of_all() {
    let (log, _guard) = Log::start();
    let mut server = Setup::held().start().await;
    let target = format!("{VALID}&sessionId=a");
    let mut first = Connection::open(server.address).await;
    first.send(&get(&target, &[SSE])).await;
    first.head().await;
    let mut joined = Connection::open(server.address).await;
    joined.send(&get(&target, &[SSE])).await;
    joined.head().await;
    for _ in 0..8 {
        server.step();
    }
    let id = read_some(&mut joined, 1).await.last().unwrap().id.clone();
    drop(first);
    log.lines(1).await;
    drop(joined);
    until_async("it is parked", async || server.metrics().await.value("leafresh_requests_parked") == 1).await;
    server.go_on();
    let rest = Connection::ask(server.address, &get(&target, &[SSE, ("Last-Event-ID", &id)])).await;
    assert_eq!(read(&rest.body()).last().unwrap().name, "close");
    let lines = log.lines(3).await;
    let part = |line: &Value| json!([line["part"], line["sent"], line.get("outcome")]);
    assert_eq!(
        lines.iter().map(part).collect::<Vec<_>>(),
        [json!(["first", "cut", null]), json!(["joined", "cut", null]), json!(["resumed", "whole", "close"]),]
    );
    assert_eq!((&lines[2]["readers"], &lines[2]["parked"]), (&json!(3), &json!(1)));
    assert!(lines.iter().all(|line| line["stream"] == lines[0]["stream"]));
    let metrics = server.metrics().await;
    for (series, count) in [
        ("leafresh_requests_joined_total", 1),
        ("leafresh_requests_resumed_total", 1),
        ("leafresh_generations_parked_total", 1),
        (r#"leafresh_generations_continued_total{cause="returned"}"#, 1),
        (r#"leafresh_request_success_total{finished_reason="stop"}"#, 1),
    ] {
        assert_eq!(metrics.value(series), count, "{series}");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_came_back_for_is_told_when_it_ends() {
    let (log, _guard) = Log::start();
    let server = Setup::held().no_grace().start().await;
    let mut reader = Connection::open(server.address).await;
    reader.send(&get(VALID, &[SSE, ("X-Request-Id", "gone")])).await;
    reader.head().await;
    drop(reader);
    let lines = log.lines(2).await;
    let left = lines.iter().find(|line| line["message"] == "ended unread").unwrap();
    assert_eq!((&left["outcome"], &left["readers"]), (&json!("left"), &json!(1)), "{left}");
    assert_eq!(left["span"]["request_id"], "gone");
    assert!(left.get("status").is_none(), "{left}");
    assert!(lines.iter().any(|line| line["message"] == "answered" && line["sent"] == "cut"), "{lines:?}");
}

#[tokio::test]
async fn what_people_wrote_is_in_the_line_as_far_as_the_operator_wants() {
    for (text, asked, place) in [
        (LogText::Redacted, "가가가 가 가, 000-0000", "가가가"),
        (LogText::Full, "집에서 할 일, 010-1234", "달나라"),
    ] {
        let (log, _guard) = Log::start();
        let server = Setup::default().with(|config| config.log.text = text).start().await;
        let body = json!({ "message": "집에서 할 일, 010-1234", "location": "달나라" }).to_string();
        assert_eq!(Connection::ask(server.address, &post(FREE_TEXT, &[], body)).await.status(), 200);
        let line = &log.lines(1).await[0];
        assert_eq!((&line["asked"], &line["location"]), (&json!(asked), &json!(place)), "{line}");
        assert_eq!((&line["sent"], &line["outcome"]), (&json!("whole"), &json!("close")), "one object");
    }
    let (log, _guard) = Log::start();
    let server = Server::start().await;
    Connection::ask(server.address, &post(BASE_INFO, &[], VALID_BODY)).await;
    assert!(log.lines(1).await[0].get("location").is_none(), "{}", log.text());
}
