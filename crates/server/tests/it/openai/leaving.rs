use serde_json::{Value, json};

use super::{CHAT, ask, chat, events};
use crate::support::{Connection, Setup, post, until, until_async};

#[tokio::test]
async fn a_client_that_leaves_ends_the_computing() {
    for stream in [false, true] {
        let server = Setup::slow(10).start().await;
        let mut connection = Connection::open(server.address).await;
        let body = chat(json!({ "stream": stream, "max_tokens": 4000, "n": 2 }));
        connection.send(&post(CHAT, &[], body.to_string())).await;
        if stream {
            connection.head().await;
            connection.chunk().await.unwrap();
        }
        until("both run", || server.health().running == 2).await;
        drop(connection);
        until("nothing runs", || server.health().running == 0 && server.health().kv_used == 0).await;
        until_async("it is counted", async || server.metrics().await.all_ended() == 1).await;
        let metrics = server.metrics().await;
        assert_eq!(metrics.value("leafresh_requests_admitted_total"), 1);
        assert_eq!(server.health().parked, 0, "nobody can come back");
    }
}

#[tokio::test]
async fn what_runs_may_end_while_the_server_drains_and_new_requests_are_refused() {
    let mut server = Setup::slow(5).start().await;
    let mut connection = Connection::open(server.address).await;
    connection.send(&post(CHAT, &[], chat(json!({ "max_tokens": 60 })).to_string())).await;
    until("it runs", || server.health().running == 1).await;
    server.shut_down();
    until_async("it drains", async || {
        let refused = ask(&server, CHAT, &chat(json!({}))).await;
        refused.status() == 503 && refused.json()["error"]["code"] == "draining"
    })
    .await;
    assert_eq!(connection.response().await.json()["choices"][0]["finish_reason"], "length");
    (&mut server.ended).await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_says_so_in_its_streams() {
    let setup =
        Setup::slow(20).with(|config| config.server.drain_seconds = leafresh_server::config::Seconds::new(0));
    let mut server = setup.start().await;
    let mut connection = Connection::open(server.address).await;
    connection.send(&post(CHAT, &[], chat(json!({ "stream": true, "max_tokens": 4000 })).to_string())).await;
    let head = connection.head().await;
    server.shut_down();
    let text = String::from_utf8(connection.body(&head).await.concat()).unwrap();
    let last: Value = serde_json::from_str(events(&text).last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "draining", "{last}");
    (&mut server.ended).await.unwrap();
}
