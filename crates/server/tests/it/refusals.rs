//! Requests that can't be answered, each with its exact status, sentence and data.

use std::time::Duration;

use leafresh_server::config::{Config, Seconds};
use serde_json::{Value, json};

use crate::support::client::request;
use crate::support::{BASE_INFO, Connection, SSE, Server, Setup, VALID, VALID_BODY, get, post, read, until};

fn invalid(fields: &[&str]) -> (u16, String, Value) {
    (400, format!("값을 확인해 주세요: {}", fields.join(", ")), json!({ "invalidFields": fields }))
}

fn missing(field: &str) -> (u16, String, Value) {
    (400, format!("{field}은 필수입니다.").replace("category은", "category는"), Value::Null)
}

fn encoding() -> (u16, String, Value) {
    (400, "요청을 UTF-8로 읽을 수 없습니다. 인코딩을 확인해 주세요.".into(), Value::Null)
}

fn queries() -> Vec<(String, (u16, String, Value))> {
    let rest = "workType=office&category=VEGAN";
    let long = "%EA%B0%80".repeat(51);
    let longer_id = "a".repeat(129);
    vec![
        (String::new(), missing("location")),
        ("category=nothing".into(), missing("location")),
        ("location=city".into(), missing("workType")),
        ("location=city&workType=%20+&category=VEGAN".into(), missing("workType")),
        ("location=city&workType=office&category=".into(), missing("category")),
        ("location=&location=%20&workType=office&category=VEGAN".into(), missing("location")),
        // A control character is looked for before white space is cut off.
        (format!("location=%0A&{rest}"), invalid(&["location"])),
        (format!("location=city%0D%0A&{rest}"), invalid(&["location"])),
        (format!("location=a%00b&{rest}"), invalid(&["location"])),
        (format!("location=a%7F&{rest}"), invalid(&["location"])),
        (format!("location=a%C2%85&{rest}"), invalid(&["location"])),
        (format!("location={long}&{rest}"), invalid(&["location"])),
        ("location=city&workType=office&category=nothing".into(), invalid(&["category"])),
        // Field report 24: what shows nothing is missing.
        (format!("location=%E3%85%A4&{rest}"), missing("location")),
        (format!("location=%E2%80%8B+%EF%BB%BF&{rest}"), missing("location")),
        ("location=city&workType=%E2%A0%80&category=VEGAN".into(), missing("workType")),
        ("location=city&workType=office&category=%C2%AD%EF%BE%A0".into(), missing("category")),
        // A path with these would be another one.
        (format!("location=city&{rest}&sessionId=."), invalid(&["sessionId"])),
        (format!("location=city&{rest}&sessionId=.."), invalid(&["sessionId"])),
        (format!("location=city&{rest}&details=%01"), invalid(&["details"])),
        (
            format!(
                "location={long}&workType=%01&category=x&sessionId=%EA%B0%80&dialect=x&adapter=x&requestId=a+b"
            ),
            invalid(&["location", "workType", "category", "sessionId", "dialect", "adapter", "requestId"]),
        ),
        (format!("location=city&{rest}&sessionId={longer_id}"), invalid(&["sessionId"])),
        (format!("location=city&{rest}&requestId={longer_id}"), invalid(&["requestId"])),
        (format!("location=city&{rest}&progress=%01"), invalid(&["progress"])),
        // Encoding comes before everything else.
        ("location=%FF".into(), encoding()),
        (format!("location=%EA%B0&{rest}"), encoding()),
        (format!("location=city&{rest}&sessionId=%C3%28"), encoding()),
    ]
}

#[tokio::test]
async fn a_get_with_bad_values_gets_its_exact_status() {
    let server = Server::start().await;
    for (query, (status, message, data)) in queries() {
        for headers in [&[][..], &[("Accept", "*/*")], &[("Accept", "application/json")]] {
            let response =
                Connection::ask(server.address, &get(&format!("{BASE_INFO}?{query}"), headers)).await;
            assert_eq!(response.status(), status, "{query}");
            assert_eq!(
                response.json(),
                json!({ "status": status, "message": message, "data": data }),
                "{query}"
            );
            assert_eq!(response.head.header("content-type"), Some("application/json; charset=utf-8"));
        }
    }
}

