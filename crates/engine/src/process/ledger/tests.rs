use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::admission::Admission;
use crate::{Arrival, Generation, Grammar, Program, Progress, Prompt, Sampling, Segment, Slot, generation};
use proptest::prelude::*;

struct Reader {
    generation: Generation,
    heard: String,
    ended: bool,
}

impl Reader {
    fn listen(&mut self) {
        let mut context = std::task::Context::from_waker(Waker::noop());
        while let std::task::Poll::Ready(Some(delta)) = self.generation.poll_next(&mut context) {
            assert!(!self.ended, "nothing follows the end");
            match delta {
                Delta::Text { text, .. } => self.heard.push_str(&text),
                Delta::SlotDone { .. } => {}
                Delta::Done(_) | Delta::Failed(_) => self.ended = true,
            }
        }
    }
}

fn request() -> Request {
    let slot = Slot {
        name: "글".into(),
        grammar: Grammar::Regex("[가-힣]{1,200}".into()),
        max_tokens: 200,
        distinct_from: vec![],
        stop: vec![],
    };
    Request {
        adapter: None,
        prompt: Prompt::default(),
        program: Program::new(vec![Segment::Slot(slot)]).unwrap(),
        progress: Progress::default(),
        sampling: Sampling::default(),
    }
}

fn command(admission: &std::sync::Arc<Admission>, deadline: Option<Instant>) -> (Command, Reader) {
    let request = request();
    let reservation = admission.reserve(&Arrival { deadline, ..Arrival::default() }).unwrap();
    let (outlet, generation) =
        generation::channel(&request.program, 1, &reservation.presence, Waker::noop().clone());
    (Command { request, outlet, reservation }, Reader { generation, heard: String::new(), ended: false })
}

fn text(text: &str) -> Delta {
    Delta::Text { slot: 0, text: text.into() }
}

fn started(messages: &[ToEngine]) -> Vec<(Number, String, bool)> {
    let started = messages.iter().filter_map(|message| match message {
        ToEngine::Start { id, request, terms } => {
            Some((*id, request.progress.partial.clone(), terms.returning))
        }
        _ => None,
    });
    started.collect()
}

#[test]
fn what_was_written_goes_on_in_the_next_engine_and_who_has_run_comes_first() {
    let (admission, now) = (Admission::new(4, 4, 1000), Instant::now());
    let mut ledger = Ledger::new(4);
    let (waiting, _waits) = command(&admission, None);
    let (running, mut runs) = command(&admission, None);
    let (waiting, running) = (ledger.add(waiting), ledger.add(running));
    assert_eq!(started(&ledger.submit(now)).len(), 2);
    ledger.position(waiting, Some(1));
    ledger.position(running, None);
    assert!(ledger.write(running, text("가나")).is_none());
    ledger.engine_died();
    assert_eq!(
        started(&ledger.submit(now)),
        [(running, "가나".into(), true), (waiting, String::new(), false)]
    );
    assert!(ledger.write(running, text("다")).is_none());
    runs.listen();
    assert_eq!(runs.heard, "가나다");
}

#[test]
fn a_request_that_was_computed_at_two_deaths_is_set_aside_and_those_that_waited_are_not() {
    let (admission, now) = (Admission::new(4, 4, 1000), Instant::now());
    let mut ledger = Ledger::new(1);
    let (deadly, mut dies) = command(&admission, None);
    let (patient, mut waits) = command(&admission, None);
    let (away, mut parks) = command(&admission, None);
    let (deadly, patient, away) = (ledger.add(deadly), ledger.add(patient), ledger.add(away));
    for death in 0..2 {
        assert_eq!(ledger.len(), 3);
        ledger.submit(now);
        ledger.position(deadly, None);
        ledger.position(patient, Some(1));
        assert_eq!(admission.requests(), if death == 0 { 3 } else { 2 });
        if death == 0 {
            ledger.position(away, None);
            parks.generation.presence().park();
            ledger.follow_the_readers(now);
        }
        ledger.engine_died();
    }
    for (reader, ended) in [(&mut dies, true), (&mut waits, false), (&mut parks, false)] {
        reader.listen();
        assert_eq!(reader.ended, ended);
    }
    assert_eq!(started(&ledger.submit(now)), [(patient, String::new(), false)], "who is away isn't computed");
    parks.generation.presence().resume();
    ledger.follow_the_readers(now);
    assert_eq!(started(&ledger.submit(now)), [(away, String::new(), true)]);
}

/// Field report 38.
#[test]
fn whose_last_slot_was_done_when_the_engine_died_ends_at_once_and_no_engine_is_asked() {
    let (admission, now) = (Admission::new(4, 4, 1000), Instant::now());
    let mut ledger = Ledger::new(4);
    let (whole, mut reader) = command(&admission, None);
    let (half, _reads) = command(&admission, None);
    let (whole, half) = (ledger.add(whole), ledger.add(half));
    ledger.submit(now);
    ledger.position(whole, None);
    ledger.write(whole, text("가나"));
    ledger.write(whole, Delta::SlotDone { slot: 0, text: "가나".into() });
    reader.listen();
    assert!(!reader.ended);
    ledger.engine_died();
    reader.listen();
    assert!(reader.ended && reader.heard == "가나");
    assert_eq!(started(&ledger.submit(now)), [(half, String::new(), false)]);
    assert_eq!(admission.requests(), 1);
}

