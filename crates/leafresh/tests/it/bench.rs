//! `leafresh bench` against this server and against stand-ins for others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::run::{leafresh, text};
use crate::support::{Server, Setup, until};

/// Files of one test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// As an argument.
    fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }
}

fn start(address: SocketAddr, arguments: &[&str]) -> Child {
    let mut command = leafresh(&["bench", "--url", &format!("http://{address}")]);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end, while the server in this process goes on.
async fn end(child: Child) -> Output {
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
}

/// The table of a run that went well.
async fn bench(address: SocketAddr, arguments: &[&str]) -> String {
    let output = end(start(address, arguments)).await;
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn figure(report: &Value, level: usize, key: &str) -> f64 {
    let value = &report["levels"][level]["figures"][key]["value"];
    value.as_f64().unwrap_or_else(|| panic!("{key}: {value}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_asks_what_it_should_and_all_answers_are_valid() {
    let server = Setup::slow(2).start().await;
    let files = Files::new();
    let (json, html, pid) = (files.arg("a.json"), files.arg("a.html"), std::process::id().to_string());
    let table = bench(
        server.address,
        &["--clients", "1,4", "--requests-each", "3", "--pid", &pid, "--json", &json, "--html", &html],
    )
    .await;
    for part in ["1 client", "4 clients", "ttft_p95 ms", "time to first token: from the request"] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
    let report = files.json("a.json");
    for (level, requests) in [(0, 3.0), (1, 12.0)] {
        assert!((figure(&report, level, "requests") - requests).abs() < 0.1);
        assert!((figure(&report, level, "valid") - 100.0).abs() < 0.1, "{table}");
        let quantiles =
            ["ttft_p50", "ttft_p95", "ttft_p99", "latency_p99"].map(|key| figure(&report, level, key));
        assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{quantiles:?}");
        assert!(figure(&report, level, "rss_peak") > 1.0);
    }
    let most = report["levels"][1]["requests"].as_array().unwrap();
    assert!(
        most.iter().all(|request| request["outcome"] == "valid" && request["length"].as_u64() > Some(20))
    );
    let page = files.read("a.html");
    assert!(page.starts_with("<!doctype html>") && page.matches("<svg").count() >= 6);
    assert!(!page.contains("<script") && !page.contains("src="), "it needs no network");

    let compared = leafresh(&["bench", "--compare", &json, &json]).output().unwrap();
    let compared = text(&compared.stdout);
    let row = compared.lines().find(|line| line.starts_with("answers_per_s")).unwrap();
    assert_eq!(row.split_whitespace().nth(4), Some("1"), "{compared}");
    assert!(compared.contains("4 clients"), "{compared}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_does_not_wait_for_answers() {
    // An answer takes much longer than the time between two requests.
    let server = Setup::slow(20).start().await;
    let files = Files::new();
    let json = files.arg("a.json");
    let arguments =
        ["--rate", "10", "--seconds", "2", "--slo-ttft-ms", "60000", "--warmup", "1", "--json", &json];
    let table = bench(server.address, &arguments).await;
    let report = files.json("a.json");
    let requests = report["levels"][0]["requests"].as_array().unwrap();
    assert!((8..=40).contains(&requests.len()), "{table}");
    let due = |request: &Value| request["due_s"].as_f64().unwrap();
    let overlapping = requests.windows(2).filter(|pair| due(&pair[1]) < pair[0]["end_s"].as_f64().unwrap());
    assert!(overlapping.count() > 4, "{report}");
    let (answers, goodput) = (figure(&report, 0, "answers_per_s"), figure(&report, 0, "goodput"));
    assert!((answers - goodput).abs() < 1e-9, "every answer was in time: {table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_counted_with_their_reason() {
    let full = |config: &mut leafresh_server::config::Config| {
        (config.engine.running, config.engine.queue) = (1, 0);
        config.fallback.on.clear();
    };
    let server = Setup::slow(5).with(full).start().await;
    let table = bench(server.address, &["--clients", "4", "--total", "8", "--warmup", "0"]).await;
    assert!(table.contains("failed: HTTP 503: "), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_prints_what_there_is_so_far() {
    let server = Setup::slow(10).start().await;
    let child = start(server.address, &["--clients", "2", "--total", "1000", "--warmup", "1"]);
    until("some requests are answered", || server.health().steps > 400).await;
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = end(child).await;
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{table}");
    assert!(table.contains("interrupted: ") && table.contains("answers_per_s"), "{table}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_sentence() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let output = end(start(address, &[])).await;
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("can't connect") && error.contains(&address.to_string()), "{error}");
}

/// A server that answers every POST with this, and keeps what it was asked.
struct StandIn {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl StandIn {
    async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let asked = bodies.clone();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let body = body(&mut connection).await;
                asked.lock().unwrap().push(body);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
                for piece in [head].into_iter().chain(answer.split_inclusive("\n\n")) {
                    connection.write_all(piece.as_bytes()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            }
        });
        Self { address, bodies }
    }
}

/// The JSON body of a request.
async fn body(connection: &mut TcpStream) -> Value {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = connection.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the request ended early");
        bytes.extend_from_slice(&buffer[..read]);
        let start =
            bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        if let Ok(body) = serde_json::from_slice(&bytes[start..]) {
            return body;
        }
    }
}

/// A requests file with one request that has a schema.
fn requests(files: &Files) -> String {
    let request = json!({
        "location": "city", "work_type": "office", "category": "VEGAN", "prompt": "추천:", "max_tokens": 77,
        "schema": {"type": "object"}, "sampling": {"temperature": 0.5, "seed": 3},
    });
    std::fs::write(files.path("requests.jsonl"), format!("{request}\n\n")).unwrap();
    files.arg("requests.jsonl")
}

fn answer() -> String {
    let challenge = |title: &str| json!({"title": title, "description": "설명"});
    let challenges = [challenge("하나"), challenge("둘"), challenge("셋")];
    json!({"recommend": "추천합니다.", "challenges": challenges}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn llama_server_gets_prompt_schema_and_sampling() {
    let piece = json!({"content": answer(), "stop": false});
    let end = json!({"content": "", "stop": true, "stop_type": "eos"});
    let peer = StandIn::start(format!("data: {piece}\n\ndata: {end}\n\n")).await;
    let files = Files::new();
    let (requests, json) = (requests(&files), files.arg("a.json"));
    bench(
        peer.address,
        &[
            "--api",
            "llama-server",
            "--requests",
            &requests,
            "--clients",
            "1",
            "--total",
            "3",
            "--warmup",
            "0",
            "--json",
            &json,
        ],
    )
    .await;
    let report = files.json("a.json");
    assert!((figure(&report, 0, "valid") - 100.0).abs() < 0.1, "{report}");
    assert_eq!(report["levels"][0]["requests"][0]["length"], answer().chars().count());
    let bodies = peer.bodies.lock().unwrap();
    assert_eq!(bodies.len(), 3);
    let expected = [
        ("prompt", json!("추천:")),
        ("json_schema", json!({"type": "object"})),
        ("n_predict", json!(77)),
        ("temperature", json!(0.5)),
        ("repeat_penalty", json!(1.1)),
        ("top_k", json!(50)),
        ("seed", json!(3)),
        ("stream", json!(true)),
    ];
    for (key, expected) in expected {
        let found = &bodies[0][key];
        let same = found.as_f64().zip(expected.as_f64()).map(|(a, b)| (a - b).abs() < 1e-6);
        assert!(same.unwrap_or(*found == expected), "{key}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_servers_are_asked_for_chat_or_completions_and_their_faults_are_counted() {
    let chunk = json!({"choices": [{"delta": {"content": answer()}, "text": answer()}]});
    let cases = [
        (format!("data: {chunk}\n\ndata: [DONE]\n\n"), "valid % 100 "),
        (format!("data: {chunk}\n\n"), "failed: the stream ended without its end mark"),
        ("data: {\"error\":{\"message\":\"no\"}}\n\n".to_owned(), "failed: error event: no"),
        (
            "data: {\"choices\":[{\"text\":\"no JSON\"}]}\n\ndata: [DONE]\n\n".into(),
            "not valid: the text is not JSON",
        ),
    ];
    let files = Files::new();
    let requests = requests(&files);
    for (stream, expected) in cases {
        let peer = StandIn::start(stream).await;
        for path in ["/v1/chat/completions", "/v1/completions"] {
            let arguments = ["--api", "openai", "--path", path, "--requests", &requests];
            let more = [
                "--clients",
                "2",
                "--total",
                "2",
                "--warmup",
                "0",
                "--body",
                r#"{"model":"m","min_p":null}"#,
            ];
            let output = end(start(peer.address, &[&arguments[..], &more].concat())).await;
            let table = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(table.contains(expected), "{expected}: {table}{}", text(&output.stderr));
        }
        let bodies = peer.bodies.lock().unwrap();
        let (chat, completion) = (&bodies[0], &bodies[3]);
        assert_eq!(chat["messages"][0], json!({"role": "user", "content": "추천:"}));
        assert_eq!(completion["prompt"], "추천:");
        assert!(chat["model"] == "m" && chat.get("min_p").is_none() && chat["max_tokens"] == 77);
        assert_eq!(chat["response_format"]["json_schema"]["schema"], json!({"type": "object"}));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requests_file_asks_this_server_too_and_a_bad_line_is_named() {
    let server = Server::start().await;
    let files = Files::new();
    let requests = requests(&files);
    bench(server.address, &["--requests", &requests, "--clients", "1", "--total", "2"]).await;

    for (line, parts) in [
        ("{\"prompt\": 1}", ["line 2, column 12", "expected a string"]),
        ("{\"promt\": \"\"}", ["line 2", "promt"]),
        ("{}", ["line 2", "location"]),
    ] {
        std::fs::write(files.path("bad.jsonl"), format!("\n{line}\n")).unwrap();
        let output = end(start(server.address, &["--requests", &files.arg("bad.jsonl")])).await;
        let error = text(&output.stderr);
        assert!(!output.status.success() && parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let output = end(start(server.address, &["--api", "openai"])).await;
    assert!(text(&output.stderr).contains("leafresh bench requests"), "{}", text(&output.stderr));
}

#[test]
fn help_teaches_with_examples() {
    let help = leafresh(&["bench", "--help"]).output().unwrap();
    let help = text(&help.stdout);
    for part in ["Examples:", "--clients 1,8,64", "--rate", "Poisson", "llama-server", "overhead", "Ctrl-C"] {
        assert!(help.contains(part), "no {part} in {help}");
    }
    let refused = [
        &["--rate", "1", "--clients", "2"][..],
        &["--rate", "0"],
        &["--clients", "0"],
        &["--seconds", "3"],
        &["--total", "3", "--requests-each", "2"],
        &["--compare", "one.json"],
    ];
    for arguments in refused {
        let output = leafresh(&[&["bench"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn overhead_says_what_a_token_costs_besides_the_model() {
    let output = leafresh(&["bench", "overhead", "--total", "16", "--step-ms", "1"]).output().unwrap();
    let lines = text(&output.stdout);
    let goal = lines.lines().find(|line| line.starts_with("goal cpu_us_per_token ")).expect(&lines);
    let value: f64 = goal.split(' ').nth(2).unwrap().parse().unwrap();
    // Far above the goal of 50: machines that run tests are slow and busy.
    assert!((1.0..500.0).contains(&value), "{lines}");
}
