//! Clients of every kind: good, slow, leaving, reconnecting, twins, relays, those who stop their answers, and hostile
//! ones.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::Rng;
use rand::seq::IndexedRandom;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinError;
use tokio::time::sleep;

use crate::books::Books;
use crate::chaos::DEADLY;
use crate::support::client::request;
use crate::support::events::Reader;
use crate::support::{BASE_INFO, Connection, Event, FREE_TEXT, SSE, get, post, read};

/// Clients by the address that their proxy tells.
pub(crate) const ADDRESSES: usize = 10;

/// Every one is two deaths of the engine.
const BETWEEN_DEADLY: Duration = Duration::from_mins(1);

const MESSAGES: [&str; 8] = [
    "요즘 배달 시키면 쓰레기가 너무 많이 나와",
    "다른 거",
    "원래대로",
    "아무거나",
    "바닷가에서 플로깅하고 싶어요",
    "사무실에서 전기를 아끼려면?",
    "오늘 주식 뭐 사면 돼?",
    "ㅁㄴㅇㄹ",
];

/// What happened, in numbers, and what must not have.
#[derive(Default)]
pub(crate) struct Deeds {
    pub(crate) books: Books,
    counts: Mutex<BTreeMap<String, u64>>,
    wrong: Mutex<Vec<String>>,
    deadly: Mutex<Option<Instant>>,
}

impl Deeds {
    fn count(&self, what: impl Into<String>) {
        *self.counts.lock().unwrap().entry(what.into()).or_default() += 1;
    }

    pub(crate) fn summary(&self) -> String {
        let mut text = format!("{} closed, {} failed", self.books.ended("close"), self.books.ended("error"));
        for (what, count) in &*self.counts.lock().unwrap() {
            write!(text, ", {count} {what}").unwrap();
        }
        text
    }

    /// A visit that panicked saw something that must not be.
    pub(crate) fn wrong(&self, kind: Kind, failed: JoinError) {
        let panicked = failed.into_panic();
        let text = panicked.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panicked.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        self.wrong.lock().unwrap().push(format!("{kind:?}: {}", text.unwrap_or_default()));
    }

    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) deeds: Arc<Deeds>,
    pub(crate) until: Instant,
    pub(crate) number: usize,
}

/// What somebody asks.
#[derive(Clone)]
struct Question {
    target: String,
    from: String,
    /// Events are numbered without gaps for its readers.
    whole: bool,
}

fn pick<T: Copy>(from: &[T]) -> T {
    *from.choose(&mut rand::rng()).unwrap()
}

fn chance(share: f64) -> bool {
    rand::rng().random_bool(share)
}

fn millis(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rand::random_range(range))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// What a client may do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Good,
    Slow,
    Leaving,
    Reconnecting,
    Twins,
    Relay,
    Stopping,
    Hostile,
}

impl Kind {
    pub(crate) fn any() -> Self {
        match rand::random_range(0..100) {
            0..35 => Self::Good,
            35..45 => Self::Slow,
            45..60 => Self::Leaving,
            60..75 => Self::Reconnecting,
            75..80 => Self::Twins,
            80..88 => Self::Relay,
            88..93 => Self::Stopping,
            _ => Self::Hostile,
        }
    }
}

/// One thing that a client does.
pub(crate) async fn visit(kind: Kind, world: World) {
    match kind {
        Kind::Good => good(&world).await,
        Kind::Slow => slow(&world).await,
        Kind::Leaving => leaving(&world).await,
        Kind::Reconnecting => reconnecting(&world).await,
        Kind::Twins => twins(&world).await,
        Kind::Relay => relay(&world).await,
        Kind::Stopping => stopping(&world).await,
        Kind::Hostile => hostile(&world).await,
    }
    sleep(millis(0..300)).await;
}

impl World {
    fn question(&self) -> Question {
        let mut target = if chance(0.6) {
            let place = pick(&["city", "beach", "mountain", "rural"]);
            let work = pick(&["office", "field", "sales", "remote"]);
            let category = pick(&["ZERO_WASTE", "PLOGGING", "VEGAN", "MEDIA"]);
            format!("{BASE_INFO}?location={place}&workType={work}&category={category}")
        } else {
            format!("{FREE_TEXT}?message={}", encoded(pick(&MESSAGES)))
        };
        if chance(0.3) {
            write!(target, "&sessionId=s{}", rand::random_range(0..40)).unwrap();
        }
        if chance(0.3) {
            write!(target, "&requestId={}", rand::random::<u64>()).unwrap();
        }
        if chance(0.3) {
            target += "&progress=1";
        }
        let whole = !chance(0.1);
        if !whole {
            target += "&dialect=token";
        }
        Question { target, from: format!("10.0.0.{}", self.number % ADDRESSES), whole }
    }

