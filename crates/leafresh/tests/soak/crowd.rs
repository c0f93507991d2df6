//! Ten thousand readers of answers that wait, ten thousand connections that do nothing, and fifty readers that must not
//! feel them (failure case 26).

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Scale;
use crate::held::{HELD, RELEASE};
use crate::idle::Idle;
use crate::report::{Report, quantile};
use crate::server::{Orders, Server};
use crate::support::{BASE_INFO, Connection, FREE_TEXT, SSE, get, open_at, read_some, until_async};

/// Answers that wait, each with a share of the readers.
const WAITING: usize = 100;

/// What the server keeps for itself of its descriptors.
const RESERVE: usize = 128;

const AT_ONCE: usize = 100;

/// Memory above the model's, in MiB.
const MOST_MEMORY: f64 = 600.0;

pub(crate) async fn run(scale: &Scale, report: &mut Report) {
    let config = json!({
        // Otherwise it would soon close what is idle.
        "server": { "request_seconds": 3600, "idle_seconds": 3600 },
        "engine": { "running": 64, "queue": 400, "context": 262_144, "cached_tokens": 8192 },
        "stream": { "grace_seconds": 3600, "keep_alive_seconds": 0 },
        "deadlines": { "queue_seconds": 3600, "answer_seconds": 7200, "stall_seconds": 600 },
    });
    let step = Duration::from_millis(10);
    let server = Server::start(Orders { config, step, faults: false, failing_writes: 0, folder: "".into() });
    let most = server.most_descriptors() - RESERVE;
    let idle = scale.readers.min(most.saturating_sub(scale.readers + 2 * scale.active + 50));
    report.say(format!(
        "crowd: {} readers of {WAITING} waiting answers, {idle} idle connections, {} active readers; at most {most} \
         connections",
        scale.readers, scale.active
    ));
    first_texts(server.address, scale.active, scale.watching / 3).await; // warm
    let mut alone = first_texts(server.address, scale.active, scale.watching).await;
    report.say(format!("first text alone: {}", quantiles(&mut alone)));

    let readers = Readers::open(server.address, scale.readers).await;
    report.say(format!("{} readers wait; {:.0} MiB", scale.readers, server.memory().1));
    let idle = Idle::open(server.address, idle);
    report.say(format!("idle connections are open; {:.0} MiB", server.memory().1));
    let connections = server.metrics().await.value("leafresh_connections") as usize;
    let mut among = first_texts(server.address, scale.active, scale.watching).await;
    report.say(format!("first text among them: {}", quantiles(&mut among)));
    let memory = server.memory().1;
    let stayed = server.metrics().await.value("leafresh_connections") as usize;
    report.goal("crowd_connections_lost", connections.saturating_sub(stayed) as f64, 0.0);
    let late = too_many(&server, most, scale, report).await;

    let request = crate::support::request("DELETE", &format!("/ai/chatbot/sessions/{RELEASE}"), &[], b"");
    assert_eq!(Connection::ask(server.address, &request).await.status(), 200);
    report.say("the waiting answers are written");
    let wrong = readers.end().await;
    let after = server.memory().1;
    drop(idle);
    let mut alone_again = first_texts(server.address, scale.active, scale.watching).await;
    report.say(format!(
        "first text alone again: {}; {:.0} MiB",
        quantiles(&mut alone_again),
        server.memory().1
    ));
    alone.extend(alone_again);
    report.goal("crowd_memory_mib", memory.max(after), MOST_MEMORY);
    report.measure(
        "crowd_first_text_p99_ratio",
        quantile(&mut among, 0.99) / quantile(&mut alone, 0.99),
        1.5,
    );
    report.goal("crowd_wrong_ends", wrong as f64, 0.0);
    report.goal("crowd_not_told_503", late as f64, 0.0);
}

fn quantiles(times: &mut [f64]) -> String {
    let (half, most) = (quantile(times, 0.5), quantile(times, 0.99));
    format!("{} answers, median {half:.0} ms, p99 {most:.0} ms", times.len())
}

/// Readers that ask again and again for a while; the time to the first text of each answer, in milliseconds.
async fn first_texts(address: SocketAddr, readers: usize, length: Duration) -> Vec<f64> {
    let until = Instant::now() + length;
    let mut clients = JoinSet::new();
    for number in 0..readers {
        clients.spawn(async move {
            let mut times = Vec::new();
            // Not all at the same moment.
            tokio::time::sleep(Duration::from_millis(37 * number as u64)).await;
            while Instant::now() < until {
                let category = ["ZERO_WASTE", "PLOGGING", "VEGAN", "MEDIA"][number % 4];
                let target = format!("{BASE_INFO}?location=city&workType=office&category={category}");
                let began = Instant::now();
                let mut connection = open_at(address, &get(&target, &[SSE])).await;
                read_some(&mut connection, 1).await;
                times.push(began.elapsed().as_secs_f64() * 1000.0);
                while connection.chunk().await.is_some() {}
            }
            times
        });
    }
    let mut all = Vec::new();
    while let Some(times) = clients.join_next().await {
        all.extend(times.unwrap());
    }
    all
}

