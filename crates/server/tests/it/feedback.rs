//! What people think of answers, kept with the conversation.

use std::sync::Arc;

use leafresh_chat::{Rating, Sessions};
use leafresh_server::Listeners;
use leafresh_store::{Options, Sqlite};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::client::Response;
use crate::support::{Connection, SSE, Server, Setup, VALID, get, metric, post, read, request};

struct Kept {
    server: Server,
    sessions: Sessions,
    /// The name of an answer of session `a`.
    answer: String,
    _dir: TempDir,
}

/// A server that remembers one answer; conversations are read elsewhere, as beyond this machine.
async fn answered() -> Kept {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&dir.path().join("sessions.db"), Options::default()).unwrap();
    let sessions = Sessions::new(Arc::new(store));
    let main = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = Setup { sessions: Some(sessions.clone()), ..Setup::default() };
    let server = setup.start_on(Listeners::new(main, Some(admin)));
    let stream = Connection::ask(server.address, &get(&format!("{VALID}&sessionId=a"), &[SSE])).await;
    let answer = read(&stream.body())[0].stream().to_owned();
    Kept { server, sessions, answer, _dir: dir }
}

impl Kept {
    async fn say(&self, answer: &str, body: &Value) -> Response {
        let target = format!("/ai/chatbot/streams/{answer}/feedback");
        Connection::ask(self.server.address, &post(&target, &[], body.to_string())).await
    }

    async fn ratings(&self) -> Vec<Rating> {
        self.sessions.rated().await.unwrap().iter().map(|rated| rated.rating).collect()
    }
}

#[tokio::test]
async fn an_answer_is_rated_rated_otherwise_and_no_more() {
    let kept = answered().await;
    for (rating, expected) in [
        (json!("up"), vec![Rating::Up]),
        (json!("down"), vec![Rating::Down]),
        (json!(null), vec![]),
        (json!("down"), vec![Rating::Down]),
    ] {
        let response = kept.say(&kept.answer, &json!({ "sessionId": "a", "rating": rating })).await;
        assert_eq!(response.json(), json!({ "status": 200, "message": "성공", "data": null }));
        assert_eq!(kept.ratings().await, expected);
    }
    let rated = kept.sessions.rated().await.unwrap().remove(0);
    assert_eq!(rated.question.as_deref(), Some("도시 · 사무직 · 제로웨이스트"));
    assert!(rated.answer.contains("\n\n3. "), "{}", rated.answer);

    let forget = request("DELETE", "/ai/chatbot/sessions/a", &[], b"");
    Connection::ask(kept.server.address, &forget).await;
    assert_eq!(kept.ratings().await, []);
}

#[tokio::test]
async fn what_can_not_be_rated_is_refused_and_changes_nothing() {
    let kept = answered().await;
    let fields = |status: u16, name: &str| (status, json!({ "invalidFields": [name] }));
    let other = "0".repeat(32);
    for (answer, body, expected) in [
        (&kept.answer, json!({ "rating": "up" }), (400, json!(null))),
        (&kept.answer, json!({ "sessionId": "a", "rating": "great" }), fields(400, "rating")),
        (&kept.answer, json!({ "sessionId": "a", "rating": true }), fields(400, "rating")),
        (&kept.answer, json!({ "sessionId": "..", "rating": "up" }), fields(400, "sessionId")),
        (&kept.answer, json!({ "sessionId": "b", "rating": "up" }), (404, json!(null))),
        (&other, json!({ "sessionId": "a", "rating": "up" }), (404, json!(null))),
        (&kept.answer, json!([]), (400, json!(null))),
    ] {
        let response = kept.say(answer, &body).await;
        assert_eq!((response.status(), response.json()["data"].clone()), expected, "{body}");
    }
    let target = format!("/ai/chatbot/streams/{}/feedback", kept.answer);
    let got = Connection::ask(kept.server.address, &get(&target, &[])).await;
    assert_eq!((got.status(), got.head.header("allow")), (405, Some("POST")));
    assert_eq!(kept.ratings().await, []);
}

#[tokio::test]
async fn ratings_are_counted() {
    let server = Server::start().await;
    let metrics = Connection::ask(server.address, &get("/metrics", &[])).await.text();
    for rating in ["up", "down"] {
        assert_eq!(metric(&metrics, &format!(r#"leafresh_feedback_total{{rating="{rating}"}}"#)), 0);
    }
    // Nothing is remembered here.
    let target = format!("/ai/chatbot/streams/{}/feedback", "0".repeat(32));
    let body = json!({ "sessionId": "a", "rating": "up" }).to_string();
    let refused = Connection::ask(server.address, &post(&target, &[], body)).await;
    assert_eq!(refused.status(), 404);

    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&dir.path().join("sessions.db"), Options::default()).unwrap();
    let setup = Setup { sessions: Some(Sessions::new(Arc::new(store))), ..Setup::default() };
    let server = setup.start().await;
    let stream = Connection::ask(server.address, &get(&format!("{VALID}&sessionId=a"), &[SSE])).await;
    let target = format!("/ai/chatbot/streams/{}/feedback", read(&stream.body())[0].stream());
    for rating in ["up", "down", "down"] {
        let body = json!({ "sessionId": "a", "rating": rating }).to_string();
        let rated = Connection::ask(server.address, &post(&target, &[], body)).await;
        assert_eq!(rated.status(), 200);
    }
    let metrics = Connection::ask(server.address, &get("/metrics", &[])).await.text();
    assert_eq!(metric(&metrics, r#"leafresh_feedback_total{rating="down"}"#), 2);
}
