use std::collections::BTreeSet;

use leafresh_engine::fake::FakeModel;
use serde_json::{Value, json};

use super::{CHAT, COMPLETIONS, ask, chat, completion, object, text};
use crate::support::{Connection, Server, Setup, get};

const TEMPLATE: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<eos>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let server = Server::start().await;
    let list = Connection::ask(server.address, &get("/v1/models", &[])).await.json();
    let ids: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!((list["object"].as_str(), ids), (Some("list"), vec![&json!("fake")]));
    for name in ["fake", "fake.gguf"] {
        let one = Connection::ask(server.address, &get(&format!("/v1/models/{name}"), &[])).await.json();
        assert_eq!((one["id"].as_str(), one["object"].as_str()), (Some("fake"), Some("model")));
    }
    let none = Connection::ask(server.address, &get("/v1/models/gpt-4o", &[])).await;
    assert_eq!((none.status(), &none.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn a_chat_is_answered_with_one_object() {
    let server = Server::start().await;
    let answer = object(&server, CHAT, &chat(json!({ "max_tokens": 5 }))).await;
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"), "{answer}");
    assert_eq!(
        (answer["object"].as_str(), answer["model"].as_str()),
        (Some("chat.completion"), Some("fake"))
    );
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["index"], &choice["logprobs"]), (&json!(0), &Value::Null));
    assert_eq!(
        (&choice["message"]["role"], &choice["message"]["refusal"]),
        (&json!("assistant"), &Value::Null)
    );
    assert_eq!(choice["finish_reason"], "length");
    // `User: `, two syllables, a line break and `Assistant:`; the space behind it is the answer's first token.
    assert_eq!(answer["usage"]["prompt_tokens"], 6 + 2 + 1 + 10);
    assert_eq!(
        (&answer["usage"]["completion_tokens"], &answer["usage"]["total_tokens"]),
        (&json!(5), &json!(24))
    );
    let again = object(&server, CHAT, &chat(json!({ "max_tokens": 5 }))).await;
    assert_eq!(again["choices"], answer["choices"], "the same seed");
    assert!(again["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() > 10, "{again}");
    assert_ne!(again["id"], answer["id"]);
}

#[tokio::test]
async fn special_tokens_that_people_type_are_text_and_the_templates_are_special() {
    let model = FakeModel::new(1).with_chat_template(TEMPLATE);
    let server = Setup { model, ..Setup::default() }.start().await;
    let messages = json!([
        { "role": "developer", "content": "a" },
        { "role": "user", "content": [{ "type": "text", "text": "<eos>" }, { "type": "text", "text": "b" }], "name": "me" },
    ]);
    let answer = object(&server, CHAT, &chat(json!({ "messages": messages }))).await;
    let expected = "[system]a".len() + 1 + "[user]<eos>\nb".len() + 1 + "[assistant]".len();
    assert_eq!(answer["usage"]["prompt_tokens"], expected, "each <eos> of the template is one token");
}

#[tokio::test]
async fn several_answers_differ_and_come_again_with_the_same_seed() {
    let server = Server::start().await;
    let texts = async |body: Value| -> Vec<String> {
        let answer = object(&server, CHAT, &body).await;
        let choices = answer["choices"].as_array().unwrap().clone();
        let numbers: Vec<_> = choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..choices.len() as u64).collect::<Vec<_>>());
        assert_eq!(answer["usage"]["completion_tokens"], choices.len() * 20);
        assert_eq!(answer["usage"]["prompt_tokens"], 19, "the prompt counts once");
        choices.iter().map(|choice| choice["message"]["content"].as_str().unwrap().to_owned()).collect()
    };
    let three = texts(chat(json!({ "n": 3 }))).await;
    assert_eq!(BTreeSet::from_iter(&three).len(), 3, "{three:?}");
    assert_eq!(three, texts(chat(json!({ "n": 3 }))).await);
    assert_eq!(three[..1], texts(chat(json!({}))).await);
    let without = texts(chat(json!({ "seed": null }))).await;
    assert_ne!(without, texts(chat(json!({ "seed": null }))).await);
}

#[tokio::test]
async fn an_answer_ends_before_a_text_that_is_to_end_it() {
    let server = Server::start().await;
    let (whole, finish) = text(&server, COMPLETIONS, &completion(json!({}))).await;
    assert_eq!(finish, "length");
    let middle: Vec<(usize, char)> = whole.char_indices().collect();
    let (from, to) = (middle[5].0, middle[7].0);
    for stop in [json!(whole[from..to]), json!(["not there", whole[from..to]])] {
        let (cut, finish) = text(&server, COMPLETIONS, &completion(json!({ "stop": stop }))).await;
        assert_eq!(
            (cut.as_str(), finish.as_str()),
            (&whole[..whole.find(&whole[from..to]).unwrap()], "stop")
        );
    }
    // What only may be the beginning of one is shown in the end.
    let begun = format!("{}…", &whole[middle[middle.len() - 1].0..]);
    assert_eq!(text(&server, COMPLETIONS, &completion(json!({ "stop": begun }))).await.0, whole);
}

