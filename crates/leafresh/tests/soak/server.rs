//! The server in a process of its own, so that its memory and its descriptors are its own too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use leafresh_chat::Sessions;
use leafresh_engine::fake::Recipe;
use leafresh_engine::{Launch, Process, Source};
use leafresh_server::config::Config;
use leafresh_server::{AppState, Listeners};
use leafresh_store::{Faults, Options, SessionLimits, Sqlite};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::held::Holding;
use crate::report::Report;
use crate::support::server::Metrics;
use crate::support::{Connection, get};

pub(crate) const ORDERS: &str = "LEAFRESH_SOAK_SERVER";

/// More descriptors than that are of no use here, and the limit itself has to be in reach.
const MOST_DESCRIPTORS: u64 = 20_500;

#[derive(Serialize, Deserialize)]
pub(crate) struct Orders {
    /// As in the configuration's file.
    pub(crate) config: Value,
    /// How long the fake model takes for each batch.
    pub(crate) step: Duration,
    /// It has the faults of [`crate::chaos::faults`].
    pub(crate) faults: bool,
    /// Every n-th write to the store for conversations fails. 0: none.
    pub(crate) failing_writes: usize,
    #[serde(default)]
    pub(crate) folder: PathBuf,
}

/// Is the server until its standard input closes.
pub(crate) fn serve(orders: &str) {
    let Orders { config, step, faults, failing_writes, folder } = serde_json::from_str(orders).unwrap();
    let config: Config = serde_json::from_value(config).unwrap();
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(MOST_DESCRIPTORS, |most| most.min(MOST_DESCRIPTORS));
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }).unwrap();
    let catalog = crate::support::catalog::catalog();
    let faults = if faults { crate::chaos::faults() } else { Vec::new() };
    let recipe = Recipe { seed: 1, step, faults, ..Recipe::default() };
    let launch = Launch {
        program: env!("CARGO_BIN_EXE_leafresh").into(),
        arguments: ["engine", "--log-filter", "off"].map(Into::into).to_vec(),
        source: Source::Fake(recipe),
        settings: config.engine.clone(),
    };
    let process = Arc::new(Process::load(&launch).unwrap());
    let limits =
        SessionLimits { days: config.session.days, turns: config.session.turns, ..SessionLimits::default() };
    let options = Options { limits, faults: Arc::new(Faults::every(failing_writes)), ..Options::default() };
    let store = Sqlite::open(&folder.join("sessions.db"), options).unwrap();
    let sessions = Sessions::new(Arc::new(Holding::new(store)));
    // A fault may be met while the catalogue is checked, each of them once.
    let made = (0..10)
        .find_map(|_| leafresh_server::assemble::recommender(&config, catalog.clone(), process.clone()).ok());
    let recommender = made.expect("a model for this catalogue");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let state = AppState::new(&config, catalog);
        state.open_sessions(sessions.clone());
        state.install(Arc::new(recommender.with_sessions(sessions)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let (closed, shutdown) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            drop(closed);
        });
        leafresh_server::run(Listeners::from(listener), state, async { _ = shutdown.await }).await;
    });
}

/// A server to ask.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

/// What the server and the kernel say of what is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) running: u64,
    pub(crate) queued: u64,
    pub(crate) parked: u64,
    pub(crate) kv_cells: u64,
    pub(crate) stream_bytes: u64,
    pub(crate) sessions: u64,
    pub(crate) connections: u64,
    pub(crate) descriptors: u64,
    pub(crate) children: u64,
}

impl Server {
    pub(crate) fn start(mut orders: Orders) -> Self {
        let folder = tempfile::tempdir().unwrap();
        orders.folder = folder.path().into();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(ORDERS, serde_json::to_string(&orders).unwrap())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().expect("the server says where it listens");
        Self { address, process, _folder: folder }
    }

    fn about(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.process.id())).unwrap()
    }

    /// Memory of the server itself in MiB, and with its engine's process.
    pub(crate) fn memory(&self) -> (f64, f64) {
        let of = |status: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            line.map_or(0.0, |line| line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0)
        };
        let own = of(&self.about("status"));
        let engines = self.children().into_iter();
        // One that has just died has no memory.
        let engines =
            engines.map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default());
        (own, own + engines.map(|status| of(&status)).sum::<f64>())
    }

    pub(crate) fn children(&self) -> Vec<i32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let mut children = Vec::new();
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            children.extend(text.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()));
        }
        children
    }

    /// How many descriptors it may have open.
    pub(crate) fn most_descriptors(&self) -> usize {
        let limits = self.about("limits");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn kill_engine(&self) {
        for pid in self.children() {
            // Gone already: then it has died just now.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        let close = [("Connection", "close")];
        Metrics(Connection::ask(self.address, &get("/metrics", &close)).await.text())
    }

    pub(crate) async fn usage(&self) -> Usage {
        let metrics = self.metrics().await;
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count();
        Usage {
            running: metrics.value("leafresh_requests_running"),
            queued: metrics.value("leafresh_requests_queued"),
            parked: metrics.value("leafresh_requests_parked"),
            kv_cells: metrics.value("leafresh_kv_cells_used"),
            stream_bytes: metrics.value("leafresh_stream_bytes"),
            sessions: metrics.value("leafresh_sessions_in_use"),
            connections: metrics.value("leafresh_connections"),
            descriptors: descriptors as u64,
            children: self.children().len() as u64,
        }
    }

    /// Waits until it uses no more than `baseline`, and says what it uses in the end.
    pub(crate) async fn come_to_rest(&self, baseline: &Usage, report: &Report) -> Usage {
        let began = Instant::now();
        loop {
            let usage = self.usage().await;
            if usage == *baseline || began.elapsed() > Duration::from_mins(2) {
                report.say(format!("at rest after {:.0} s: {usage:?}", began.elapsed().as_secs_f64()));
                return usage;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// As an operator ends it; says whether it ended well.
    pub(crate) fn end(mut self) -> bool {
        drop(self.process.stdin.take());
        self.process.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::io::stdout().flush();
    }
}
