//! The real server with the real model: what a person would get. From the files that `make model` fetched.

// Helpers outside `#[test]` functions unwrap too: a failure there is a failed test.
#![allow(clippy::unwrap_used)]

#[path = "../../../server/tests/it/support/events.rs"]
#[allow(dead_code)] // The other test binary uses more of it.
mod events;
#[path = "../../../engine/tests/it/model_files.rs"]
mod model_files;
mod openai;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use leafresh_chat::{Catalog, Recommender};
use leafresh_engine::{Backend, Launch, Local, LocalSettings, Process, Source};
use leafresh_retrieval::Search;
use leafresh_server::AppState;
use leafresh_server::config::Config;
use serde_json::Value;
use tokio::net::TcpListener;

const GEMMA: &str = "gemma-3-270m-Q4_K_M.gguf";
const PLACES: [&str; 4] = ["city", "beach", "mountain", "rural"];
const WORK_TYPES: [&str; 4] = ["office", "field", "sales", "remote"];

fn model() -> Option<PathBuf> {
    model_files::model(GEMMA)
}

/// A server on a port of its own, with one thread for the model: on a busy machine threads that spin for each other
/// crawl.
async fn start(model: &Path) -> (SocketAddr, Arc<Recommender>) {
    let settings = LocalSettings { threads: Some(1), running: 16, ..LocalSettings::default() };
    serve(Arc::new(Local::load(model, &settings).unwrap())).await
}

async fn serve(backend: Arc<dyn Backend>) -> (SocketAddr, Arc<Recommender>) {
    serve_with(backend, None).await
}

