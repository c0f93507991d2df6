//! However an answer ends: exactly once, and nothing is left of it.

use std::time::Duration;

use leafresh_server::config::{Config, Seconds};
use serde_json::json;

use crate::support::{BASE_INFO, Connection, SSE, Server, Setup, VALID, VALID_BODY, get, post, read, until};

fn is_idle(server: &Server) -> bool {
    let health = server.health();
    (health.running, health.queued) == (0, 0)
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
