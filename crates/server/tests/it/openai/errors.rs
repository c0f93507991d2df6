use leafresh_server::config::Config;
use serde_json::{Value, json};

use super::{CHAT, COMPLETIONS, EMBEDDINGS, ask, chat, completion};
use crate::support::client::{Response, request};
use crate::support::{Connection, Server, Setup, get, post, until};

const KEY: &str = "alpha-key-0123456789";

fn error(response: &Response) -> Value {
    let body = response.json();
    assert_eq!(response.head.header("content-type"), Some("application/json"), "{body}");
    let Value::Object(object) = &body else { panic!("{body}") };
    assert_eq!(object.len(), 1, "{body}");
    let keys: Vec<&String> = body["error"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["message", "type", "param", "code"]);
    assert!(body["error"]["message"].is_string(), "{body}");
    body["error"].clone()
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_by_name() {
    let server = Server::start().await;
    let part = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
    let cases = [
        (CHAT, chat(json!({ "model": null })), 400, "model", "missing_required_parameter"),
        (CHAT, chat(json!({ "model": "gpt-4o" })), 404, "model", "model_not_found"),
        (CHAT, chat(json!({ "messages": null })), 400, "messages", "missing_required_parameter"),
        (CHAT, chat(json!({ "messages": [] })), 400, "messages", "invalid_value"),
        (CHAT, chat(json!({ "messages": ["a"] })), 400, "messages[0]", "invalid_value"),
        (
            CHAT,
            chat(json!({ "messages": [{ "role": "user" }] })),
            400,
            "messages[0].content",
            "missing_required_parameter",
        ),
        (
            CHAT,
            chat(json!({ "messages": [{ "role": "robot", "content": "a" }] })),
            400,
            "messages[0].role",
            "invalid_value",
        ),
        (
            CHAT,
            chat(json!({ "messages": [{ "role": "tool", "content": "a" }] })),
            400,
            "messages[0].role",
            "unsupported_parameter",
        ),
        (
            CHAT,
            chat(part(json!({ "type": "image_url", "image_url": { "url": "x" } }))),
            400,
            "messages[0].content[0]",
            "unsupported_parameter",
        ),
        (CHAT, chat(json!({ "temperature": 5 })), 400, "temperature", "invalid_value"),
        (CHAT, chat(json!({ "tools": [{ "type": "function" }] })), 400, "tools", "unsupported_parameter"),
        (CHAT, chat(json!({ "logprobs": true })), 400, "logprobs", "unsupported_parameter"),
        (CHAT, chat(json!({ "modalities": ["audio"] })), 400, "modalities", "unsupported_parameter"),
        (CHAT, chat(json!({ "reasoning_effort": "high" })), 400, "reasoning_effort", "unknown_parameter"),
        (CHAT, chat(json!({ "max_tokens": 100_000 })), 400, "messages", "context_length_exceeded"),
        (COMPLETIONS, completion(json!({ "prompt": null })), 400, "prompt", "missing_required_parameter"),
        (COMPLETIONS, completion(json!({ "prompt": "  " })), 400, "prompt", "invalid_value"),
        (COMPLETIONS, completion(json!({ "prompt": [1, 2] })), 400, "prompt", "unsupported_parameter"),
        (COMPLETIONS, completion(json!({ "prompt": vec!["a"; 33] })), 400, "prompt", "invalid_value"),
        (COMPLETIONS, completion(json!({ "best_of": 3 })), 400, "best_of", "unsupported_parameter"),
        (COMPLETIONS, completion(json!({ "echo": true })), 400, "echo", "unsupported_parameter"),
        (COMPLETIONS, completion(json!({ "max_tokens": 100_000 })), 400, "prompt", "context_length_exceeded"),
    ];
    let steps = server.health().steps;
    let count = cases.len() as u64;
    for (path, body, status, param, code) in cases {
        let refused = ask(&server, path, &body).await;
        let error = error(&refused);
        assert_eq!(
            (refused.status(), error["param"].as_str(), error["code"].as_str()),
            (status, Some(param), Some(code)),
            "{error}"
        );
        assert_eq!(error["type"], "invalid_request_error");
    }
    assert_eq!(server.health().steps, steps, "nothing is computed for what is refused");
    let metrics = server.metrics().await;
    let refused =
        |status: u16| metrics.value(&format!("leafresh_requests_refused_total{{status=\"{status}\"}}"));
    assert_eq!(refused(400) + refused(404), count);
    let counted = format!("leafresh_openai_requests_total{{path=\"{CHAT}\",status=\"404\"}}");
    assert_eq!(metrics.value(&counted), 1);
}

#[tokio::test]
async fn bodies_paths_and_methods_that_do_not_fit_are_refused_in_the_same_form() {
    let server = Setup::default().with(|config| config.openai.body_kib = 2).start().await;
    let ask = async |request: Vec<u8>| Connection::ask(server.address, &request).await;
    let cases = [
        (post(CHAT, &[], "{"), 400),
        (post(CHAT, &[], "[]"), 400),
        (post(CHAT, &[], b"\xff{}"), 400),
        (post(CHAT, &[], format!("{{\"user\":\"{}\"}}", "a".repeat(4096))), 413),
        (post(CHAT, &[("Content-Type", "text/plain")], "{}"), 415),
        (post("/v1/images/generations", &[], "{}"), 404),
        (get("/v1", &[]), 404),
        (get("/v1/chat", &[]), 404),
    ];
    for (request, status) in cases {
        let refused = ask(request).await;
        assert_eq!(refused.status(), status, "{}", error(&refused));
    }
    for (path, allowed) in [(CHAT, "POST"), (EMBEDDINGS, "POST"), (COMPLETIONS, "POST")] {
        let refused = ask(get(path, &[])).await;
        assert_eq!((refused.status(), refused.head.header("allow")), (405, Some(allowed)));
        assert!(error(&refused)["message"].as_str().unwrap().contains(path));
    }
    let refused = ask(request("DELETE", "/v1/models", &[], b"")).await;
    assert_eq!((refused.status(), refused.head.header("allow")), (405, Some("GET,HEAD")));
    error(&refused);
}

/// A server where one key may do so much.
async fn keyed(setup: Setup, limits: &str) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.toml");
    std::fs::write(&file, format!("[[key]]\nname = \"alpha\"\nkey = \"{KEY}\"\n{limits}\n")).unwrap();
    (setup.with(|config: &mut Config| config.keys.file = Some(file)).start().await, dir)
}

