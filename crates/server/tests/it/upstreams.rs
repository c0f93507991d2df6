//! The contract where the model is elsewhere: another engine behind the paths of vLLM.

use std::sync::Arc;
use std::time::Duration;

use leafresh_remote::{Remote, Upstream};
use leafresh_server::assemble;
use leafresh_server::config::{Config, Seconds};
use serde_json::{Value, json};

use crate::double::{Double, Options, Trick};
use crate::support::events::read_begun;
use crate::support::{
    BASE_INFO, Connection, DETAILED, Event, SSE, Server, VALID, VALID_BODY, get, open, post, read, read_rest,
    read_some, until, until_async,
};

/// A server whose upstreams may be silent for so long.
async fn server(doubles: &[&Double], silence: Duration, config: Config) -> Server {
    let (first, idle) = (silence, silence);
    let upstreams = doubles.iter().map(|double| Upstream { first, idle, ..Upstream::new(&double.url()) });
    let settings =
        leafresh_remote::Settings { upstreams: upstreams.collect(), ..assemble::upstreams(&config) };
    let remote = tokio::task::spawn_blocking(move || Remote::connect(settings)).await.unwrap().unwrap();
    let server = Server::without_model(&config).await.install(Arc::new(remote), config, None).await;
    let all_met = || server.health().upstreams.iter().all(|upstream| upstream.ready);
    until("all upstreams are met", all_met).await;
    server
}

fn patient() -> Duration {
    Duration::from_secs(30)
}

fn without_fallback() -> Config {
    let mut config = Config::default();
    config.fallback.on.clear();
    config
}

async fn events(server: &Server, target: &str) -> Vec<Event> {
    read(&Connection::ask(server.address, &get(target, &[SSE])).await.body())
}

/// The data of `close`, whose texts are those of the stream.
fn whole(events: &[Event]) -> Value {
    let close = events.last().unwrap();
    assert_eq!(close.name, "close", "{close:?}");
    let answer = close.data["data"].clone();
    let mut expected = answer["recommend"].as_str().unwrap().to_owned();
    let challenges = answer["challenges"].as_array().unwrap();
    assert_eq!(challenges.len(), 3);
    for (index, challenge) in challenges.iter().enumerate() {
        let part = |name: &str| challenge[name].as_str().unwrap().to_owned();
        expected.extend(["\n\n", &(index + 1).to_string(), ". ", &part("title"), "\n", &part("description")]);
    }
    assert_eq!(events.iter().filter_map(Event::text).collect::<String>(), expected);
    assert_eq!(events.iter().filter(|event| matches!(event.name.as_str(), "close" | "error")).count(), 1);
    answer
}

#[tokio::test]
async fn an_upstream_s_answers_are_what_the_contract_says() {
    let double = Double::new(Options::default()).await;
    let server = server(&[&double], patient(), Config::default()).await;
    let answer = whole(&events(&server, DETAILED).await);
    assert_eq!((&answer["degraded"], &answer["grounding"]), (&json!(false), &json!("context")), "{answer}");
    let posted = Connection::ask(server.address, &post(BASE_INFO, &[], VALID_BODY)).await.json();
    assert_eq!(
        (&posted["status"], posted["data"]["challenges"].as_array().map(Vec::len)),
        (&json!(200), Some(3))
    );
    let metrics = server.metrics().await;
    let series =
        |name: &str| metrics.value(&format!("leafresh_upstream_{name}{{upstream=\"{}\"}}", double.url()));
    assert_eq!(
        (series("ready"), series("running"), series("faults_total"), series("misfits_total")),
        (1, 0, 0, 0)
    );
    assert!(series("requests_total") >= 14, "seven parts of two answers");
}

#[tokio::test]
async fn case_22_an_answer_goes_on_at_another_upstream_and_nothing_sent_changes() {
    let mut first = Double::new(Options { pause: Duration::from_millis(5), ..Options::default() }).await;
    let second = Double::new(Options { seed: 2, ..Options::default() }).await;
    let server = server(&[&first, &second], patient(), without_fallback()).await;
    let mut connection = open(&server, &get(DETAILED, &[SSE])).await;
    let mut bytes = Vec::new();
    while read_begun(&bytes).len() < 12 {
        bytes.extend(connection.chunk().await.unwrap());
    }
    assert_eq!((first.live(), second.live()), (1, 0));
    first.die().await;
    bytes.extend(read_rest(&mut connection).await);
    whole(&read(&bytes));
    assert!(!second.asked().is_empty());
}

#[tokio::test]
async fn case_22_with_no_upstream_left_the_catalogue_completes_the_answer() {
    let double = Double::new(Options::default()).await;
    let server = server(&[&double], patient(), Config::default()).await;
    double.plays([Trick::Fine].into_iter().chain(std::iter::repeat_n(Trick::Error(0), 40)));
    let answer = whole(&events(&server, DETAILED).await);
    assert_eq!(
        (&answer["degraded"], &answer["degradedReason"]),
        (&json!(true), &json!("engine")),
        "{answer}"
    );
}

#[tokio::test]
async fn where_the_catalogue_may_not_answer_it_is_said_that_an_upstream_failed_or_took_too_long() {
    for (trick, status, silence) in
        [(Trick::Error(0), 502, patient()), (Trick::Hang(0), 504, Duration::from_secs(2))]
    {
        let double = Double::new(Options::default()).await;
        let server = server(&[&double], silence, without_fallback()).await;
        double.plays(std::iter::repeat_n(trick.clone(), 40));
        let end = events(&server, VALID).await.pop().unwrap();
        assert_eq!((end.name.as_str(), &end.data["status"]), ("error", &json!(status)), "{trick:?}: {end:?}");
        let posted = Connection::ask(server.address, &post(BASE_INFO, &[], VALID_BODY)).await;
        assert_eq!(posted.status(), status);
    }
}

#[tokio::test]
async fn a_server_without_an_upstream_is_not_ready_until_it_is_back() {
    let mut double = Double::new(Options::default()).await;
    let server = server(&[&double], patient(), Config::default()).await;
    let ready =
        async || Connection::ask(server.address, &get("/health/ready", &[])).await.json()["data"].clone();
    assert_eq!(ready().await, json!({ "ready": true, "reasons": [], "model": "fake" }));
    double.die().await;
    until_async("it is noticed", async || ready().await["reasons"] == json!(["engine"])).await;
    double.rise().await;
    until_async("it is back", async || ready().await["ready"] == json!(true)).await;
    whole(&events(&server, DETAILED).await);
}

#[tokio::test]
async fn case_2_a_reader_that_leaves_closes_the_upstream_s_stream_and_one_that_returns_opens_it_again() {
    let double = Double::new(Options { pause: Duration::from_millis(5), ..Options::default() }).await;
    let mut config = Config::default();
    config.stream.grace_seconds = Seconds(Duration::from_mins(1));
    let server = server(&[&double], patient(), config).await;
    let mut connection = open(&server, &get(DETAILED, &[SSE])).await;
    let heard = read_some(&mut connection, 12).await;
    drop(connection);
    until("nobody is written for", || double.live() == 0 && server.health().parked == 1).await;
    let asked = double.asked().len();
    let last = heard.last().unwrap().id.clone();
    let rest =
        Connection::ask(server.address, &get(DETAILED, &[SSE, ("Last-Event-ID", last.as_str())])).await;
    let all: Vec<Event> = heard.into_iter().chain(read(&rest.body())).collect();
    whole(&all);
    assert!(double.asked().len() > asked);
}
