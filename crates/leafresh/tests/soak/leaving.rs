//! A hundred readers leave at once: nothing is computed for them any more, and their neighbours feel it only for the
//! better.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Scale;
use crate::report::{Report, quantile};
use crate::support::{Connection, SSE, Setup, VALID, get, open, until, until_async};

const LEAVING: usize = 100;
const NEIGHBOURS: usize = 4;
const OTHER: &str = "/ai/chatbot/recommendation/base-info?location=mountain&workType=remote&category=VEGAN";

pub(crate) async fn run(scale: &Scale, report: &mut Report) {
    report.say("leaving: a hundred readers at once");
    let steps = steps_for_nobody().await;
    report.goal("steps_for_those_who_left", steps as f64, 1.0);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for _ in 0..if scale.full { 5 } else { 1 } {
        neighbours(&mut before, &mut after).await;
    }
    let (before, after) = (quantile(&mut before, 0.5), quantile(&mut after, 0.5));
    report.say(format!("a token took the neighbours {before:.2} ms before, {after:.2} ms afterwards"));
    report.measure("neighbours_tpot_ratio", after / before, 1.05);
}

/// The model is stepped by hand: how many steps still hold somebody who has left.
async fn steps_for_nobody() -> usize {
    let roomy = |config: &mut leafresh_server::config::Config| {
        (config.engine.running, config.engine.queue, config.engine.context) = (104, 10, 200_000);
    };
    let mut server = Setup::held().with(roomy).start().await;
    let mut readers = Vec::new();
    for _ in 0..LEAVING {
        readers.push(open(&server, &get(VALID, &[SSE])).await);
    }
    let mut neighbours = Vec::new();
    for _ in 0..NEIGHBOURS {
        neighbours.push(open(&server, &get(VALID, &[SSE])).await);
    }
    let mut asked = 0;
    until("all write", || {
        server.step();
        asked += 1;
        server.health().running == LEAVING + NEIGHBOURS && asked > 30
    })
    .await;
    until("it has come to a stop", || server.health().steps == asked).await;
    drop(readers);
    let parked = async || server.metrics().await.value("leafresh_requests_parked") == LEAVING as u64;
    until_async("those who left are parked", parked).await;
    let mut steps = 0;
    while server.health().running > NEIGHBOURS {
        server.step();
        steps += 1;
        until("the step is done", || server.health().steps == asked + steps as u64).await;
        // What runs is published at the beginning of the next turn.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.go_on();
    for mut neighbour in neighbours {
        let mut all = Vec::new();
        while let Some(chunk) = neighbour.chunk().await {
            all.extend(chunk);
        }
        assert_eq!(crate::support::read(&all).last().unwrap().name, "close");
    }
    steps
}

/// The times between two texts of readers that stay, before and after others have left.
async fn neighbours(before: &mut Vec<f64>, after: &mut Vec<f64>) {
    let roomy = |config: &mut leafresh_server::config::Config| {
        (config.engine.running, config.engine.queue, config.engine.context) = (104, 10, 200_000);
    };
    let server = Setup::slow(10).with(roomy).start().await;
    let mut readers = Vec::new();
    for _ in 0..LEAVING {
        readers.push(open(&server, &get(VALID, &[SSE])).await);
    }
    until("all write", || server.health().running == LEAVING).await;
    let began = Instant::now();
    let mut neighbours = JoinSet::new();
    for _ in 0..NEIGHBOURS {
        let mut connection = open(&server, &get(OTHER, &[SSE])).await;
        neighbours.spawn(async move { gaps(&mut connection, began).await });
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let left = began.elapsed();
    drop(readers);
    while let Some(gaps) = neighbours.join_next().await {
        for (at, gap) in gaps.unwrap() {
            let times = if at < left { &mut *before } else { &mut *after };
            times.push(gap);
        }
    }
}

/// When each piece came, and how long after the one before, in milliseconds.
async fn gaps(connection: &mut Connection, began: Instant) -> Vec<(Duration, f64)> {
    let mut gaps = Vec::new();
    let mut last = None;
    while connection.chunk().await.is_some() {
        let now = began.elapsed();
        if let Some(last) = last.replace(now) {
            gaps.push((now, now.saturating_sub(last).as_secs_f64() * 1000.0));
        }
    }
    gaps
}
