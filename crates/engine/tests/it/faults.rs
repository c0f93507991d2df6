//! What goes wrong on the way, one thing at a time, everywhere it can.

use leafresh_engine::fake::{Fault, Recipe};
use leafresh_engine::{Backend, Error, Grammar, Local, LocalSettings, Program};

use crate::support::{TITLES, Written, assert_valid, finish, fixed, idle, join_all, request, slot};

/// Few rows and a small cache: requests wait, are preempted, and share what they have in common.
fn settings() -> LocalSettings {
    LocalSettings { running: 3, context: 200, ..LocalSettings::default() }
}

fn engine(faults: &[Fault]) -> Local {
    let recipe = Recipe { seed: 31, faults: faults.to_vec(), ..Recipe::default() };
    Local::start(recipe.build(), &settings()).unwrap()
}

const READERS: u64 = 5;

/// Something written, something chosen: small, since many engines are made for it.
fn program() -> Program {
    Program::new(vec![
        slot("written", Grammar::Regex("[가-힣]{3,8}\\.".into()), 12, &[]),
        fixed("\n\n1. "),
        slot("chosen", Grammar::Choices(TITLES.map(String::from).to_vec()), 40, &[]),
        fixed("\n"),
        slot("end", Grammar::Regex("[가-힣]{2,5}\\.".into()), 8, &[]),
    ])
    .unwrap()
}

async fn crowd(engine: &Local) -> Vec<Result<Written, Error>> {
    let ask = |seed| request(&format!("모두에게 같은 말, {seed}번째 질문"), program(), seed);
    join_all((0..READERS).map(|seed| finish(engine, ask(seed)))).await
}

/// Everything that was held is free again: as many as can run at once still do.
async fn nothing_leaks(engine: &Local) {
    idle(engine).await;
    let steps = engine.health().steps;
    assert!(crowd(engine).await.iter().all(Result::is_ok));
    assert!(engine.health().steps > steps);
    idle(engine).await;
}

#[tokio::test]
async fn case_32_every_nth_allocation_of_cells_fails_and_nobody_s_text_changes() {
    let expected: Vec<_> =
        crowd(&engine(&[])).await.into_iter().map(|written| written.unwrap().slots).collect();
    for n in 1.. {
        let engine = engine(&[Fault::CacheFull { batch: n }]);
        let written = crowd(&engine).await;
        let clean = engine.health().steps < n;
        for (written, expected) in written.into_iter().zip(&expected) {
            assert_eq!(&written.unwrap().slots, expected, "n = {n}");
        }
        nothing_leaks(&engine).await;
        if clean {
            assert!(n > 20, "{n} batches are too few to have tried much");
            return;
        }
    }
}

/// Nobody else's cells can be given up for it: its own are.
#[tokio::test]
async fn case_32_every_nth_allocation_of_cells_fails_for_one_alone_and_its_text_stays() {
    let alone = async |faults: &[Fault]| {
        let engine = engine(faults);
        let written = finish(&engine, request("혼자 묻는 말", program(), 5)).await;
        idle(&engine).await;
        (written.unwrap().slots, engine.health().steps)
    };
    let (expected, steps) = alone(&[]).await;
    assert!(steps > 10, "{steps} batches are too few to have tried much");
    for batch in 1..=steps {
        assert_eq!(alone(&[Fault::CacheFull { batch }]).await.0, expected, "batch {batch}");
    }
}

#[tokio::test]
async fn case_32_every_nth_batch_fails_and_every_answer_goes_on_from_its_text() {
    for n in 1.. {
        let engine = engine(&[Fault::Decode { batch: n }]);
        let written = crowd(&engine).await;
        let clean = engine.health().steps < n;
        for written in written {
            assert_valid(&program(), &written.unwrap().slots);
        }
        nothing_leaks(&engine).await;
        if clean {
            return;
        }
    }
}

type Kind = fn(u64) -> Fault;

