use serde_json::{Value, json};

use super::{CHAT, COMPLETIONS, ask, chat, chunks, completion, events, object};
use crate::support::client::Response;
use crate::support::{Connection, Server, Setup, post, until};

async fn stream(server: &Server, path: &str, body: &Value) -> Response {
    let response = ask(server, path, body).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(response.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(response.head.header("x-accel-buffering"), Some("no"));
    response
}

#[tokio::test]
async fn the_chunks_of_a_chat_are_the_object_in_pieces() {
    let server = Server::start().await;
    let whole = object(&server, CHAT, &chat(json!({}))).await;
    let response = stream(&server, CHAT, &chat(json!({ "stream": true }))).await;
    assert!(response.chunks.len() > 10, "written as it comes");
    let chunks = chunks(&response.text());
    let text: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(json!(text), whole["choices"][0]["message"]["content"]);
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!((&chunk["object"], &chunk["id"]), (&json!("chat.completion.chunk"), &chunks[0]["id"]));
        let choice = &chunk["choices"][0];
        assert_eq!(choice["delta"]["role"].as_str(), (index == 0).then_some("assistant"), "{chunk}");
        let finish = (index + 1 == chunks.len()).then_some("length");
        assert_eq!(choice["finish_reason"].as_str(), finish, "{chunk}");
        assert!(chunk.get("usage").is_none());
    }
    assert_eq!(chunks.last().unwrap()["choices"][0]["delta"], json!({}));
}

#[tokio::test]
async fn the_last_chunk_tells_what_it_took_when_that_is_asked_for() {
    let server = Server::start().await;
    let more = json!({ "stream": true, "stream_options": { "include_usage": true } });
    for (path, body) in [(CHAT, chat(more.clone())), (COMPLETIONS, completion(more))] {
        let mut chunks = chunks(&stream(&server, path, &body).await.text());
        let last = chunks.pop().unwrap();
        assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(20)));
        assert!(chunks.iter().all(|chunk| chunk["usage"] == Value::Null && chunk.get("usage").is_some()));
    }
}

#[tokio::test]
async fn several_answers_share_a_stream() {
    let server = Server::start().await;
    let whole = object(&server, CHAT, &chat(json!({ "n": 3 }))).await;
    let chunks = chunks(&stream(&server, CHAT, &chat(json!({ "n": 3, "stream": true }))).await.text());
    for (index, choice) in whole["choices"].as_array().unwrap().iter().enumerate() {
        let own: Vec<&Value> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0])
            .filter(|choice| choice["index"] == index)
            .collect();
        let text: String = own.iter().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
        assert_eq!(
            (json!(text), &own[0]["delta"]["role"]),
            (choice["message"]["content"].clone(), &json!("assistant"))
        );
        assert_eq!(own.iter().filter(|choice| choice["finish_reason"] == "length").count(), 1);
    }
}

#[tokio::test]
async fn the_chunks_of_a_text_are_the_object_in_pieces() {
    let server = Server::start().await;
    let whole = object(&server, COMPLETIONS, &completion(json!({}))).await;
    let response = stream(&server, COMPLETIONS, &completion(json!({ "stream": true }))).await;
    let chunks = chunks(&response.text());
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(json!(text), whole["choices"][0]["text"]);
    assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion"));
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "length");
}

/// Until then a client that is refused is told so by a status, and tries again.
#[tokio::test]
async fn the_headers_come_with_the_first_word() {
    let mut server = Setup::held().start().await;
    let mut connection = Connection::open(server.address).await;
    connection.send(&post(CHAT, &[], chat(json!({ "stream": true })).to_string())).await;
    until("it runs", || server.health().running == 1).await;
    let mut head = Box::pin(connection.head());
    let waits = tokio::time::timeout(std::time::Duration::from_millis(50), &mut head).await.is_err();
    assert!(waits, "nothing is said before the first word");
    server.go_on();
    assert_eq!(head.await.status, 200);
}

#[tokio::test]
async fn a_stream_that_can_not_be_finished_ends_in_an_error() {
    let setup = Setup::slow(5).with(|config| config.deadlines.answer_seconds = seconds(150));
    let server = setup.start().await;
    let response = stream(&server, CHAT, &chat(json!({ "stream": true, "max_tokens": 4000 }))).await;
    let text = response.text();
    let events = events(&text);
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(last["error"]["type"], "server_error", "{last}");
    assert!(events.len() > 1 && events[..events.len() - 1].iter().all(|event| event.contains("chunk")));
    assert_eq!(server.metrics().await.ended("error", "writing"), 1);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_or_fails_is_an_error_of_the_servers() {
    let setup = Setup::slow(5).with(|config| config.deadlines.answer_seconds = seconds(100));
    let late = setup.start().await;
    for server in [late, Setup::broken().start().await] {
        let failed = ask(&server, CHAT, &chat(json!({ "max_tokens": 4000 }))).await;
        assert_eq!((failed.status(), &failed.json()["error"]["type"]), (500, &json!("server_error")));
    }
}

fn seconds(milliseconds: u64) -> leafresh_server::config::Seconds {
    leafresh_server::config::Seconds(std::time::Duration::from_millis(milliseconds))
}
