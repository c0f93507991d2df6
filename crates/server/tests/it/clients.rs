//! Clients that people use, and nginx in front: what they read is what the server said, also when the connection is cut.

use std::net::{SocketAddr, TcpListener as Blocking};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::support::{
    BASE_INFO, Connection, Event, SSE, Server, Setup, VALID, VALID_BODY, get, post, read, read_rest,
    read_some, until, until_async,
};

/// Where `make test` has put them. Only that names the folder: then a missing client is a failure.
pub(crate) fn clients() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("LEAFRESH_TEST_CLIENTS") else {
        eprintln!("skipped: LEAFRESH_TEST_CLIENTS names no folder with clients (`make test` sets it)");
        return None;
    };
    Some(folder.into())
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(name)
}

/// What a client's script says that it has read.
#[derive(Debug, Deserialize)]
struct Report {
    events: Vec<Seen>,
    opened: usize,
    how: String,
}

#[derive(Debug, Deserialize)]
struct Seen {
    #[serde(rename = "type")]
    name: String,
    id: String,
    /// As it came: another language's JSON has numbers of its own.
    data: String,
}

pub(crate) async fn run(command: &mut Command) -> String {
    let output = command.kill_on_drop(true).output().await.unwrap_or_else(|error| {
        panic!("{error}: {command:?} can't be started; `scripts/setup.sh --test` installs it")
    });
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every event once and in order, and the texts are what `close` says.
fn assert_whole(report: &Report, expected: &[Event]) {
    assert_eq!(report.how, "close");
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let number = |id: &str| id.split_once(':').unwrap().1.to_owned();
    let seen: Vec<_> = report
        .events
        .iter()
        .map(|event| (event.name.as_str(), number(&event.id), json(&event.data)))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|event| (event.name.as_str(), event.number().to_owned(), event.data.clone()))
        .collect();
    let differ = (0..seen.len().max(expected.len())).find(|index| seen.get(*index) != expected.get(*index));
    if let Some(at) = differ {
        panic!("event {at}: {:?} instead of {:?}", seen.get(at), expected.get(at));
    }
}

/// Passes connections on, and cuts the first ones off after so many bytes of the answer.
struct Cutter {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Cutter {
    async fn start(server: SocketAddr, cuts: &'static [usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let index = count.fetch_add(1, Ordering::Relaxed);
                // Whoever leaves first ends it; neither is a failure here.
                tokio::spawn(async move { carry(client, server, cuts.get(index).copied()).await.ok() });
            }
        });
        Self { address, connections }
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }
}

