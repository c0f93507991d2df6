//! Who writes: `adapter`, and what a session remembers of it.

use std::sync::Arc;

use leafresh_chat::Sessions;
use leafresh_engine::fake::FakeModel;
use leafresh_store::{Options, Sqlite};
use serde_json::Value;

use crate::support::{BASE_INFO, Connection, SSE, Server, Setup, get, read};

/// The challenges of an answer. The seed is fixed and the fake writes by what it was computed with.
async fn titles(server: &Server, rest: &str) -> Vec<String> {
    let target = format!("{BASE_INFO}?location=city&workType=office&category=VEGAN&{rest}");
    let response = Connection::ask(server.address, &get(&target, &[SSE])).await;
    let events = read(&response.body());
    let close = events.last().unwrap();
    assert_eq!(close.name, "close", "{close:?}");
    let challenges = close.data["data"]["challenges"].as_array().unwrap().clone();
    challenges.iter().map(|challenge: &Value| challenge["title"].as_str().unwrap().to_owned()).collect()
}

fn setup() -> Setup {
    Setup { model: FakeModel::new(1).with_adapters(&["polite", "짧게"]), ..Setup::default() }
}

#[tokio::test]
async fn an_adapter_that_is_asked_for_writes() {
    let server = setup().start().await;
    let plain = titles(&server, "").await;
    let [polite, short] =
        [titles(&server, "adapter=polite").await, titles(&server, "adapter=%EC%A7%A7%EA%B2%8C").await];
    assert!(plain != polite && polite != short && plain != short, "{plain:?} {polite:?} {short:?}");
    assert_eq!(titles(&server, "adapter=").await, plain);
    assert_eq!(titles(&server, "adapter=polite").await, polite);
    let target =
        format!("{BASE_INFO}?location=city&workType=office&category=VEGAN&adapter=Polite&errors=http");
    let response = Connection::ask(server.address, &get(&target, &[])).await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.json()["data"]["invalidFields"], serde_json::json!(["adapter"]));
}

#[tokio::test]
async fn a_session_goes_on_with_the_adapter_that_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("sessions.db"), Options::default()).unwrap();
    let server = Setup { sessions: Some(Sessions::new(Arc::new(store))), ..setup() }.start().await;
    let mut told = Vec::new();
    for (session, second) in
        [("said", "adapter=polite"), ("remembered", ""), ("another", "adapter=%EC%A7%A7%EA%B2%8C")]
    {
        titles(&server, &format!("sessionId={session}&adapter=polite")).await;
        told.push(titles(&server, &format!("sessionId={session}&{second}")).await);
    }
    assert_eq!(told[0], told[1]);
    assert_ne!(told[0], told[2]);
}
