//! Running answers: their ids, the numbers of their events, and how each of them ends.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use leafresh_chat::{Event, Events, Failure};
use tokio::sync::watch;

use crate::metrics::{Outcome, Phase};
use crate::state::{AppState, Running, Stage};

/// Longer texts are sent as several events. Six bytes of JSON are the most that one byte becomes, so an event stays
/// below 32 KiB.
const MAX_TEXT: usize = 4096;

/// The name of one answer's stream: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamId(u128);

impl StreamId {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// An event and its place in the stream, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) event: Event,
}

/// Where events come from: a recommendation; in tests, a list. A future that is dropped loses no event.
pub(crate) trait Source: Send + 'static {
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send;
}

impl Source for Events {
    async fn next(&mut self) -> Option<Event> {
        Events::next(self).await
    }
}

/// A running answer. Exactly one `Close` or `Error` comes, whatever the source does, and nothing after it.
///
/// Dropping it drops the source, which cancels the generation.
pub(crate) struct Stream<S = Events> {
    id: StreamId,
    /// Gone once the end has been reached.
    source: Option<S>,
    /// The rest of a text that was too long for one event.
    rest: String,
    number: u64,
    stages: watch::Receiver<Stage>,
    account: Account,
}

impl<S: Source> Stream<S> {
    pub(crate) fn new(source: S, app: &AppState) -> Self {
        Self {
            id: StreamId::random(),
            source: Some(source),
            rest: String::new(),
            number: 0,
            stages: app.stages(),
            account: Account::new(app),
        }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    /// The next event; `None` after the terminal one. May be dropped while it waits without losing an event.
    pub(crate) async fn next(&mut self) -> Option<Numbered> {
        let event = if self.rest.is_empty() { self.receive().await? } else { Event::Text(String::new()) };
        let event = match event {
            Event::Text(text) => {
                self.rest.push_str(&text);
                Event::Text(take_front(&mut self.rest))
            }
            other => other,
        };
        if matches!(event, Event::Close(_) | Event::Error(_)) {
            self.source = None;
        }
        self.account.note(&event);
        self.number += 1;
        Some(Numbered { number: self.number, event })
    }

    async fn receive(&mut self) -> Option<Event> {
        let source = self.source.as_mut()?;
        loop {
            let event = tokio::select! {
                biased;
                // The sender lives as long as the server's state, of which `account` has a share.
                _ = self.stages.wait_for(|stage| *stage == Stage::Stopping) => Event::Error(Failure::Unavailable),
                event = source.next() => event.unwrap_or(Event::Error(Failure::Internal)),
            };
            if event != Event::Text(String::new()) {
                return Some(event);
            }
        }
    }
}

/// Takes at most [`MAX_TEXT`] bytes off the front, whole characters only.
fn take_front(text: &mut String) -> String {
    let rest = text.split_off(text.floor_char_boundary(MAX_TEXT));
    std::mem::replace(text, rest)
}

/// Counts an answer once: when it ends or, if it doesn't come to that, when its reader leaves.
struct Account {
    app: AppState,
    started: Instant,
    first_text: Option<Duration>,
    text: String,
    outcome: Outcome,
    span: tracing::Span,
    _running: Running,
}

impl Account {
    fn new(app: &AppState) -> Self {
        Self {
            app: app.clone(),
            started: Instant::now(),
            first_text: None,
            text: String::new(),
            outcome: Outcome::Left,
            span: tracing::Span::current(),
            _running: app.begin(),
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Text(text) => {
                self.text.push_str(text);
                if self.first_text.is_none() {
                    let after = self.started.elapsed();
                    self.app.metrics().first_token(after);
                    self.first_text = Some(after);
                }
            }
            Event::Challenge { .. } => {}
            Event::Close(_) => self.outcome = Outcome::Close,
            Event::Error(_) => self.outcome = Outcome::Error,
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let phase = if self.first_text.is_some() { Phase::Writing } else { Phase::Waiting };
        let total = self.started.elapsed();
        let tokens = self.app.recommender().map_or(0, |model| model.backend().count_tokens(&self.text));
        self.app.metrics().ended(self.outcome, phase, total, tokens);
        tracing::info!(
            parent: &self.span,
            outcome = self.outcome.name(),
            phase = phase.name(),
            first_text_ms = self.first_text.map(|time| time.as_millis() as u64),
            total_ms = total.as_millis() as u64,
            tokens,
            "answer ended"
        );
    }
}

#[cfg(test)]
pub(crate) mod tests {
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
        let source =
            script([Event::Text(String::new()), Event::Text(long.clone()), Event::Close(answer(""))]);
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
}
