//! Readers that go away and come back.

use std::time::{Duration, Instant};

use leafresh_engine::fake::{FakeModel, Recipe};
use leafresh_engine::{Arrival, Backend, Delta, Error, Generation, Local, LocalSettings};
use proptest::prelude::*;

use crate::support::{finish, free, idle, request};

fn slow(settings: &LocalSettings) -> Local {
    let model = FakeModel::new(21).with_step(Duration::from_millis(3));
    Local::start(Box::new(model), settings).unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it never came to this: {what}");
}

/// The rest of a generation's slots, joined.
async fn rest(generation: &mut Generation) -> Result<String, Error> {
    let mut text = String::new();
    while let Some(delta) = generation.next().await {
        match delta {
            Delta::Text { text: more, .. } => text.push_str(&more),
            Delta::SlotDone { .. } => {}
            Delta::Done(_) => return Ok(text),
            Delta::Failed(error) => return Err(error),
        }
    }
    panic!("the generation ended without a word");
}

#[tokio::test]
async fn case_2_a_parked_generation_costs_no_step_and_no_place_and_goes_on_with_the_very_text() {
    let settings = LocalSettings { running: 1, queue: 0, ..LocalSettings::default() };
    let engine = slow(&settings);
    let whole = finish(&engine, request("질문", free(60), 1)).await.unwrap().slots.concat();
    idle(&engine).await;

    let mut generation = engine.generate(request("질문", free(60), 1)).unwrap();
    let Some(Delta::Text { text: mut heard, .. }) = generation.next().await else { panic!("no text") };
    generation.presence().park();
    until("it is parked", || engine.health().parked == 1).await;
    let health = engine.health();
    assert_eq!((health.running, health.queued, health.kv_used), (0, 0, 0));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(engine.health().steps, health.steps, "no step for nobody");
    // There is one place in all.
    let other = finish(&engine, request("다른 질문", free(60), 2)).await.unwrap();
    let before = engine.health().steps;
    generation.presence().resume();
    heard += &rest(&mut generation).await.unwrap();
    assert_eq!(heard, whole);
    assert!(engine.health().steps > before && other.usage.sampled_tokens > 0);
    idle(&engine).await;
}

#[tokio::test]
async fn case_2_a_parked_generation_finds_its_cells_again_while_nobody_needs_them_and_gives_them_up_first() {
    let settings = LocalSettings { context: 320, cached_tokens: 320, ..LocalSettings::default() };
    let engine = slow(&settings);
    let prompt = "가".repeat(90);
    let whole = finish(&engine, request(&prompt, free(30), 1)).await.unwrap().slots.concat();
    for crowd in [0, 4] {
        let mut generation = engine.generate(request(&prompt, free(30), 1)).unwrap();
        let Some(Delta::Text { text: mut heard, .. }) = generation.next().await else { panic!("no text") };
        generation.presence().park();
        until("it is parked", || engine.health().parked == 1).await;
        for seed in 0..crowd {
            finish(&engine, request(&format!("{seed}{}", "나".repeat(120)), free(30), seed)).await.unwrap();
        }
        let before = engine.health().steps;
        generation.presence().resume();
        let mut usage = None;
        while let Some(delta) = generation.next().await {
            match delta {
                Delta::Text { text, .. } => heard += &text,
                Delta::Done(done) => usage = Some(done),
                _ => {}
            }
        }
        let cached = usage.unwrap().cached_tokens;
        assert_eq!(cached >= 90, crowd == 0, "{cached} of the prompt's tokens were still there");
        assert!(engine.health().steps > before);
        assert_eq!(heard, whole, "with {crowd} others");
        assert_eq!(engine.health().preemptions, 0);
    }
    idle(&engine).await;
}

#[tokio::test]
async fn who_waits_sees_the_place_in_the_queue_and_clients_take_turns() {
    let engine = slow(&LocalSettings { running: 1, ..LocalSettings::default() });
    let start = |client: &str, seed: u64| {
        let arrival = Arrival { client: Some(client.into()), ..Arrival::default() };
        let place = engine.reserve(&arrival).unwrap();
        engine.start(place, request("질문", free(60), seed)).unwrap()
    };
    let mut first = start("바쁜 사람", 1);
    first.next().await.unwrap();
    assert_eq!(first.position(), None, "it runs");
    let greedy = [2, 3, 4].map(|seed| start("바쁜 사람", seed));
    let modest = start("한 사람", 5);
    let positions = || (greedy.each_ref().map(Generation::position), modest.position());
    until("all are in line", || positions() == ([Some(1), Some(3), Some(4)], Some(2))).await;
    greedy[0].presence().park();
    until("the parked one has left", || positions() == ([None, Some(1), Some(3)], Some(2))).await;
    greedy[0].presence().resume();
    until("and is back", || positions() == ([Some(1), Some(3), Some(4)], Some(2))).await;
    let mut changes = modest.positions();
    drop(first);
    until("the first one runs", || positions() == ([None, Some(2), Some(3)], Some(1))).await;
    assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() == Some(1));
    greedy[0].presence().park();
    until("then it is the other client's turn", || positions() == ([None, Some(1), Some(2)], None)).await;
}

