//! Random schedules of events, readers, departures and reconnects, against a model that a reader of this file can check.

use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// The source says something.
    Text,
    Challenge,
    Close,
    Fail,
    /// The source ends without a terminal event.
    Silence,
    /// Somebody sends the same request, and would return after leaving or not.
    Join {
        returns: bool,
    },
    /// Somebody comes back who has read so many events, or claims so.
    Resume {
        read: u64,
        returns: bool,
    },
    /// The same with other parameters.
    ResumeOther,
    Read {
        reader: usize,
        events: usize,
    },
    Leave {
        reader: usize,
    },
    /// Nobody has returned in time.
    GraceOver,
    Stop {
        own: bool,
    },
    /// It has been kept long enough, if it has ended.
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let reader = 0..6_usize;
    prop_oneof![
        8 => Just(Step::Text),
        2 => Just(Step::Challenge),
        1 => Just(Step::Close),
        1 => Just(Step::Fail),
        1 => Just(Step::Silence),
        4 => any::<bool>().prop_map(|returns| Step::Join { returns }),
        4 => (0..12_u64, any::<bool>()).prop_map(|(read, returns)| Step::Resume { read, returns }),
        1 => Just(Step::ResumeOther),
        8 => (reader.clone(), 1..5_usize).prop_map(|(reader, events)| Step::Read { reader, events }),
        4 => reader.prop_map(|reader| Step::Leave { reader }),
        2 => Just(Step::GraceOver),
        1 => any::<bool>().prop_map(|own| Step::Stop { own }),
        1 => Just(Step::Expire),
    ]
}

/// A source that says what the test sends it.
struct Fed {
    events: mpsc::UnboundedReceiver<Event>,
    presence: Presence,
}

impl Source for Fed {
    async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    fn presence(&self) -> &Presence {
        &self.presence
    }

    fn phase(&self) -> Phase {
        Phase::Prefill
    }

    fn record(&self) -> Record {
        Record::default()
    }
}

/// What has to be.
#[derive(Default)]
struct Model {
    events: Vec<Event>,
    ended: bool,
    /// No longer kept.
    expired: bool,
    /// Readers that are there: how much they have read, and whether they would return.
    readers: Vec<Option<(u64, bool)>>,
    /// Somebody who left would return.
    awaited: bool,
}

impl Model {
    fn push(&mut self, event: Event) {
        if !self.ended {
            self.ended = matches!(event, Event::Close(_) | Event::Error(_));
            self.events.push(event);
        }
    }

    fn nobody_waits(&mut self) {
        if !self.ended && self.readers.iter().all(Option::is_none) && !self.awaited {
            self.push(Event::Error(Failure::Cancelled));
        }
    }

    fn is_parked(&self) -> bool {
        !self.ended && self.readers.iter().all(Option::is_none)
    }

    /// Events that a reader can name as its last.
    fn last_number(&self) -> u64 {
        self.events.len() as u64 - u64::from(self.ended)
    }

    fn joinable(&self) -> bool {
        !self.expired && (!self.ended || matches!(self.events.last(), Some(Event::Close(_))))
    }
}

/// The real thing beside its model.
struct Trial {
    streams: Streams,
    live: Arc<Live>,
    request: Asked,
    feed: Option<mpsc::UnboundedSender<Event>>,
    presence: Presence,
    readers: Vec<Option<Reader>>,
    model: Model,
}

impl Trial {
    fn begin(app: &AppState, request_id: Option<&str>) -> Self {
        let streams = streams(app);
        let request = asked(request_id);
        let Ok(Opened::First(start)) = streams.open(request.clone(), HOUR) else { panic!("the first") };
        let live = start.ending.live.clone();
        let (feed, events) = mpsc::unbounded_channel();
        let presence = Presence::default();
        let reader = start.run(Fed { events, presence: presence.clone() }, None);
        Self {
            streams,
            live,
            request,
            feed: Some(feed),
            presence,
            readers: vec![Some(reader)],
            model: Model { readers: vec![Some((0, true))], ..Model::default() },
        }
    }

    fn feed(&mut self, event: Event) {
        if let Some(feed) = &self.feed {
            // The driver has ended when nobody receives.
            let _ = feed.send(event.clone());
            self.model.push(event);
        }
    }

    fn arrive(&mut self, reader: Reader, read: u64, returns: bool) {
        self.readers.push(Some(reader));
        self.model.readers.push(Some((read, returns)));
    }

