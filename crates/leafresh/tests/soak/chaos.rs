//! Random clients against a server whose engine has faults and is killed now and again; then the books are checked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use leafresh_engine::fake::Fault;
use serde_json::json;
use tokio::task::JoinSet;

use crate::Scale;
use crate::chaos_clients::{Deeds, Kind, World, visit};
use crate::report::Report;
use crate::server::{Orders, Server, Usage};
use crate::support::{Connection, SSE, VALID, get};

const CLIENTS: usize = 100;

/// A character whose prompt kills every engine that reads it.
pub(crate) const DEADLY: char = '뷁';

pub(crate) async fn run(scale: &Scale, report: &mut Report) {
    let config = json!({
        "server": { "request_seconds": 3 },
        "stream": { "grace_seconds": 3, "retention_seconds": 5, "keep_alive_seconds": 1 },
        "limits": { "trusted_proxies": ["127.0.0.1"], "requests_per_minute": 1200, "burst": 100, "running": 16 },
    });
    let step = Duration::from_millis(5);
    let server = Server::start(Orders { config, step, faults: true, failing_writes: 40, folder: "".into() });
    report.say(format!("chaos: {CLIENTS} clients for {} s", scale.chaos.as_secs()));
    let one = Connection::ask(server.address, &get(&format!("{VALID}&sessionId=first"), &[SSE])).await;
    assert_eq!(one.status(), 200);
    let baseline = baseline(&server).await;
    report.say(format!("baseline: {baseline:?}"));
    let deeds = Arc::new(Deeds::default());
    // A server takes what it needs when it is used first.
    let warm_up = scale.chaos / 4;
    let mut kills = reign(&server, &deeds, warm_up, report).await;
    server.come_to_rest(&baseline, report).await;
    let level = server.memory().0;
    report.say(format!("{level:.0} MiB after warming up"));
    kills += reign(&server, &deeds, scale.chaos.saturating_sub(warm_up), report).await;
    let left = server.come_to_rest(&baseline, report).await;
    let memory = server.memory().0;
    report.say(format!("{memory:.0} MiB in the end; {kills} kills; {}", deeds.summary()));
    check(&server, &deeds, (&baseline, &left), report).await;
    report.measure("chaos_memory_growth_percent", (memory / level - 1.0) * 100.0, 5.0);
    report.goal("chaos_server_ended_badly", f64::from(u8::from(!server.end())), 0.0);
}

/// One of each kind, somewhere in the life of each engine.
pub(crate) fn faults() -> Vec<Fault> {
    let at = || rand::random_range(50..1500);
    vec![
        Fault::CacheFull { batch: at() },
        Fault::CacheFull { batch: at() },
        Fault::Decode { batch: at() },
        Fault::Delay { batch: at(), by: Duration::from_millis(1500) },
        Fault::Logits { row: at() * 4, value: f32::NAN },
        Fault::Logits { row: at() * 4, value: f32::INFINITY },
        Fault::PanicScoring { row: at() * 4 },
        Fault::DrawOutside { row: at() * 4 },
        Fault::PanicTokenizing { text: at() },
        Fault::Outside { text: at() },
        Fault::Abort { character: DEADLY },
    ]
}

/// What a server needs that does nothing.
async fn baseline(server: &Server) -> Usage {
    let mut least: Option<Usage> = None;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let usage = server.usage().await;
        if usage.stream_bytes == 0 && least.is_none_or(|least| usage.descriptors < least.descriptors) {
            least = Some(usage);
        }
    }
    least.expect("what was kept is forgotten")
}

/// Lets the clients in, kills the engine now and again, and sees the last client out. Says how often it was killed.
async fn reign(server: &Server, deeds: &Arc<Deeds>, length: Duration, report: &Report) -> u64 {
    let until = Instant::now() + length;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let world = World { address: server.address, deeds: deeds.clone(), until, number };
        clients.spawn(async move {
            while Instant::now() < world.until {
                // Each visit for itself: what fails in it is noted.
                let kind = Kind::any();
                if let Err(failed) = tokio::spawn(visit(kind, world.clone())).await {
                    world.deeds.wrong(kind, failed);
                }
            }
        });
    }
    let mut kills = 0;
    while Instant::now() < until {
        // Every 20 to 40 seconds, and at least twice in short runs.
        let pause = length.div_f64(3.0).min(Duration::from_secs_f64(rand::random_range(20.0..40.0)));
        tokio::time::sleep(pause.min(until - Instant::now())).await;
        if Instant::now() < until {
            server.kill_engine();
            kills += 1;
            report.say(format!("kill {kills}; {}; {:.0} MiB", deeds.summary(), server.memory().0));
        }
    }
    while clients.join_next().await.is_some() {}
    kills
}

async fn check(server: &Server, deeds: &Deeds, (before, after): (&Usage, &Usage), report: &mut Report) {
    let wrong = deeds.wrongs();
    for wrong in wrong.iter().take(20) {
        report.say(format!("wrong: {wrong}"));
    }
    let texts = deeds.books.wrong_texts();
    for text in texts.iter().take(20) {
        report.say(format!("changed: {text}"));
    }
    report.goal("chaos_wrong_ends", wrong.len() as f64, 0.0);
    report.goal("chaos_texts_changed", texts.len() as f64, 0.0);
    let metrics = server.metrics().await;
    let (admitted, ended) = (metrics.value("leafresh_requests_admitted_total"), metrics.all_ended());
    let seen = deeds.books.streams() as u64;
    report.say(format!("{admitted} streams, of which clients saw {seen}; {ended} ends counted"));
    report.goal("chaos_ends_not_counted", admitted.abs_diff(ended) as f64, 0.0);
    // The first one was before the books were opened.
    report.goal("chaos_streams_from_nowhere", seen.saturating_sub(admitted - 1) as f64, 0.0);
    let left = [
        ("running", before.running, after.running),
        ("queued", before.queued, after.queued),
        ("parked", before.parked, after.parked),
        ("kv_cells", before.kv_cells, after.kv_cells),
        ("stream_bytes", before.stream_bytes, after.stream_bytes),
        ("sessions", before.sessions, after.sessions),
        ("connections", before.connections, after.connections),
        ("descriptors", before.descriptors, after.descriptors),
        ("children", before.children, after.children),
    ];
    for (name, before, after) in left {
        report.goal(&format!("chaos_left_{name}"), after.saturating_sub(before) as f64, 0.0);
    }
    report.goal("chaos_left_permits", missing_permits(server).await, 0.0);
}

/// Every client may have sixteen answers at once again: how many of those are refused.
async fn missing_permits(server: &Server) -> f64 {
    let mut missing = 0;
    for client in 0..crate::chaos_clients::ADDRESSES {
        let from = format!("10.0.0.{client}");
        let mut held = Vec::new();
        for number in 0..16 {
            let mut connection = Connection::open(server.address).await;
            let target = format!("{VALID}&requestId=permit-{client}-{number}");
            connection.send(&get(&target, &[SSE, ("X-Forwarded-For", &from)])).await;
            missing += u32::from(connection.head().await.status == 429);
            held.push(connection);
        }
        for mut connection in held {
            while connection.chunk().await.is_some() {}
        }
    }
    f64::from(missing)
}
