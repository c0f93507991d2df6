//! A relay in Java that reads a stream by Spring's rules.

use std::time::Duration;

use leafresh_engine::fake::FakeModel;

use crate::support::java::{Relayed, relay};
use crate::support::{Connection, FREE_TEXT, SSE, Server, Setup, VALID, get, read};

/// Everything came through by name, and what came through is what a reader of bytes gets.
fn assert_forwarded(relayed: &Relayed, last: &str) {
    assert_eq!(relayed.faults, [[""; 0]; 0]);
    let events = &relayed.forwarded;
    assert_eq!(events.last().unwrap().name, last);
    assert!(
        events.iter().all(|event| event.id.contains(':') && event.data()["status"].is_u64()),
        "{events:?}"
    );
}

async fn relayed(server: &Server, target: &str) -> Option<Relayed> {
    relay(&format!("http://{}{target}", server.address)).await
}

#[tokio::test]
async fn a_relay_passes_an_answer_on_whole_with_details_and_without() {
    let server = Server::start().await;
    for target in [VALID.to_owned(), format!("{VALID}&details=1"), format!("{VALID}&details=1&progress=1")] {
        let Some(relayed) = relayed(&server, &target).await else { return };
        assert_forwarded(&relayed, "close");
        assert!(relayed.complete);
        let said = read(&Connection::ask(server.address, &get(&target, &[SSE])).await.body());
        let texts: String = said.iter().filter_map(|event| event.text()).collect();
        assert_eq!(relayed.text(), texts, "{target}");
        assert_eq!(relayed.forwarded.last().unwrap().data(), said.last().unwrap().data);
    }
}

#[tokio::test]
async fn a_relay_sees_no_event_in_a_keep_alive() {
    let slow = Setup { model: FakeModel::new(1).with_step(Duration::from_millis(30)), ..Setup::default() };
    let server = slow.keep_alive(5).start().await;
    let Some(relayed) = relayed(&server, VALID).await else { return };
    assert!(relayed.keep_alives > 0, "{relayed:?}");
    assert_forwarded(&relayed, "close");
    assert!(relayed.complete);
}

#[tokio::test]
async fn a_relay_passes_a_fixed_reply_on_and_is_complete() {
    let server = Server::start().await;
    let target = format!("{FREE_TEXT}?message=%EC%9D%B4%20%EB%B3%911%EC%8B%A0%EC%95%84");
    let Some(relayed) = relayed(&server, &target).await else { return };
    assert_forwarded(&relayed, "close");
    let data = &relayed.forwarded.last().unwrap().data()["data"];
    assert_eq!(data["challenges"], serde_json::json!([]));
    assert_eq!(relayed.text(), data["recommend"].as_str().unwrap());
}

#[tokio::test]
async fn a_relay_passes_an_error_on_and_is_complete_where_a_close_follows() {
    for close_follows in [false, true] {
        let failing = Setup::broken().with(|config| config.stream.error_then_close = close_follows);
        let server = failing.start().await;
        let Some(relayed) = relayed(&server, VALID).await else { return };
        assert_forwarded(&relayed, if close_follows { "close" } else { "error" });
        assert_eq!(relayed.complete, close_follows);
        let error = relayed.forwarded.iter().find(|event| event.name == "error").unwrap();
        assert_eq!(error.data()["status"], 500);
    }
}