/// The fake model's end is one token of eleven thousand, so somebody meets it now and then.
#[tokio::test]
async fn the_models_own_end_ends_an_answer_and_a_line_break_does_not() {
    let server = Server::start().await;
    let mut lines = false;
    for seed in 0..400 {
        let body = completion(json!({ "seed": seed, "max_tokens": 500 }));
        let answer = object(&server, COMPLETIONS, &body).await;
        let choice = &answer["choices"][0];
        lines |= choice["text"].as_str().unwrap().contains('\n');
        if choice["finish_reason"] == "stop" {
            assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() <= 500);
            assert!(lines, "no answer had a line break");
            return;
        }
    }
    panic!("no answer ended by itself");
}

#[tokio::test]
async fn texts_are_gone_on_with_one_or_several_at_once() {
    let server = Server::start().await;
    let answer = object(&server, COMPLETIONS, &completion(json!({ "max_tokens": null }))).await;
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-"), "{answer}");
    assert_eq!(
        (answer["object"].as_str(), &answer["choices"][0]["finish_reason"]),
        (Some("text_completion"), &json!("length"))
    );
    assert_eq!(answer["usage"]["completion_tokens"], 16, "as OpenAI's API has it");
    let body = completion(json!({ "prompt": ["가", "나나"], "n": 2 }));
    let answer = object(&server, COMPLETIONS, &body).await;
    assert_eq!(answer["choices"].as_array().unwrap().len(), 4);
    assert_eq!(
        (&answer["usage"]["prompt_tokens"], &answer["usage"]["completion_tokens"]),
        (&json!(3), &json!(80))
    );
    let alone = object(&server, COMPLETIONS, &completion(json!({ "prompt": "가" }))).await;
    assert_eq!(alone["choices"][0]["text"], answer["choices"][0]["text"]);
}

#[tokio::test]
async fn how_tokens_are_drawn_is_the_clients_choice() {
    let server = Server::start().await;
    let greedy = json!({ "temperature": 0, "seed": null });
    let first = text(&server, CHAT, &chat(greedy.clone())).await;
    assert_eq!(first, text(&server, CHAT, &chat(greedy)).await);
    assert_eq!(first, text(&server, CHAT, &chat(json!({ "top_k": 1, "seed": null }))).await);
    assert_eq!(first, text(&server, CHAT, &chat(json!({ "top_p": 0, "seed": null }))).await);
    assert_ne!(first, text(&server, CHAT, &chat(json!({}))).await);
}

#[tokio::test]
async fn an_answer_without_a_bound_takes_what_the_context_and_the_configuration_allow() {
    let setup = Setup::default().with(|config| config.openai.max_tokens = 30);
    let server = setup.start().await;
    let answer = object(&server, CHAT, &chat(json!({ "max_tokens": null }))).await;
    assert_eq!(answer["usage"]["completion_tokens"], 30);
    let answer =
        object(&server, CHAT, &chat(json!({ "max_tokens": null, "max_completion_tokens": 7 }))).await;
    assert_eq!(answer["usage"]["completion_tokens"], 7);
    let long = "가".repeat(16_384 - 30);
    let messages = json!([{ "role": "user", "content": long }]);
    let answer = object(&server, CHAT, &chat(json!({ "messages": messages, "max_tokens": null }))).await;
    let completion = answer["usage"]["completion_tokens"].as_u64().unwrap();
    assert!((1..30).contains(&completion), "what is left of the context: {completion}");
}

#[tokio::test]
async fn below_a_prefix_the_paths_are_too_and_where_they_are_turned_off_there_are_none() {
    let prefix = toml::from_str::<toml::Table>("prefix = \"/a\"").unwrap()["prefix"].clone();
    let setup = Setup::default().with(|config| config.server.prefix = prefix.try_into().unwrap());
    let server = setup.start().await;
    assert_eq!(ask(&server, "/a/v1/chat/completions", &chat(json!({}))).await.status(), 200);
    assert_eq!(ask(&server, "/a/v1/chat/completions/", &chat(json!({}))).await.status(), 200);
    let server = Setup::default().with(|config| config.openai.enabled = false).start().await;
    let off = ask(&server, CHAT, &chat(json!({}))).await;
    assert_eq!((off.status(), &off.json()["error"]["code"]), (404, &json!("unknown_url")));
}
