//! Readers that don't read, and clients that don't send.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use leafresh_server::config::{Config, Seconds};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::events::read_begun;
use crate::support::{
    BASE_INFO, Connection, SSE, Server, Setup, VALID, VALID_BODY, get, post, read, until, until_async,
};

/// A listener whose connections have the smallest buffers there are, so that a few events fill them.
fn narrow_listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_send_buffer_size(1).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(16).unwrap();
    socket.set_nonblocking(true).unwrap();
    TcpListener::from_std(socket.into()).unwrap()
}

async fn narrow_client(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    SockRef::from(&socket).set_recv_buffer_size(1).unwrap();
    socket.connect(server.address).await.unwrap()
}

fn impatient(setup: Setup, milliseconds: u64) -> Setup {
    setup.with(|config| config.stream.write_seconds = Seconds(Duration::from_millis(milliseconds)))
}

/// What a slow reader has got, without the chunks that HTTP puts around it.
fn body_of(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let mut lines = body.split("\r\n");
    let mut all = String::new();
    while let (Some(_size), Some(chunk)) = (lines.next(), lines.next()) {
        all += chunk;
    }
    all.into_bytes()
}

#[tokio::test]
async fn case_4_a_reader_of_single_bytes_holds_nobody_up_is_dropped_and_may_resume() {
    let server = impatient(Setup::slow(3), 1500).start_on(narrow_listener());
    let mut slow = narrow_client(&server).await;
    let target = format!("{VALID}&requestId=slow");
    slow.write_all(&get(&target, &[SSE])).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut bytes = Vec::new();
        // An end or a reset: it was dropped.
        while let Ok(byte) = slow.read_u8().await {
            bytes.push(byte);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bytes
    });
    // The neighbour and the decoder don't notice: both answers are computed to their ends while the slow one has read
    // a part of the first event.
    let neighbour = Connection::ask(server.address, &get(VALID, &[SSE])).await;
    assert_eq!(read(&neighbour.body()).last().unwrap().name, "close");
    until_async("both are computed", async || server.metrics().await.ended("close", "writing") == 2).await;
    let got = timeout(Duration::from_mins(1), reading).await.expect("it is dropped").unwrap();
    let got = read_begun(&body_of(&got));
    assert!(!got.iter().any(|event| event.name == "close"), "it was fast enough");

    let last = got.last().map_or_else(String::new, |event| event.id.clone());
    let headers = [SSE, ("Last-Event-ID", last.as_str())];
    let rest = read(&Connection::ask(server.address, &get(&target, &headers)).await.body());
    assert_eq!(rest.last().unwrap().name, "close");
    let first = got.len() + 1;
    assert_eq!(rest[0].number(), first.to_string(), "nothing lost, nothing doubled");
    assert_eq!(server.metrics().await.all_ended(), 2, "no second generation");
}

#[tokio::test]
async fn case_3_a_peer_that_vanished_is_noticed_by_what_it_does_not_take() {
    let server = impatient(Setup::slow(5), 500).grace(300).start_on(narrow_listener());
    // As good as gone: it neither reads nor closes.
    let mut vanished = narrow_client(&server).await;
    vanished.write_all(&get(VALID, &[SSE])).await.unwrap();
    let mut other = narrow_client(&server).await;
    other.write_all(&get(VALID, &[SSE])).await.unwrap();
    until_async("their connections are given up", async || {
        server.metrics().await.value("leafresh_connections") <= 1 && server.metrics().await.all_ended() == 2
    })
    .await;
    until("nothing runs", || server.health().running == 0).await;
    drop((vanished, other));
}

/// Set in the process that has a network of its own.
const APART: &str = "LEAFRESH_TEST_NETWORK";

/// Packets of a network that is taken down reach nobody, and nobody is told: neither end hears of the other again.
#[test]
fn case_3_a_peer_whose_network_is_gone_without_a_word_is_given_up() {
    let runs = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if std::env::var_os(APART).is_none() {
        if !runs("unshare", &["-Urn", "ip", "link", "set", "lo", "up"]) {
            eprintln!(
                "skipped: this user may not have a network of its own (unshare -Urn), or there is no `ip`"
            );
            return;
        }
        let test = "slow::case_3_a_peer_whose_network_is_gone_without_a_word_is_given_up";
        let mut apart = Command::new("unshare");
        apart.arg("-Urn").arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]);
        let output = apart.env(APART, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}{output:?}");
        return;
    }
    let network = |state: &str| assert!(runs("ip", &["link", "set", "lo", state]), "lo {state}");
    network("up");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let server = impatient(Setup::slow(60), 2000).grace(300).start().await;
        let mut peer = Connection::open(server.address).await;
        peer.send(&get(VALID, &[SSE])).await;
        assert_eq!(peer.head().await.status, 200);
        peer.chunk().await.expect("it has begun");
        network("down");
        until("nothing is computed for it any more", || server.health().running == 0).await;
        network("up");
        until_async("its connection is given up", async || {
            let metrics = server.metrics().await;
            metrics.value("leafresh_connections") == 1 && metrics.value("leafresh_requests_parked") == 0
        })
        .await;
        assert_eq!(server.metrics().await.ended("left", "writing"), 1);
    });
}

