//! The chat page, health, figures, and pages from elsewhere.

use std::io::Read;

use flate2::read::GzDecoder;
use leafresh_server::config::Config;
use serde_json::{Value, json};

use crate::support::client::request;
use crate::support::{BASE_INFO, Connection, SSE, Server, Setup, VALID, catalog::catalog, get};

#[tokio::test]
async fn the_chat_page_offers_what_the_catalogue_has() {
    let server = Server::start().await;
    let page = Connection::ask(server.address, &get("/", &[])).await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.head.header("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    assert!(!text.contains("{{"), "a placeholder is left");
    let start = text.find(r#"<script type="application/json" id="catalog">"#).unwrap();
    let json = text[start..].split_once('>').unwrap().1.split_once("</script>").unwrap().0;
    let choices: Value = serde_json::from_str(json).unwrap();
    assert_eq!(choices["categories"].as_array().unwrap().len(), catalog().categories().len());
    assert_eq!(choices["categories"][0]["code"], json!("ZERO_WASTE"));
    assert_eq!(choices["places"][1], json!({ "code": "beach", "label": "바닷가" }));
    assert_eq!(choices["workTypes"][3], json!({ "code": "remote", "label": "재택근무" }));
    assert_eq!(choices["challengeUrl"], json!(null));
}

#[tokio::test]
async fn the_page_knows_where_a_challenge_is_started() {
    let link = "https://app.example/new?title={title}&category={category}";
    let set =
        |config: &mut Config| config.page = serde_json::from_value(json!({ "challenge_url": link })).unwrap();
    let server = Setup::default().with(set).start().await;
    let page = Connection::ask(server.address, &get("/", &[])).await.text();
    assert!(
        page.contains(r#""challengeUrl":"https://app.example/new?title={title}\u0026category={category}""#)
    );
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

#[tokio::test]
async fn the_pages_files_are_served_and_nothing_from_elsewhere_is_allowed() {
    let server = Server::start().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/card.js", SCRIPT),
        ("/catalog.js", SCRIPT),
        ("/chat.js", SCRIPT),
        ("/choices.js", SCRIPT),
        ("/conversation.js", SCRIPT),
        ("/dom.js", SCRIPT),
        ("/feedback.js", SCRIPT),
        ("/history.js", SCRIPT),
        ("/language.js", SCRIPT),
        ("/raw.js", SCRIPT),
        ("/saved.js", SCRIPT),
        ("/settings.js", SCRIPT),
        ("/shelf.js", SCRIPT),
        ("/stream.js", SCRIPT),
        ("/texts.en.js", SCRIPT),
        ("/texts.ko.js", SCRIPT),
        ("/turn.js", SCRIPT),
        ("/view.js", SCRIPT),
        ("/style.css", "text/css; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
        ("/icon.png", "image/png"),
        ("/manifest.webmanifest", "application/manifest+json"),
    ] {
        let file = Connection::ask(server.address, &get(path, &[])).await;
        assert_eq!((file.status(), file.head.header("content-type")), (200, Some(kind)), "{path}");
        assert!(!file.body().is_empty());
        let policy = file.head.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(file.head.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn a_file_that_a_browser_has_already_is_not_sent_again() {
    let server = Server::start().await;
    for path in ["/", "/chat.js", "/style.css", "/favicon.svg"] {
        let first = Connection::ask(server.address, &get(path, &[])).await;
        let tag = first.head.header("etag").unwrap();
        for known in [tag.to_owned(), format!("\"other\", W/{tag}")] {
            let again = Connection::ask(server.address, &get(path, &[("If-None-Match", &known)])).await;
            assert_eq!((again.status(), again.head.header("etag")), (304, Some(tag)), "{path}");
        }
        let other = Connection::ask(server.address, &get(path, &[("If-None-Match", "\"other\"")])).await;
        assert_eq!((other.status(), other.text()), (200, first.text()), "{path}");
    }
}

/// Each browser takes gzip; what it gets is the same, under a name of its own.
#[tokio::test]
async fn files_are_compressed_for_whoever_takes_that() {
    let server = Server::start().await;
    let gzip = ("Accept-Encoding", "gzip, deflate, br");
    for path in ["/", "/chat.js", "/style.css"] {
        let plain = Connection::ask(server.address, &get(path, &[])).await;
        let short = Connection::ask(server.address, &get(path, &[gzip])).await;
        assert_eq!(plain.head.header("content-encoding"), None, "{path}");
        assert_eq!(short.head.header("content-encoding"), Some("gzip"), "{path}");
        let mut text = String::new();
        GzDecoder::new(&short.body()[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain.text(), "{path}");
        assert!(short.body().len() * 2 < text.len(), "{path}: {} bytes", short.body().len());
        for answer in [&plain, &short] {
            assert_eq!(answer.head.header("vary"), Some("accept-encoding"), "{path}");
        }
        let tag = short.head.header("etag").unwrap();
        assert_ne!(plain.head.header("etag"), Some(tag), "{path}");
        let again = Connection::ask(server.address, &get(path, &[gzip, ("If-None-Match", tag)])).await;
        assert_eq!(again.status(), 304, "{path}");
    }
}

#[tokio::test]
async fn health_says_that_it_lives_and_with_which_model() {
    let server = Server::start().await;
    for path in ["/health", "/health/live"] {
        let health = Connection::ask(server.address, &get(path, &[])).await;
        assert_eq!(health.status(), 200);
        let json = health.json();
        assert_eq!((json["status"].clone(), json["message"].clone()), (json!(200), json!("정상 동작 중")));
        assert_eq!(json["data"]["version"], json!(env!("CARGO_PKG_VERSION")));
        assert!(json["data"]["uptimeSeconds"].is_u64());
    }
    let ready = Connection::ask(server.address, &get("/health/ready", &[])).await;
    let data = json!({ "ready": true, "reasons": [], "model": "fake" });
    assert_eq!(ready.json(), json!({ "status": 200, "message": "준비 완료", "data": data }));
}

#[tokio::test]
async fn the_figures_count_what_happened() {
    let server = Server::start().await;
    let before = Connection::ask(server.address, &get("/metrics", &[])).await;
    assert_eq!(before.head.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for series in ["leafresh_requests_running 0", "leafresh_requests_queued 0", "leafresh_requests_parked 0"]
    {
        assert!(before.text().lines().any(|line| line == series), "{series}");
    }
    Connection::ask(server.address, &get(VALID, &[SSE])).await;
    Connection::ask(server.address, &get(BASE_INFO, &[SSE])).await;
    let after = Connection::ask(server.address, &get("/metrics", &[])).await.text();
    for series in [
        r#"leafresh_requests_ended_total{outcome="close",phase="writing"} 1"#,
        r#"leafresh_requests_ended_total{outcome="left",phase="queued"} 0"#,
        r#"leafresh_requests_refused_total{status="400"} 1"#,
        r#"leafresh_time_to_first_token_seconds_bucket{le="+Inf"} 1"#,
        "leafresh_time_to_first_token_seconds_count 1",
        "leafresh_retrieval_seconds_count 1",
    ] {
        assert!(after.lines().any(|line| line == series), "{series} in\n{after}");
    }
    assert!(!after.lines().any(|line| line == "leafresh_answer_tokens_total 0"), "{after}");
    assert!(after.contains("\nleafresh_answer_tokens_total "), "{after}");
}

const PAGE: (&str, &str) = ("Origin", "https://page.example");

#[tokio::test]
async fn pages_from_elsewhere_are_not_allowed_unless_they_are_listed() {
    let server = Server::start().await;
    let response = Connection::ask(server.address, &get(VALID, &[PAGE])).await;
    assert_eq!(response.head.header("access-control-allow-origin"), None);

    let listed = |config: &mut Config| {
        config.cors.origins =
            serde_json::from_value(json!(["https://page.example", "http://localhost:3000"])).unwrap();
    };
    let server = Setup::default().with(listed).start().await;
    for target in [VALID, BASE_INFO, "/nothing", "/health"] {
        let response = Connection::ask(server.address, &get(target, &[PAGE])).await;
        assert_eq!(response.head.header("access-control-allow-origin"), Some(PAGE.1), "{target}");
        let readable = response.head.header("access-control-expose-headers");
        assert_eq!(readable, Some("retry-after,x-request-id"), "{target}");
    }
    let other = Connection::ask(server.address, &get(VALID, &[("Origin", "https://other.example")])).await;
    assert_eq!(other.head.header("access-control-allow-origin"), None);

    let headers = "content-type, baggage, traceparent, x-of-a-library";
    let asks = [PAGE, ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", headers)];
    let preflight = Connection::ask(server.address, &request("OPTIONS", BASE_INFO, &asks, b"")).await;
    assert_eq!(preflight.status(), 200);
    let list = |name: &str| preflight.head.header(name).unwrap().to_lowercase();
    assert_eq!(list("access-control-allow-methods"), "get,post,delete");
    // Field report 20: whatever libraries add.
    assert_eq!(list("access-control-allow-headers"), "content-type, baggage, traceparent, x-of-a-library");
    assert_eq!(list("access-control-max-age"), "600");
    for answer in [&preflight, &Connection::ask(server.address, &get(VALID, &[PAGE])).await] {
        assert_eq!(answer.head.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.head.header("access-control-allow-origin"), Some(PAGE.1));
    }
}

#[tokio::test]
async fn a_star_allows_every_page() {
    let any = |config: &mut Config| config.cors.origins = serde_json::from_value(json!(["*"])).unwrap();
    let server = Setup::default().with(any).start().await;
    let response = Connection::ask(server.address, &get(VALID, &[PAGE])).await;
    assert_eq!(response.head.header("access-control-allow-origin"), Some("*"));
    assert_eq!(response.head.header("access-control-allow-credentials"), None);
    let asks = [PAGE, ("Access-Control-Request-Method", "GET")];
    let preflight = Connection::ask(server.address, &request("OPTIONS", BASE_INFO, &asks, b"")).await;
    let allowed = preflight.head.header("access-control-allow-headers").unwrap();
    for name in ["content-type", "authorization", "x-api-key", "last-event-id", "idempotency-key"] {
        assert!(allowed.contains(name), "{name} in {allowed}");
    }
    for name in ["cache-control", "traceparent", "baggage", "x-request-id", "x-stainless-os"] {
        assert!(allowed.contains(name), "{name} in {allowed}");
    }
}