async fn carry(client: TcpStream, server: SocketAddr, cut: Option<usize>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.split();
    let answer = async {
        let mut left = cut.unwrap_or(usize::MAX);
        let mut bytes = [0; 512];
        while left > 0 {
            let most = left.min(bytes.len());
            let read = from_server.read(&mut bytes[..most]).await?;
            if read == 0 {
                break;
            }
            left -= read;
            to_client.write_all(&bytes[..read]).await?;
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        ended = answer => ended,
        asked = tokio::io::copy(&mut from_client, &mut to_server) => asked.map(drop),
    }
}

/// The whole answer, as it is without cuts.
async fn expected(server: &Server) -> Vec<Event> {
    read(&Connection::ask(server.address, &get(VALID, &[SSE])).await.body())
}

#[tokio::test]
async fn the_npm_package_eventsource_reads_all_of_it_and_reconnects_where_it_was() {
    let Some(clients) = clients() else { return };
    let server = Setup::slow(10).start().await;
    let expected = expected(&server).await;
    let cutter = Cutter::start(server.address, &[900, 2000]).await;
    let mut node = Command::new("node");
    node.arg(script("eventsource.mjs")).arg(clients.join("npm")).arg(cutter.url(VALID));
    let report: Report = serde_json::from_str(&run(&mut node).await).unwrap();
    assert_whole(&report, &expected);
    assert_eq!((report.opened, cutter.connections.load(Ordering::Relaxed)), (3, 3));
    assert_eq!(server.metrics().await.all_ended(), 2, "no second generation");
}

#[tokio::test]
async fn pythons_httpx_sse_reads_all_of_it_and_goes_on_where_it_was() {
    let Some(clients) = clients() else { return };
    let server = Setup::slow(10).start().await;
    let expected = expected(&server).await;
    let cutter = Cutter::start(server.address, &[900, 2000]).await;
    let mut python = Command::new(clients.join("python/bin/python"));
    python.arg(script("httpx_sse_client.py")).arg(cutter.url(VALID));
    let report: Report = serde_json::from_str(&run(&mut python).await).unwrap();
    assert_whole(&report, &expected);
    assert_eq!(report.opened, 3);
    assert_eq!(server.metrics().await.all_ended(), 2, "no second generation");
}

#[tokio::test]
async fn curl_reads_streams_objects_and_the_rest_of_a_stream() {
    let Some(_) = clients() else { return };
    let server = Setup::slow(5).start().await;
    let expected = expected(&server).await;
    let url = format!("http://{}{BASE_INFO}", server.address);
    let mut whole = Command::new("curl");
    whole.args(["-sSN", "--fail", "-G", &url, "--data-urlencode", "location=도시"]);
    whole.args(["--data-urlencode", "workType=사무직", "--data-urlencode", "category=제로웨이스트"]);
    let events = read(run(&mut whole).await.as_bytes());
    let data = |events: &[Event]| events.iter().map(|event| event.data.clone()).collect::<Vec<_>>();
    assert_eq!(data(&events), data(&expected));

    let url = format!("http://{}{VALID}", server.address);
    let header = format!("Last-Event-ID: {}", events[7].id);
    let rest = run(Command::new("curl").args(["-sSN", "--fail", "-H", &header, &url])).await;
    assert_eq!(data(&read(rest.as_bytes())), data(&expected[8..]));
    let ended = format!("Last-Event-ID: {}", events.last().unwrap().id);
    let asked = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", &ended, &url];
    assert_eq!(run(Command::new("curl").args(asked)).await, "204");
    let posted = ["-sS", "--fail", "--json", VALID_BODY, &url];
    let object: Value = serde_json::from_str(&run(Command::new("curl").args(posted)).await).unwrap();
    assert_eq!(object, expected.last().unwrap().data);
}

/// nginx with the site that is shipped, on a port of its own.
struct Nginx {
    address: SocketAddr,
    dir: tempfile::TempDir,
    _process: Child,
}

impl Nginx {
    async fn start(server: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free = Blocking::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let site =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/nginx.conf"));
        let mut site = site.unwrap();
        // Only addresses differ from what is shipped.
        for (shipped, here) in [
            ("server 127.0.0.1:8000;", format!("server {server};")),
            ("listen 80;", format!("listen {free};")),
            ("listen [::]:80;", String::new()),
        ] {
            assert_eq!(site.matches(&format!("\n    {shipped}")).count(), 1, "{shipped}");
            site = site.replace(&format!("\n    {shipped}"), &format!("\n    {here}"));
        }
        let logs = "/var/log/nginx/";
        assert_eq!(site.matches(logs).count(), 2, "{site}");
        site = site.replace(logs, &format!("{}/", dir.path().display()));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};\n", dir.path().display()));
        let config = format!(
            "daemon off; master_process off; pid {0}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{1}{site}}}\n",
            dir.path().display(),
            temporary.concat()
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("nginx");
        // Debian has it where only root's path leads.
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        command.env("PATH", path).arg("-p").arg(dir.path()).arg("-c").arg(&file).kill_on_drop(true);
        let process = command
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx: {error}; `scripts/setup.sh --test` installs it"));
        let nginx = Self { address: free, dir, _process: process };
        until_async("nginx listens", async || TcpStream::connect(free).await.is_ok()).await;
        nginx
    }
}

async fn open(address: SocketAddr, request: &[u8]) -> Connection {
    let mut connection = Connection::open(address).await;
    connection.send(request).await;
    assert_eq!(connection.head().await.status, 200);
    connection
}

/// Field report 48.
#[tokio::test]
async fn what_people_say_is_not_in_the_log_of_nginx() {
    let server = Setup::default().start().await;
    let nginx = Nginx::start(server.address).await;
    let target = "/ai/chatbot/recommendation/free-text?message=secret-words";
    Connection::ask(nginx.address, &get(target, &[])).await;
    let log = || std::fs::read_to_string(nginx.dir.path().join("leafresh.log")).unwrap_or_default();
    until_async("nginx logs", async || !log().is_empty()).await;
    let log = log();
    assert!(log.contains("GET /ai/chatbot/recommendation/free-text HTTP/1.1"), "{log}");
    assert!(!log.contains("secret-words"), "{log}");
}

#[tokio::test]
async fn behind_nginx_each_event_comes_as_it_is_written() {
    let Some(_) = clients() else { return };
    let mut server = Setup::held().start().await;
    let nginx = Nginx::start(server.address).await;
    let mut reader = open(nginx.address, &get(VALID, &[SSE])).await;
    until("it runs", || server.health().running == 1).await;
    let reading = tokio::spawn(async move {
        let begun = read_some(&mut reader, 1).await;
        (begun, reader)
    });
    // The model takes no step of its own, so this can't be an answer that was collected.
    until("something has come through", || {
        server.step();
        reading.is_finished()
    })
    .await;
    let (begun, mut reader) = reading.await.unwrap();
    assert_eq!(server.health().running, 1);
    server.go_on();
    let rest = read(&read_rest(&mut reader).await);
    assert_eq!((begun[0].number(), rest.last().unwrap().name.as_str()), ("1", "close"));
}

#[tokio::test]
async fn behind_nginx_a_reader_that_leaves_is_noticed_and_may_come_back() {
    let Some(_) = clients() else { return };
    let server = Setup::slow(10).start().await;
    let expected = expected(&server).await;
    let nginx = Nginx::start(server.address).await;
    let mut reader = open(nginx.address, &get(VALID, &[SSE])).await;
    let begun = read_some(&mut reader, 5).await;
    drop(reader);
    until_async("it is parked", async || server.metrics().await.value("leafresh_requests_parked") == 1).await;
    let id = &begun.last().unwrap().id;
    let rest = Connection::ask(nginx.address, &get(VALID, &[SSE, ("Last-Event-ID", id)])).await;
    let rest = read(&rest.body());
    let both: Vec<_> = begun.iter().chain(&rest).map(|event| &event.data).collect();
    assert_eq!(both, expected.iter().map(|event| &event.data).collect::<Vec<_>>());
    let ended = &rest.last().unwrap().id;
    let again = Connection::ask(nginx.address, &get(VALID, &[SSE, ("Last-Event-ID", ended)])).await;
    assert_eq!(again.status(), 204);
}

#[tokio::test]
async fn behind_nginx_errors_bodies_and_long_lines_pass_and_what_is_administrative_does_not() {
    let Some(_) = clients() else { return };
    let server = Server::start().await;
    let nginx = Nginx::start(server.address).await;
    for path in ["/metrics", "/v1/models", "/ai/chatbot/sessions/a"] {
        assert_eq!(Connection::ask(nginx.address, &get(path, &[])).await.status(), 404, "{path}");
    }
    let object = Connection::ask(nginx.address, &post(BASE_INFO, &[], VALID_BODY)).await;
    assert_eq!((object.status(), object.json()["status"].clone()), (200, 200.into()));
    assert_eq!(Connection::ask(nginx.address, &get(BASE_INFO, &[])).await.json()["status"], 400);
    let message = "%25EA%25B0%2580".repeat(1000);
    let long = Connection::ask(nginx.address, &get(&format!("{VALID}&message={message}"), &[SSE])).await;
    assert_eq!(read(&long.body()).last().unwrap().name, "close");
}
