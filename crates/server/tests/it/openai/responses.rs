use serde_json::{Value, json};

use super::{CHAT, RESPONSES, ask, chat, object, text, with};
use crate::support::Server;

fn asked(more: Value) -> Value {
    with(json!({ "model": "fake", "input": "안녕", "seed": 7, "max_output_tokens": 20 }), more)
}

/// A stream's events with their names.
fn events(stream: &str) -> Vec<(String, Value)> {
    let blocks = stream.strip_suffix("\n\n").unwrap_or_else(|| panic!("cut off: {stream}")).split("\n\n");
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').unwrap();
        let data = data.strip_prefix("data: ").unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
    };
    blocks.map(event).collect()
}

#[tokio::test]
async fn a_response_says_what_a_chat_would() {
    let server = Server::start().await;
    let response = object(&server, RESPONSES, &asked(json!({}))).await;
    let (said, _) = text(&server, CHAT, &chat(json!({}))).await;
    let message = &response["output"][0];
    assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(message["content"][0]["text"], said);
    assert_eq!((&response["object"], &response["status"]), (&json!("response"), &json!("incomplete")));
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
    let usage = &response["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["output_tokens"], &usage["total_tokens"]),
        (&json!(19), &json!(20), &json!(39))
    );
    let input = json!([
        { "role": "user", "content": [{ "type": "input_text", "text": "안녕" }] },
        { "type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
          "content": [{ "type": "output_text", "text": "네", "annotations": [] }] },
        { "role": "user", "content": "또" },
    ]);
    let talk = object(&server, RESPONSES, &asked(json!({ "input": input, "instructions": "짧게" }))).await;
    assert_eq!((&talk["instructions"], &talk["store"]), (&json!("짧게"), &json!(false)));
    let before = json!([
        { "role": "system", "content": "짧게" }, { "role": "user", "content": "안녕" },
        { "role": "assistant", "content": "네" }, { "role": "user", "content": "또" },
    ]);
    let (same, _) = text(&server, CHAT, &chat(json!({ "messages": before }))).await;
    assert_eq!(talk["output"][0]["content"][0]["text"], same);
}

#[tokio::test]
async fn its_events_are_the_object_in_pieces() {
    let server = Server::start().await;
    let whole = object(&server, RESPONSES, &asked(json!({}))).await;
    let stream = ask(&server, RESPONSES, &asked(json!({ "stream": true }))).await;
    let events = events(&stream.text());
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
    }
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[..4],
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ]
    );
    assert_eq!(
        names[names.len() - 4..],
        [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete",
        ]
    );
    let deltas: String = events.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!(json!(deltas), whole["output"][0]["content"][0]["text"]);
    let last = &events.last().unwrap().1["response"];
    assert_eq!(
        (&last["output"][0]["content"], &last["usage"]["output_tokens"]),
        (&whole["output"][0]["content"], &json!(20))
    );
}

#[tokio::test]
async fn it_follows_a_schema_and_refuses_what_is_stored_elsewhere() {
    let server = Server::start().await;
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a"] });
    let format =
        json!({ "format": { "type": "json_schema", "name": "a", "strict": true, "schema": schema } });
    let response =
        object(&server, RESPONSES, &asked(json!({ "text": format, "max_output_tokens": 60 }))).await;
    let text = response["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap()["a"].is_i64(), "{text}");
    assert_eq!((&response["status"], &response["text"]), (&json!("completed"), &format));
    for (more, param) in [
        (json!({ "previous_response_id": "resp_1" }), "previous_response_id"),
        (json!({ "tools": [{ "type": "web_search" }] }), "tools"),
        (json!({ "truncation": "auto" }), "truncation"),
        (json!({ "input": null }), "input"),
        (json!({ "input": [{ "type": "function_call_output", "output": "a" }] }), "input[0].role"),
        (json!({ "text": { "format": { "type": "xml" } } }), "text.format.type"),
        (json!({ "max_output_tokens": 100_000 }), "input"),
        (json!({ "n": 2 }), "n"),
    ] {
        let refused = ask(&server, RESPONSES, &asked(more)).await;
        assert_eq!(
            (refused.status(), &refused.json()["error"]["param"]),
            (400, &json!(param)),
            "{}",
            refused.text()
        );
    }
}
