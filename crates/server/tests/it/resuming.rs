//! `Last-Event-ID`, before streams can be resumed.

use serde_json::json;

use crate::support::{BASE_INFO, Connection, SSE, Server, VALID, VALID_BODY, get, post, read};

const STREAM: &str = "0123456789abcdef0123456789abcdef";

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
async fn case_7_any_other_stream_is_gone_in_the_form_that_the_client_can_read() {
    let server = Server::start().await;
    let body = |more: &str| format!("{},{more}}}", VALID_BODY.trim_end_matches('}'));
    let data = json!({ "status": 410, "message": "이어 받을 수 없는 응답입니다. 새로 요청해 주세요.", "data": null });
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
                ("error", "end", &data),
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
            assert_eq!((response.status(), response.json()), (410, data.clone()));
        }
    }
    assert_eq!(server.health().steps, 0, "nothing was generated");
}

#[tokio::test]
async fn a_page_that_asks_with_the_id_of_the_last_event_stops_after_204() {
    let server = Server::start().await;
    let events = read(&Connection::ask(server.address, &get(VALID, &[SSE])).await.body());
    let id = &events.last().unwrap().id;
    let again = Connection::ask(server.address, &get(VALID, &[SSE, ("Last-Event-ID", id)])).await;
    assert_eq!(again.status(), 204);
    let refused = read(&Connection::ask(server.address, &get(BASE_INFO, &[SSE])).await.body());
    let again =
        Connection::ask(server.address, &get(BASE_INFO, &[SSE, ("Last-Event-ID", &refused[0].id)])).await;
    assert_eq!(again.status(), 204);
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
