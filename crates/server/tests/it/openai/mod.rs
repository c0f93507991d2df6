//! What clients of OpenAI's API get, as bytes.

mod embeddings;
mod errors;
mod formats;
mod leaving;
mod official;
mod responses;
mod streams;
mod texts;

use serde_json::{Value, json};

use crate::support::client::Response;
use crate::support::{Connection, Server, post};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const EMBEDDINGS: &str = "/v1/embeddings";
const RESPONSES: &str = "/v1/responses";

/// A chat of one message with a seed, so that the same is written each time, and what a test wants besides.
fn chat(more: Value) -> Value {
    let message = json!({ "role": "user", "content": "안녕" });
    with(json!({ "model": "fake", "messages": [message], "seed": 7, "max_tokens": 20 }), more)
}

fn completion(more: Value) -> Value {
    with(json!({ "model": "fake", "prompt": "옛날에", "seed": 7, "max_tokens": 20 }), more)
}

/// An object with some of its keys replaced; null takes one away.
fn with(mut object: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object: {more}") };
    for (key, value) in more {
        object[key] = value;
    }
    object
}

async fn ask(server: &Server, path: &str, body: &Value) -> Response {
    Connection::ask(server.address, &post(path, &[], body.to_string())).await
}

/// What is answered to a valid request.
async fn object(server: &Server, path: &str, body: &Value) -> Value {
    let response = ask(server, path, body).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(response.head.header("content-type"), Some("application/json"));
    response.json()
}

/// The text of the only answer, and how it ended.
async fn text(server: &Server, path: &str, body: &Value) -> (String, String) {
    let object = object(server, path, body).await;
    let [choice] = &object["choices"].as_array().unwrap()[..] else { panic!("{object}") };
    let text = if path == CHAT { &choice["message"]["content"] } else { &choice["text"] };
    (text.as_str().unwrap().to_owned(), choice["finish_reason"].as_str().unwrap().to_owned())
}

/// The data of a stream's events; the last line is `[DONE]` where it ended well.
fn events(stream: &str) -> Vec<&str> {
    let blocks = stream.strip_suffix("\n\n").unwrap_or_else(|| panic!("cut off: {stream}")).split("\n\n");
    blocks.map(|block| block.strip_prefix("data: ").unwrap_or_else(|| panic!("{block:?}"))).collect()
}

/// The chunks of a stream that ended well.
fn chunks(stream: &str) -> Vec<Value> {
    let mut events = events(stream);
    assert_eq!(events.pop(), Some("[DONE]"));
    events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}
