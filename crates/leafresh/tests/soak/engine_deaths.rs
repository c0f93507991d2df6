//! Eight streams run, the engine's process is killed at a random moment, and all of them go on.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::Scale;
use crate::books::Books;
use crate::report::{Report, quantile};
use crate::server::{Orders, Server};
use crate::support::events::Reader;
use crate::support::{Connection, DETAILED, Event, SSE, get, until_async};

const STREAMS: u64 = 8;

pub(crate) async fn run(scale: &Scale, report: &mut Report) {
    report.say(format!("kills: {} of the engine with {STREAMS} streams running", scale.kills));
    let step = Duration::from_millis(4);
    let server = Server::start(Orders {
        config: json!({}),
        step,
        faults: false,
        failing_writes: 0,
        folder: "".into(),
    });
    let (books, mut pauses, mut whole) = (Books::default(), Vec::new(), Duration::ZERO);
    let (mut closed, mut degraded) = (0, 0);
    for round in 0..=scale.kills {
        let mut readers = JoinSet::new();
        for _ in 0..STREAMS {
            readers.spawn(read(server.address));
        }
        let running = async || server.metrics().await.value("leafresh_requests_running") == STREAMS;
        until_async("all run", running).await;
        let began = Instant::now();
        if round > 0 {
            tokio::time::sleep(whole.mul_f64(rand::random_range(0.0..0.8))).await;
            server.kill_engine();
        }
        while let Some(read) = readers.join_next().await {
            let (events, pause) = read.unwrap();
            let last = events.last().unwrap();
            for event in &events {
                books.note(event);
            }
            if round > 0 {
                closed += u64::from(last.name == "close");
                degraded += u64::from(last.data["data"]["degraded"] == true);
                pauses.push(pause.as_secs_f64());
            } else {
                whole = began.elapsed();
            }
        }
        let again = async || {
            let metrics = server.metrics().await;
            metrics.value("leafresh_engine_restarts_total") == round
                && metrics.value("leafresh_kv_cells_used") == 0
        };
        until_async("it runs again", again).await;
        if round % 10 == 0 {
            report.say(format!("{round} kills, {closed} streams closed"));
        }
    }
    let streams = scale.kills * STREAMS;
    let (median, longest) = (quantile(&mut pauses, 0.5), quantile(&mut pauses, 1.0));
    report.say(format!("a reader's pause: median {median:.2} s, longest {longest:.2} s"));
    report.goal("kills_streams_not_closed", (streams - closed) as f64, 0.0);
    report.goal("kills_streams_degraded", degraded as f64, 0.0);
    report.goal("kills_texts_changed", books.wrong_texts().len() as f64, 0.0);
    report.measure("kills_longest_pause_s", longest, 10.0);
}

/// A stream's events, and the longest time between two pieces of it.
async fn read(address: std::net::SocketAddr) -> (Vec<Event>, Duration) {
    let mut connection = Connection::open(address).await;
    connection.send(&get(DETAILED, &[SSE])).await;
    assert_eq!(connection.head().await.status, 200);
    let (mut reader, mut pause, mut last) = (Reader::default(), Duration::ZERO, Instant::now());
    while let Some(chunk) = connection.chunk().await {
        pause = pause.max(last.elapsed());
        last = Instant::now();
        reader.read(&chunk);
    }
    assert!(reader.events.last().is_some_and(Event::is_terminal), "a stream without an end");
    (reader.events, pause)
}
