mod schedules;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use leafresh_chat::{Answer, BaseInfo, Catalog, Challenge, Grounding};

use super::driver::MAX_TEXT;
use super::*;
use crate::config::Config;
use crate::life::Lifecycle;
use crate::state::AppState;

/// Events as a list; what comes after them is up to `then`.
pub(crate) struct Script {
    pub(crate) events: VecDeque<Event>,
    pub(crate) pause: Duration,
    pub(crate) due: Option<Instant>,
    pub(crate) then: Then,
    pub(crate) presence: Presence,
}

pub(crate) enum Then {
    End,
    Wait,
    Panic,
}

impl Source for Script {
    async fn next(&mut self) -> Option<Event> {
        if !self.pause.is_zero() {
            // Kept, because the caller may drop this future and ask again.
            let due = *self.due.get_or_insert_with(|| Instant::now() + self.pause);
            tokio::time::sleep_until(due).await;
            self.due = None;
        }
        match (self.events.pop_front(), &self.then) {
            (None, Then::Wait) => std::future::pending().await,
            (None, Then::Panic) => panic!("as the test wants it"),
            (event, _) => event,
        }
    }

    fn presence(&self) -> &Presence {
        &self.presence
    }

    fn phase(&self) -> Phase {
        Phase::Queued { position: Some(2) }
    }

    fn record(&self) -> Record {
        Record::default()
    }
}

pub(crate) fn script(events: impl IntoIterator<Item = Event>) -> Script {
    Script {
        events: events.into_iter().collect(),
        pause: Duration::ZERO,
        due: None,
        then: Then::End,
        presence: Presence::default(),
    }
}

pub(crate) fn asked(request_id: Option<&str>) -> Asked {
    let command = BaseInfo { category: "VEGAN".into(), session_id: Some("s".into()), ..BaseInfo::default() };
    Asked { command: command.into(), request_id: request_id.map(str::to_owned) }
}

/// The same but for who writes.
pub(crate) fn with_another_adapter(command: &Command) -> Command {
    let mut command = command.clone();
    match &mut command {
        Command::BaseInfo(request) => request.adapter = Some("another".into()),
        Command::FreeText(request) => request.adapter = Some("another".into()),
    }
    command
}

/// The first reader of a source's stream, which waits an hour for it to return.
pub(crate) fn run<S: Source>(source: S, app: &AppState) -> Reader {
    start(source, &asked(None), app)
}

fn start<S: Source>(source: S, asked: &Asked, app: &AppState) -> Reader {
    match streams(app).open(asked.clone(), HOUR) {
        Ok(Opened::First(start)) => start.run(source, None),
        _ => panic!("there is one already, or no room"),
    }
}

fn join(asked: &Asked, app: &AppState) -> Option<Reader> {
    match streams(app).open(asked.clone(), HOUR) {
        Ok(Opened::Joined(reader)) => Some(reader),
        _ => None,
    }
}

const HOUR: Duration = Duration::from_hours(1);

static CATALOG: OnceLock<Arc<Catalog>> = OnceLock::new();

pub(crate) fn catalog() -> Arc<Catalog> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog");
    CATALOG.get_or_init(|| Arc::new(Catalog::load(&dir).unwrap())).clone()
}

pub(crate) fn state(change: impl FnOnce(&mut Config)) -> AppState {
    let mut config = Config::default();
    change(&mut config);
    AppState::new(&config, catalog())
}

fn streams(app: &AppState) -> Streams {
    app.part()
}

pub(crate) fn answer(recommend: &str) -> Answer {
    Answer {
        recommend: recommend.into(),
        challenges: vec![challenge()],
        sources: Vec::new(),
        grounding: Grounding::None,
        degraded: false,
        degraded_reason: None,
        remembered: false,
    }
}

pub(crate) fn challenge() -> Challenge {
    Challenge {
        title: "제목".into(),
        description: "설명".into(),
        category: "VEGAN".into(),
        label: "비건".into(),
    }
}

