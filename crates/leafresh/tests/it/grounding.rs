//! The index when it is away, silent, empty or another model's.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leafresh_chat::{Document, Sessions};
use leafresh_engine::fake::FakeEmbedder;
use leafresh_engine::{Embedder, EmbedderInfo, Embedding, EmbeddingSettings, LlamaEmbedder};
use leafresh_retrieval::{Corpus, Index, Location, Search, ServerSettings};
use leafresh_server::Retrieval;
use leafresh_server::config::Seconds;
use leafresh_store::{Options, Sqlite};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::index_kill::embedding_model;
use crate::program::{Program, model};
use crate::run::{leafresh, text};
use crate::support::catalog::catalog;
use crate::support::{Connection, FREE_TEXT, SSE, Server, Setup, VALID, get, read, until_async};

pub(crate) fn fake() -> Arc<FakeEmbedder> {
    Arc::new(FakeEmbedder::new(32))
}

/// The data of `close` of an answer by the model whose documents are the catalogue's.
async fn answered(server: &Server, target: &str) -> Value {
    let response = Connection::ask(server.address, &get(&format!("{target}&details=1"), &[SSE])).await;
    let events = read(&response.body());
    let close = events.last().unwrap();
    assert_eq!(close.name, "close", "{close:?}");
    let answer = close.data["data"].clone();
    assert_eq!(answer["degraded"], json!(false), "{answer}");
    assert_eq!(answer["challenges"].as_array().unwrap().len(), 3, "{answer}");
    for source in answer["sources"].as_array().unwrap() {
        let known = catalog().documents().iter().any(|document| source["id"] == json!(document.id));
        assert!(known, "{source}");
    }
    answer
}

/// How near the documents are is known where they were found by meaning, and null elsewhere.
#[tokio::test]
async fn a_source_has_a_score_where_it_was_found_by_meaning() {
    let scores = async |server: &Server| {
        let answer = answered(server, VALID).await;
        let sources = answer["sources"].as_array().unwrap().clone();
        assert!(!sources.is_empty(), "{answer}");
        sources.into_iter().map(|source| source["score"].clone()).collect::<Vec<_>>()
    };
    let without = Setup::default().start().await;
    assert!(scores(&without).await.iter().all(Value::is_null), "nothing was searched");
    let folder = tempfile::tempdir().unwrap();
    let place = Location::Folder(folder.path().join("index"));
    let retrieval = Retrieval::new(place, Some(fake())).await.unwrap();
    let server = Setup { search: retrieval.search.clone(), ..Setup::default() }.start().await;
    let state = server.state.clone();
    tokio::spawn(async move { retrieval.keep(catalog(), state).await });
    // Until documents are indexed they come from the catalogue.
    let known = async || {
        let near = |score: &Value| score.as_f64().is_some_and(|score| (0.0..=1.0).contains(&score));
        scores(&server).await.iter().all(near)
    };
    until_async("they are found by meaning", known).await;
}

async fn both_kinds_are_answered(server: &Server) {
    assert_eq!(answered(server, VALID).await["challenges"][0]["category"], "ZERO_WASTE");
    let message =
        utf8_percent_encode("메일함이 꽉 찼어요, 메일 정리하고 싶어요", NON_ALPHANUMERIC).to_string();
    let answer = answered(server, &format!("{FREE_TEXT}?message={message}")).await;
    assert_eq!(answer["challenges"][0]["category"], "DIGITAL_CARBON");
}

/// A server whose index is to be on this Qdrant server.
async fn beside(url: String) -> Server {
    let timeout = Duration::from_mins(1);
    let place = ServerSettings { url, api_key: None, collection: "leafresh".into(), timeout };
    let retrieval = Retrieval::new(Location::Server(place), Some(fake())).await.unwrap();
    let server = Setup { search: retrieval.search.clone(), ..Setup::default() }.start().await;
    let state = server.state.clone();
    tokio::spawn(async move { retrieval.keep(catalog(), state).await });
    let ready = async || Connection::ask(server.address, &get("/health/ready", &[])).await.json();
    until_async("it says what it waits for", async || ready().await["data"]["reasons"] == json!(["index"]))
        .await;
    server
}

#[tokio::test]
async fn case_23_a_qdrant_server_that_is_down_or_says_nothing_keeps_nobody_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Connections come about, and nobody answers on them.
    both_kinds_are_answered(&beside(url.clone()).await).await;
    drop(listener);
    both_kinds_are_answered(&beside(url).await).await;
}

