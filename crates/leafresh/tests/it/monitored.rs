//! What `deploy/prometheus` and `deploy/grafana` say, tried with Prometheus itself against a server that runs; and that every
//! figure is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use leafresh_server::config::Config;
use regex::Regex;
use serde_json::Value;

use crate::engine::{assert_whole, reader, slow, start};
use crate::support::{
    BASE_INFO, Connection, FREE_TEXT, SSE, Server, VALID, get, read_some, request, until_async,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// One of Prometheus' programs, from where `make test` has put it or from the path. Without the folder of clients nothing has to
/// be there.
fn prometheus(program: &str) -> Option<Command> {
    let Some(clients) = std::env::var_os("LEAFRESH_TEST_CLIENTS") else {
        eprintln!("skipped: LEAFRESH_TEST_CLIENTS names no folder with clients (`make test` sets it)");
        return None;
    };
    let unpacked = Path::new(&clients).join("prometheus").join(program);
    Some(Command::new(if unpacked.exists() { unpacked.as_os_str() } else { program.as_ref() }))
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{error}: {command:?} can't be started; `scripts/setup.sh --test` installs it")
    })
}

fn assert_succeeds(command: &mut Command) {
    let output = run(command);
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_takes_the_shipped_files_and_each_alert_is_raised_when_it_should_be_only() {
    let Some(mut promtool) = prometheus("promtool") else { return };
    let folder = root().join("deploy/prometheus");
    assert_succeeds(promtool.current_dir(folder).args(["check", "config", "prometheus.yml"]));
    let mut promtool = prometheus("promtool").unwrap();
    let folder = root().join("deploy/prometheus");
    assert_succeeds(promtool.current_dir(folder).args(["test", "rules", "alerts.test.yml"]));

    let (alerts, tests) = (read("deploy/prometheus/alerts.yml"), read("deploy/prometheus/alerts.test.yml"));
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        let raised = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels:");
        assert!(tests.contains(&raised), "no test raises {name}");
        assert!(tests.contains(&format!("alertname: {name}, exp_alerts: []")), "no test leaves {name} be");
    }
}

/// A figure as `/metrics` tells of it.
#[derive(Debug, Default, PartialEq)]
struct Figure {
    kind: String,
    help: String,
    /// What each label said.
    labels: BTreeMap<String, BTreeSet<String>>,
}

fn figures(metrics: &str) -> BTreeMap<String, Figure> {
    let mut figures = BTreeMap::<String, Figure>::new();
    let label = Regex::new(r#"(\w+)="([^"]*)""#).unwrap();
    for line in metrics.lines().filter(|line| !line.is_empty()) {
        let rest = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        if let Some((name, text)) = rest.and_then(|rest| rest.split_once(' ')) {
            let figure = figures.entry(name.to_owned()).or_default();
            let part = if line.starts_with("# HELP") { &mut figure.help } else { &mut figure.kind };
            text.clone_into(part);
            continue;
        }
        let series = line.rsplit_once(' ').unwrap().0;
        let name = series.split('{').next().unwrap();
        let name = ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| {
            let base = name.strip_suffix(end).unwrap_or(name);
            if figures.get(base).is_some_and(|figure| figure.kind == "histogram") { base } else { name }
        });
        let figure = figures.get_mut(name).unwrap_or_else(|| panic!("{line} has no # TYPE before it"));
        for found in label.captures_iter(series).filter(|found| &found[1] != "le") {
            figure.labels.entry(found[1].to_owned()).or_default().insert(found[2].to_owned());
        }
    }
    figures
}

async fn metrics(server: &Server) -> String {
    Connection::ask(server.address, &get("/metrics", &[])).await.text()
}

/// What happens to a server in its life: answers, messages, a refusal, one who joins, leaves, returns.
async fn live(server: &Server) {
    let session = format!("{VALID}&sessionId=a");
    let (first, second) = tokio::join!(reader(server.address, &session), reader(server.address, &session));
    assert_whole(&first.0);
    assert_whole(&second.0);
    let message = format!("{FREE_TEXT}?message=%EC%A7%91%EC%97%90%EC%84%9C%20%ED%95%A0%20%EC%9D%BC");
    Connection::ask(server.address, &get(&message, &[SSE])).await;
    Connection::ask(server.address, &request("POST", BASE_INFO, &[], b"{}")).await;
    let mut leaving = Connection::open(server.address).await;
    leaving.send(&get(&session.replace("=a", "=b"), &[SSE])).await;
    assert_eq!(leaving.head().await.status, 200);
    let events = read_some(&mut leaving, 2).await;
    let id = events.last().unwrap().id.clone();
    drop(leaving);
    until_async("it is parked", async || server.metrics().await.value("leafresh_requests_parked") == 1).await;
    let rest = get(&session.replace("=a", "=b"), &[SSE, ("Last-Event-ID", &id)]);
    assert_eq!(Connection::ask(server.address, &rest).await.status(), 200);
}