    /// A stream, or the status with which the request was refused in order.
    async fn open(&self, question: &Question, last_id: Option<&str>) -> Result<Connection, u64> {
        let mut headers = vec![SSE, ("X-Forwarded-For", question.from.as_str())];
        headers.extend(last_id.map(|id| ("Last-Event-ID", id)));
        let mut connection = Connection::open(self.address).await;
        connection.send(&get(&question.target, &headers)).await;
        let head = connection.head().await;
        if head.status == 200 {
            assert_eq!(head.header("content-type"), Some("text/event-stream; charset=utf-8"));
            if head.header("transfer-encoding").is_some() {
                return Ok(connection);
            }
            // One event that was written at once: there is nothing to go on with.
            let body = connection.body(&head).await.concat();
            let [gone] = &read(&body)[..] else { panic!("{}", String::from_utf8_lossy(&body)) };
            assert!(last_id.is_some() && gone.data["status"] == 410, "{gone:?}");
            self.deeds.count("410");
            return Err(410);
        }
        assert!(matches!(head.status, 429 | 503), "{head:?}");
        assert!(head.header("retry-after").is_some(), "{head:?}");
        self.deeds.count(head.status.to_string());
        sleep(millis(200..1000)).await;
        Err(head.status.into())
    }

    /// Reads until there are so many events or none follow; each is noted.
    async fn read(
        &self,
        connection: &mut Connection,
        question: &Question,
        most: usize,
        pace: Duration,
    ) -> Vec<Event> {
        let mut reader = Reader::default();
        let mut noted = 0;
        while noted < most
            && let Some(chunk) = connection.chunk().await
        {
            reader.read(&chunk);
            for event in &reader.events[noted..] {
                self.deeds.books.note(event);
            }
            noted = reader.events.len();
            sleep(pace).await;
        }
        let numbers = reader.events.iter().filter(|event| event.name == "challenge");
        let numbers: Vec<u64> = numbers.map(|event| event.number().parse().unwrap()).collect();
        let gap = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
        assert!(!question.whole || gap.is_none(), "a gap in {}: {gap:?}", question.target);
        assert!(
            noted >= most || reader.events.last().is_some_and(Event::is_terminal),
            "no end: {:?}",
            reader.events.last()
        );
        reader.events
    }
}

const ALL: usize = usize::MAX;

async fn good(world: &World) {
    let question = world.question();
    if let Ok(mut connection) = world.open(&question, None).await {
        world.read(&mut connection, &question, ALL, Duration::ZERO).await;
        world.deeds.count("read");
    }
}

async fn slow(world: &World) {
    let question = world.question();
    if let Ok(mut connection) = world.open(&question, None).await {
        world.read(&mut connection, &question, ALL, millis(20..80)).await;
        world.deeds.count("read slowly");
    }
}

async fn leaving(world: &World) {
    let question = world.question();
    if let Ok(mut connection) = world.open(&question, None).await {
        if chance(0.7) {
            world.read(&mut connection, &question, rand::random_range(1..150), Duration::ZERO).await;
        }
        world.deeds.count("left");
    }
}

async fn reconnecting(world: &World) {
    let question = world.question();
    let mut last: Option<Event> = None;
    loop {
        let id = last.as_ref().map(|event| event.id.clone());
        let mut connection = match world.open(&question, id.as_deref()).await {
            Ok(connection) => connection,
            // Whoever resumes uses no allowance, but what was asked for may be gone.
            Err(status) => return assert!(id.is_none() || status == 410, "a reader that returned: {status}"),
        };
        let some = rand::random_range(1..120);
        let events = world.read(&mut connection, &question, some, Duration::ZERO).await;
        drop(connection);
        let first = events.iter().find(|event| event.name == "challenge");
        if let (true, Some(id), Some(first)) = (question.whole, &id, first) {
            let before: u64 = id.split_once(':').unwrap().1.parse().unwrap();
            assert_eq!(first.number().parse::<u64>().unwrap(), before + 1, "after {id}");
        }
        last = events.into_iter().next_back();
        if last.as_ref().is_some_and(Event::is_terminal) {
            world.deeds.count("came back to the end");
            return;
        }
        // Sometimes for longer than it is waited for.
        sleep(millis(0..if chance(0.1) { 5000 } else { 1500 })).await;
    }
}

