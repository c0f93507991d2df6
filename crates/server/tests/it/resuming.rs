//! `Last-Event-ID`: what it brings, and what it says when there is nothing to bring.

use std::time::Duration;

use leafresh_server::config::Config;
use serde_json::{Value, json};

use crate::support::client::Response;
use crate::support::{
    BASE_INFO, Connection, Event, SSE, Server, Setup, VALID, VALID_BODY, get, open, post, read, read_rest,
    read_some,
};

const STREAM: &str = "0123456789abcdef0123456789abcdef";

fn gone() -> Value {
    json!({ "status": 410, "message": "이어받을 수 없는 응답입니다. 새로 요청해 주세요.", "data": null })
}

async fn whole(server: &Server, target: &str) -> Vec<Event> {
    read(&Connection::ask(server.address, &get(target, &[SSE])).await.body())
}

async fn after(server: &Server, target: &str, id: &str) -> Response {
    Connection::ask(server.address, &get(target, &[SSE, ("Last-Event-ID", id)])).await
}

/// Numbers, names and data, without which response they came in.
fn shown(events: &[Event]) -> Vec<(&str, &str, &Value)> {
    events.iter().map(|event| (event.id.as_str(), event.name.as_str(), &event.data)).collect()
}

#[tokio::test]
async fn case_7_after_any_event_exactly_the_rest_comes() {
    let server = Server::start().await;
    let events = whole(&server, VALID).await;
    let stream = events[0].stream();
    for last in 0..events.len() {
        let rest = read(&after(&server, VALID, &format!("{stream}:{last}")).await.body());
        assert_eq!(shown(&rest), shown(&events[last..]), "after {last}");
        assert_eq!(rest[0].retry.as_deref(), Some("1000"));
    }
    // One more was never sent.
    let beyond = after(&server, VALID, &format!("{stream}:{}", events.len())).await;
    assert_eq!(read(&beyond.body())[0].data, gone());
}

#[tokio::test]
async fn case_7_a_running_answer_is_joined_where_its_reader_was() {
    let server = Setup::slow(10).start().await;
    let mut first = open(&server, &get(VALID, &[SSE])).await;
    let begun = read_some(&mut first, 6).await;
    let position = &begun[2].id;
    // The older connection may still be there: a proxy hasn't noticed yet that its client is gone.
    let rest = after(&server, VALID, position).await;
    let rest = read(&rest.body());
    let bytes = read_rest(&mut first).await;
    let mut all = begun.clone();
    all.extend(read(&bytes));
    assert_eq!(shown(&rest), shown(&all[3..]));
}

#[tokio::test]
async fn case_7_each_dialect_can_be_resumed_with_the_numbers_of_its_events() {
    let server = Server::start().await;
    let target = format!("{VALID}&dialect=token&sessionId=s");
    let events = whole(&server, &target).await;
    let stream = events[0].stream();
    // `complete` has the number of the last text: it comes after that again, with `close`.
    for (index, event) in events.iter().enumerate().filter(|(_, event)| event.name == "token") {
        let rest = read(&after(&server, &target, &event.id).await.body());
        assert_eq!(shown(&rest), shown(&events[index + 1..]), "after {}", event.id);
    }
    // Another dialect has the same numbers.
    let plain = format!("{VALID}&sessionId=s");
    let rest = read(&after(&server, &plain, &format!("{stream}:3")).await.body());
    assert_eq!((rest[0].number(), rest[0].name.as_str()), ("4", "challenge"));
    // Behind the last typed event there are only the ends, and `complete` still names the last text.
    let last = rest[rest.len() - 2].id.clone();
    let ends = read(&after(&server, &target, &last).await.body());
    assert_eq!(ends.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["complete", "close"]);
    assert_eq!(ends[0].id, events[events.len() - 2].id);
}

#[tokio::test]
async fn the_parameter_does_what_the_header_does_and_one_object_can_be_had_too() {
    let server = Server::start().await;
    let events = whole(&server, VALID).await;
    let id = &events[4].id;
    let by_parameter =
        Connection::ask(server.address, &get(&format!("{VALID}&lastEventId={id}"), &[SSE])).await;
    assert_eq!(shown(&read(&by_parameter.body())), shown(&events[5..]));
    let header = ("Last-Event-ID", id.as_str());
    let posted = Connection::ask(server.address, &post(BASE_INFO, &[SSE, header], VALID_BODY)).await;
    assert_eq!(shown(&read(&posted.body())), shown(&events[5..]));
    let object = Connection::ask(server.address, &post(BASE_INFO, &[header], VALID_BODY)).await;
    assert_eq!((object.status(), object.json()), (200, events.last().unwrap().data.clone()));
    assert_eq!(server.metrics().await.all_ended(), 1);
}

