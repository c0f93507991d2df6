//! Equal requests: one generation, however many readers.

use serde_json::{Value, json};

use crate::support::{
    BASE_INFO, Connection, Event, SSE, Server, Setup, VALID, get, open, post, read, read_rest, read_some,
    until,
};

fn with(more: &str) -> String {
    format!("{VALID}&{more}")
}

async fn events(server: &Server, request: &[u8]) -> Vec<Event> {
    read(&Connection::ask(server.address, request).await.body())
}

fn body(more: &Value) -> String {
    let mut body = json!({ "location": "도시", "workType": "사무직", "category": "제로웨이스트" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test]
async fn case_9_two_equal_requests_in_flight_are_one_generation_and_two_equal_streams() {
    let server = Setup::slow(10).start().await;
    let mut first = open(&server, &get(&with("sessionId=s"), &[SSE])).await;
    let begun = read_some(&mut first, 3).await;
    // Another spelling of the same values, another method, another order of the fields.
    let same = [
        get(
            &format!(
                "{BASE_INFO}?sessionId=s&category=zero_waste&workType=%EC%82%AC%EB%AC%B4%EC%A7%81&location=CITY"
            ),
            &[SSE],
        ),
        post(BASE_INFO, &[SSE], body(&json!({ "sessionId": "s" }))),
    ];
    let mut others = Vec::new();
    for request in &same {
        others.push(open(&server, request).await);
    }
    assert_eq!(server.health().running, 1);
    let first: Vec<Event> = begun.into_iter().chain(read(&read_rest(&mut first).await)).collect();
    for other in &mut others {
        let whole = read(&read_rest(other).await);
        assert_eq!(whole, first);
    }
    assert_eq!(server.metrics().await.all_ended(), 1);
}

#[tokio::test]
async fn case_9_dialects_may_differ_and_one_object_may_join_a_stream() {
    let server = Setup::slow(10).start().await;
    let mut plain = open(&server, &get(&with("sessionId=s"), &[SSE])).await;
    let mut older = open(&server, &get(&with("sessionId=s&dialect=token"), &[SSE])).await;
    let object =
        Connection::ask(server.address, &post(BASE_INFO, &[], body(&json!({ "sessionId": "s" })))).await;
    let (plain, older) = (read(&read_rest(&mut plain).await), read(&read_rest(&mut older).await));
    assert_eq!(plain[0].stream(), older[0].stream());
    assert_eq!(object.json()["data"], plain.last().unwrap().data["data"]);
    assert_eq!(older.last().unwrap().data["data"], plain.last().unwrap().data["data"]);
    assert_eq!(server.metrics().await.all_ended(), 1);
}

#[tokio::test]
async fn case_9_one_that_leaves_does_not_cancel_the_other() {
    let server = Setup::slow(10).no_grace().start().await;
    let mut first = open(&server, &get(&with("sessionId=s"), &[SSE])).await;
    let mut second = open(&server, &get(&with("sessionId=s"), &[SSE])).await;
    read_some(&mut first, 2).await;
    drop(first);
    assert_eq!(read(&read_rest(&mut second).await).last().unwrap().name, "close");
    let metrics = server.metrics().await;
    assert_eq!((metrics.ended("close", "writing"), metrics.all_ended()), (1, 1));
}

#[tokio::test]
async fn case_9_a_repeat_with_the_same_request_id_gets_the_finished_answer_again() {
    let server = Server::start().await;
    let first = events(&server, &get(&with("requestId=r"), &[SSE])).await;
    let steps = server.health().steps;
    for request in [
        get(&with("requestId=r"), &[SSE]),
        get(VALID, &[SSE, ("Idempotency-Key", "r")]),
        post(BASE_INFO, &[SSE], body(&json!({ "requestId": "r" }))),
    ] {
        assert_eq!(events(&server, &request).await, first);
    }
    let object =
        Connection::ask(server.address, &post(BASE_INFO, &[], body(&json!({ "requestId": "r" })))).await;
    assert_eq!(object.json(), first.last().unwrap().data);
    assert_eq!(server.health().steps, steps, "nothing was generated");
}

#[tokio::test]
async fn case_9_a_finished_answer_expires_with_its_stream() {
    let short = |config: &mut leafresh_server::config::Config| {
        config.stream.retention_seconds.0 = std::time::Duration::ZERO;
    };
    let server = Setup::default().with(short).start().await;
    let first = events(&server, &get(&with("requestId=r"), &[SSE])).await;
    let again = events(&server, &get(&with("requestId=r"), &[SSE])).await;
    assert_ne!(first[0].stream(), again[0].stream());
}

#[tokio::test]
async fn what_differs_is_another_answer() {
    let server = Setup::slow(20).with(|config| config.engine.running = 16).start().await;
    let mut streams = std::collections::HashSet::new();
    let mut readers = Vec::new();
    for target in [
        VALID.to_owned(),
        // Without a session and a request id two equal requests are two people's.
        VALID.to_owned(),
        with("sessionId=s"),
        with("sessionId=t"),
        with("sessionId=s&requestId=a"),
        with("sessionId=s&requestId=b"),
        with("requestId=a"),
        with("requestId=b"),
        format!("{BASE_INFO}?location=beach&workType=office&category=ZERO_WASTE&sessionId=s"),
        format!("{BASE_INFO}?location=beach&workType=office&category=ZERO_WASTE&requestId=a"),
    ] {
        let mut reader = open(&server, &get(&target, &[SSE])).await;
        assert!(streams.insert(read_some(&mut reader, 1).await[0].stream().to_owned()), "{target}");
        readers.push(reader);
    }
    until("all run", || server.health().running == readers.len()).await;
}