const BEARER: (&str, &str) = ("Authorization", "Bearer alpha-key-0123456789");

#[tokio::test]
async fn a_key_is_needed_where_keys_are() {
    let (server, _dir) = keyed(Setup::default(), "").await;
    for headers in [&[][..], &[("Authorization", "Bearer sk-none")]] {
        for request in [get("/v1/models", headers), post(CHAT, headers, chat(json!({})).to_string())] {
            let refused = Connection::ask(server.address, &request).await;
            assert_eq!((refused.status(), refused.head.header("www-authenticate")), (401, Some("Bearer")));
            assert_eq!(error(&refused)["code"], "invalid_api_key");
        }
    }
    assert_eq!(server.health().steps, 0);
    let answer = Connection::ask(server.address, &post(CHAT, &[BEARER], chat(json!({})).to_string())).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn limits_hold_as_everywhere() {
    let (server, _dir) = keyed(Setup::default(), "requests_per_minute = 6\nburst = 2").await;
    let ask = async |path: &str, body: Value| {
        Connection::ask(server.address, &post(path, &[BEARER], body.to_string())).await
    };
    assert_eq!(ask(CHAT, chat(json!({}))).await.status(), 200);
    assert_eq!(ask(COMPLETIONS, completion(json!({}))).await.status(), 200);
    let refused = ask(CHAT, chat(json!({}))).await;
    assert_eq!((refused.status(), error(&refused)["code"].as_str()), (429, Some("rate_limit_exceeded")));
    let after: u64 = refused.head.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&after), "{after}");
}

#[tokio::test]
async fn each_answer_is_one_of_those_that_a_client_may_have_at_once() {
    let (mut server, _dir) = keyed(Setup::held(), "running = 2").await;
    let mut first = Connection::open(server.address).await;
    first.send(&post(CHAT, &[BEARER], chat(json!({ "n": 2 })).to_string())).await;
    until("both run", || server.health().running == 2).await;
    let refused = Connection::ask(server.address, &post(CHAT, &[BEARER], chat(json!({})).to_string())).await;
    assert_eq!(refused.status(), 429);
    server.go_on();
    assert_eq!(first.response().await.status(), 200);
    let again = post(CHAT, &[BEARER], chat(json!({ "n": 2 })).to_string());
    assert_eq!(Connection::ask(server.address, &again).await.status(), 200);
}

#[tokio::test]
async fn a_full_or_loading_server_asks_to_come_again() {
    let setup = Setup::held().with(|config| (config.engine.running, config.engine.queue) = (1, 0));
    let mut server = setup.start().await;
    let mut first = Connection::open(server.address).await;
    first.send(&post(CHAT, &[], chat(json!({ "stream": true })).to_string())).await;
    until("it runs", || server.health().running == 1).await;
    let refused = ask(&server, CHAT, &chat(json!({ "stream": true }))).await;
    assert_eq!((refused.status(), refused.head.header("retry-after")), (503, Some("3")));
    assert_eq!(error(&refused)["code"], "overloaded");
    server.go_on();
    assert_eq!(first.head().await.status, 200);

    let loading = Server::without_model(&Config::default()).await;
    for request in [get("/v1/models", &[]), post(CHAT, &[], chat(json!({})).to_string())] {
        let refused = Connection::ask(loading.address, &request).await;
        assert_eq!((refused.status(), refused.head.header("retry-after")), (503, Some("3")));
        assert_eq!(error(&refused)["code"], "loading");
    }
}

#[tokio::test]
async fn whoever_waits_for_too_long_is_told_so_by_a_status() {
    let mut setup = Setup::held().with(|config| config.engine.running = 1);
    setup.config.deadlines.queue_seconds =
        leafresh_server::config::Seconds(std::time::Duration::from_millis(200));
    let server = setup.start().await;
    let mut first = Connection::open(server.address).await;
    first.send(&post(CHAT, &[], chat(json!({})).to_string())).await;
    until("it runs", || server.health().running == 1).await;
    let refused = {
        // The engine looks at its queue between two steps.
        let body = chat(json!({ "stream": true }));
        let asking = ask(&server, CHAT, &body);
        tokio::pin!(asking);
        loop {
            tokio::select! {
                refused = &mut asking => break refused,
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => server.step(),
            }
        }
    };
    assert_eq!((refused.status(), error(&refused)["code"].as_str()), (503, Some("overloaded")));
}

#[tokio::test]
async fn pages_of_other_sites_and_foreign_names_are_refused_in_the_same_form() {
    let server = Server::start().await;
    let foreign = post(CHAT, &[("Sec-Fetch-Site", "cross-site")], chat(json!({})).to_string());
    let refused = Connection::ask(server.address, &foreign).await;
    assert_eq!(refused.status(), 403);
    assert!(error(&refused)["message"].as_str().unwrap().contains("cors.origins"));
    let named = b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let refused = Connection::ask(server.address, named).await;
    assert_eq!(refused.status(), 421);
    assert!(error(&refused)["message"].as_str().unwrap().contains("server.hosts"));
}