/// The table as it stands in `docs/metrics.md`.
fn table(figures: &BTreeMap<String, Figure>) -> String {
    // What can't be listed, because it is whatever it is.
    let open = ["status", "version"];
    let rows = figures.iter().map(|(name, Figure { kind, help, labels })| {
        let labels = labels.iter().map(|(label, values)| {
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            if open.contains(&&**label) { label.clone() } else { format!("{label}: {}", values.join(", ")) }
        });
        let labels = labels.collect::<Vec<_>>().join("; ");
        format!("| `{name}` | {kind} | {labels} | {help} |\n")
    });
    format!("| name | kind | labels | what |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_figure_is_explained_and_what_dashboard_and_alerts_ask_for_is_there() {
    let (server, _process) = start(slow(1), Config::default()).await;
    live(&server).await;
    let text = metrics(&server).await;
    let figures = figures(&text);
    for (name, figure) in &figures {
        assert!(!figure.help.is_empty() && !figure.kind.is_empty(), "{name}: {figure:?}");
        let counter = name.ends_with("_total");
        assert_eq!(figure.kind == "counter", counter, "{name} is a {}", figure.kind);
    }
    let expected = table(&figures);
    let page = read("docs/metrics.md");
    assert!(page.contains(&expected), "docs/metrics.md has to hold this table:\n\n{expected}");

    let name = Regex::new(r"\b(?:leafresh|process)_[a-z0-9_]+").unwrap();
    let named = [read("deploy/grafana/leafresh.json"), read("deploy/prometheus/alerts.yml")].concat();
    let mut asked = 0;
    for name in name.find_iter(&named).map(|found| found.as_str()) {
        let base = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(figures.contains_key(base), "{name} isn't in /metrics");
        asked += 1;
    }
    assert!(asked > 40, "{asked}");
    if let Some(mut promtool) = prometheus("promtool") {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("metrics");
        std::fs::write(&file, &text).unwrap();
        assert_succeeds(promtool.args(["check", "metrics"]).stdin(std::fs::File::open(&file).unwrap()));
    }
}

/// Prometheus with the shipped configuration, which scrapes a server at this address every second.
struct Scraping {
    child: std::process::Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Drop for Scraping {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Scraping {
    fn start(mut program: Command, server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = read("deploy/prometheus/prometheus.yml");
        let here = shipped.replace("127.0.0.1:8000", &server.address.to_string()).replace("15s", "1s");
        std::fs::write(folder.path().join("prometheus.yml"), here).unwrap();
        std::fs::write(folder.path().join("alerts.yml"), read("deploy/prometheus/alerts.yml")).unwrap();
        // It can't say which port it took, so it is given one that was free just now.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        program
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap());
        let child = program.spawn().unwrap_or_else(|error| {
            panic!("{error}: {program:?} can't be started; `scripts/setup.sh --test` installs it")
        });
        Self { child, url: format!("http://127.0.0.1:{port}"), _folder: folder }
    }

    /// The values of a query's series; none while it can't be asked.
    async fn query(&self, expression: &str) -> Vec<f64> {
        let url = format!("{}/api/v1/query", self.url);
        let asked = reqwest::Client::new().get(url).query(&[("query", expression)]).send().await;
        let Ok(answer) = asked else { return Vec::new() };
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        assert_ne!(answer["status"], "error", "{expression}: {answer}");
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        series.iter().map(|series| series["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }
}

/// Every query of the dashboard, with the panel that it is in.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/leafresh.json")).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$instance", ".*").replace("$__rate_interval", "1m");
            queries.push((panel["title"].as_str().unwrap().to_owned(), expression));
        }
    }
    queries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_a_server_and_every_panel_of_the_dashboard_has_something_to_show() {
    let Some(program) = prometheus("prometheus") else { return };
    let (server, _process) = start(slow(3), Config::default()).await;
    let scraping = Scraping::start(program, &server);
    // Twice, so that there is something to compare with.
    let scraped = "count_over_time(leafresh_ready{job=\"leafresh\"}[1m]) >= 2";
    wait_for(&scraping, "it has been scraped", scraped).await;
    live(&server).await;
    let queries = queries();
    assert!(queries.len() > 40, "{}", queries.len());
    for (panel, query) in queries {
        wait_for(&scraping, &panel, &query).await;
    }
    assert_eq!(scraping.query("ALERTS{alertstate=\"firing\"}").await, Vec::<f64>::new());
}

/// Asks until there is a number.
async fn wait_for(scraping: &Scraping, what: &str, query: &str) {
    for _ in 0..1200 {
        if scraping.query(query).await.iter().any(|value| value.is_finite()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: {query} has nothing to show");
}