async fn serve_with(backend: Arc<dyn Backend>, search: Option<Search>) -> (SocketAddr, Arc<Recommender>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog");
    let catalog = Arc::new(Catalog::load(&dir).unwrap());
    let config = Config::default();
    let recommender = Recommender::new(catalog.clone(), backend, config.chat.clone()).unwrap();
    let recommender = Arc::new(match search {
        Some(search) => recommender.with_search(search),
        None => recommender,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = AppState::new(&config, catalog);
    state.install(recommender.clone());
    tokio::spawn(leafresh_server::run(listener, state, std::future::pending()));
    (address, recommender)
}

fn url(address: SocketAddr, place: &str, work_type: &str, category: &str) -> String {
    format!(
        "http://{address}/ai/chatbot/recommendation/base-info?location={place}&workType={work_type}&category={category}&details=1"
    )
}

/// Reads a stream to its end and checks all that the contract says of it; gives the data of its `close`.
async fn answer(url: &str, progress: impl Fn(&str)) -> Value {
    let mut response = reqwest::get(url).await.unwrap();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        if body.is_empty() {
            progress("first");
        }
        body.extend(chunk);
    }
    progress("end");
    let events = events::read(&body);
    let close = events.last().unwrap();
    assert_eq!(close.name, "close", "{close:?}");
    let data = close.data["data"].clone();
    let challenges = data["challenges"].as_array().unwrap();
    let typed: Vec<&Value> = events
        .iter()
        .filter_map(|event| event.data["data"].get("challenges"))
        .filter(|value| value.is_object())
        .collect();
    assert_eq!(typed, challenges.iter().collect::<Vec<_>>(), "each challenge came as a typed event");
    let mut rendered = data["recommend"].as_str().unwrap().to_owned();
    for (index, challenge) in challenges.iter().enumerate() {
        let part = |key: &str| challenge[key].as_str().unwrap();
        rendered.extend(["\n\n", &(index + 1).to_string(), ". ", part("title"), "\n", part("description")]);
    }
    let joined: String = events.iter().filter_map(events::Event::text).collect();
    assert_eq!(joined, rendered);
    data
}

fn titles(data: &Value) -> BTreeSet<String> {
    let titles = data["challenges"].as_array().unwrap().iter();
    titles.map(|challenge| challenge["title"].as_str().unwrap().to_owned()).collect()
}

/// Hangul, digits, single spaces and a little punctuation; Latin only in words that the catalogue lists.
fn in_alphabet(text: &str) -> bool {
    let words = regex::Regex::new("LED|PET|QR|OTT|SNS|TV|PC|CO2|USB|A4|AI|kWh|kg|km|cm|g|L").unwrap();
    let plain = words.replace_all(text, "");
    !text.contains("  ")
        && plain.chars().all(|c| matches!(c, '가'..='힣' | '0'..='9') || " ,.%·~()℃".contains(c))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_128_combinations_get_a_valid_answer_in_their_category() {
    let Some(model) = model() else { return };
    let (address, recommender) = start(&model).await;
    let mut wanted = Vec::new();
    for category in recommender.catalog().categories() {
        for place in PLACES {
            wanted.extend(WORK_TYPES.map(|work_type| (place, work_type, category.clone())));
        }
    }
    assert_eq!(wanted.len(), 128);
    for group in wanted.chunks(16) {
        let mut running = tokio::task::JoinSet::new();
        for (place, work_type, category) in group.iter().cloned() {
            running.spawn(async move {
                (answer(&url(address, place, work_type, &category.code), |_| ()).await, category)
            });
        }
        while let Some(finished) = running.join_next().await {
            let (data, category) = finished.unwrap();
            assert_eq!(titles(&data).len(), 3, "three different titles: {data}");
            let recommend = data["recommend"].as_str().unwrap();
            let openings: Vec<String> = recommender.catalog().opening_sentences().collect();
            assert!(openings.iter().any(|opening| opening == recommend), "{recommend}");
            for challenge in data["challenges"].as_array().unwrap() {
                assert_eq!(challenge["category"], *category.code);
                assert_eq!(challenge["label"], *category.label);
                let description = challenge["description"].as_str().unwrap();
                assert!(description.ends_with("니다.") || description.ends_with("요."), "{description}");
                assert!(
                    in_alphabet(challenge["title"].as_str().unwrap()) && in_alphabet(description),
                    "{challenge}"
                );
            }
            assert_eq!(data["grounding"], "select");
            let sources = data["sources"].as_array().unwrap();
            let named: BTreeSet<_> =
                sources.iter().map(|source| source["title"].as_str().unwrap().to_owned()).collect();
            assert_eq!(named, titles(&data), "the sources are the documents that were chosen");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_ten_times_brings_other_titles() {
    let Some(model) = model() else { return };
    let (address, _) = start(&model).await;
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        seen.extend(titles(&answer(&url(address, "city", "office", "ZERO_WASTE"), |_| ()).await));
    }
    assert!(seen.len() > 6, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_at_once_the_last_begins_before_the_first_ends() {
    let Some(model) = model() else { return };
    let (address, recommender) = start(&model).await;
    let clock = Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    for index in 0..16 {
        let url = url(address, PLACES[index % 4], WORK_TYPES[index / 4], "PLOGGING");
        let clock = clock.clone();
        running.spawn(async move {
            let times = std::sync::Mutex::new((0, 0));
            answer(&url, |event| {
                let now = clock.fetch_add(1, Ordering::Relaxed);
                let mut times = times.lock().unwrap();
                if event == "first" { times.0 = now } else { times.1 = now }
            })
            .await;
            times.into_inner().unwrap()
        });
    }
    let times: Vec<(usize, usize)> = running.join_all().await;
    let last_first = times.iter().map(|(first, _)| first).max().unwrap();
    let first_end = times.iter().map(|(_, end)| end).min().unwrap();
    assert!(last_first < first_end, "in the order of events: {times:?}");
    while recommender.backend().health().running > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_33_the_engine_s_process_is_killed_and_every_stream_goes_on() {
    let Some(model) = model() else { return };
    let process = tokio::task::spawn_blocking(move || {
        Process::load(&Launch {
            program: env!("CARGO_BIN_EXE_leafresh").into(),
            arguments: ["engine", "--log-filter", "warn"].map(Into::into).to_vec(),
            source: Source::File(model),
            settings: LocalSettings { threads: Some(1), ..LocalSettings::default() },
        })
    });
    let process = Arc::new(process.await.unwrap().unwrap());
    // The recommender asks the process, and waits for its answer.
    let backend = process.clone();
    let handle = tokio::runtime::Handle::current();
    let serving = tokio::task::spawn_blocking(move || handle.block_on(serve(backend)));
    let (address, _) = serving.await.unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    for index in 0..8 {
        let url = url(address, PLACES[index % 4], WORK_TYPES[index / 2], "VEGAN");
        let begun = begun.clone();
        running.spawn(async move {
            let first = |event: &str| _ = (event == "first").then(|| begun.fetch_add(1, Ordering::Relaxed));
            answer(&url, first).await
        });
    }
    while begun.load(Ordering::Relaxed) < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let killed = Instant::now();
    let pid = rustix::process::Pid::from_raw(process.pid().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while process.health().restarts == 0 || !process.health().ready {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eprintln!("the next process has loaded the model after {:?}", killed.elapsed());
    for data in running.join_all().await {
        assert_eq!((&data["degraded"], titles(&data).len()), (&Value::Bool(false), 3), "{data}");
    }
    assert_eq!(process.health().restarts, 1);
}
