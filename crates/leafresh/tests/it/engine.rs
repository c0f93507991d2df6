//! The engine in a process of its own, which dies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leafresh_engine::fake::{Fault, Recipe};
use leafresh_engine::{Backend, Error, Launch, Process, Source};
use leafresh_server::config::{Config, Seconds};
use serde_json::json;

use crate::support::java::relay;
use crate::support::{BASE_INFO, Connection, Event, SSE, Server, VALID, get, read, until};

/// How to start the program's own engine with a fake model.
pub(crate) fn launch(recipe: Recipe, config: &Config) -> Launch {
    Launch {
        program: env!("CARGO_BIN_EXE_leafresh").into(),
        arguments: ["engine", "--log-filter", "warn"].map(Into::into).to_vec(),
        source: Source::Fake(recipe),
        settings: config.engine.clone(),
    }
}

pub(crate) async fn start(recipe: Recipe, config: Config) -> (Server, Arc<Process>) {
    let launch = launch(recipe, &config);
    let process = tokio::task::spawn_blocking(move || Process::load(&launch)).await.unwrap().unwrap();
    let process = Arc::new(process);
    let server = Server::without_model(&config).await;
    let backend = process.clone();
    (server.install(backend, config, None).await, process)
}

pub(crate) fn slow(milliseconds: u64) -> Recipe {
    Recipe { seed: 1, step: Duration::from_millis(milliseconds), ..Recipe::default() }
}