    fn apply(&mut self, step: &Step) {
        let grace = |returns: bool| if returns { HOUR } else { Duration::ZERO };
        match *step {
            Step::Text => {
                let number = self.model.events.len();
                self.feed(text(&format!("{number} ")));
            }
            Step::Challenge => self.feed(Event::Challenge { number: 1, challenge: challenge() }),
            Step::Close => self.feed(Event::Close(answer(""))),
            Step::Fail => self.feed(Event::Error(Failure::Internal)),
            Step::Silence => {
                if self.feed.take().is_some() {
                    self.model.push(Event::Error(Failure::Internal));
                }
            }
            Step::Join { returns } => {
                let opened = self.streams.open(self.request.clone(), grace(returns));
                let running = !self.model.ended && !self.model.expired;
                let expected = running || (self.request.request_id.is_some() && self.model.joinable());
                match opened {
                    Ok(Opened::Joined(reader)) => {
                        assert!(expected, "joined what can't be joined");
                        self.arrive(reader, 0, returns);
                    }
                    Ok(Opened::First(start)) => {
                        assert!(!expected, "not joined");
                        start.refuse();
                        // The request has another stream from now on, which has failed.
                        self.model.expired |= self.model.joinable();
                    }
                    Err(Full) => panic!("there is room"),
                }
            }
            Step::Resume { read, returns } => {
                let position = Position { stream: self.live.id(), number: read };
                let command = self.request.command.clone();
                let reader = self.streams.resume(position, &command, grace(returns));
                let kept = self.streams.index().get(self.live.id()).is_some();
                assert_eq!(reader.is_some(), kept && read <= self.model.last_number());
                if let Some(reader) = reader {
                    self.arrive(reader, read, returns);
                }
            }
            Step::ResumeOther => {
                let position = Position { stream: self.live.id(), number: 0 };
                let command = with_another_adapter(&self.request.command);
                assert!(self.streams.resume(position, &command, HOUR).is_none());
            }
            Step::Read { reader, events } => self.read(reader, events),
            Step::Leave { reader } => {
                let Some((place, (_, returns))) = self.present(reader) else { return };
                self.readers[place] = None;
                self.model.readers[place] = None;
                self.model.awaited |= returns;
                self.model.nobody_waits();
            }
            Step::GraceOver => {
                self.live.forget_grace();
                self.model.awaited = false;
                self.model.nobody_waits();
            }
            Step::Stop { own } => {
                self.streams.stop(if own { "" } else { "somebody" }, self.live.id());
                if own && self.streams.index().get(self.live.id()).is_some() {
                    self.model.push(Event::Error(Failure::Cancelled));
                }
            }
            Step::Expire => {
                let later = Instant::now() + HOUR;
                self.streams.index().expire(later);
                if self.model.ended {
                    self.model.expired = true;
                }
            }
        }
    }

    /// The reader that a number stands for.
    fn present(&self, reader: usize) -> Option<(usize, (u64, bool))> {
        let present: Vec<_> = self.model.readers.iter().enumerate().collect();
        let present: Vec<_> =
            present.into_iter().filter_map(|(place, reader)| Some((place, (*reader)?))).collect();
        present.get(reader % present.len().max(1)).copied()
    }

    fn read(&mut self, reader: usize, events: usize) {
        let Some((place, (mut read, returns))) = self.present(reader) else { return };
        let reader = self.readers[place].as_mut().expect("it is there");
        for _ in 0..events {
            let expected = match self.model.events.get(read as usize) {
                Some(event) => {
                    Some(Read::Event(Numbered { number: read + 1, event: Arc::new(event.clone()) }))
                }
                None => self.model.ended.then_some(Read::End),
            };
            assert_eq!(reader.poll(), expected);
            read += u64::from(matches!(expected, Some(Read::Event(_))));
        }
        self.model.readers[place] = Some((read, returns));
    }

    /// The driver has done all it can; then both agree.
    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.live.has_ended(), self.model.ended);
        assert_eq!(
            self.live.last_number(),
            if self.model.expired_events(&self.live) { 0 } else { self.model.last_number() }
        );
        assert_eq!(self.live.parked_since().is_some(), self.model.is_parked(), "parked");
        if !self.model.ended {
            assert_eq!(self.presence.is_parked(), self.model.is_parked(), "the source is parked");
        }
        assert_eq!(self.streams.parked(), usize::from(self.model.is_parked()));
    }
}

impl Model {
    /// Its events were dropped with it.
    fn expired_events(&self, live: &Live) -> bool {
        self.ended && live.is_dropped()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_agrees_with_the_model(
        steps in proptest::collection::vec(step(), 1..60),
        request_id in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let app = state(|_| ());
            let mut trial = Trial::begin(&app, request_id.then_some("r"));
            trial.settle().await;
            for step in &steps {
                trial.apply(step);
                trial.settle().await;
            }
            // Everybody leaves and nobody returns: nothing is left of it.
            let Trial { live, streams, readers, .. } = trial;
            drop(readers);
            live.forget_grace();
            app.part::<Life>().idle().await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            streams.index().expire(Instant::now() + HOUR);
            drop(live);
            assert_eq!(streams.0.tally.bytes.load(Ordering::Relaxed), 0);
            assert_eq!(streams.parked(), 0);
        });
    }
}
