//! A server to ask, a client that sends bytes as they are, and a reader that forgives nothing.

pub(crate) mod catalog;
pub(crate) mod client;
pub(crate) mod events;
pub(crate) mod java;
pub(crate) mod server;

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use client::{Connection, get, post, request};
pub(crate) use events::{Event, read};
pub(crate) use server::{Server, Setup};

pub(crate) const BASE_INFO: &str = "/ai/chatbot/recommendation/base-info";
pub(crate) const FREE_TEXT: &str = "/ai/chatbot/recommendation/free-text";
pub(crate) const VALID: &str =
    "/ai/chatbot/recommendation/base-info?location=city&workType=office&category=ZERO_WASTE";
/// The same, telling where the answer comes from.
pub(crate) const DETAILED: &str =
    "/ai/chatbot/recommendation/base-info?location=city&workType=office&category=ZERO_WASTE&details=1";
pub(crate) const VALID_BODY: &str = r#"{"location":"city","workType":"office","category":"ZERO_WASTE"}"#;
pub(crate) const SSE: (&str, &str) = ("Accept", "text/event-stream");

/// Reads events off a stream until there are so many, and says nothing of what follows.
pub(crate) async fn read_some(connection: &mut Connection, events: usize) -> Vec<Event> {
    let mut bytes = Vec::new();
    loop {
        bytes.extend(connection.chunk().await.expect("more events"));
        let read = events::read_begun(&bytes);
        if read.len() >= events {
            return read;
        }
    }
}

/// The rest of a body.
pub(crate) async fn read_rest(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = connection.chunk().await {
        bytes.extend(chunk);
    }
    bytes
}

/// Sends a request whose answer is a stream.
pub(crate) async fn open(server: &Server, request: &[u8]) -> Connection {
    open_at(server.address, request).await
}

pub(crate) async fn open_at(address: SocketAddr, request: &[u8]) -> Connection {
    let mut connection = Connection::open(address).await;
    connection.send(request).await;
    assert_eq!(connection.head().await.status, 200);
    connection
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until_async(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to this: {what}");
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to this: {what}");
}

/// The value of a series, with its labels as Prometheus writes them.
pub(crate) fn metric(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{series} ")));
    line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}