#[test]
fn what_went_on_in_another_engine_is_counted_and_told_at_the_end() {
    let (admission, now) = (Admission::new(4, 4, 1000), Instant::now());
    let mut ledger = Ledger::new(1);
    let (running, mut runs) = command(&admission, None);
    let (waiting, _waits) = command(&admission, None);
    let (running, waiting) = (ledger.add(running), ledger.add(waiting));
    ledger.submit(now);
    ledger.position(running, None);
    ledger.position(waiting, Some(2));
    ledger.write(running, text("가"));
    assert_eq!(ledger.engine_died(), 1, "who only waits begins there");
    ledger.submit(now);
    ledger.write(running, Delta::Done(Usage { continued: 1, ..Usage::default() }));
    let mut context = std::task::Context::from_waker(Waker::noop());
    let mut last = None;
    while let std::task::Poll::Ready(Some(delta)) = runs.generation.poll_next(&mut context) {
        last = Some(delta);
    }
    assert_eq!(last, Some(Delta::Done(Usage { continued: 2, ..Usage::default() })));
}

#[test]
fn case_6_who_waits_for_an_engine_until_the_deadline_is_told_so() {
    let (admission, now) = (Admission::new(4, 4, 1000), Instant::now());
    let mut ledger = Ledger::new(4);
    let second = Duration::from_secs(1);
    let (command, mut reader) = command(&admission, Some(now + second));
    ledger.add(command);
    reader.generation.presence().park();
    ledger.follow_the_readers(now);
    reader.generation.presence().resume();
    ledger.follow_the_readers(now + 5 * second);
    assert!(ledger.follow_the_readers(now + 5 * second + second / 2).is_empty() && ledger.len() == 1);
    ledger.follow_the_readers(now + 6 * second);
    reader.listen();
    assert!(reader.ended && ledger.is_empty(), "the time it was parked doesn't count");
    assert_eq!(admission.requests(), 0);
}

proptest! {
    /// Random texts, departures, parkings and deaths: no reader misses a word or gets one twice, nothing leaks, and the
    /// engine is asked for each generation at most once.
    #[test]
    fn every_reader_hears_one_text(acts in proptest::collection::vec((0u8..9, 0usize..6), 0..150)) {
        let (admission, now) = (Admission::new(8, 8, 1000), Instant::now());
        let mut ledger = Ledger::new(4);
        let mut readers: BTreeMap<Number, Reader> = BTreeMap::new();
        // What the engine has: the text each generation has there.
        let mut engine: BTreeMap<Number, String> = BTreeMap::new();
        for (act, which) in acts {
            let id = readers.keys().copied().nth(which);
            let mut messages = Vec::new();
            match (act, id) {
                (0 | 1, _) if readers.len() < 8 => {
                    let (command, reader) = command(&admission, None);
                    readers.insert(ledger.add(command), reader);
                }
                (2..=4, Some(id)) if engine.contains_key(&id) => {
                    let written = engine.get_mut(&id).unwrap();
                    let word = char::from_u32(0xAC00 + written.chars().count() as u32).unwrap();
                    written.push(word);
                    messages.extend(ledger.write(id, text(&word.to_string())));
                }
                (5, Some(id)) if engine.remove(&id).is_some() => {
                    ledger.write(id, Delta::Done(Usage::default()));
                    let mut reader = readers.remove(&id).unwrap();
                    reader.listen();
                    prop_assert!(reader.ended);
                }
                (6, Some(id)) => drop(readers.remove(&id)),
                (7, Some(id)) => {
                    let reader = &readers[&id];
                    if which % 2 == 0 { reader.generation.presence().park() } else { reader.generation.presence().resume() }
                }
                (8, _) => {
                    engine.clear();
                    ledger.engine_died();
                    for reader in readers.values_mut() { reader.listen(); }
                    readers.retain(|_, reader| !reader.ended);
                }
                _ => {}
            }
            messages.extend(ledger.follow_the_readers(now));
            messages.extend(ledger.submit(now));
            for message in messages {
                match message {
                    ToEngine::Start { id, request, .. } => {
                        prop_assert!(engine.insert(id, request.progress.partial).is_none(), "asked twice");
                    }
                    ToEngine::Cancel(id) => prop_assert!(engine.remove(&id).is_some()),
                    ToEngine::Park(id) | ToEngine::Resume(id) => prop_assert!(engine.contains_key(&id)),
                    other => panic!("{other:?}"),
                }
            }
            for (id, reader) in &mut readers {
                reader.listen();
                let expected: String = (0xAC00..).take(reader.heard.chars().count()).filter_map(char::from_u32).collect();
                prop_assert_eq!(&reader.heard, &expected, "each word once, in order");
                if let Some(written) = engine.get(id) { prop_assert_eq!(&reader.heard, written); }
            }
            prop_assert_eq!(ledger.len(), readers.len());
            let parked = ledger.parked();
            prop_assert_eq!(admission.requests(), readers.len() - parked, "places");
        }
        drop(readers);
        ledger.follow_the_readers(now);
        prop_assert!(ledger.is_empty());
        prop_assert_eq!(admission.requests(), 0);
    }
}
