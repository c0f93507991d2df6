use serde_json::{Value, json};

use super::{CHAT, COMPLETIONS, ask, chat, completion, text};
use crate::support::{Server, Setup};

fn schema(schema: Value) -> Value {
    let mut format = json!({ "type": "json_schema", "json_schema": { "name": "answer", "strict": true } });
    format["json_schema"]["schema"] = schema;
    format
}

#[tokio::test]
async fn an_answer_by_a_schema_is_valid_whatever_the_model_would_say() {
    let server = Server::start().await;
    let format = schema(json!({
        "type": "object",
        "properties": {
            "title": { "type": "string", "minLength": 2, "maxLength": 12 },
            "category": { "enum": ["VEGAN", "PLOGGING"] },
            "days": { "type": "integer", "minimum": 1, "maximum": 30 },
            "steps": { "type": "array", "items": { "$ref": "#/$defs/Step" }, "minItems": 1, "maxItems": 3 },
            "note": { "anyOf": [{ "type": "string", "pattern": "^[가-힣]{1,5}$" }, { "type": "null" }] },
        },
        "required": ["title", "category", "days", "steps", "note"],
        "additionalProperties": false,
        "$defs": { "Step": {
            "type": "object", "properties": { "done": { "type": "boolean" } }, "required": ["done"],
        } },
    }));
    for seed in 0..20 {
        let body = chat(json!({ "response_format": format, "seed": seed, "max_tokens": 400 }));
        let (text, finish) = text(&server, CHAT, &body).await;
        let object: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(finish, "stop");
        assert!((2..=12).contains(&object["title"].as_str().unwrap().chars().count()), "{object}");
        assert!((1..=30).contains(&object["days"].as_u64().unwrap()), "{object}");
        assert!(matches!(object["category"].as_str(), Some("VEGAN" | "PLOGGING")), "{object}");
        let steps = object["steps"].as_array().unwrap();
        assert!(
            (1..=3).contains(&steps.len()) && steps.iter().all(|step| step["done"].is_boolean()),
            "{object}"
        );
        assert_eq!(object.as_object().unwrap().len(), 5);
    }
}

#[tokio::test]
async fn what_a_budget_cuts_short_is_valid_all_the_same() {
    let server = Server::start().await;
    let format = schema(json!({
        "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"],
    }));
    // `{"text":""}` has eleven characters.
    for max_tokens in [11, 12, 20, 60] {
        let body = completion(json!({ "response_format": format, "max_tokens": max_tokens }));
        let (text, finish) = text(&server, COMPLETIONS, &body).await;
        assert!(serde_json::from_str::<Value>(&text).unwrap()["text"].is_string(), "{text}");
        assert_eq!(finish, "stop");
    }
    let refused =
        ask(&server, COMPLETIONS, &completion(json!({ "response_format": format, "max_tokens": 10 }))).await;
    let error = &refused.json()["error"];
    assert_eq!((refused.status(), &error["param"]), (400, &json!("max_tokens")));
}

#[tokio::test]
async fn a_json_object_of_any_kind_is_one() {
    let server = Server::start().await;
    for seed in 0..10 {
        let format = json!({ "type": "json_object" });
        let (text, finish) =
            text(&server, CHAT, &chat(json!({ "response_format": format, "seed": seed, "max_tokens": 100 })))
                .await;
        assert!(serde_json::from_str::<Value>(&text).unwrap().is_object(), "{text}");
        assert_eq!(finish, "stop");
    }
}

#[tokio::test]
async fn a_schema_that_can_not_be_followed_is_refused_before_anything_is_computed() {
    let server = Setup::default().start().await;
    let steps = server.health().steps;
    let huge = json!({ "type": "array", "maxItems": 4000, "items": { "type": "string", "maxLength": 4000 } });
    for (asked, param, words) in [
        (json!({ "type": "object", "patternProperties": {} }), "patternProperties", "`patternProperties`"),
        (huge, "response_format", "too much to be followed"),
    ] {
        let refused =
            ask(&server, CHAT, &chat(json!({ "response_format": schema(asked), "max_tokens": 4000 }))).await;
        let error = refused.json()["error"].clone();
        assert_eq!(refused.status(), 400, "{error}");
        assert!(error["param"].as_str().unwrap().ends_with(param), "{error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
    assert_eq!(server.health().steps, steps);
}