/// One after the other: every draw, every mask's logits, every text that is tokenised.
#[tokio::test]
async fn case_32_every_nth_draw_mask_and_prompt_fails_and_nothing_is_left_behind() {
    let expected: Vec<_> =
        crowd(&engine(&[])).await.into_iter().map(|written| written.unwrap().slots).collect();
    let with = async |fault| {
        let engine = engine(&[fault]);
        let written: Vec<_> =
            crowd(&engine).await.into_iter().map(|written| written.unwrap().slots).collect();
        for slots in &written {
            assert_valid(&program(), slots);
        }
        nothing_leaks(&engine).await;
        written
    };
    // What is drawn anew becomes another text, unless by chance: so many equal ones say that there was no n-th draw.
    let (mut draws, mut equal) = (0, 0);
    while equal < 10 {
        draws += 1;
        let written = with(Fault::DrawOutside { row: draws }).await;
        equal = if written == expected { equal + 1 } else { 0 };
    }
    assert!(draws > 30, "{draws} draws are too few to have tried much");
    for n in 1..=draws {
        assert_eq!(
            with(Fault::PanicScoring { row: n }).await,
            expected,
            "n = {n}: asked again it is the same"
        );
    }
    for n in 1..=4 * READERS {
        assert_eq!(
            with(Fault::PanicTokenizing { text: n }).await,
            expected,
            "n = {n}: read again it is the same"
        );
    }
}

#[tokio::test]
async fn case_29_a_fault_in_one_request_is_met_once_more_and_touches_nobody_else() {
    let expected: Vec<_> =
        crowd(&engine(&[])).await.into_iter().map(|written| written.unwrap().slots).collect();
    let kinds: [Kind; 7] = [
        |row| Fault::PanicScoring { row },
        |row| Fault::DrawOutside { row },
        |text| Fault::PanicTokenizing { text },
        |text| Fault::Outside { text },
        |row| Fault::Logits { row, value: f32::NAN },
        |row| Fault::Logits { row, value: f32::INFINITY },
        |row| Fault::Logits { row, value: f32::NEG_INFINITY },
    ];
    for kind in kinds {
        let mut touched = 0;
        for n in (1..80).step_by(9) {
            let engine = engine(&[kind(n)]);
            let others = crowd(&engine).await.into_iter().zip(&expected).filter(|(written, expected)| {
                let written = written.as_ref().unwrap_or_else(|error| panic!("{:?}: {error}", kind(n)));
                assert_valid(&program(), &written.slots);
                // Written anew from its text, a request draws its numbers anew.
                written.slots != **expected
            });
            let changed = others.count();
            assert!(changed <= 1, "{:?} touched {changed} requests", kind(n));
            touched += changed;
            nothing_leaks(&engine).await;
        }
        let tried_again_at_once = matches!(
            kind(1),
            Fault::PanicScoring { .. } | Fault::PanicTokenizing { .. } | Fault::Outside { .. }
        );
        assert!(touched > 0 || tried_again_at_once, "{:?}", kind(1));
    }
}

#[tokio::test]
async fn case_29_a_request_that_fails_twice_fails_alone() {
    for (fault, reason) in [
        ((|row| Fault::DrawOutside { row }) as Kind, "outside the vocabulary"),
        (|text| Fault::PanicTokenizing { text }, "a fault for a test"),
        (|text| Fault::Outside { text }, "outside the vocabulary"),
    ] {
        let engine = engine(&(1..=30).map(fault).collect::<Vec<_>>());
        let error = finish(&engine, request("질문", program(), 1)).await.unwrap_err();
        assert!(
            matches!(&error, Error::Internal(text) if text.contains(reason)),
            "{:?}: {error:?}",
            fault(1)
        );
        idle(&engine).await;
    }
    let engine = engine(&(1..=30).map(|row| Fault::PanicScoring { row }).collect::<Vec<_>>());
    assert_eq!(finish(&engine, request("질문", program(), 1)).await.unwrap_err(), Error::NonFinite);
    idle(&engine).await;
    let engine = self::engine(&[Fault::Decode { batch: 1 }, Fault::Decode { batch: 2 }]);
    assert!(matches!(finish(&engine, request("질문", program(), 1)).await, Err(Error::Native(_))));
    nothing_leaks(&engine).await;
}