/// The same question at the same time: one answer.
async fn twins(world: &World) {
    let mut question = world.question();
    write!(question.target, "&requestId=twin-{}", rand::random::<u64>()).unwrap();
    let (one, other) = tokio::join!(world.open(&question, None), world.open(&question, None));
    if let (Ok(mut one), Ok(mut other)) = (one, other) {
        let (one, other) = tokio::join!(
            world.read(&mut one, &question, ALL, Duration::ZERO),
            world.read(&mut other, &question, ALL, Duration::ZERO),
        );
        assert_eq!(one.last().unwrap().id, other.last().unwrap().id);
        world.deeds.count("twins");
    }
}

/// One JSON object.
async fn relay(world: &World) {
    let body = r#"{"location":"city","workType":"office","category":"VEGAN"}"#;
    let from = format!("10.0.0.{}", world.number % ADDRESSES);
    let response =
        Connection::ask(world.address, &post(BASE_INFO, &[("X-Forwarded-For", &from)], body)).await;
    assert_eq!(response.json()["status"], response.status());
    assert!(matches!(response.status(), 200 | 429 | 500 | 502 | 503 | 504), "{}", response.text());
    world.deeds.count(format!("objects of {}", response.status()));
}

/// Ends its own answer: by its stream, or with its session.
async fn stopping(world: &World) {
    let question = world.question();
    let Ok(mut connection) = world.open(&question, None).await else { return };
    let begun = world.read(&mut connection, &question, 5, Duration::ZERO).await;
    let Some(stream) = begun.first().map(Event::stream) else { return };
    let target = match question.target.split_once("sessionId=") {
        Some((_, session)) => format!("/ai/chatbot/sessions/{}", session.split('&').next().unwrap()),
        None => format!("/ai/chatbot/streams/{stream}"),
    };
    let answer = Connection::ask(world.address, &request("DELETE", &target, &[], b"")).await;
    // The store fails now and again.
    assert!(matches!(answer.status(), 200 | 204 | 500), "{}", answer.status());
    if !begun.last().is_some_and(Event::is_terminal) {
        while connection.chunk().await.is_some() {}
    }
    world.deeds.count("stopped");
}

async fn hostile(world: &World) {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let question = world.question();
    let bytes = match rand::random_range(0..9) {
        0 => (0..rand::random_range(1..5000)).map(|_| rand::random()).collect(),
        1 => {
            let whole = get(&question.target, &[SSE]);
            whole[..rand::random_range(0..whole.len())].to_vec()
        }
        2 => get(&question.target, &[SSE, ("X-Long", &"a".repeat(40_000))]),
        3 => get(&question.target, &[SSE, ("Last-Event-ID", pick(&["x", ":", "0:0", ":end", "ffff:-1"]))]),
        4 => get(&format!("{BASE_INFO}?location=%FF%FE&workType=%&category"), &[SSE]),
        5 => post(BASE_INFO, &[], "[".repeat(60_000)),
        6 => request(pick(&["PUT", "OPTIONS", "TRACE", "HEAD"]), &question.target, &[], b""),
        7 => request("DELETE", &format!("/ai/chatbot/streams/{:032x}", rand::random::<u128>()), &[], b""),
        _ => {
            let due = {
                let mut last = world.deeds.deadly.lock().unwrap();
                let due = last.is_none_or(|last| last.elapsed() > BETWEEN_DEADLY);
                if due {
                    *last = Some(Instant::now());
                }
                due
            };
            if !due {
                return;
            }
            world.deeds.count("deadly");
            let place = encoded(&DEADLY.to_string());
            get(&format!("{BASE_INFO}?location={place}&workType=office&category=VEGAN"), &[SSE])
        }
    };
    // Whatever becomes of it is the server's to choose, as long as it lives.
    let _ = stream.write_all(&bytes).await;
    sleep(millis(0..1500)).await;
    drop(stream);
    world.deeds.count("hostile");
}