/// Gets nowhere with what begins like this as long as somebody holds the lock.
struct Stuck(FakeEmbedder, Arc<Mutex<()>>, &'static str);

impl Embedder for Stuck {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Embedding>, leafresh_engine::Error> {
        let waits = texts.iter().any(|text| text.starts_with(self.2));
        let _free = waits.then(|| self.1.lock());
        self.0.embed(texts)
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.0.count_tokens(text)
    }

    fn info(&self) -> &EmbedderInfo {
        self.0.info()
    }
}

/// Runs a test in a folder that outlives its server: an index writes while it closes.
fn in_a_folder(test: impl AsyncFnOnce(Location)) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(test(Location::Folder(folder.path().join("index"))));
}

#[test]
fn case_23_a_search_that_takes_too_long_is_done_without() {
    in_a_folder(takes_too_long);
}

async fn takes_too_long(place: Location) {
    let held = Arc::new(Mutex::new(()));
    let stuck = Arc::new(Stuck(FakeEmbedder::new(32), held.clone(), ""));
    let index = Index::open(&place, stuck).await.unwrap();
    index.update(&Corpus::catalog(&catalog().documents()[..40])).await.unwrap();
    let setup = Setup { search: Some(index.search()), ..Setup::default() };
    let short = setup.with(|config| config.deadlines.retrieval_seconds = Seconds(Duration::from_millis(50)));
    let server = short.start().await;
    let holder = Holder::of(held);
    both_kinds_are_answered(&server).await;
    drop(holder);
}

/// Field report 42: only what took too long isn't tried again. Words that say where a conversation goes aren't embedded; the
/// category that is searched for instead is.
#[test]
fn what_only_goes_on_with_a_conversation_is_searched_for_too() {
    in_a_folder(async |place| {
        let index = Index::open(&place, fake()).await.unwrap();
        index.update(&Corpus::catalog(catalog().documents())).await.unwrap();
        let kept = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&kept.path().join("sessions.db"), Options::default()).unwrap();
        let sessions = Sessions::new(Arc::new(store));
        let setup = Setup { search: Some(index.search()), sessions: Some(sessions), ..Setup::default() };
        let setup = setup.with(|config| config.deadlines.retrieval_seconds = Seconds(Duration::from_mins(1)));
        let server = setup.start().await;
        for message in ["메일함이 꽉 찼어요, 메일 정리하고 싶어요", "다른 거"] {
            let message = utf8_percent_encode(message, NON_ALPHANUMERIC);
            let answer = answered(&server, &format!("{FREE_TEXT}?sessionId=s&message={message}")).await;
            let sources = answer["sources"].as_array().unwrap();
            let by_meaning = sources.iter().all(|source| source["score"].is_number());
            assert!(!sources.is_empty() && by_meaning, "{message}: {answer}");
        }
    });
}

#[test]
fn the_first_start_does_not_wait_for_what_people_ask_to_be_embedded() {
    in_a_folder(async |place| {
        let held = Arc::new(Mutex::new(()));
        let stuck = Arc::new(Stuck(FakeEmbedder::new(32), held.clone(), "query: "));
        let holder = Holder::of(held);
        let retrieval = Retrieval::new(place, Some(stuck)).await.unwrap();
        let server = Setup { search: retrieval.search.clone(), ..Setup::default() }.start().await;
        let state = server.state.clone();
        tokio::spawn(async move { retrieval.keep(catalog(), state).await });
        let ready = async || Connection::ask(server.address, &get("/health/ready", &[])).await.status();
        until_async("it is ready", async || ready().await == 200).await;
        assert_eq!(answered(&server, VALID).await["challenges"][0]["category"], "ZERO_WASTE");
        drop(holder);
    });
}