#[tokio::test]
async fn case_6_who_waits_past_the_deadline_is_told_so_and_never_prefilled() {
    let engine = slow(&LocalSettings { running: 1, ..LocalSettings::default() });
    let mut first = engine.generate(request("질문", free(60), 1)).unwrap();
    first.next().await.unwrap();
    let soon = Instant::now() + Duration::from_millis(15);
    let place = engine.reserve(&Arrival { deadline: Some(soon), ..Arrival::default() }).unwrap();
    let mut second = engine.start(place, request("질문", free(60), 2)).unwrap();
    assert_eq!(rest(&mut second).await, Err(Error::WaitedTooLong));
    assert!(Instant::now() >= soon);
    // One whose time had passed before it came, on an engine that is free.
    let place = engine.reserve(&Arrival { deadline: Some(soon), ..Arrival::default() }).unwrap();
    drop(first);
    until("the engine is free", || engine.health().running == 0).await;
    let before = engine.health().steps;
    let mut third = engine.start(place, request("질문", free(60), 3)).unwrap();
    assert_eq!(rest(&mut third).await, Err(Error::WaitedTooLong));
    assert_eq!(engine.health().steps, before);
    // Who has begun in time may take as long as it takes.
    let later = Instant::now() + Duration::from_millis(30);
    let place = engine.reserve(&Arrival { deadline: Some(later), ..Arrival::default() }).unwrap();
    rest(&mut engine.start(place, request("질문", free(60), 4)).unwrap()).await.unwrap();
    assert!(Instant::now() > later);
}

#[tokio::test]
async fn prompts_that_wait_are_bounded_by_their_bytes_too() {
    let settings = LocalSettings { running: 1, queue_bytes: 64 << 10, ..LocalSettings::default() };
    let engine = slow(&settings);
    let mut first = engine.generate(request("질문", free(60), 1)).unwrap();
    first.next().await.unwrap();
    let long = "가".repeat(15_000);
    let _waiting = engine.generate(request(&long, free(60), 2)).unwrap();
    assert!(matches!(engine.generate(request(&long, free(60), 3)), Err(Error::Overloaded { .. })));
    // A place that was reserved for less doesn't help either, and is given back.
    let place = engine.reserve(&Arrival::default()).unwrap();
    assert!(matches!(engine.start(place, request(&long, free(60), 4)), Err(Error::Overloaded { .. })));
    until("the place is free", || engine.health().queued == 1).await;
    engine.generate(request("짧은 질문", free(60), 5)).unwrap();
}

#[derive(Debug, Clone)]
enum Act {
    Park(usize),
    Resume(usize),
    Leave(usize),
    Read(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0usize..8).prop_map(Act::Park),
        3 => (0usize..8).prop_map(Act::Resume),
        1 => (0usize..8).prop_map(Act::Leave),
        4 => (0usize..8, 1usize..12).prop_map(|(which, count)| Act::Read(which, count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Random parkings, returns and departures on a cache that runs full: whoever stays gets the text that it would get
    /// alone, and nothing is left behind.
    #[test]
    fn parking_changes_no_text_and_leaves_nothing_behind(
        acts in proptest::collection::vec(act(), 0..60),
        context in 150usize..600,
    ) {
        let settings = LocalSettings { running: 3, queue: 8, context, ..LocalSettings::default() };
        let recipe = Recipe { seed: 22, ..Recipe::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let engine = Local::start(recipe.build(), &settings).unwrap();
            let ask = |seed: u64| request(&format!("{seed}번째 질문"), free(24), seed);
            let mut readers: Vec<Option<(Generation, String, bool)>> = (0..8)
                .map(|seed| Some((engine.generate(ask(seed)).unwrap(), String::new(), false)))
                .collect();
            for act in acts {
                match act {
                    Act::Park(which) => if let Some((generation, ..)) = &readers[which] { generation.presence().park(); },
                    Act::Resume(which) => if let Some((generation, ..)) = &readers[which] { generation.presence().resume(); },
                    Act::Leave(which) => readers[which] = None,
                    Act::Read(which, count) => {
                        let Some((generation, heard, ended)) = &mut readers[which] else { continue };
                        for _ in 0..count {
                            // A parked one may have nothing to say.
                            match tokio::time::timeout(Duration::from_millis(1), generation.next()).await {
                                Ok(Some(Delta::Text { text, .. })) => heard.push_str(&text),
                                Ok(Some(Delta::Done(_))) => *ended = true,
                                Ok(Some(Delta::Failed(error))) => panic!("{error}"),
                                Ok(Some(Delta::SlotDone { .. })) => {}
                                Ok(None) | Err(_) => break,
                            }
                        }
                    }
                }
            }
            for (generation, ..) in readers.iter().flatten() {
                generation.presence().resume();
            }
            for (seed, reader) in readers.into_iter().enumerate() {
                let Some((mut generation, mut heard, ended)) = reader else { continue };
                if !ended {
                    heard += &rest(&mut generation).await.unwrap();
                }
                let alone = finish(&engine, ask(seed as u64)).await.unwrap().slots.concat();
                assert_eq!(heard, alone, "request {seed}");
            }
            idle(&engine).await;
            assert_eq!(engine.health().parked, 0);
        });
    }
}
