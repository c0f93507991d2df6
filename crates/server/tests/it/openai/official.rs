//! OpenAI's own packages, and LangChain's: what they make of it.

use std::path::Path;
use std::sync::Arc;

use leafresh_engine::fake::FakeEmbedder;
use leafresh_retrieval::Search;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{CHAT, COMPLETIONS, completion, text};
use crate::clients::{clients, run, script};
use crate::support::{Server, Setup, until};

const DIMENSION: usize = 8;

async fn server() -> Server {
    let (search, _) = Search::later(Some(Arc::new(FakeEmbedder::new(DIMENSION))));
    let setup = Setup { search: Some(search), ..Setup::slow(2) };
    setup.start().await
}

/// What both scripts ask.
async fn expected(server: &Server) -> String {
    let messages = json!([{ "role": "system", "content": "짧게" }, { "role": "user", "content": "안녕" }]);
    let body = json!({ "model": "fake", "messages": messages, "seed": 7, "max_tokens": 40 });
    text(server, CHAT, &body).await.0
}

async fn report(mut command: Command, server: &Server) -> Value {
    command.arg(format!("http://{}/v1", server.address)).args(["fake", "fake-embeddings"]);
    // A proxy of this machine's is none of a test's.
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    serde_json::from_str(&run(&mut command).await).unwrap()
}

fn python(clients: &Path) -> Command {
    let mut python = Command::new(clients.join("python/bin/python"));
    python.arg(script("openai_client.py"));
    python
}

#[tokio::test]
async fn openais_python_package_and_langchain_get_what_the_server_says() {
    let Some(clients) = clients() else { return };
    let server = server().await;
    let (said, gone_on) =
        (expected(&server).await, text(&server, COMPLETIONS, &completion(json!({}))).await.0);
    let report = report(python(&clients), &server).await;
    assert_eq!(report["models"], json!(["fake", "fake-embeddings", "fake"]));
    assert_eq!(report["text"], said);
    assert_eq!(report["streamed"], json!({ "text": said, "finish": "length", "completion_tokens": 40 }));
    assert_eq!((&report["completion"], &report["completion_in_parts"]), (&json!(gone_on), &json!(gone_on)));
    assert_eq!(report["responses"], json!([said, said, said]));
    assert_eq!((&report["embeddings_are_equal"], &report["dimension"]), (&json!(true), &json!(DIMENSION)));
    let chain = &report["langchain"];
    let parsed = ["parsed", "parsed_response", "helped", "helped_response"].map(|name| &report[name]);
    for parsed in parsed.into_iter().chain([&chain["structured"]]) {
        assert!(matches!(parsed["category"].as_str(), Some("VEGAN" | "PLOGGING")), "{parsed}");
    }
    assert_eq!(
        report["refused"],
        json!([
            ["NotFoundError", 404, "model_not_found"],
            ["BadRequestError", 400, "unsupported_parameter"],
            ["BadRequestError", 400, "context_length_exceeded"],
            ["BadRequestError", 400, "unsupported_parameter"],
            ["NotFoundError", 404, "unknown_url"],
        ])
    );
    assert_eq!((&chain["text"], &chain["streamed"]), (&json!(said), &json!(said)));
    assert_eq!(
        (&chain["output_tokens"], &chain["dimension"], &chain["documents"]),
        (&json!(40), &json!(DIMENSION), &json!(3))
    );
    until("who left has ended it", || server.health().running == 0).await;
    assert_eq!(server.metrics().await.ended("left", "writing"), 1);
}

#[tokio::test]
async fn openais_npm_package_gets_what_the_server_says() {
    let Some(clients) = clients() else { return };
    let server = server().await;
    let said = expected(&server).await;
    let mut node = Command::new("node");
    node.arg(script("openai.mjs")).arg(clients.join("npm"));
    let report = report(node, &server).await;
    assert_eq!(report["models"], json!(["fake", "fake-embeddings"]));
    assert_eq!((&report["text"], &report["helped"]), (&json!(said), &json!(said)));
    assert_eq!(report["streamed"], json!({ "text": said, "completion_tokens": 40 }));
    assert!((1..=30).contains(&report["structured"]["days"].as_u64().unwrap()), "{report}");
    assert_eq!(report["dimension"], DIMENSION);
    assert_eq!(
        report["refused"],
        json!([["NotFoundError", 404, "model_not_found"], ["BadRequestError", 400, "invalid_value"]])
    );
    until("who left has ended it", || server.health().running == 0).await;
}
