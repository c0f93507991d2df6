use std::sync::Arc;

use leafresh_engine::Embedder;
use leafresh_engine::fake::FakeEmbedder;
use leafresh_retrieval::Search;
use serde_json::{Value, json};

use super::{CHAT, EMBEDDINGS, ask, chat, object};
use crate::support::{Connection, Server, Setup, get};

const DIMENSION: usize = 8;

async fn server() -> Server {
    let (search, _) = Search::later(Some(Arc::new(FakeEmbedder::new(DIMENSION))));
    Setup { search: Some(search), ..Setup::default() }.start().await
}

fn asked(input: Value) -> Value {
    let mut asked = json!({ "model": "fake-embeddings" });
    asked["input"] = input;
    asked
}

fn vectors(answer: &Value) -> Vec<Vec<f32>> {
    let data = answer["data"].as_array().unwrap().iter();
    data.map(|one| serde_json::from_value(one["embedding"].clone()).unwrap()).collect()
}

#[tokio::test]
async fn texts_become_vectors_in_their_order() {
    let server = server().await;
    let answer = object(&server, EMBEDDINGS, &asked(json!(["하나 둘", "query: 하나 둘", "셋"]))).await;
    let expected: Vec<Vec<f32>> = FakeEmbedder::new(DIMENSION)
        .embed(&["query: 하나 둘", "query: 하나 둘", "query: 셋"])
        .unwrap()
        .into_iter()
        .map(|embedding| embedding.meaning)
        .collect();
    assert_eq!(vectors(&answer), expected);
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("fake-embeddings")));
    let numbers: Vec<_> = answer["data"].as_array().unwrap().iter().map(|one| one["index"].clone()).collect();
    assert_eq!(numbers, [0, 1, 2]);
    // Two characters a token, with the prefix.
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 6 + 6 + 4, "total_tokens": 16 }));
    let one = object(&server, EMBEDDINGS, &asked(json!("하나 둘"))).await;
    assert_eq!(vectors(&one), expected[..1]);
    let many: Vec<String> = (0..100).map(|number| format!("{number}번째 글")).collect();
    let answer = object(&server, EMBEDDINGS, &asked(json!(many))).await;
    let singly = object(&server, EMBEDDINGS, &asked(json!(many[77]))).await;
    assert_eq!(vectors(&answer)[77], vectors(&singly)[0]);
}

#[tokio::test]
async fn vectors_come_as_bytes_for_who_asks_for_that() {
    let server = server().await;
    let plain = object(&server, EMBEDDINGS, &asked(json!("하나"))).await;
    let mut body = asked(json!("하나"));
    body["encoding_format"] = json!("base64");
    body["dimensions"] = json!(DIMENSION);
    body["user"] = json!("me");
    let answer = object(&server, EMBEDDINGS, &body).await;
    let text = answer["data"][0]["embedding"].as_str().unwrap();
    let bits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').flat_map(sextet).collect();
    let bytes: Vec<u8> =
        bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
    let numbers: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(vec![numbers], vectors(&plain));
}

fn sextet(letter: u8) -> [u8; 6] {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = letters.iter().position(|known| *known == letter).unwrap() as u8;
    [5, 4, 3, 2, 1, 0].map(|bit| value >> bit & 1)
}

#[tokio::test]
async fn what_can_not_be_embedded_is_refused_by_name() {
    let server = server().await;
    let with = |key: &str, value: Value| {
        let mut body = asked(json!("하나"));
        body[key] = value;
        body
    };
    let cases = [
        (with("input", Value::Null), 400, "input"),
        (with("input", json!([])), 400, "input"),
        (with("input", json!([1, 2, 3])), 400, "input"),
        (with("input", json!([[1, 2], [3]])), 400, "input"),
        (with("input", json!(["a", null])), 400, "input[1]"),
        (with("input", json!(["a", "가".repeat(2000)])), 400, "input[1]"),
        (with("input", json!(vec!["a"; 2049])), 400, "input"),
        (with("dimensions", json!(4)), 400, "dimensions"),
        (with("encoding_format", json!("int8")), 400, "encoding_format"),
        (with("model", json!("fake")), 400, "model"),
        (with("model", json!("text-embedding-3-small")), 404, "model"),
        (with("stream", json!(true)), 400, "stream"),
    ];
    for (body, status, param) in cases {
        let refused = ask(&server, EMBEDDINGS, &body).await;
        assert_eq!(
            (refused.status(), &refused.json()["error"]["param"]),
            (status, &json!(param)),
            "{}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn the_embedding_model_is_listed_and_does_not_write() {
    let server = server().await;
    let list = Connection::ask(server.address, &get("/v1/models", &[])).await.json();
    let ids: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["fake", "fake-embeddings"]);
    let refused = ask(&server, CHAT, &chat(json!({ "model": "fake-embeddings" }))).await;
    assert_eq!((refused.status(), &refused.json()["error"]["param"]), (400, &json!("model")));
    let without = Server::start().await;
    let refused = ask(&without, EMBEDDINGS, &asked(json!("하나"))).await;
    assert_eq!((refused.status(), &refused.json()["error"]["code"]), (404, &json!("model_not_found")));
    let mut body = asked(json!("하나"));
    body["model"] = json!("fake");
    let message = ask(&without, EMBEDDINGS, &body).await.json()["error"]["message"].clone();
    assert!(message.as_str().unwrap().contains("retrieval.model"), "{message}");
}