#[tokio::test]
async fn case_27_headers_that_trickle_in_are_not_waited_for() {
    let quick = |config: &mut Config| config.server.request_seconds = Seconds(Duration::from_millis(500));
    let server = Setup::default().with(quick).start().await;
    let began = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    // Every byte comes well within the time for all of them.
    let ended = async {
        for byte in
            b"X-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter().cycle()
        {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            let mut answer = [0; 256];
            let read = timeout(Duration::from_millis(50), stream.read(&mut answer)).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(30), ended).await.expect("it is closed");
    assert!(began.elapsed() >= Duration::from_millis(400));
    // The same for a body.
    let headers = [("Content-Length", "100000"), ("Content-Type", "application/json")];
    let mut connection = Connection::open(server.address).await;
    connection.send(&crate::support::client::request("POST", BASE_INFO, &headers, b"{\"a\":\"")).await;
    assert_eq!(connection.response().await.status(), 408);
}

#[tokio::test]
async fn case_27_a_megabyte_of_headers_is_refused() {
    let server = Server::start().await;
    let many = (0..20_000).map(|number| format!("X-{number}: {}\r\n", "a".repeat(40)));
    let many = many.collect::<Vec<_>>().concat();
    let one = format!("X-Long: {}\r\n", "a".repeat(1 << 20));
    for headers in [many, one] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {VALID} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        // The server may close before it has all.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("an end");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431 "), "{text}");
    }
    assert_eq!(server.health().steps, 0);
    assert_eq!(Connection::ask(server.address, &get("/health", &[])).await.status(), 200);
}

#[tokio::test]
async fn case_27_json_nested_deeply_or_with_keys_twice_is_read_without_harm() {
    let server = Server::start().await;
    let deep = format!(r#"{{"location":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(Connection::ask(server.address, &post(BASE_INFO, &[], deep)).await.status(), 400);
    let objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    assert_eq!(Connection::ask(server.address, &post(BASE_INFO, &[], objects)).await.status(), 400);
    let twice = VALID_BODY.replacen('{', r#"{"category":"nothing","category":7,"#, 1);
    let answer = Connection::ask(server.address, &post(BASE_INFO, &[], twice)).await;
    assert_eq!(
        (answer.status(), &answer.json()["data"]["challenges"][0]["category"]),
        (200, &"ZERO_WASTE".into())
    );
}

#[tokio::test]
async fn more_connections_than_allowed_are_told_so_and_the_others_live() {
    let server = Setup::default().with(|config| config.server.connections = Some(3)).start().await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(server.address).await;
        connection.send(&get("/health", &[])).await;
        assert_eq!(connection.response().await.status(), 200);
        open.push(connection);
    }
    for _ in 0..5 {
        let mut refused = Connection::open(server.address).await;
        let response = refused.response().await;
        assert_eq!((response.status(), response.head.header("retry-after")), (503, Some("3")));
        assert_eq!(response.json()["status"], 503);
        assert!(refused.is_closed().await);
    }
    open[1].send(&get("/health", &[])).await;
    assert_eq!(open[1].response().await.status(), 200);
    drop(open);
    for _ in 0..100 {
        if Connection::ask(server.address, &get("/health", &[("Connection", "close")])).await.status() == 200
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a connection that was closed still counts");
}

/// Field report 18.
#[tokio::test]
async fn who_closes_the_half_it_sends_on_still_gets_a_short_answer() {
    let server = Server::start().await;
    for (request, status) in [
        (get("/health", &[]), 200),
        (get("/", &[]), 200),
        (get("/nothing", &[]), 404),
        (get(BASE_INFO, &[]), 400),
        (post(BASE_INFO, &[], "{"), 400),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = answer.to_lowercase().split_once("content-length: ").unwrap().1.to_owned();
        assert_eq!(body.len(), length.split("\r\n").next().unwrap().parse::<usize>().unwrap(), "all of it");
    }
}

/// Field report 18: there it is the sign that nobody reads any more.
#[tokio::test]
async fn who_closes_the_half_it_sends_on_has_left_what_the_model_writes() {
    let server = Setup::slow(20).no_grace().start().await;
    for request in [get(VALID, &[SSE]), post(BASE_INFO, &[], VALID_BODY)] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        until("it runs", || server.health().running == 1).await;
        stream.shutdown().await.unwrap();
        until("nothing is computed for it", || server.health().running == 0).await;
    }
}

/// Field report 14.
#[tokio::test]
async fn an_idle_connection_is_kept_for_longer_than_a_request_may_take() {
    let quick = |config: &mut Config| config.server.request_seconds = Seconds(Duration::from_millis(100));
    let server = Setup::default().with(quick).start().await;
    let mut connection = Connection::open(server.address).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        connection.send(&get("/health", &[])).await;
        assert_eq!(connection.response().await.status(), 200);
    }
    // And no longer than it should be.
    let brief = |config: &mut Config| config.server.idle_seconds = Seconds(Duration::from_millis(200));
    let server = Setup::default().with(brief).start().await;
    let mut connection = Connection::open(server.address).await;
    connection.send(&get("/health", &[])).await;
    assert_eq!(connection.response().await.status(), 200);
    assert!(connection.is_closed().await);
}