#[tokio::test]
async fn an_event_source_gets_the_refusal_as_one_error_event() {
    let server = Server::start().await;
    for (query, (status, message, data)) in queries() {
        let target = format!("{BASE_INFO}?{query}");
        let response = Connection::ask(server.address, &get(&target, &[SSE])).await;
        assert_eq!(response.status(), 200, "{query}");
        assert_eq!(response.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let events = read(&response.body());
        let [error] = &events[..] else { panic!("{events:?}") };
        assert_eq!((error.name.as_str(), error.retry.as_deref()), ("error", Some("1000")));
        assert_eq!(error.data, json!({ "status": status, "message": message, "data": data }), "{query}");

        // A relay can read a status and says so; nothing else that is wrong keeps it from that.
        let response = Connection::ask(server.address, &get(&format!("{target}&errors=http"), &[SSE])).await;
        assert_eq!(response.status(), status, "{query}");
        assert_eq!(response.json()["message"], json!(message));
    }
}

#[tokio::test]
async fn a_post_with_bad_values_gets_its_exact_status() {
    let server = Server::start().await;
    let malformed = (400, "JSON 형식이 올바르지 않습니다.".to_owned(), Value::Null);
    let no_object = (400, "요청 본문은 JSON 객체여야 합니다.".to_owned(), Value::Null);
    let rest = r#""workType":"office","category":"VEGAN""#;
    let cases: Vec<(Vec<u8>, (u16, String, Value))> = vec![
        (b"".into(), malformed.clone()),
        (b"{".into(), malformed.clone()),
        (b"location=city".into(), malformed.clone()),
        ("[".repeat(60_000).into(), malformed.clone()),
        (format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200)).into(), malformed),
        (b"[]".into(), no_object.clone()),
        (b"\"city\"".into(), no_object.clone()),
        (b"null".into(), no_object),
        (b"{\"location\":\"\xff\"}".into(), encoding()),
        (b"{}".into(), missing("location")),
        (format!(r#"{{"location":null,{rest}}}"#).into(), missing("location")),
        (format!(r#"{{"location":"city","location":null,{rest}}}"#).into(), missing("location")),
        (format!(r#"{{"location":" ",{rest}}}"#).into(), missing("location")),
        (br#"{"location":5,"category":"VEGAN"}"#.into(), missing("workType")),
        (format!(r#"{{"location":5,{rest}}}"#).into(), invalid(&["location"])),
        (format!(r#"{{"location":true,{rest}}}"#).into(), invalid(&["location"])),
        (format!(r#"{{"location":[],{rest}}}"#).into(), invalid(&["location"])),
        (format!(r#"{{"location":"a\u0000",{rest}}}"#).into(), invalid(&["location"])),
        (format!(r#"{{"location":"a\nb",{rest}}}"#).into(), invalid(&["location"])),
        (
            format!(
                r#"{{"location":"city",{rest},"sessionId":7,"adapter":{{}},"progress":[],"requestId":false}}"#
            )
            .into(),
            invalid(&["sessionId", "adapter", "progress", "requestId"]),
        ),
        (
            format!(r#"{{"location":"city",{rest},"errors":1,"dialect":"Token"}}"#).into(),
            invalid(&["dialect", "errors"]),
        ),
        (format!(r#"{{"location":"city",{rest},"lastEventId":5}}"#).into(), invalid(&["lastEventId"])),
    ];
    for (body, (status, message, data)) in cases {
        for headers in [&[][..], &[SSE]] {
            let response = Connection::ask(server.address, &post(BASE_INFO, headers, &body)).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            assert_eq!(response.status(), status, "{shown}");
            assert_eq!(
                response.json(),
                json!({ "status": status, "message": message, "data": data }),
                "{shown}"
            );
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_is_checked_like_a_request_id_and_wins_over_it() {
    let server = Server::start().await;
    let target = format!("{VALID}&requestId=good");
    let bad = Connection::ask(server.address, &get(&target, &[("Idempotency-Key", "키")])).await;
    assert_eq!((bad.status(), bad.json()["data"].clone()), (400, json!({ "invalidFields": ["requestId"] })));
    let target = format!("{VALID}&requestId=a+b");
    let good = Connection::ask(server.address, &get(&target, &[("Idempotency-Key", "good")])).await;
    assert_eq!(good.status(), 200);
    let blank = Connection::ask(server.address, &get(VALID, &[("Idempotency-Key", " ")])).await;
    assert_eq!(blank.status(), 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_get_404_and_405() {
    let server = Server::start().await;
    for path in ["/nothing", "/ai/chatbot/recommendation", "/ai//chatbot", "/%FF"] {
        for method in ["GET", "POST", "OPTIONS"] {
            let response = Connection::ask(server.address, &request(method, path, &[SSE], b"")).await;
            assert_eq!(response.status(), 404, "{method} {path}");
            let message = "요청하신 경로나 자료를 찾을 수 없습니다.";
            assert_eq!(response.json(), json!({ "status": 404, "message": message, "data": null }));
        }
    }
    for (path, allowed) in [(BASE_INFO, "GET, POST"), ("/health", "GET,HEAD"), ("/", "GET,HEAD")] {
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let response = Connection::ask(server.address, &request(method, path, &[SSE], b"")).await;
            assert_eq!(response.status(), 405, "{method} {path}");
            assert_eq!(response.head.header("allow"), Some(allowed), "{method} {path}");
            let message = "이 경로에서 지원하지 않는 메서드입니다.";
            assert_eq!(response.json(), json!({ "status": 405, "message": message, "data": null }));
        }
    }
    for (method, target) in
        [("OPTIONS", "*"), ("GET", "http://other.example/nothing"), ("CONNECT", "a.example:80")]
    {
        let status = Connection::ask(server.address, &request(method, target, &[], b"")).await.status();
        assert!(matches!(status, 404 | 405 | 421), "{method} {target}: {status}");
    }
    let mut connection = Connection::open(server.address).await;
    connection.send(&request("HEAD", VALID, &[], b"")).await;
    let head = connection.head().await;
    assert_eq!((head.status, head.header("allow")), (405, Some("GET, POST")));
}

#[tokio::test]
async fn a_body_of_another_type_gets_415() {
    let server = Server::start().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "json",
        "multipart/form-data",
    ] {
        let response =
            Connection::ask(server.address, &post(BASE_INFO, &[("Content-Type", kind)], VALID_BODY)).await;
        assert_eq!(response.status(), 415, "{kind}");
        assert_eq!(response.json()["message"], json!("Content-Type은 application/json이어야 합니다."));
    }
    let bare = request("POST", BASE_INFO, &[("Content-Length", "2")], b"{}");
    assert_eq!(Connection::ask(server.address, &bare).await.status(), 415);
}

#[tokio::test]
async fn a_body_over_64_kib_gets_413_announced_or_not() {
    let server = Server::start().await;
    let body = |size: usize| {
        let start = VALID_BODY.trim_end_matches('}');
        format!("{start},\"x\":\"{}\"}}", "a".repeat(size - start.len() - 8))
    };
    assert_eq!(body(65536).len(), 65536);
    let largest = Connection::ask(server.address, &post(BASE_INFO, &[], body(65536))).await;
    assert_eq!(largest.status(), 200, "{}", largest.text());
    for size in [65537, 500_000] {
        let announced = Connection::ask(server.address, &post(BASE_INFO, &[], body(size))).await;
        assert_eq!((announced.status(), announced.json()["status"].clone()), (413, json!(413)));
        let mut chunked = format!("{size:x}\r\n{}\r\n0\r\n\r\n", body(size)).into_bytes();
        let headers = [("Transfer-Encoding", "chunked"), ("Content-Type", "application/json")];
        chunked = request("POST", BASE_INFO, &headers, &chunked);
        assert_eq!(Connection::ask(server.address, &chunked).await.status(), 413);
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_gets_408() {
    let quick = |config: &mut Config| config.server.request_seconds = Seconds(Duration::from_millis(200));
    let server = Setup::default().with(quick).start().await;
    let headers = [("Content-Length", "100"), ("Content-Type", "application/json")];
    let response = Connection::ask(server.address, &request("POST", BASE_INFO, &headers, b"{")).await;
    assert_eq!(response.status(), 408);
    assert_eq!(
        response.json()["message"],
        json!("요청을 받는 데 시간이 너무 오래 걸렸습니다. 다시 시도해 주세요.")
    );

    let mut half = Connection::open(server.address).await;
    half.send(b"GET / HTTP/1.1\r\nHost: a\r\n").await;
    assert!(half.is_closed().await, "headers that never end");
}

#[tokio::test]
async fn headers_over_32_kib_get_431() {
    let server = Server::start().await;
    let with_header = |size: usize| get(VALID, &[("X-Long", &"a".repeat(size))]);
    assert_eq!(Connection::ask(server.address, &with_header(31_000)).await.status(), 200);
    assert_eq!(Connection::ask(server.address, &with_header(33_000)).await.status(), 431);
    let long_line = get(&format!("{VALID}&x={}", "a".repeat(33_000)), &[]);
    assert_eq!(Connection::ask(server.address, &long_line).await.status(), 431);

    // What has to fit: a thousand Korean characters encoded twice.
    let message = "%25EA%25B0%2580".repeat(1000);
    assert_eq!(
        Connection::ask(server.address, &get(&format!("{VALID}&message={message}"), &[])).await.status(),
        200
    );
}

#[tokio::test]
async fn case_25_line_breaks_and_nul_forge_neither_header_nor_event() {
    let server = Server::start().await;
    for byte in [b'\0', b'\r', b'\n', 0x0b, 0x7f] {
        let mut bytes = get(VALID, &[SSE, ("Idempotency-Key", "a#b")]);
        let at = bytes.iter().position(|byte| *byte == b'#').unwrap();
        bytes[at] = byte;
        let response = Connection::ask(server.address, &bytes).await;
        assert_eq!(response.status(), 400, "{byte:#x}");
    }
    // Raw bytes that are no UTF-8 don't get past the HTTP library.
    let mut bytes = get(&format!("{VALID}#"), &[SSE]);
    let at = bytes.iter().position(|byte| *byte == b'#').unwrap();
    bytes[at] = 0xff;
    assert_eq!(Connection::ask(server.address, &bytes).await.status(), 400);

    let forged = "a%0D%0A%0D%0Aevent:%20close%0D%0Adata:%20{}%0D%0A%0D%0A";
    let target = format!("{BASE_INFO}?location={forged}&workType=office&category=VEGAN");
    let events = read(&Connection::ask(server.address, &get(&target, &[SSE])).await.body());
    assert_eq!((events.len(), events[0].name.as_str()), (1, "error"));
}

#[tokio::test]
async fn while_the_model_loads_everything_valid_gets_503() {
    let server = Server::without_model(&Config::default()).await;
    for request in [
        get(VALID, &[SSE]),
        get(VALID, &[]),
        post(BASE_INFO, &[], VALID_BODY),
        post(BASE_INFO, &[SSE], VALID_BODY),
    ] {
        let response = Connection::ask(server.address, &request).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.head.header("retry-after"), Some("3"));
        let message = "모델을 준비하고 있습니다. 잠시 후 다시 시도해 주세요.";
        assert_eq!(response.json(), json!({ "status": 503, "message": message, "data": null }));
    }
    // What is wrong with a request stays wrong.
    assert_eq!(Connection::ask(server.address, &get(BASE_INFO, &[])).await.status(), 400);

    let ready = Connection::ask(server.address, &get("/health/ready", &[])).await;
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json()["data"], json!({ "ready": false, "reasons": ["loading"], "model": null }));
    assert_eq!(Connection::ask(server.address, &get("/health/live", &[])).await.status(), 200);
}

#[tokio::test]
async fn a_full_server_says_so_at_once() {
    let full = |config: &mut Config| {
        (config.engine.running, config.engine.queue) = (1, 1);
        config.fallback.on.clear();
    };
    let server = Setup::slow(50).with(full).start().await;
    let mut readers = Vec::new();
    for count in 1..=2 {
        let mut reader = Connection::open(server.address).await;
        reader.send(&get(VALID, &[SSE])).await;
        assert_eq!(reader.head().await.status, 200);
        until("admitted", || server.health().running + server.health().queued == count).await;
        readers.push(reader);
    }
    for request in [get(VALID, &[SSE]), post(BASE_INFO, &[], VALID_BODY)] {
        let asked = std::time::Instant::now();
        let response = Connection::ask(server.address, &request).await;
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
        assert_eq!((response.status(), response.head.header("retry-after")), (503, Some("3")));
        let message = "지금은 이용자가 많아 요청을 처리할 수 없습니다. 잠시 후 다시 시도해 주세요.";
        assert_eq!(response.json()["message"], json!(message));
    }
}

/// Field report 45.
#[tokio::test]
async fn a_path_that_is_no_text_gets_the_envelope_too() {
    let server = Server::start().await;
    for (method, path) in [
        ("DELETE", "/ai/chatbot/streams/%FF"),
        ("DELETE", "/ai/chatbot/sessions/%FF"),
        ("GET", "/ai/chatbot/sessions/%EA%B0"),
    ] {
        let response = Connection::ask(server.address, &request(method, path, &[], b"")).await;
        let (status, message, data) = encoding();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.json(), json!({ "status": status, "message": message, "data": data }));
    }
}

/// Field report 22.
#[tokio::test]
async fn a_path_may_end_in_a_slash() {
    let server = Server::start().await;
    let (path, query) = VALID.split_once('?').unwrap();
    let streamed = Connection::ask(server.address, &get(&format!("{path}/?{query}"), &[SSE])).await;
    assert_eq!(read(&streamed.body()).last().unwrap().name, "close");
    let posted = Connection::ask(server.address, &post(&format!("{BASE_INFO}/"), &[], VALID_BODY)).await;
    assert_eq!(posted.status(), 200);
    for path in ["/health/", "/health/live/", "/metrics/"] {
        assert_eq!(Connection::ask(server.address, &get(path, &[])).await.status(), 200, "{path}");
    }
    let wrong = Connection::ask(server.address, &request("PUT", &format!("{BASE_INFO}/"), &[], b"")).await;
    assert_eq!((wrong.status(), wrong.head.header("allow")), (405, Some("GET, POST")));
}

/// Field report 22.
#[tokio::test]
async fn below_a_prefix_everything_is_there_and_elsewhere_nothing() {
    let below =
        |config: &mut Config| config.server.prefix = serde_json::from_value(json!("/eco/leafresh")).unwrap();
    let server = Setup::default().with(below).start().await;
    for path in ["/eco/leafresh/", "/eco/leafresh/style.css", "/eco/leafresh/health", "/eco/leafresh/health/"]
    {
        assert_eq!(Connection::ask(server.address, &get(path, &[])).await.status(), 200, "{path}");
    }
    let answer = Connection::ask(server.address, &get(&format!("/eco/leafresh{VALID}"), &[SSE])).await;
    assert_eq!(read(&answer.body()).last().unwrap().name, "close");
    for path in ["/", "/health", VALID, "/eco", "/eco/leafreshhealth", "/eco/leafresh2/health"] {
        let elsewhere = Connection::ask(server.address, &get(path, &[])).await;
        assert_eq!((elsewhere.status(), &elsewhere.json()["status"]), (404, &json!(404)), "{path}");
    }
    // The page's links are relative: they need the slash.
    let page = Connection::ask(server.address, &get("/eco/leafresh?a=1", &[])).await;
    assert_eq!((page.status(), page.head.header("location")), (308, Some("/eco/leafresh/?a=1")));
}