fn kill(process: &Process) {
    if let Some(pid) = process.pid().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)) {
        // Gone already: then it has died just now.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// A stream read to its end, and the longest time between two pieces of it.
pub(crate) async fn reader(address: SocketAddr, target: &str) -> (Vec<Event>, Duration) {
    let mut connection = Connection::open(address).await;
    connection.send(&get(&format!("{target}&details=1"), &[SSE])).await;
    assert_eq!(connection.head().await.status, 200);
    let (mut body, mut pause, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
    while let Some(chunk) = connection.chunk().await {
        pause = pause.max(last.elapsed());
        last = Instant::now();
        body.extend(chunk);
    }
    (read(&body), pause)
}

/// Ends in `close`, and its texts are the answer in it, nothing lost and nothing doubled.
pub(crate) fn assert_whole(events: &[Event]) {
    let close = events.last().unwrap();
    assert_eq!((close.name.as_str(), &close.data["data"]["degraded"]), ("close", &json!(false)), "{close:?}");
    let data = &close.data["data"];
    let mut expected = data["recommend"].as_str().unwrap().to_owned();
    for (index, challenge) in data["challenges"].as_array().unwrap().iter().enumerate() {
        let part = |key: &str| challenge[key].as_str().unwrap().to_owned();
        let number = (index + 1).to_string();
        expected.extend(["\n\n", &number, ". ", &part("title"), "\n", &part("description")]);
    }
    let texts: String = events.iter().filter_map(Event::text).collect();
    assert_eq!(texts, expected);
}

fn is_idle(process: &Process) -> bool {
    let health = process.health();
    (health.ready, health.running, health.queued, health.parked, health.kv_used) == (true, 0, 0, 0, 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_33_the_engine_is_killed_with_eight_streams_running_and_all_of_them_go_on() {
    let rounds = std::env::var("LEAFRESH_KILLS").map_or(5, |count| count.parse().unwrap());
    let (server, process) = start(slow(4), Config::default()).await;
    let (mut pauses, mut whole) = (Vec::new(), Duration::ZERO);
    for round in 0..=rounds {
        let address = server.address;
        let readers: Vec<_> = (0..8).map(|_| tokio::spawn(reader(address, VALID))).collect();
        until("all eight run", || process.health().running == 8).await;
        let began = Instant::now();
        if round > 0 {
            // Anywhere between the first words and almost the last.
            tokio::time::sleep(whole.mul_f64(rand::random_range(0.0..0.9))).await;
            kill(&process);
        }
        for reader in readers {
            let (events, pause) = reader.await.unwrap();
            assert_whole(&events);
            if round > 0 {
                pauses.push(pause);
            }
        }
        if round == 0 {
            whole = began.elapsed();
        }
        let dead = || process.health().restarts == round;
        until("it runs again, and nothing is left", || dead() && is_idle(&process)).await;
    }
    pauses.sort();
    let (median, longest) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
    eprintln!("{} streams, {rounds} kills: pause median {median:?}, longest {longest:?}", pauses.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_in_java_sees_nothing_of_an_engine_s_death() {
    let (server, process) = start(slow(20), Config::default()).await;
    let url = format!("http://{}{VALID}", server.address);
    let relaying = tokio::spawn(async move { relay(&url).await });
    until("it writes, or there is no Java here", || process.health().steps > 3 || relaying.is_finished())
        .await;
    kill(&process);
    let Some(relayed) = relaying.await.unwrap() else { return };
    assert_eq!(relayed.faults, [[""; 0]; 0]);
    assert!(relayed.complete);
    assert_eq!(process.health().restarts, 1);
    let close = relayed.forwarded.last().unwrap().data()["data"].clone();
    let part = |challenge: &serde_json::Value, key: &str| challenge[key].as_str().unwrap().to_owned();
    let mut expected = close["recommend"].as_str().unwrap().to_owned();
    for (index, challenge) in close["challenges"].as_array().unwrap().iter().enumerate() {
        let (title, description) = (part(challenge, "title"), part(challenge, "description"));
        expected.extend([format!("\n\n{}. {title}\n{description}", index + 1)]);
    }
    assert_eq!(relayed.text(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_33_a_request_that_engines_die_of_is_set_aside_and_the_next_one_is_answered() {
    let recipe = Recipe { faults: vec![Fault::Abort { character: '뷁' }], ..slow(0) };
    let mut config = Config::default();
    config.fallback.on.clear(); // Or the catalogue would answer.
    let (server, process) = start(recipe, config).await;
    let deadly = format!("{BASE_INFO}?location=%EB%B7%81&workType=office&category=ZERO_WASTE");
    let (events, _) = reader(server.address, &deadly).await;
    assert_eq!(events.last().unwrap().name, "error");
    assert_eq!(process.health().restarts, 2);
    assert_whole(&reader(server.address, VALID).await.0);
    until("nothing is left", || is_idle(&process)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_33_readiness_follows_the_engine_and_requests_meanwhile_wait_for_the_next_one() {
    let (server, process) = start(slow(1), Config::default()).await;
    assert_eq!(Connection::ask(server.address, &get("/health/ready", &[])).await.status(), 200);
    // Killed twice at once, the second one comes after a pause.
    kill(&process);
    until("it has died", || process.pid().is_none()).await;
    let ready = Connection::ask(server.address, &get("/health/ready", &[])).await;
    if ready.status() == 503 {
        assert_eq!(ready.json()["data"]["reasons"], json!(["engine"]));
    }
    assert_whole(&reader(server.address, VALID).await.0);
    assert_eq!(Connection::ask(server.address, &get("/health/ready", &[])).await.status(), 200);
    let metrics = Connection::ask(server.address, &get("/metrics", &[])).await.text();
    assert!(metrics.contains("leafresh_engine_restarts_total 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_1_a_reader_that_leaves_stops_the_engine_s_process_too() {
    let mut config = Config::default();
    config.stream.grace_seconds = Seconds(Duration::ZERO);
    let (server, process) = start(slow(20), config).await;
    let mut connection = Connection::open(server.address).await;
    connection.send(&get(VALID, &[SSE])).await;
    connection.head().await;
    until("it runs", || process.health().running == 1).await;
    drop(connection);
    until("nothing is left", || is_idle(&process)).await;
    let steps = process.health().steps;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(process.health().steps, steps, "it computes on for nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_s_process_refuses_as_the_engine_does_and_ends_with_its_owner() {
    let mut config = Config::default();
    config.engine.running = 0;
    let wrong = launch(slow(0), &config);
    let error = tokio::task::spawn_blocking(move || Process::load(&wrong)).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("engine.running"), "{error}");

    let config = Config::default();
    let gone = Launch { program: "/nowhere/leafresh".into(), ..launch(slow(0), &config) };
    let error = tokio::task::spawn_blocking(move || Process::load(&gone)).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("/nowhere/leafresh"), "{error}");

    let missing = Launch { source: Source::File("/nowhere/model.gguf".into()), ..launch(slow(0), &config) };
    let error = tokio::task::spawn_blocking(move || Process::load(&missing)).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::ModelFile { path, .. } if path.ends_with("model.gguf")), "{error}");

    let process =
        tokio::task::spawn_blocking(move || Process::load(&launch(slow(0), &config))).await.unwrap().unwrap();
    let child = format!("/proc/{}/stat", process.pid().unwrap());
    let stat = std::fs::read_to_string(&child).unwrap();
    assert!(stat.contains("leafresh"), "{stat}");
    drop(process);
    until("the process has ended", || std::fs::read_to_string(&child).is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_29_a_panic_while_a_program_is_checked_is_an_error_and_no_silence() {
    let config = Config::default();
    let launch = launch(Recipe { faults: vec![Fault::PanicTokenizing { text: 1 }], ..slow(0) }, &config);
    let made = tokio::task::spawn_blocking(move || {
        let process = Arc::new(Process::load(&launch).unwrap());
        let catalog = crate::support::catalog::catalog();
        let first = leafresh_server::assemble::recommender(&config, catalog.clone(), process.clone());
        // It happens once: the engine lives.
        (first, leafresh_server::assemble::recommender(&config, catalog, process))
    });
    let (first, second) = made.await.unwrap();
    assert!(first.is_err_and(|error| error.to_string().contains("a fault for a test")));
    assert!(second.is_ok());
}

/// Field report 8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_speaks_otherwise_is_named_so() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("another-version");
    // A frame of another version, and then it listens.
    std::fs::write(
        &other,
        "#!/bin/sh\nprintf '\\000\\000\\000\\036leafresh 9, engine protocol 99' >&0\nexec cat >/dev/null\n",
    )
    .unwrap();
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let launch = Launch { program: other, ..launch(slow(0), &Config::default()) };
    let error = tokio::task::spawn_blocking(move || Process::load(&launch)).await.unwrap().unwrap_err();
    assert!(
        error.to_string().contains("engine protocol 99") && error.to_string().contains("restart"),
        "{error}"
    );
}