#[tokio::test]
async fn case_7_what_cannot_be_resumed_looks_the_same_whatever_the_reason() {
    let server = Server::start().await;
    let session = format!("{VALID}&sessionId=s");
    let events = whole(&server, &session).await;
    let stream = events[0].stream();
    let steps = server.health().steps;
    let other = format!("{BASE_INFO}?location=beach&workType=office&category=ZERO_WASTE&sessionId=s");
    let cases = [
        // Unknown, malformed, not sent yet.
        (session.clone(), format!("{STREAM}:5")),
        (session.clone(), "nonsense".into()),
        (session.clone(), format!("{stream}:{}", events.len())),
        (session.clone(), format!("{stream}:4294967296")),
        (session.clone(), format!("{stream}:01")),
        // Other parameters, bad ones, none.
        (other, format!("{stream}:3")),
        (VALID.to_owned(), format!("{stream}:3")),
        (format!("{VALID}&sessionId=t"), format!("{stream}:3")),
        (format!("{session}&category=nothing"), format!("{stream}:3")),
        (BASE_INFO.to_owned(), format!("{stream}:3")),
        ("/ai/chatbot/recommendation/free-text?message=a&sessionId=s".into(), format!("{stream}:3")),
    ];
    let mut bodies = Vec::new();
    for (target, id) in cases {
        let response = after(&server, &target, &id).await;
        assert_eq!(response.status(), 200, "{target} {id}");
        let events = read(&response.body());
        let [error] = &events[..] else { panic!("{events:?}") };
        assert_eq!(
            (error.name.as_str(), error.number(), &error.data),
            ("error", "end", &gone()),
            "{target} {id}"
        );
        assert_ne!(error.stream(), stream, "an id of its own");
        bodies.push(response.text().replace(error.stream(), ""));
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(server.health().steps, steps, "nothing was generated");
}

#[tokio::test]
async fn case_7_an_expired_stream_is_gone() {
    let short = |config: &mut Config| config.stream.retention_seconds.0 = Duration::from_millis(300);
    let server = Setup::default().with(short).start().await;
    let events = whole(&server, VALID).await;
    let id = events[3].id.clone();
    let mut rest = read(&after(&server, VALID, &id).await.body());
    for _ in 0..100 {
        if rest[0].name == "error" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        rest = read(&after(&server, VALID, &id).await.body());
    }
    assert_eq!(rest[0].data, gone());
    // Once gone it says so for good, and its own end is still an end.
    assert_eq!(after(&server, VALID, &format!("{}:end", events[0].stream())).await.status(), 204);
    assert_eq!(after(&server, VALID, &rest[0].id).await.status(), 204);
}

#[tokio::test]
async fn case_7_who_can_read_a_status_gets_410() {
    let server = Server::start().await;
    let body = |more: &str| format!("{},{more}}}", VALID_BODY.trim_end_matches('}'));
    for id in [format!("{STREAM}:5"), format!("{STREAM}:0"), "nonsense".into(), "x:end ".repeat(2) + "x"] {
        let header = ("Last-Event-ID", id.as_str());
        let as_json = format!(r#""lastEventId":"{id}""#);
        let in_query = id.replace(' ', "+");
        let as_events = [
            get(VALID, &[SSE, header]),
            get(VALID, &[header]),
            get(BASE_INFO, &[SSE, header]),
            get(&format!("{VALID}&lastEventId={in_query}"), &[SSE]),
            // The header wins.
            get(&format!("{VALID}&lastEventId={STREAM}:end"), &[header]),
            post(BASE_INFO, &[SSE, header], VALID_BODY),
            post(BASE_INFO, &[SSE], body(&as_json)),
        ];
        for request in as_events {
            let response = Connection::ask(server.address, &request).await;
            let shown = String::from_utf8_lossy(&request).into_owned();
            assert_eq!(response.status(), 200, "{shown}");
            let events = read(&response.body());
            let [error] = &events[..] else { panic!("{events:?}") };
            assert_eq!(
                (error.name.as_str(), error.number(), &error.data),
                ("error", "end", &gone()),
                "{shown}"
            );
        }
        let as_status = [
            get(&format!("{VALID}&errors=http"), &[SSE, header]),
            post(BASE_INFO, &[header], VALID_BODY),
            post(BASE_INFO, &[], body(&as_json)),
            post(BASE_INFO, &[SSE, header], body(r#""errors":"http""#)),
        ];
        for request in as_status {
            let response = Connection::ask(server.address, &request).await;
            assert_eq!((response.status(), response.json()), (410, gone()));
        }
    }
    assert_eq!(server.health().steps, 0, "nothing was generated");
}

#[tokio::test]
async fn case_8_a_stream_that_has_ended_gets_204_whatever_else_is_asked() {
    let server = Server::start().await;
    let ended = format!("{STREAM}:end");
    let header = ("Last-Event-ID", ended.as_str());
    let requests = [
        get(VALID, &[SSE, header]),
        get(VALID, &[header]),
        // Looked at before the parameters.
        get(BASE_INFO, &[SSE, header]),
        get(&format!("{BASE_INFO}?location=%FF&lastEventId=x:1"), &[header]),
        get(&format!("{BASE_INFO}?lastEventId={ended}"), &[SSE]),
        get(&format!("{BASE_INFO}?location=%FF&lastEventId=anything%3Aend"), &[SSE]),
        get(VALID, &[SSE, ("Last-Event-ID", ":end")]),
        get(&format!("{VALID}&lastEventId={ended}"), &[SSE, ("Last-Event-ID", "")]),
        post(BASE_INFO, &[header], VALID_BODY),
        post(BASE_INFO, &[header], "{"),
        post(BASE_INFO, &[SSE], format!(r#"{{"lastEventId":"{ended}"}}"#)),
    ];
    for request in requests {
        let response = Connection::ask(server.address, &request).await;
        let shown = String::from_utf8_lossy(&request).into_owned();
        assert_eq!((response.status(), response.body().len()), (204, 0), "{shown}");
        assert_eq!(response.head.header("content-type"), None, "{shown}");
    }
    assert_eq!(server.health().steps, 0, "nothing was generated");
}

#[tokio::test]
async fn case_8_after_its_end_and_after_a_restart_a_stream_gets_204_and_nothing_is_generated() {
    let server = Server::start().await;
    let events = whole(&server, VALID).await;
    let end = &events.last().unwrap().id;
    let steps = server.health().steps;
    assert_eq!(after(&server, VALID, end).await.status(), 204);
    assert_eq!(server.health().steps, steps);
    drop(server);
    let another = Server::start().await;
    assert_eq!(after(&another, VALID, end).await.status(), 204);
    // Cut off in the middle before the restart: told once that it is gone, and then it ends.
    let gone_now = read(&after(&another, VALID, &events[5].id).await.body());
    assert_eq!(gone_now[0].data, gone());
    assert_eq!(after(&another, VALID, &gone_now[0].id).await.status(), 204);
    assert_eq!(another.health().steps, 0);
}

#[tokio::test]
async fn case_8_a_refused_stream_ends_with_204_too() {
    let server = Server::start().await;
    let refused = whole(&server, BASE_INFO).await;
    assert_eq!(refused.len(), 1);
    assert_eq!(after(&server, BASE_INFO, &refused[0].id).await.status(), 204);
}

#[tokio::test]
async fn a_blank_id_is_none() {
    let server = Server::start().await;
    for request in [
        get(VALID, &[SSE, ("Last-Event-ID", "")]),
        get(&format!("{VALID}&lastEventId="), &[SSE]),
        get(&format!("{VALID}&lastEventId=+"), &[SSE, ("Last-Event-ID", " ")]),
    ] {
        let events = read(&Connection::ask(server.address, &request).await.body());
        assert_eq!(events.last().unwrap().name, "close");
    }
}

#[tokio::test]
async fn progress_comes_before_the_first_text_and_has_no_numbers_of_its_own() {
    let one = |config: &mut Config| (config.engine.running, config.engine.queue) = (1, 4);
    let server = Setup::slow(15).with(one).start().await;
    let mut first = open(&server, &get(VALID, &[SSE])).await;
    read_some(&mut first, 1).await;
    let request = get(&format!("{VALID}&progress=1"), &[SSE]);
    let waiting = Connection::ask(server.address, &request);
    let (waiting, _) = tokio::join!(waiting, read_rest(&mut first));
    let events = read(&waiting.body());
    let told: Vec<_> = events.iter().take_while(|event| event.name == "progress").collect();
    let queued = json!({ "status": 200, "message": "대기 중", "data": { "stage": "queued", "position": 1 } });
    let writing = json!({ "status": 200, "message": "답변 작성 중", "data": { "stage": "writing" } });
    assert!(told.iter().any(|event| event.data == queued), "{told:?}");
    assert_eq!(told.last().unwrap().data, writing);
    assert!(told.iter().all(|event| event.number() == "0"));
    let rest = &events[told.len()..];
    assert_eq!((rest[0].number(), rest[0].name.as_str()), ("1", "challenge"));
    assert!(rest.iter().all(|event| event.name != "progress"));
    // In the middle of an answer there is no progress left to tell.
    let again = read(&after(&server, &format!("{VALID}&progress=1"), &rest[1].id).await.body());
    assert_eq!(shown(&again), shown(&rest[2..]));
    // Nor without having asked for it, nor in one object.
    let body = VALID_BODY.replace('}', r#","progress":true}"#);
    assert_eq!(Connection::ask(server.address, &post(BASE_INFO, &[], &body)).await.status(), 200);
    let streamed = read(&Connection::ask(server.address, &post(BASE_INFO, &[SSE], &body)).await.body());
    assert_eq!(streamed[0].name, "progress");
}
