//! `/v1` with the real models: texts, schemas and vectors.

use std::sync::Arc;

use leafresh_engine::{EmbeddingSettings, LlamaEmbedder, Local, LocalSettings};
use leafresh_retrieval::Search;
use serde_json::{Value, json};

use crate::{GEMMA, model_files, serve_with};

const SMOLLM: &str = "smollm2-135m-instruct-Q4_1.gguf";
const E5: &str = "multilingual-e5-small-Q4_0.gguf";

/// Asks, and gives the object that is answered.
async fn ask(url: &str, body: &Value) -> Value {
    let response = reqwest::Client::new().post(url).json(body).send().await.unwrap();
    let status = response.status();
    let object: Value = response.json().await.unwrap();
    assert!(status.is_success(), "{object}");
    object
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_models_chat_go_on_with_texts_and_follow_schemas() {
    let schema = json!({
        "type": "object",
        "properties": {
            "title": { "type": "string", "minLength": 3, "maxLength": 40 },
            "days": { "type": "integer", "minimum": 1, "maximum": 30 },
            "kind": { "enum": ["VEGAN", "PLOGGING"] },
        },
        "required": ["title", "days", "kind"],
    });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "challenge", "schema": schema } });
    for file in [GEMMA, SMOLLM] {
        let Some(path) = model_files::model(file) else { return };
        let model = file.trim_end_matches(".gguf");
        let settings = LocalSettings { threads: Some(1), ..LocalSettings::default() };
        let (address, _) = serve_with(Arc::new(Local::load(&path, &settings).unwrap()), None).await;
        let v1 = format!("http://{address}/v1");
        let messages = json!([{ "role": "user", "content": "What is the capital of France? One word." }]);
        let body = json!({ "model": model, "messages": messages, "temperature": 0, "max_tokens": 40 });
        let answer = ask(&format!("{v1}/chat/completions"), &body).await;
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(!text.contains("<|im_end|>") && !text.contains("User:"), "{text}");
        if file == SMOLLM {
            // It was tuned to chat, and ends by itself.
            assert!(text.contains("Paris") && answer["choices"][0]["finish_reason"] == "stop", "{answer}");
        }
        let gone_on =
            json!({ "model": model, "prompt": "1, 2, 3, 4, 5, 6,", "temperature": 0, "max_tokens": 6 });
        let answer = ask(&format!("{v1}/completions"), &gone_on).await;
        assert!(answer["choices"][0]["text"].as_str().unwrap().starts_with(" 7"), "{answer}");
        for seed in 0..3 {
            let body = json!({
                "model": model, "messages": messages, "response_format": format, "seed": seed, "max_tokens": 80,
            });
            let answer = ask(&format!("{v1}/chat/completions"), &body).await;
            let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
            let object: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert!((1..=30).contains(&object["days"].as_u64().unwrap()), "{object}");
            assert!(matches!(object["kind"].as_str(), Some("VEGAN" | "PLOGGING")), "{object}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_means_the_same_is_nearer_than_what_does_not() {
    let (Some(model), Some(embedding)) = (model_files::model(GEMMA), model_files::model(E5)) else { return };
    let settings = LocalSettings { threads: Some(1), ..LocalSettings::default() };
    let embedder = LlamaEmbedder::load(&embedding, &EmbeddingSettings::default()).unwrap();
    let (search, _) = Search::later(Some(Arc::new(embedder)));
    let (address, _) = serve_with(Arc::new(Local::load(&model, &settings).unwrap()), Some(search)).await;
    let input = ["텀블러를 들고 다녀요.", "일회용 컵을 쓰지 않아요.", "주식이 많이 올랐대요."];
    let body = json!({ "model": E5.trim_end_matches(".gguf"), "input": input });
    let answer = ask(&format!("http://{address}/v1/embeddings"), &body).await;
    let vectors: Vec<Vec<f32>> = answer["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| serde_json::from_value(one["embedding"].clone()).unwrap())
        .collect();
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    assert!((cosine(&vectors[0], &vectors[0]) - 1.0).abs() < 1e-3);
    assert!(cosine(&vectors[0], &vectors[1]) > cosine(&vectors[0], &vectors[2]), "{answer}");
}