/// A thread that holds a lock until this is dropped.
struct Holder {
    hold: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Holder {
    fn of(held: Arc<Mutex<()>>) -> Self {
        let (hold, release) = std::sync::mpsc::channel::<()>();
        let (holds, is_held) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _held = held.lock().unwrap();
            holds.send(()).unwrap();
            // Until the test lets go, or fails.
            let _ = release.recv();
        });
        is_held.recv().unwrap();
        Self { hold: Some(hold), thread: Some(thread) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.hold.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn case_23_an_empty_index_is_answered_from_the_catalogue() {
    in_a_folder(async |place| {
        let index = Index::open(&place, fake()).await.unwrap();
        let server = Setup { search: Some(index.search()), ..Setup::default() }.start().await;
        both_kinds_are_answered(&server).await;
    });
}

/// An index of challenges about nothing that the catalogue has, in a data folder.
pub(crate) async fn indexed(data: &Path, embedder: Arc<dyn Embedder>) -> Vec<String> {
    let titles = ["달빛 손수건 접기", "조약돌 지도 그리기", "구름 관찰 일기 쓰기", "솔방울 습도계 만들기"];
    let document = |title: &str| Document {
        id: title.into(),
        category: "ZERO_WASTE".into(),
        title: title.into(),
        text: format!("{title}를 해 보세요. 일회용품 없이 할 수 있어요."),
        short: format!("{title}를 오늘 해요."),
        source: "시험".into(),
        ..Document::default()
    };
    let documents: Vec<Document> = titles.into_iter().map(document).collect();
    let index = Index::open(&Location::Folder(data.join("index")), embedder).await.unwrap();
    index.update(&Corpus::catalog(&documents)).await.unwrap();
    titles.map(str::to_owned).to_vec()
}

pub(crate) fn with_index(arguments: &[&str], data: &Path) -> Command {
    let mut command = leafresh(arguments);
    command.env("LEAFRESH_DATA__DIR", data).env("LEAFRESH_RETRIEVAL__MODEL", embedding_model().unwrap());
    command.env("LEAFRESH_ENGINE__THREADS", "1").env("LEAFRESH_DEADLINES__RETRIEVAL_SECONDS", "60");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_an_index_of_another_dimension_is_an_error_at_the_start_with_the_command_that_helps() {
    let Some(model) = model() else { return };
    let data = tempfile::tempdir().unwrap();
    indexed(data.path(), fake()).await;
    let wider = Arc::new(FakeEmbedder::new(48));
    let retrieval = Retrieval::new(Location::Folder(data.path().join("index")), Some(wider)).await.unwrap();
    let error = retrieval.keep(catalog(), Server::start().await.state.clone()).await.unwrap_err();
    assert!(error.to_string().contains("`leafresh index --rebuild"), "{error}");
    // And the program, whatever it was started for.
    let ask = ["ask", "--location", "city", "--work-type", "office", "--category", "ZERO_WASTE"];
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &ask] {
        let output = with_index(arguments, data.path()).args(["--model", &model]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("32 dimensions") && said.contains("`leafresh index --rebuild"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_answers_from_the_index_and_without_one_from_the_catalogue() {
    let Some(model) = model() else { return };
    let data = tempfile::tempdir().unwrap();
    let ask =
        ["ask", "--location", "city", "--work-type", "office", "--category", "ZERO_WASTE", "--model", &model];
    let titles = || {
        let output = with_index(&ask, data.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        // The sentence before them and the descriptions have no number.
        let title = |line: &str| {
            let (number, title) = line.split_once(". ")?;
            number.parse::<u8>().ok().map(|_| title.to_owned())
        };
        let titles: Vec<String> = said.lines().filter_map(title).collect();
        (titles, text(&output.stderr))
    };
    let of_the_catalogue =
        |title: &String| catalog().documents().iter().any(|document| document.title == *title);
    let (without, _) = titles();
    assert!(without.len() == 3 && without.iter().all(of_the_catalogue), "{without:?}");
    assert!(!data.path().join("index").exists(), "asking makes no index");

    let embedder = LlamaEmbedder::load(&embedding_model().unwrap(), &EmbeddingSettings::default()).unwrap();
    let indexed = indexed(data.path(), Arc::new(embedder)).await;
    let (found, _) = titles();
    assert!(found.len() == 3 && found.iter().all(|title| indexed.contains(title)), "{found:?}");

    // A server has it at the moment.
    let _held = Search::by_words(&Location::Folder(data.path().join("index"))).await.unwrap().unwrap();
    let (meanwhile, said) = titles();
    assert!(meanwhile.len() == 3 && meanwhile.iter().all(of_the_catalogue), "{meanwhile:?}");
    assert!(said.contains("another process uses this index"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_how_long_finding_documents_took() {
    let Some(model) = model() else { return };
    let data = tempfile::tempdir().unwrap();
    // Found by their words: the program has no embedding model.
    indexed(data.path(), fake()).await;
    let log = data.path().join("log");
    let mut program = Program::start_with("127.0.0.1:0", &model, |command| {
        command.env("LEAFRESH_DATA__DIR", data.path()).stderr(std::fs::File::create(&log).unwrap());
    })
    .await;
    let answer = Connection::ask(program.address, &get(VALID, &[SSE])).await;
    assert_eq!(read(&answer.body()).last().unwrap().name, "close");
    program.signal("TERM");
    assert_eq!(program.ended().code(), Some(0));
    let log = std::fs::read_to_string(log).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("leafresh::request") && line.contains("first_text_ms="))
        .expect(&log);
    let times = ["retrieval_ms=", "first_text_ms=", "total_ms="].map(|name| {
        let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("no {name} in {line}"));
        rest.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    assert!(times.is_sorted(), "{line}");
}