/// Readers of answers that wait.
struct Readers(JoinSet<Option<Seen>>);

/// What a reader has seen: its stream, and all of it in short.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    answer: usize,
    hash: u64,
    ends: usize,
    closed: bool,
}

impl Readers {
    async fn open(address: SocketAddr, count: usize) -> Self {
        let mut readers = JoinSet::new();
        let opened = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        for number in 0..count {
            let (gate, opened) = (gate.clone(), opened.clone());
            readers.spawn(async move {
                let permit = gate.acquire_owned().await.unwrap();
                let answer = number % WAITING;
                let stream = ask(address, answer).await;
                opened.fetch_add(1, Ordering::Relaxed);
                drop(permit);
                follow(stream?, answer).await
            });
        }
        until_async("all readers have their headers", async || opened.load(Ordering::Relaxed) == count).await;
        Self(readers)
    }

    /// Waits for their ends, and counts those that aren't as they should be.
    async fn end(mut self) -> usize {
        let mut wrong = 0;
        let mut by_answer: Vec<Option<Seen>> = vec![None; WAITING];
        while let Some(seen) = self.0.join_next().await {
            let Ok(Some(seen)) = seen else {
                wrong += 1;
                continue;
            };
            let first = by_answer[seen.answer].get_or_insert_with(|| seen.clone());
            wrong += usize::from(*first != seen || seen.ends != 1 || !seen.closed);
        }
        wrong
    }
}

/// Asks for an answer that waits for its conversation, from an address of its own: ports are counted by address.
async fn ask(address: SocketAddr, answer: usize) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.3:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(address).await.ok()?;
    let target = format!("{FREE_TEXT}?message=plogging&sessionId={HELD}{answer}&requestId=crowd{answer}");
    stream.write_all(&get(&target, &[SSE])).await.ok()?;
    // The headers, byte by byte: what follows is the body's.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    head.starts_with(b"HTTP/1.1 200").then_some(stream)
}

/// Reads to the end; only a hash of what is read is kept.
async fn follow(mut stream: TcpStream, answer: usize) -> Option<Seen> {
    let (mut chunked, mut hasher, mut line) = (Chunked::default(), DefaultHasher::new(), Vec::new());
    let (mut ends, mut closed) = (0, false);
    let mut bytes = [0; 4096];
    while !chunked.ended {
        let read = stream.read(&mut bytes).await.ok().filter(|&read| read > 0)?;
        for byte in chunked.decode(&bytes[..read]) {
            hasher.write_u8(byte);
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            ends += usize::from(line.starts_with(b"id: ") && line.ends_with(b":end"));
            closed |= line == b"event: close";
            line.clear();
        }
    }
    Some(Seen { answer, hash: hasher.finish(), ends, closed })
}

/// HTTP's chunks as they come.
#[derive(Default)]
struct Chunked {
    left: usize,
    line: String,
    ended: bool,
}

impl Chunked {
    fn decode(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.left > 0 {
                self.left -= 1;
                body.push(byte);
            } else if byte != b'\n' {
                self.line.push(char::from(byte));
            } else if !self.line.trim().is_empty() {
                self.left = usize::from_str_radix(self.line.trim(), 16).unwrap();
                self.ended |= self.left == 0;
                self.line.clear();
            } else {
                self.line.clear();
            }
        }
        body
    }
}

/// Opens connections beyond the limit: those that weren't told so with a 503, and one more when nothing works afterwards.
async fn too_many(server: &Server, most: usize, scale: &Scale, report: &Report) -> usize {
    if !scale.full {
        return 0; // The limit is far away, and `more_connections_than_allowed_are_told_so` has a near one.
    }
    let mut held = Vec::new();
    // One is the metrics' own.
    let open = server.metrics().await.value("leafresh_connections") as usize - 1;
    for _ in open..most {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut beyond = JoinSet::new();
    for _ in 0..400 {
        let mut connection = Connection::open(server.address).await;
        beyond.spawn(async move { connection.response().await.status() });
    }
    let (mut told, mut late) = (0, 0);
    while let Some(status) = beyond.join_next().await {
        if status.is_ok_and(|status| status == 503) {
            told += 1;
        } else {
            late += 1;
        }
    }
    held.truncate(held.len().saturating_sub(20));
    until_async("there is room again", async || {
        let mut connection = Connection::open(server.address).await;
        connection.send(&get("/health", &[("Connection", "close")])).await;
        connection.response().await.status() == 200
    })
    .await;
    report.say(format!("{} connections filled the limit, {told} beyond it were told so", held.len() + 20));
    late
}