async fn all(mut reader: Reader) -> Vec<Numbered> {
    let mut events = Vec::new();
    loop {
        match reader.next().await {
            Read::Event(event) => events.push(event),
            Read::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reader.next().await, Read::End);
    events
}

fn numbered(events: impl IntoIterator<Item = Event>) -> Vec<Numbered> {
    events.into_iter().zip(1..).map(|(event, number)| Numbered { number, event: Arc::new(event) }).collect()
}

fn text(text: &str) -> Event {
    Event::Text(text.into())
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to this: {what}");
}

#[tokio::test]
async fn a_source_that_ends_without_a_word_ends_in_an_error() {
    let app = state(|_| ());
    let events = all(run(script([text("가")]), &app)).await;
    assert_eq!(events, numbered([text("가"), Event::Error(Failure::Internal)]));
}

#[tokio::test]
async fn case_29_a_source_that_panics_ends_in_an_error_and_counts_once() {
    let app = state(|_| ());
    let source = Script { then: Then::Panic, ..script([text("가")]) };
    let events = all(run(source, &app)).await;
    assert_eq!(events, numbered([text("가"), Event::Error(Failure::Internal)]));
    app.part::<Life>().idle().await;
}

#[tokio::test]
async fn nothing_follows_the_first_terminal_event() {
    let app = state(|_| ());
    for end in [Event::Close(answer("")), Event::Error(Failure::Cancelled)] {
        let more = [text("가"), end.clone(), text("나"), Event::Close(answer(""))];
        let events = all(run(script(more), &app)).await;
        assert_eq!(events, numbered([text("가"), end]));
    }
}

#[tokio::test]
async fn a_long_text_is_cut_between_characters_and_an_empty_one_is_left_out() {
    let app = state(|_| ());
    let long = "가".repeat(MAX_TEXT);
    let source = script([Event::Text(String::new()), Event::Text(long.clone()), Event::Close(answer(""))]);
    let events = all(run(source, &app)).await;
    let texts = events.iter().filter_map(|numbered| match &*numbered.event {
        Event::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let texts: Vec<_> = texts.collect();
    assert_eq!(texts.concat(), long);
    assert!(texts.iter().all(|text| !text.is_empty() && text.len() <= MAX_TEXT));
    let numbers: Vec<_> = events.iter().map(|numbered| numbered.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_server_that_stops_ends_what_is_running() {
    let app = state(|_| ());
    let waiting = Script { then: Then::Wait, ..script([]) };
    let running = tokio::spawn(all(run(waiting, &app)));
    app.part::<Life>().advance(Lifecycle::Draining);
    tokio::task::yield_now().await;
    assert!(!running.is_finished());
    app.part::<Life>().advance(Lifecycle::Stopping);
    assert_eq!(running.await.unwrap(), numbered([Event::Error(Failure::Unavailable)]));
    app.part::<Life>().idle().await;
}

#[tokio::test]
async fn case_9_an_equal_request_joins_from_the_first_event_and_another_one_does_not() {
    let app = state(|_| ());
    let waiting = Script { then: Then::Wait, ..script([text("가")]) };
    let mut first = run(waiting, &app);
    assert!(matches!(first.next().await, Read::Event(_)));
    let mut second = join(&asked(None), &app).expect("it runs");
    assert_eq!(second.stream(), first.stream());
    assert_eq!(second.next().await, Read::Event(numbered([text("가")]).remove(0)));

    let mut other_values = asked(None);
    other_values.command = BaseInfo { session_id: Some("s".into()), ..BaseInfo::default() }.into();
    let mut other_owner = asked(None);
    other_owner.command = BaseInfo {
        owner: "somebody".into(),
        category: "VEGAN".into(),
        session_id: Some("s".into()),
        ..BaseInfo::default()
    }
    .into();
    let other_adapter = Asked { command: with_another_adapter(&asked(None).command), ..asked(None) };
    for other in [other_values, other_owner, other_adapter, asked(Some("r"))] {
        assert!(join(&other, &app).is_none(), "{other:?}");
    }
}

#[tokio::test]
async fn case_9_only_a_request_id_brings_back_an_answer_that_has_ended() {
    let app = state(|_| ());
    let ends = [(Event::Close(answer("")), true), (Event::Error(Failure::Internal), false)];
    for (index, (end, joinable)) in ends.into_iter().enumerate() {
        let with_id = asked(Some(&index.to_string()));
        for (request, joinable) in [(asked(None), false), (with_id, joinable)] {
            let stream = start(script([end.clone()]), &request, &app);
            let id = stream.stream();
            all(stream).await;
            let again = join(&request, &app);
            assert_eq!(again.map(|reader| reader.stream()), joinable.then_some(id), "{request:?} {end:?}");
        }
    }
}

#[tokio::test]
async fn without_session_and_request_id_nothing_is_joined() {
    let app = state(|_| ());
    let mut anonymous = asked(None);
    anonymous.command = BaseInfo::default().into();
    let _first = start(Script { then: Then::Wait, ..script([]) }, &anonymous, &app);
    assert!(join(&anonymous, &app).is_none());
}

#[tokio::test]
async fn full_memory_drops_what_has_ended_first_then_what_is_parked_and_then_refuses() {
    // 1 MiB; each stream below takes a quarter and a bit of it.
    let app = state(|config| config.stream.memory_mib = 1);
    let large = || Event::Text("a".repeat(250 * 1024));
    // Of no session, where one that is parked would make way for the next.
    let request = |name: &str| Asked { command: BaseInfo::default().into(), request_id: Some(name.into()) };
    let ended = start(script([large(), Event::Close(answer(""))]), &request("ended"), &app);
    let ended_id = ended.stream();
    all(ended).await;
    let waiting = || Script { then: Then::Wait, ..script([large()]) };
    let parked = start(waiting(), &request("parked"), &app);
    let parked_id = parked.stream();
    drop(parked);
    until("it is parked", || streams(&app).parked() == 1).await;
    let running = [start(waiting(), &request("a"), &app), start(waiting(), &request("b"), &app)];

    let bytes = || streams(&app).0.tally.bytes.load(Ordering::Relaxed);
    let find = |id| streams(&app).index().get(id);
    until("the ended one is gone", || find(ended_id).is_none()).await;
    assert!(find(parked_id).is_some_and(|live| !live.has_ended()));
    let third = start(waiting(), &request("c"), &app);
    until("the parked one is cancelled", || find(parked_id).is_none_or(|live| live.has_ended())).await;
    until("it fits again", || bytes() <= 1 << 20).await;
    let fourth = start(waiting(), &request("d"), &app);
    until("it is over the limit", || bytes() > 1 << 20).await;
    assert!(matches!(streams(&app).open(request("e"), HOUR), Err(Full)));
    assert_eq!(streams(&app).parked(), 0);
    drop((running, third, fourth));
}

#[tokio::test]
async fn case_4_a_reader_that_is_slower_than_what_is_kept_reads_to_the_end() {
    let app = state(|config| config.stream.retention_seconds = config::Seconds(Duration::ZERO));
    let events = [text("가"), text("나"), Event::Close(answer(""))];
    let reader = run(script(events.clone()), &app);
    let id = reader.stream();
    until("it has ended", || reader.live_has_ended()).await;
    until("it can't be found any more", || streams(&app).index().get(id).is_none()).await;
    assert_eq!(all(reader).await, numbered(events));
    until("its memory is free", || streams(&app).bytes() == 0).await;
}

#[tokio::test]
async fn a_reader_of_dropped_events_hears_that_they_are_gone() {
    let app = state(|_| ());
    let mut reader = run(script([text("가"), text("나"), Event::Close(answer(""))]), &app);
    assert!(matches!(reader.next().await, Read::Event(_)));
    until("it has ended", || reader.live_has_ended()).await;
    streams(&app).index().drop_oldest_ended(None);
    assert_eq!(reader.next().await, Read::Gone);
}

#[tokio::test]
async fn a_deleted_session_ends_its_streams_and_forgets_what_is_kept() {
    let app = state(|_| ());
    let ended = start(script([Event::Close(answer(""))]), &asked(Some("r")), &app);
    let position = Position { stream: ended.stream(), number: 0 };
    all(ended).await;
    let running = run(Script { then: Then::Wait, ..script([]) }, &app);
    let command = asked(None).command;
    streams(&app).forget_session("somebody", "s").await;
    streams(&app).forget_session("", "another").await;
    assert!(streams(&app).resume(position, &command, HOUR).is_some());
    streams(&app).forget_session("", "s").await;
    assert!(streams(&app).resume(position, &command, HOUR).is_none());
    assert_eq!(all(running).await, numbered([Event::Error(Failure::Cancelled)]));
}

#[tokio::test]
async fn progress_is_told_before_the_first_text_and_ends_with_writing() {
    let app = state(|_| ());
    let source =
        Script { pause: Duration::from_millis(20), ..script([text("가"), Event::Close(answer(""))]) };
    let mut reader = run(source, &app).with_progress();
    let mut told = Vec::new();
    let first = loop {
        match reader.next().await {
            Read::Progress(stage) => told.push(stage),
            other => break other,
        }
    };
    assert!(told.ends_with(&[Phase::Queued { position: Some(2) }, Phase::Writing]), "{told:?}");
    assert_eq!(first, Read::Event(numbered([text("가")]).remove(0)));
    assert!(matches!(reader.next().await, Read::Event(_)));
    assert_eq!(reader.next().await, Read::End);
}

#[test]
fn a_position_is_32_digits_and_a_number() {
    let stream = "0123456789abcdef0123456789abcdef";
    let good = [(format!("{stream}:0"), 0), (format!("{stream}:12"), 12)];
    for (text, number) in good {
        let position = Position::parse(&text).unwrap();
        assert_eq!((position.stream.to_string().as_str(), position.number), (stream, number));
    }
    for bad in [
        String::new(),
        stream.to_owned(),
        format!("{stream}:"),
        format!("{stream}:01"),
        format!("{stream}:+1"),
        format!("{stream}:-1"),
        format!("{stream}:1:2"),
        format!("{stream}:end"),
        format!("{stream}:99999999999999999999"),
        format!("{}:1", stream.to_uppercase()),
        format!("+{}:1", &stream[1..]),
        format!("{}:1", &stream[1..]),
        format!(" {stream}:1"),
    ] {
        assert_eq!(Position::parse(&bad), None, "{bad}");
    }
}

/// Field report 41.
#[tokio::test]
async fn what_was_refused_is_kept_nowhere() {
    let app = state(|_| ());
    let Ok(Opened::First(start)) = streams(&app).open(asked(Some("r")), HOUR) else { panic!("the first") };
    let id = start.reader.stream();
    let joined = join(&asked(Some("r")), &app).expect("it waits for its source");
    start.refuse();
    assert!(streams(&app).index().get(id).is_none());
    let events = all(joined).await;
    assert_eq!(*events.last().unwrap().event, Event::Error(Failure::Unavailable));
    assert_eq!(streams(&app).bytes(), 0);
    assert!(join(&asked(Some("r")), &app).is_none());
}

/// Field report 41.
#[tokio::test]
async fn too_much_of_one_keys_is_taken_from_that_key() {
    let app = state(|config| (config.stream.memory_mib, config.stream.memory_per_key_mib) = (64, 1));
    let of = |owner: &str, id: &str| {
        let command = BaseInfo { owner: owner.into(), ..BaseInfo::default() };
        Asked { command: command.into(), request_id: Some(id.into()) }
    };
    let large = || script([text(&"가".repeat(200_000)), Event::Close(answer(""))]);
    let mut ids = Vec::new();
    for (owner, id) in [("b", "1"), ("a", "1"), ("a", "2")] {
        let reader = start(large(), &of(owner, id), &app);
        ids.push(reader.stream());
        all(reader).await;
    }
    let kept = || ids.iter().map(|id| streams(&app).index().get(*id).is_some()).collect::<Vec<_>>();
    until("the limit holds", || kept() == [true, false, true]).await;
    // Who has no key shares what all have.
    for id in ["1", "2", "3"] {
        all(start(large(), &of("", id), &app)).await;
    }
    assert_eq!(kept(), [true, false, true]);
}
