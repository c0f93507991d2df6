//! `leafresh bench overhead`: what a token costs besides the model.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use leafresh_chat::{Catalog, Grounding, Recommender};
use leafresh_engine::{Local, fake::FakeModel};
use tokio::net::TcpListener;
use tokio::runtime;

use super::clients::Asker;
use super::load::{Bench, Load, Run};
use super::machine::{Stat, TICKS_PER_SECOND, Watch};
use super::questions::Questions;
use super::target::{Api, Target, at_least_one};
use leafresh_server::AppState;
use leafresh_server::config::Config;

const GOAL_MICROSECONDS: f64 = 50.0;

/// Names of threads. The engine's is the engine's own choice.
const SERVER: &str = "server";
const CLIENT: &str = "client";
const ENGINE: &str = "engine";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// So many clients at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = at_least_one)]
    clients: usize,
    /// So many requests in all
    #[arg(long, value_name = "N", default_value = "64", value_parser = at_least_one)]
    total: usize,
    /// Milliseconds that each step of the model takes: with 0 several tokens go out at once, which costs less
    #[arg(long, value_name = "N", default_value_t = 5)]
    step_ms: u64,
    /// Read categories, sentences and prompts from DIR
    #[arg(long, value_name = "DIR", default_value = "catalog")]
    catalog: PathBuf,
}

/// What was spent between two looks at the threads.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    process: u64,
    engine: u64,
    client: u64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let catalog = Catalog::load(&options.catalog).with_context(|| {
        format!(
            "the catalogue in {} can't be used (--catalog names another folder)",
            options.catalog.display()
        )
    })?;
    let catalog = Arc::new(catalog);
    let mut config = Config::default();
    // Every part written freely: each token is an event of its own.
    config.chat.grounding = Some(Grounding::None);
    let model = FakeModel::new(1).with_step(Duration::from_millis(options.step_ms));
    let backend = Local::start(Box::new(model), &config.engine)?;
    let recommender = Arc::new(Recommender::new(catalog.clone(), Arc::new(backend), config.chat.clone())?);
    let state = AppState::new(&config, catalog);
    state.install(recommender.clone());
    let server = runtime::Builder::new_multi_thread().thread_name(SERVER).enable_all().build()?;
    let listener = server.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    server.spawn(leafresh_server::run(listener, state, std::future::pending()));

    let bench = Arc::new(Bench {
        asker: Asker::new(&Target {
            url: format!("http://{address}"),
            api: Api::Leafresh,
            path: None,
            requests: None,
            body: None,
            headers: Vec::new(),
            adapters: Vec::new(),
            timeout: 300.0,
            seed: 1,
        })?,
        questions: Questions::Drawn { seed: 1 },
        adapters: Vec::new(),
        next: AtomicUsize::new(0),
        watch: Watch { pid: None },
    });
    let load = Load::Closed { clients: options.clients, total: options.total };
    let client = std::thread::Builder::new().name(CLIENT.into()).spawn(move || measure(&bench, &load))?;
    let (run, spent) = client.join().map_err(|_| anyhow!("the client ended early"))??;
    print(&run, spent, |text| recommender.backend().count_tokens(text))?;
    server.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Runs on the client's thread, which is still there when its time is read.
fn measure(bench: &Arc<Bench>, load: &Load) -> anyhow::Result<(Run, Spent)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let warmup = Load::Closed { clients: 1, total: 2 };
    runtime.block_on(bench.run(&warmup, std::future::pending(), |_, _| {}));
    let before = spent()?;
    let run = runtime.block_on(bench.run(load, std::future::pending(), |_, _| {}));
    let after = spent()?;
    let spent = Spent {
        process: after.process - before.process,
        engine: after.engine - before.engine,
        client: after.client - before.client,
    };
    Ok((run, spent))
}

fn spent() -> anyhow::Result<Spent> {
    let linux = "this needs Linux: CPU times come from /proc";
    let read = |path: PathBuf| fs::read_to_string(path).ok().and_then(|text| Stat::parse(&text));
    let mut spent =
        Spent { process: read("/proc/self/stat".into()).context(linux)?.ticks, ..Spent::default() };
    for task in fs::read_dir("/proc/self/task").context(linux)?.flatten() {
        match read(task.path().join("stat")) {
            Some(stat) if stat.name == ENGINE => spent.engine += stat.ticks,
            Some(stat) if stat.name == CLIENT => spent.client += stat.ticks,
            _ => {}
        }
    }
    Ok(spent)
}

fn print(run: &Run, spent: Spent, count: impl Fn(&str) -> usize) -> anyhow::Result<()> {
    if let Some(failed) =
        super::figures::reasons(run.records.iter().map(|record| &record.outcome), true).first()
    {
        bail!("{} requests failed: {}", failed.1, failed.0);
    }
    let tokens: usize = run.records.iter().map(|record| count(&record.text)).sum();
    let texts: usize = run.records.iter().map(|record| record.texts).sum();
    let rest = spent.process.saturating_sub(spent.engine + spent.client);
    let micros = |count: usize| rest as f64 / TICKS_PER_SECOND * 1e6 / count.max(1) as f64;
    let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
    println!("answers {}, tokens {tokens}, texts sent {texts}", run.records.len());
    println!(
        "CPU seconds: process {:.2}, of it engine {:.2}, client {:.2}, HTTP + events + chat {:.2}",
        seconds(spent.process),
        seconds(spent.engine),
        seconds(spent.client),
        seconds(rest)
    );
    println!("CPU of HTTP + events + chat for each text sent: {:.1} us", micros(texts));
    let value = micros(tokens);
    let verdict = if value <= GOAL_MICROSECONDS { "ok" } else { "short" };
    println!("goal cpu_us_per_token {value:.1} {GOAL_MICROSECONDS:.0} {verdict}");
    Ok(())
}
