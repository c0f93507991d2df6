//! Headers that every answer has, whatever it is.

use std::collections::HashSet;

use leafresh_server::config::Config;
use serde_json::json;

use crate::support::client::request;
use crate::support::{BASE_INFO, Connection, SSE, Server, Setup, VALID, VALID_BODY, get, post};

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_browsers_careful() {
    let server = Server::start().await;
    for target in ["/", "/health", "/nothing", VALID, BASE_INFO, "/metrics"] {
        let response = Connection::ask(server.address, &get(target, &[])).await;
        assert_eq!(response.head.header("x-content-type-options"), Some("nosniff"), "{target}");
        assert_eq!(response.head.header("referrer-policy"), Some("no-referrer"), "{target}");
        assert_eq!(response.head.header("x-frame-options"), Some("DENY"), "{target}");
        let policy = response.head.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
    }
}

/// Its id goes into the log, and with the answer back to whoever passed the request on.
#[tokio::test]
async fn an_answer_tells_the_id_that_its_request_came_with() {
    let below = |config: &mut Config| config.server.prefix = serde_json::from_value(json!("/eco")).unwrap();
    let server = Setup::default().with(below).start().await;
    let longest = "x".repeat(128);
    for id in ["a", "req_1.2:3-4", "0af7651916cd43dd8448eb211c80319c", &longest] {
        let named = ("X-Request-Id", id);
        let asked = [
            get(&format!("/eco{VALID}"), &[SSE, named]),
            get(&format!("/eco{VALID}"), &[named, ("Sec-Fetch-Site", "cross-site")]),
            post(&format!("/eco{BASE_INFO}"), &[named], VALID_BODY),
            get(&format!("/eco{BASE_INFO}"), &[SSE, named]),
            get("/eco/nothing", &[named]),
            get("/elsewhere", &[named]),
            request("DELETE", "/eco/health", &[named], b""),
        ];
        for request in asked {
            let response = Connection::ask(server.address, &request).await;
            let shown = String::from_utf8_lossy(&request).into_owned();
            assert_eq!(response.head.header("x-request-id"), Some(id), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_request_without_an_id_that_can_be_used_gets_one_of_its_own() {
    let server = Server::start().await;
    let too_long = "x".repeat(129);
    let unusable: [&[&str]; 9] =
        [&[], &[""], &["a b"], &["a/b"], &["a\"b"], &["{id=1}"], &["번호"], &[&too_long], &["a", "b"]];
    let mut given = HashSet::new();
    for ids in unusable {
        let headers: Vec<_> = ids.iter().map(|id| ("X-Request-Id", *id)).collect();
        let response = Connection::ask(server.address, &get("/health", &headers)).await;
        let id = response.head.header("x-request-id").unwrap().to_owned();
        assert!(id.len() == 36 && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{id}");
        assert!(given.insert(id), "two requests have the same");
    }
}
