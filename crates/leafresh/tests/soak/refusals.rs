//! A full queue refuses at once, whatever waits in it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Scale;
use crate::report::{Report, quantile};
use crate::server::{Orders, Server};
use crate::support::{Connection, SSE, VALID, get, until_async};

pub(crate) async fn run(scale: &Scale, report: &mut Report) {
    report.say("refusals: 16 write, 64 wait, and more ask");
    let step = Duration::from_millis(30);
    let config = json!({ "engine": { "running": 16 }, "fallback": { "on": [] }, "deadlines": { "queue_seconds": 600 } });
    let server = Server::start(Orders { config, step, faults: false, failing_writes: 0, folder: "".into() });
    let mut readers = Vec::new();
    for _ in 0..80 {
        let mut connection = Connection::open(server.address).await;
        connection.send(&get(VALID, &[SSE])).await;
        assert_eq!(connection.head().await.status, 200);
        readers.push(connection);
    }
    until_async("64 wait", async || server.metrics().await.value("leafresh_requests_queued") == 64).await;
    let (mut times, mut wrong) = (Vec::new(), 0);
    for _ in 0..if scale.full { 500 } else { 20 } {
        let began = Instant::now();
        let response = Connection::ask(server.address, &get(VALID, &[SSE])).await;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        match (response.status(), response.head.header("retry-after")) {
            (503, Some(_)) => times.push(took),
            // One that waited has got its turn.
            (200, _) => {}
            other => {
                report.say(format!("not a refusal: {other:?}"));
                wrong += 1;
            }
        }
        if server.metrics().await.value("leafresh_requests_queued") < 64 {
            break;
        }
    }
    report.say(format!("{} were refused, median {:.1} ms", times.len(), quantile(&mut times, 0.5)));
    report.goal("refusals_wrong", f64::from(wrong), 0.0);
    report.measure("refusal_p99_ms", quantile(&mut times, 0.99), 50.0);
}
