use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use leafresh_chat::{Answer, Catalog, Challenge, Grounding};

use super::*;
use crate::config::Config;

/// Events as a list; what comes after them is up to `then`.
pub(crate) struct Script {
    pub(crate) events: VecDeque<Event>,
    pub(crate) pause: Duration,
    pub(crate) due: Option<tokio::time::Instant>,
    pub(crate) then: Then,
}

pub(crate) enum Then {
    End,
    Wait,
}

impl Source for Script {
    async fn next(&mut self) -> Option<Event> {
        if !self.pause.is_zero() {
            // Kept, because the caller may drop this future and ask again.
            let due = *self.due.get_or_insert_with(|| tokio::time::Instant::now() + self.pause);
            tokio::time::sleep_until(due).await;
            self.due = None;
        }
        match (self.events.pop_front(), &self.then) {
            (None, Then::Wait) => std::future::pending().await,
            (event, _) => event,
        }
    }
}

pub(crate) fn script(events: impl IntoIterator<Item = Event>) -> Script {
    Script { events: events.into_iter().collect(), pause: Duration::ZERO, due: None, then: Then::End }
}

pub(crate) fn state(change: impl FnOnce(&mut Config)) -> AppState {
    let mut config = Config::default();
    change(&mut config);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog");
    AppState::new(&config, Arc::new(Catalog::load(&dir).unwrap()))
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

async fn all<S: Source>(mut stream: Stream<S>) -> Vec<Numbered> {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    assert_eq!(stream.next().await, None);
    events
}

fn numbered(events: impl IntoIterator<Item = Event>) -> Vec<Numbered> {
    events.into_iter().zip(1..).map(|(event, number)| Numbered { number, event }).collect()
}

#[tokio::test]
async fn a_source_that_ends_without_a_word_ends_in_an_error() {
    let app = state(|_| ());
    let text = Event::Text("가".into());
    let events = all(Stream::new(script([text.clone()]), &app)).await;
    assert_eq!(events, numbered([text, Event::Error(Failure::Internal)]));
}

#[tokio::test]
async fn nothing_follows_the_first_terminal_event() {
    let app = state(|_| ());
    for end in [Event::Close(answer("")), Event::Error(Failure::Cancelled)] {
        let more =
            [Event::Text("가".into()), end.clone(), Event::Text("나".into()), Event::Close(answer(""))];
        let events = all(Stream::new(script(more), &app)).await;
        assert_eq!(events, numbered([Event::Text("가".into()), end]));
    }
}

#[tokio::test]
async fn a_long_text_is_cut_between_characters_and_an_empty_one_is_left_out() {
    let app = state(|_| ());
    let long = "가".repeat(MAX_TEXT);
    let source = script([Event::Text(String::new()), Event::Text(long.clone()), Event::Close(answer(""))]);
    let events = all(Stream::new(source, &app)).await;
    let texts = events.iter().filter_map(|numbered| match &numbered.event {
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
    let running = tokio::spawn(all(Stream::new(waiting, &app)));
    app.advance(Stage::Draining);
    tokio::task::yield_now().await;
    assert!(!running.is_finished());
    app.advance(Stage::Stopping);
    assert_eq!(running.await.unwrap(), numbered([Event::Error(Failure::Unavailable)]));
    app.idle().await;
}
