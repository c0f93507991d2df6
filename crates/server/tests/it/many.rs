//! Many readers at once.

use std::time::{Duration, Instant};

use crate::support::{Connection, SSE, Setup, VALID, get, read, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_clients_at_once_all_finish_and_none_waits_for_another_to_end() {
    let server = Setup::slow(10).with(|config| config.engine.running = 16).start().await;
    let began = Instant::now();
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let address = server.address;
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await;
                connection.send(&get(VALID, &[SSE])).await;
                connection.head().await;
                let mut body = connection.chunk().await.unwrap();
                let first = began.elapsed();
                while let Some(chunk) = connection.chunk().await {
                    body.extend(chunk);
                }
                assert_eq!(read(&body).last().unwrap().name, "close");
                (first, began.elapsed())
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.push(client.await.unwrap());
    }
    let last_first = times.iter().map(|(first, _)| *first).max().unwrap();
    let first_end = times.iter().map(|(_, end)| *end).min().unwrap();
    assert!(last_first < first_end, "first token of the last {last_first:?}, end of the first {first_end:?}");
    until("all slots are free", || server.health().running == 0).await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_nobody_up() {
    let server = Setup::slow(5).start().await;
    let mut stuck = Connection::open(server.address).await;
    stuck.send(&get(VALID, &[SSE])).await;
    let began = Instant::now();
    let body = Connection::ask(server.address, &get(VALID, &[SSE])).await.body();
    assert_eq!(read(&body).last().unwrap().name, "close");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // What it missed is still there.
    assert_eq!(read(&stuck.response().await.body()).last().unwrap().name, "close");
}
