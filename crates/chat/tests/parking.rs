//! Readers that leave and come back at every stage of an answer.

// Helpers outside `#[test]` functions unwrap too: a failure there is a failed test.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use leafresh_chat::{BaseInfo, Catalog, Event, Events, Recommender, Sessions, Settings};
use leafresh_engine::fake::FakeModel;
use leafresh_engine::{Arrival, Backend, Local, LocalSettings, Presence};
use leafresh_store::{Options, Sqlite};
use proptest::prelude::*;

/// All that may run and wait.
const PLACES: usize = 4;

struct Crowd {
    engine: Arc<Local>,
    recommender: Recommender,
    _folder: tempfile::TempDir,
}

fn crowd() -> Crowd {
    static CATALOG: OnceLock<Arc<Catalog>> = OnceLock::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog");
    let catalog = CATALOG.get_or_init(|| Arc::new(Catalog::load(&folder).unwrap())).clone();
    let settings = LocalSettings { running: 1, queue: PLACES - 1, ..LocalSettings::default() };
    let model = FakeModel::new(1).with_step(Duration::from_micros(100));
    let engine = Arc::new(Local::start(Box::new(model), &settings).unwrap());
    let mut settings = Settings::default();
    settings.sampling.seed = Some(1);
    let recommender = Recommender::new(catalog, engine.clone(), settings).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("sessions.db"), Options::default()).unwrap();
    Crowd { engine, recommender: recommender.with_sessions(Sessions::new(Arc::new(store))), _folder: folder }
}

impl Crowd {
    /// The second waits for the session of the first, the others for a place.
    fn ask(&self, which: usize) -> Events {
        let session = ["둘의 대화", "둘의 대화", "하나의 대화"].get(which);
        let request = BaseInfo {
            location: format!("{which}번째 동네"),
            work_type: "학생".into(),
            category: "VEGAN".into(),
            session_id: session.map(ToString::to_string),
            ..BaseInfo::default()
        };
        self.recommender.base_info(&request).unwrap()
    }
}

async fn read(mut events: Events) -> String {
    let mut text = String::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Text(more) => text += &more,
            Event::Close(answer) => assert!(!answer.degraded, "{answer:?}"),
            Event::Error(failure) => panic!("{failure:?}"),
            Event::Challenge { .. } => {}
        }
    }
    text
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it never came to this: {what}");
}

/// What each is told when nobody leaves.
async fn undisturbed() -> Vec<String> {
    let crowd = crowd();
    let mut texts = Vec::new();
    for which in 0..PLACES {
        texts.push(read(crowd.ask(which)).await);
    }
    texts
}

async fn trial(acts: Vec<(usize, bool, u64)>, expected: &[String]) {
    let crowd = crowd();
    let (mut readers, mut presences) = (Vec::new(), Vec::<Presence>::new());
    for which in 0..PLACES {
        let events = crowd.ask(which);
        presences.push(events.presence().clone());
        readers.push(tokio::spawn(read(events)));
    }
    for (which, parked, pause) in acts {
        if parked {
            presences[which].park();
        } else {
            presences[which].resume();
        }
        tokio::time::sleep(Duration::from_micros(pause)).await;
    }
    // The first one stays, so that its session becomes free for one that is away.
    presences[1..].iter().for_each(Presence::park);
    assert_eq!(readers.remove(0).await.unwrap(), expected[0]);
    until("nothing runs", || crowd.engine.health().running == 0).await;
    let health = crowd.engine.health();
    assert_eq!((health.queued, health.kv_used), (0, 0));
    let places: Vec<_> = (0..PLACES).map(|_| crowd.engine.reserve(&Arrival::default())).collect();
    assert!(places.iter().all(Result::is_ok), "those who are away hold no place");
    drop(places);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(crowd.engine.health().steps, health.steps, "no step for nobody");
    presences.iter().for_each(Presence::resume);
    for (reader, expected) in readers.into_iter().zip(&expected[1..]) {
        assert_eq!(&reader.await.unwrap(), expected);
    }
    until("all is free again", || {
        let health = crowd.engine.health();
        (health.running, health.queued, health.parked) == (0, 0, 0)
    })
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Field report 39. Whoever leaves, at whatever stage and however often: at rest nobody who is away holds a place or
    /// costs a step, and who comes back gets the very text.
    #[test]
    fn who_leaves_is_parked_at_every_stage_and_who_comes_back_gets_the_very_text(
        acts in proptest::collection::vec((1..PLACES, any::<bool>(), 0..8000_u64), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            static EXPECTED: tokio::sync::OnceCell<Vec<String>> = tokio::sync::OnceCell::const_new();
            trial(acts, EXPECTED.get_or_init(undisturbed).await).await;
        });
    }
}
