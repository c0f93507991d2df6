//! Answers from the catalogue: when the queue is full, the wait too long, the model gone or stuck.

use std::time::{Duration, Instant};

use leafresh_chat::DegradedReason;
use leafresh_engine::fake::FakeModel;
use leafresh_server::config::{Config, Seconds};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::catalog::catalog;
use crate::support::{
    BASE_INFO, Connection, DETAILED, Event, FREE_TEXT, SSE, Server, Setup, VALID, VALID_BODY, get, metric,
    post, read, until,
};

fn seconds(milliseconds: u64) -> Seconds {
    Seconds(Duration::from_millis(milliseconds))
}

async fn events(server: &Server, target: &str) -> Vec<Event> {
    let response = Connection::ask(server.address, &get(target, &[SSE])).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    read(&response.body())
}

/// The data of `close` after checking that the stream is whole and says where it comes from.
fn degraded(events: &[Event], reason: &str) -> Value {
    let close = events.last().unwrap();
    assert_eq!(close.name, "close", "{close:?}");
    let answer = close.data["data"].clone();
    assert_eq!((&answer["degraded"], &answer["degradedReason"]), (&json!(true), &json!(reason)), "{answer}");
    let mut expected = answer["recommend"].as_str().unwrap().to_owned();
    let challenges = answer["challenges"].as_array().unwrap();
    assert_eq!(challenges.len(), 3);
    for (index, challenge) in challenges.iter().enumerate() {
        let part = |name: &str| challenge[name].as_str().unwrap().to_owned();
        expected.extend(["\n\n", &(index + 1).to_string(), ". ", &part("title"), "\n", &part("description")]);
        let document = catalog().documents().iter().find(|document| document.title == part("title")).cloned();
        assert_eq!(document.unwrap().category, part("category"));
    }
    let texts: String = events.iter().filter_map(Event::text).collect();
    assert_eq!(texts, expected);
    let typed = events.iter().filter(|event| event.data["data"]["challenges"].is_object()).count();
    assert_eq!(typed, 3);
    assert_eq!(answer["sources"].as_array().unwrap().len(), 3, "{answer}");
    answer
}

/// One at a time, and the first one takes its time.
fn narrow(queue: usize) -> impl FnOnce(&mut Config) {
    move |config| (config.engine.running, config.engine.queue) = (1, queue)
}

async fn occupied(server: &Server) -> Connection {
    let mut first = Connection::open(server.address).await;
    first.send(&get(DETAILED, &[SSE])).await;
    first.head().await;
    until("the place is taken", || server.health().running == 1).await;
    first
}

#[tokio::test]
async fn a_full_queue_is_answered_from_the_catalogue_at_once() {
    let server = Setup::slow(50).with(narrow(0)).start().await;
    let first = occupied(&server).await;
    let asked = Instant::now();
    let answer = degraded(&events(&server, DETAILED).await, "overloaded");
    assert_eq!(answer["challenges"][0]["category"], json!("ZERO_WASTE"));
    let message =
        utf8_percent_encode("메일함이 꽉 찼어요, 메일 정리하고 싶어요", NON_ALPHANUMERIC).to_string();
    let answer =
        degraded(&events(&server, &format!("{FREE_TEXT}?details=1&message={message}")).await, "overloaded");
    assert_eq!(answer["challenges"][0]["category"], json!("DIGITAL_CARBON"));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(server.health().running, 1, "it took no place");
    let body = VALID_BODY.replace('}', r#","details":true}"#);
    let posted = Connection::ask(server.address, &post(BASE_INFO, &[], body)).await;
    assert_eq!((posted.status(), &posted.json()["data"]["degraded"]), (200, &json!(true)));
    let metrics = Connection::ask(server.address, &get("/metrics", &[])).await.text();
    assert_eq!(metric(&metrics, r#"leafresh_answers_degraded_total{reason="overloaded"}"#), 3);
    drop(first);
}

#[tokio::test]
async fn beyond_the_bound_a_full_queue_is_503() {
    let none = |config: &mut Config| {
        narrow(0)(config);
        config.fallback.at_once = 0;
    };
    let server = Setup::slow(50).with(none).start().await;
    let _first = occupied(&server).await;
    let refused = Connection::ask(server.address, &get(VALID, &[SSE])).await;
    assert_eq!((refused.status(), refused.head.header("retry-after")), (503, Some("3")));
}

#[tokio::test]
async fn case_6_who_waits_too_long_gets_the_catalogues_answer_and_is_never_prefilled() {
    let short = |config: &mut Config| {
        narrow(4)(config);
        config.deadlines.queue_seconds = seconds(200);
    };
    let server = Setup::slow(100).with(short).start().await;
    let mut first = occupied(&server).await;
    let steps = server.health().steps;
    let answer = degraded(&events(&server, DETAILED).await, "timeout");
    assert_eq!(answer["challenges"][0]["category"], json!("ZERO_WASTE"));
    assert!(server.health().steps < steps + 40, "the first one is still at it");
    // Which isn't disturbed.
    let mut body = Vec::new();
    while let Some(chunk) = first.chunk().await {
        body.extend(chunk);
    }
    assert_eq!(read(&body).last().unwrap().data["data"]["degraded"], json!(false));
}

#[tokio::test]
async fn case_6_without_the_catalogue_who_waits_too_long_gets_an_error() {
    let short = |config: &mut Config| {
        narrow(4)(config);
        config.deadlines.queue_seconds = seconds(200);
        config.fallback.on = vec![DegradedReason::Engine, DegradedReason::Overloaded];
    };
    let server = Setup::slow(100).with(short).start().await;
    let _first = occupied(&server).await;
    let events = events(&server, DETAILED).await;
    let error = events.last().unwrap();
    assert_eq!((error.name.as_str(), &error.data["status"]), ("error", &json!(503)));
    assert_eq!(events.len(), 1, "nothing was written");
}

#[tokio::test]
async fn a_model_that_fails_is_replaced_by_the_catalogue() {
    let server = Setup { model: FakeModel::new(1).with_logits(f32::NAN), ..Setup::default() }.start().await;
    let answer = degraded(&events(&server, DETAILED).await, "engine");
    assert_eq!(
        answer["recommend"],
        json!("제로웨이스트 챌린지 가운데 오늘 바로 시작하기 좋은 세 가지를 골라 추천합니다.")
    );
    let fits = |source: &Value| {
        let document =
            catalog().documents().iter().find(|document| source["id"] == json!(document.id)).cloned();
        let document = document.unwrap();
        document.places.contains(&"city".into()) && document.work_types.contains(&"office".into())
    };
    assert!(answer["sources"].as_array().unwrap().iter().all(fits));
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_completed_from_where_it_is() {
    // It ends somewhere else each time, early and late.
    for milliseconds in [300, 500, 800, 1200, 1800] {
        let short = move |config: &mut Config| config.deadlines.answer_seconds = seconds(milliseconds);
        let server = Setup::slow(60).with(short).start().await;
        let events = events(&server, DETAILED).await;
        let texts = events.iter().filter(|event| event.text().is_some()).count();
        assert!(texts > 6, "something was written before: {texts}");
        degraded(&events, "timeout");
        until("its place is free", || server.health().running == 0).await;
    }
}

#[tokio::test]
async fn a_model_that_stops_in_the_middle_is_replaced() {
    let short = |config: &mut Config| config.deadlines.stall_seconds = seconds(150);
    let server = Setup::slow(400).with(short).start().await;
    degraded(&events(&server, DETAILED).await, "engine");
}
