//! However an answer ends: exactly once, and nothing is left of it.

use std::time::Duration;

use leafresh::config::{Config, Seconds};
use serde_json::json;

use crate::support::{
    BASE_INFO, Connection, SSE, Server, Setup, VALID, VALID_BODY, get, metric, post, read, until,
};

async fn metrics(server: &Server) -> String {
    Connection::ask(server.address, &get("/metrics", &[])).await.text()
}

fn ended(metrics: &str, outcome: &str, phase: &str) -> u64 {
    metric(metrics, &format!(r#"leafresh_requests_ended_total{{outcome="{outcome}",phase="{phase}"}}"#))
}

/// Waits until the stream has shown so many texts.
async fn read_texts(connection: &mut Connection, count: usize) {
    let mut seen = 0;
    while seen < count {
        let chunk = connection.chunk().await.expect("more texts");
        seen += String::from_utf8(chunk).unwrap().matches("event: challenge").count();
    }
}

fn is_idle(server: &Server) -> bool {
    let health = server.health();
    (health.running, health.queued) == (0, 0)
}

#[tokio::test]
async fn case_1_a_reader_that_leaves_while_the_model_writes_frees_its_slot_within_a_step() {
    let server = Setup::slow(30).start().await;
    let mut reader = Connection::open(server.address).await;
    reader.send(&get(VALID, &[SSE])).await;
    reader.head().await;
    read_texts(&mut reader, 3).await;
    assert_eq!(server.health().running, 1);
    drop(reader);
    until("the slot is free", || is_idle(&server)).await;
    let steps = server.health().steps;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.health().steps, steps, "it computes on for nobody");
    let metrics = metrics(&server).await;
    assert_eq!(ended(&metrics, "left", "writing"), 1);
    assert_eq!(metric(&metrics, "leafresh_requests_running"), 0);
}

#[tokio::test]
async fn case_1_a_reader_that_leaves_before_the_first_token_frees_its_slot() {
    let server = Setup::slow(100).start().await;
    let mut reader = Connection::open(server.address).await;
    reader.send(&get(VALID, &[SSE])).await;
    reader.head().await;
    until("it has begun", || server.health().running == 1).await;
    drop(reader);
    until("the slot is free", || is_idle(&server)).await;
    assert_eq!(ended(&metrics(&server).await, "left", "waiting"), 1);
}

#[tokio::test]
async fn case_1_a_reader_that_leaves_the_queue_gives_its_place_back() {
    let one = |config: &mut Config| (config.engine.running, config.engine.queue) = (1, 1);
    let server = Setup::slow(30).with(one).start().await;
    let mut first = Connection::open(server.address).await;
    first.send(&get(VALID, &[SSE])).await;
    read_texts_after_head(&mut first, 1).await;
    let mut second = Connection::open(server.address).await;
    second.send(&get(VALID, &[SSE])).await;
    second.head().await;
    until("it waits", || server.health().queued == 1).await;
    drop(second);
    until("its place is free", || server.health().queued == 0).await;
    assert_eq!(server.health().running, 1, "the one that runs goes on");
    // The place can be taken again.
    let mut third = Connection::open(server.address).await;
    third.send(&get(VALID, &[SSE])).await;
    assert_eq!(third.head().await.status, 200);
    assert_eq!(ended(&metrics(&server).await, "left", "waiting"), 1);
}

async fn read_texts_after_head(connection: &mut Connection, count: usize) {
    assert_eq!(connection.head().await.status, 200);
    read_texts(connection, count).await;
}

#[tokio::test]
async fn case_1_a_client_that_leaves_a_post_frees_its_slot() {
    let server = Setup::slow(30).start().await;
    let mut client = Connection::open(server.address).await;
    client.send(&post(BASE_INFO, &[], VALID_BODY)).await;
    until("it writes", || server.health().steps > 3).await;
    drop(client);
    until("the slot is free", || is_idle(&server)).await;
    let metrics = metrics(&server).await;
    assert_eq!(ended(&metrics, "left", "writing") + ended(&metrics, "left", "waiting"), 1);
}

#[tokio::test]
async fn case_1_leaving_at_any_moment_counts_once_and_leaves_nothing() {
    let server = Setup::slow(2).start().await;
    for chunks in 0..24 {
        let mut reader = Connection::open(server.address).await;
        reader.send(&get(VALID, &[SSE])).await;
        reader.head().await;
        for _ in 0..chunks * 3 {
            if reader.chunk().await.is_none() {
                break;
            }
        }
        drop(reader);
    }
    until("all slots are free", || is_idle(&server)).await;
    let metrics = metrics(&server).await;
    let all: u64 = ["close", "error", "left"]
        .into_iter()
        .flat_map(|outcome| ["waiting", "writing"].map(|phase| ended(&metrics, outcome, phase)))
        .sum();
    assert_eq!(all, 24, "{metrics}");
    assert_eq!(metric(&metrics, "leafresh_requests_running"), 0);
    assert_eq!(metric(&metrics, "leafresh_kv_cells_used"), server.health().kv_used as u64);
}

#[tokio::test]
async fn case_10_a_model_that_fails_ends_the_stream_with_one_error() {
    let server = Setup::broken().keep_alive(1).start().await;
    let message = "응답이 중간에 종료되었습니다.";
    for target in [VALID.to_owned(), format!("{VALID}&dialect=token")] {
        let response = Connection::ask(server.address, &get(&target, &[SSE])).await;
        assert_eq!(response.status(), 200);
        let events = read(&response.body());
        let error = events.last().unwrap();
        assert_eq!((error.name.as_str(), error.number()), ("error", "end"));
        assert_eq!(error.data, json!({ "status": 500, "message": message, "data": null }));
    }
    let answer = Connection::ask(server.address, &post(BASE_INFO, &[], VALID_BODY)).await;
    assert_eq!((answer.status(), answer.json()["message"].clone()), (500, json!(message)));
    until("all slots are free", || is_idle(&server)).await;
}

#[tokio::test]
async fn case_10_relays_that_wait_for_a_close_can_have_one_after_an_error() {
    let server = Setup::broken().with(|config| config.stream.error_then_close = true).start().await;
    for target in [VALID, BASE_INFO] {
        let response = Connection::ask(server.address, &get(target, &[SSE])).await;
        let events = read(&response.body());
        let [.., error, close] = &events[..] else { panic!("{events:?}") };
        assert_eq!((error.name.as_str(), error.number()), ("error", "0"));
        assert_eq!((close.name.as_str(), close.number()), ("close", "end"));
        assert_eq!(close.data["data"], json!(null));
        assert_eq!(error.retry.as_deref(), Some("1000"));
        assert_eq!(close.retry, None);
    }
    let answer = Connection::ask(server.address, &post(BASE_INFO, &[], VALID_BODY)).await;
    assert_eq!(answer.status(), 500);
}

#[tokio::test]
async fn case_10_nothing_follows_the_end_not_even_a_keep_alive() {
    // At one millisecond a keep-alive is due at the very moment of the end, again and again.
    let server = Setup::slow(1).keep_alive(1).start().await;
    for _ in 0..10 {
        let mut connection = Connection::open(server.address).await;
        connection.send(&get(VALID, &[SSE, ("Connection", "close")])).await;
        let response = connection.response().await;
        assert_eq!(read(&response.body()).last().unwrap().name, "close");
        assert!(connection.is_closed().await);
    }
}

#[tokio::test]
async fn a_server_that_drains_lets_answers_finish_and_refuses_new_ones() {
    let mut server = Setup::slow(50).start().await;
    let mut reader = Connection::open(server.address).await;
    reader.send(&get(VALID, &[SSE])).await;
    let head = reader.head().await;
    assert_eq!(head.status, 200);
    server.shut_down();
    tokio::time::sleep(Duration::from_millis(50)).await;

    let refused = Connection::ask(server.address, &get(VALID, &[SSE])).await;
    assert_eq!((refused.status(), refused.head.header("retry-after")), (503, Some("3")));
    assert_eq!(refused.json()["message"], json!("서버를 종료하는 중입니다. 잠시 후 다시 시도해 주세요."));
    let ready = Connection::ask(server.address, &get("/health/ready", &[])).await;
    assert_eq!((ready.status(), ready.json()["data"]["reasons"].clone()), (503, json!(["draining"])));
    assert_eq!(Connection::ask(server.address, &get("/health/live", &[])).await.status(), 200);

    let mut body = Vec::new();
    while let Some(chunk) = reader.chunk().await {
        body.extend(chunk);
    }
    assert_eq!(read(&body).last().unwrap().name, "close");
    server.ended.await.unwrap();
}

#[tokio::test]
async fn answers_that_are_still_running_at_the_drain_deadline_end_with_an_error() {
    let short = |config: &mut Config| config.server.drain_seconds = Seconds(Duration::from_millis(100));
    let mut server = Setup::slow(30).with(short).start().await;
    let mut reader = Connection::open(server.address).await;
    reader.send(&get(VALID, &[SSE])).await;
    let head = reader.head().await;
    assert_eq!(head.status, 200);
    let mut client = Connection::open(server.address).await;
    client.send(&post(BASE_INFO, &[], VALID_BODY)).await;
    until("both run", || server.health().running == 2).await;
    let asked = std::time::Instant::now();
    server.shut_down();

    let mut body = Vec::new();
    while let Some(chunk) = reader.chunk().await {
        body.extend(chunk);
    }
    let error = read(&body).pop().unwrap();
    assert_eq!((error.name.as_str(), error.data["status"].clone()), ("error", json!(503)));
    assert_eq!(error.data["message"], json!("서버를 종료하는 중입니다. 잠시 후 다시 시도해 주세요."));
    assert_eq!(client.response().await.status(), 503);
    (&mut server.ended).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn an_idle_server_stops_at_once_even_with_open_connections() {
    let mut server = Server::start().await;
    let mut idle = Connection::open(server.address).await;
    idle.send(&get("/health", &[])).await;
    assert_eq!(idle.response().await.status(), 200);
    let _silent = Connection::open(server.address).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let asked = std::time::Instant::now();
    server.shut_down();
    (&mut server.ended).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(idle.is_closed().await);
}
