//! What takes longer than a test may: a crowd of readers, ten minutes of chaos, the engine killed fifty times, and then
//! the books are checked. `make soak` runs all of it; as a test it is short and judges nothing that depends on time.
//!
//! `SOAK_ONLY=crowd,chaos` chooses parts, `SOAK_SECONDS` is how long chaos reigns.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a helper fails the whole run")]

#[path = "../../../server/tests/it/support/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod support;

mod books;
mod chaos;
mod chaos_clients;
mod crowd;
mod engine_deaths;
mod held;
mod idle;
mod leaving;
mod refusals;
mod report;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use report::Report;

/// How large everything is.
pub(crate) struct Scale {
    /// What depends on time is judged, too.
    pub(crate) full: bool,
    pub(crate) chaos: Duration,
    pub(crate) kills: u64,
    pub(crate) readers: usize,
    pub(crate) active: usize,
    /// How long the times to the first text of the active ones are taken.
    pub(crate) watching: Duration,
}

impl Scale {
    fn from_environment() -> Self {
        let seconds = |otherwise| {
            let seconds = std::env::var("SOAK_SECONDS").map_or(otherwise, |text| text.parse().unwrap());
            Duration::from_secs(seconds)
        };
        if std::env::var_os("SOAK").is_some_and(|soak| soak == "full") {
            return Self {
                full: true,
                chaos: seconds(600),
                kills: 50,
                readers: 10_000,
                active: 50,
                watching: Duration::from_secs(30),
            };
        }
        Self {
            full: false,
            chaos: seconds(6),
            kills: 2,
            readers: 200,
            active: 8,
            watching: Duration::from_secs(1),
        }
    }
}

fn main() -> ExitCode {
    // The same program is also the server, and the clients that do nothing.
    if let Ok(orders) = std::env::var(server::ORDERS) {
        server::serve(&orders);
        return ExitCode::SUCCESS;
    }
    if let Ok(orders) = std::env::var(idle::ORDERS) {
        idle::hold(&orders);
        return ExitCode::SUCCESS;
    }
    // `cargo test NAME` asks every test program for tests of that name, and there is only one in here.
    let filters: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !filters.is_empty() && !filters.iter().any(|filter| "soak".contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    let only = std::env::var("SOAK_ONLY").unwrap_or_default();
    let chosen = |part: &str| only.is_empty() || only.split(',').any(|name| name.trim() == part);
    let scale = Scale::from_environment();
    let mut report = Report::new(scale.full);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        if chosen("refusals") {
            refusals::run(&scale, &mut report).await;
        }
        if chosen("leaving") {
            leaving::run(&scale, &mut report).await;
        }
        if chosen("kills") {
            engine_deaths::run(&scale, &mut report).await;
        }
        if chosen("crowd") {
            crowd::run(&scale, &mut report).await;
        }
        if chosen("chaos") {
            chaos::run(&scale, &mut report).await;
        }
    });
    // The suites that ran before this one, and whether they failed: `browser=0 fuzz=1`.
    for suite in std::env::var("SOAK_SUITES").unwrap_or_default().split_whitespace() {
        let (name, failed) = suite.split_once('=').expect("a suite and its exit status");
        report.goal(&format!("{name}_failed"), failed.parse().unwrap(), 0.0);
    }
    report.end()
}
