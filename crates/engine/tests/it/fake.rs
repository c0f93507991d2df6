use std::time::Duration;

use leafresh_engine::fake::{FakeModel, States};
use leafresh_engine::{
    Backend, Error, Grammar, Local, LocalSettings, Piece, Program, Progress, Prompt, Request,
};

use crate::support::{
    SENTENCE, TITLES, assert_valid, cuts, finish, fixed, free, idle, join_all, request, select, slot,
};

fn engine(seed: u64) -> Local {
    engine_with(FakeModel::new(seed), &LocalSettings::default())
}

fn engine_with(model: FakeModel, settings: &LocalSettings) -> Local {
    Local::start(Box::new(model), settings).unwrap()
}

fn prompt() -> Prompt {
    Prompt { pieces: vec![Piece::Text("질문".into())] }
}

#[tokio::test]
async fn every_seed_writes_a_valid_answer() {
    let engine = engine(1);
    for seed in 0..100 {
        let program = if seed % 2 == 0 { free(80) } else { select() };
        let written = finish(&engine, request("질문", program.clone(), seed)).await.unwrap();
        assert_valid(&program, &written.slots);
    }
    idle(&engine).await;
}

#[tokio::test]
async fn case_13_a_budget_at_the_computed_minimum_still_ends_whole_and_below_it_is_refused() {
    let engine = engine(2);
    // Six syllables, "요" and "." are the shortest sentence; a title needs three.
    engine.check(&prompt(), &free(8)).unwrap_or_else(|error| panic!("{error}"));
    let error = engine.check(&prompt(), &free(6)).unwrap_err().to_string();
    assert!(error.contains("opening") && error.contains('6') && error.contains('7'), "{error}");
    for seed in 0..200 {
        let program = free(8);
        let written = finish(&engine, request("질문", program.clone(), seed)).await.unwrap();
        assert_valid(&program, &written.slots);
    }
}

/// Field report 38.
#[tokio::test]
async fn a_generation_whose_slots_are_all_written_ends_without_another_step() {
    let engine = engine(3);
    let whole = finish(&engine, request("질문", free(60), 5)).await.unwrap().slots;
    let steps = engine.health().steps;
    let progress = Progress { done: whole.clone(), partial: String::new() };
    let written = finish(&engine, Request { progress, ..request("질문", free(60), 6) }).await.unwrap();
    assert_eq!((written.slots, engine.health().steps), (whole, steps));
    idle(&engine).await;
}

#[tokio::test]
async fn a_generation_cut_anywhere_continues_from_there_and_ends_whole() {
    let engine = engine(3);
    for program in [free(60), select()] {
        let whole = finish(&engine, request("질문", program.clone(), 5)).await.unwrap();
        for progress in cuts(&whole.slots) {
            let begun = program.render(&progress);
            let resumed = Request { progress: progress.clone(), ..request("질문", program.clone(), 6) };
            let written =
                finish(&engine, resumed).await.unwrap_or_else(|error| panic!("{progress:?}: {error}"));
            assert_valid(&program, &written.slots);
            let text = program.render(&Progress { done: written.slots, partial: String::new() });
            assert!(text.starts_with(&begun), "{text:?} begins with {begun:?}");
        }
    }
}

/// Field report 37. The fake panics when a state that it hasn't is shared or cut.
#[tokio::test]
async fn a_model_that_keeps_one_state_of_a_row_writes_the_same_and_shares_nothing() {
    // Two rows, and cells for about two requests: rows are used again, and requests preempted.
    let settings = LocalSettings { running: 1, context: 160, ..LocalSettings::default() };
    let mut texts = Vec::new();
    for states in [States::Each, States::Recurrent] {
        let engine = engine_with(FakeModel::new(7).with_states(states), &settings);
        let mut slots = Vec::new();
        for seed in [1, 2, 3, 1] {
            let written = finish(&engine, request("모두에게 같은 말", free(20), seed)).await.unwrap();
            if states == States::Recurrent {
                assert_eq!(written.usage.cached_tokens, 0);
            }
            slots.push(written.slots);
        }
        let crowd = (0..6).map(|seed| finish(&engine, request("모두에게 같은 말", free(20), seed)));
        slots.extend(join_all(crowd).await.into_iter().map(|written| written.unwrap().slots));
        idle(&engine).await;
        texts.push(slots);
    }
    assert_eq!(texts[0], texts[1]);
}

/// Field report 37.
#[tokio::test]
async fn a_row_whose_end_can_t_be_removed_is_computed_anew() {
    // As many rows as llama.cpp allows, all but one of them running: the last one is used again and again.
    let settings = LocalSettings { running: 256, context: 50_000, ..LocalSettings::default() };
    for states in [States::Each, States::Uncut] {
        let engine = engine_with(FakeModel::new(7).with_states(states), &settings);
        let others: Vec<_> = (0..255)
            .map(|other| engine.generate(request(&format!("{other}번째 남"), free(60), other)).unwrap())
            .collect();
        let only = Program::new(vec![slot("only", Grammar::Regex("[가-힣]{2}".into()), 4, &[])]).unwrap();
        for round in 0..3 {
            let written = finish(&engine, request("같은 질문", only.clone(), 1)).await.unwrap();
            assert_valid(&only, &written.slots);
            let shares = states == States::Each && round > 0;
            assert_eq!(written.usage.cached_tokens > 0, shares, "{:?}", written.usage);
        }
        drop(others);
        idle(&engine).await;
    }
}

#[tokio::test]
async fn progress_that_does_not_fit_the_program_is_an_error() {
    let engine = engine(3);
    let cases = [
        Progress { done: vec![], partial: "abc".into() },
        Progress {
            done: vec!["가나다라마바요.".into(), "없는 제목".into()], partial: "없".into()
        },
        Progress { done: vec!["가".into(); 9], partial: "더".into() },
    ];
    for progress in cases {
        let result = finish(&engine, Request { progress, ..request("질문", select(), 1) }).await;
        assert!(matches!(result, Err(Error::Program(_))), "{result:?}");
    }
    idle(&engine).await;
}

#[tokio::test]
async fn what_others_write_does_not_change_an_answer() {
    let engine = engine(4);
    let alone = finish(&engine, request("혼자", free(60), 9)).await.unwrap();
    let crowd = (0..16).map(|seed| finish(&engine, request("여럿이", select(), seed)));
    let (again, crowd) = tokio::join!(finish(&engine, request("혼자", free(60), 9)), join_all(crowd));
    assert_eq!(again.unwrap().slots, alone.slots);
    assert!(crowd.into_iter().all(|written| written.is_ok()));
}

#[tokio::test]
async fn a_short_answer_that_came_later_ends_earlier() {
    let engine =
        engine_with(FakeModel::new(5).with_step(Duration::from_millis(2)), &LocalSettings::default());
    let short =
        Program::new(vec![slot("only", Grammar::Choices(vec!["네".into()]), 4, &[]), fixed(".")]).unwrap();
    let sentence = slot("only", Grammar::Regex("[가-힣]{3}\\.".into()), 8, &[]);
    let short_written = Program::new(vec![sentence]).unwrap();
    let long = finish(&engine, request("긴 질문", free(60), 1));
    let later = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        finish(&engine, request("짧은 질문", short, 1)).await.unwrap();
        finish(&engine, request("짧은 질문", short_written, 1)).await.unwrap()
    };
    tokio::select! {
        biased;
        _ = long => panic!("the long answer ended first"),
        _ = later => {}
    }
}

#[tokio::test]
async fn case_1_a_reader_that_leaves_in_any_phase_frees_all_it_held_within_a_step() {
    let settings =
        LocalSettings { running: 1, prefill_tokens: 4, step_tokens: 16, ..LocalSettings::default() };
    let engine = engine_with(FakeModel::new(6).with_step(Duration::from_millis(5)), &settings);
    let long_prompt = "가".repeat(8000);

    // In prefill: 8,000 tokens take 500 steps of 16.
    let prefilling = engine.generate(request(&long_prompt, free(60), 1)).unwrap();
    while engine.health().steps < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(engine.health().running, 1);
    drop(prefilling);
    assert!(idle(&engine).await <= 2, "one step at most was under way");

    // While decoding, with another one in the queue that leaves too.
    let mut decoding = engine.generate(request("질문", free(60), 1)).unwrap();
    decoding.next().await.unwrap();
    let queued = engine.generate(request("질문", free(60), 2)).unwrap();
    assert_eq!(engine.health().queued, 1);
    drop(queued);
    drop(decoding);
    assert!(idle(&engine).await <= 2);

    finish(&engine, request("질문", free(60), 3)).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_takes_more_when_one_has_ended() {
    let settings = LocalSettings { running: 1, queue: 2, ..LocalSettings::default() };
    let engine = engine_with(FakeModel::new(7).with_step(Duration::from_millis(1)), &settings);
    let admitted: Vec<_> =
        (0..3).map(|seed| engine.generate(request("질문", free(60), seed)).unwrap()).collect();
    assert!(matches!(engine.generate(request("질문", free(60), 9)), Err(Error::Overloaded { queued: 2 })));
    drop(admitted);
    idle(&engine).await;
    finish(&engine, request("질문", free(60), 9)).await.unwrap();
}

#[tokio::test]
async fn requests_with_the_same_beginning_share_it() {
    let engine = engine(8);
    let prompt = |end: &str| format!("{} {end}", "모두에게 같은 지시".repeat(20));
    let first = finish(&engine, request(&prompt("하나"), free(60), 1)).await.unwrap();
    assert_eq!(first.usage.cached_tokens, 0);
    let second = finish(&engine, request(&prompt("둘"), free(60), 1)).await.unwrap();
    assert!(second.usage.cached_tokens + 4 > second.usage.prompt_tokens, "{:?}", second.usage);
    let (both, health) = ([first.usage, second.usage], engine.health());
    let prompts: usize = both.iter().map(|usage| usage.prompt_tokens).sum();
    let written: usize = both.iter().map(|usage| usage.sampled_tokens + usage.forced_tokens).sum();
    assert_eq!((health.prompt_tokens, health.generation_tokens), (prompts as u64, written as u64));
    assert_eq!(health.prefix_hits, second.usage.cached_tokens as u64);
    assert!(health.prefix_queries >= health.prompt_tokens, "{health:?}");
    // Together, too: the later ones wait for what the first computes.
    let prompt = |end: usize| format!("{} {end}", "아직 없는 지시".repeat(20));
    let crowd = join_all((0..8).map(|end| finish(&engine, request(&prompt(end), free(60), 1)))).await;
    let computed: usize = crowd
        .iter()
        .map(|written| written.as_ref().unwrap().usage)
        .map(|u| u.prompt_tokens - u.cached_tokens)
        .sum();
    assert!(computed < 400, "{computed} tokens of 8 × 180 were computed");
}

#[tokio::test]
async fn case_16_a_cache_that_runs_full_preempts_and_changes_nobody_s_text() {
    // Answers come to about 60 tokens, their budgets to 150: nine start, and the cache holds five.
    let settings = LocalSettings { context: 300, ..LocalSettings::default() };
    let engine = engine_with(FakeModel::new(9), &settings);
    let program = free(30);
    let prompt = |seed: u64| format!("{seed}번째 사람의 질문");
    let crowd =
        join_all((0..12).map(|seed| finish(&engine, request(&prompt(seed), program.clone(), seed)))).await;
    let preemptions = engine.health().preemptions;
    assert!((1..=12 * 3).contains(&preemptions), "{preemptions}");
    let continued = crowd.iter().map(|written| u64::from(written.as_ref().unwrap().usage.continued));
    assert_eq!(continued.sum::<u64>(), preemptions, "each of them is told by whom it met");
    for (seed, written) in crowd.into_iter().enumerate() {
        let seed = seed as u64;
        let alone = finish(&engine, request(&prompt(seed), program.clone(), seed)).await.unwrap();
        assert_eq!(written.unwrap().slots, alone.slots);
    }
    assert_eq!(engine.health().preemptions, preemptions, "alone nobody is preempted");
    let long = Prompt { pieces: vec![Piece::Text("가".repeat(300))] };
    assert!(engine.check(&long, &program).unwrap_err().to_string().contains("engine.context"));
    let error = finish(&engine, request(&"가".repeat(300), program, 1)).await.unwrap_err();
    assert!(error.to_string().contains("engine.context"), "{error}");
    idle(&engine).await;
}

#[tokio::test]
async fn case_29_logits_that_are_not_finite_end_one_request_and_the_engine_goes_on() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let engine = engine_with(FakeModel::new(10).with_logits(value), &LocalSettings::default());
        let result = finish(&engine, request("질문", free(60), 1)).await;
        assert_eq!(result.unwrap_err(), Error::NonFinite);
        // What needs no logits is still answered.
        let forced = Program::new(vec![slot("only", Grammar::Choices(vec!["네".into()]), 4, &[])]).unwrap();
        finish(&engine, request("질문", forced, 1)).await.unwrap();
        idle(&engine).await;
        assert_eq!(engine.health().nan_logits > 0, value.is_nan());
    }
}

#[tokio::test]
async fn special_tokens_in_what_people_write_stay_text() {
    let engine = engine(11);
    let piece = |piece| Request { prompt: Prompt { pieces: vec![piece] }, ..request("", free(60), 1) };
    let text = finish(&engine, piece(Piece::Text("<eos>".into()))).await.unwrap();
    let special = finish(&engine, piece(Piece::Template("<eos>".into()))).await.unwrap();
    assert_eq!((text.usage.prompt_tokens, special.usage.prompt_tokens), (5, 1));
}

#[tokio::test]
async fn case_15_jump_forward_changes_no_text_and_samples_less() {
    let slow = LocalSettings { jump_forward: false, ..LocalSettings::default() };
    let (on, off) = (engine(12), engine_with(FakeModel::new(12), &slow));
    for seed in 0..20 {
        let a = finish(&on, request("질문", select(), seed)).await.unwrap();
        let b = finish(&off, request("질문", select(), seed)).await.unwrap();
        assert_eq!(a.slots, b.slots);
        assert!(a.usage.sampled_tokens < b.usage.sampled_tokens, "{:?} {:?}", a.usage, b.usage);
    }
}

#[tokio::test]
async fn a_choice_that_begins_another_can_be_ended_or_gone_on_with() {
    let engine = engine(13);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..60 {
        seen.insert(finish(&engine, request("질문", select(), seed)).await.unwrap().slots[1].clone());
    }
    assert_eq!(seen.len(), TITLES.len(), "{seen:?}");
}

#[tokio::test]
async fn a_malformed_grammar_is_named() {
    let engine = engine(14);
    let program =
        |pattern: &str| Program::new(vec![slot("only", Grammar::Regex(pattern.into()), 40, &[])]).unwrap();
    for pattern in ["(가", "[^\\x00-\\x{10FFFF}]", "(?:[가-힣]{1,400}나){200}"] {
        let error = engine.check(&prompt(), &program(pattern)).unwrap_err().to_string();
        assert!(error.contains("regular expression"), "{error}");
    }
    engine.check(&prompt(), &program(SENTENCE)).unwrap();
    assert!(Program::new(vec![fixed("글")]).is_err());
    let touching = vec![
        slot("a", Grammar::Choices(vec!["가".into()]), 4, &[]),
        slot("b", Grammar::Choices(vec![]), 4, &[]),
    ];
    assert!(Program::new(touching).is_err());
}

#[test]
fn settings_that_cannot_work_are_named() {
    let default = LocalSettings::default;
    for (settings, key) in [
        (LocalSettings { running: 0, ..default() }, "engine.running"),
        (LocalSettings { running: 1000, step_tokens: 2000, ..default() }, "engine.running"),
        (LocalSettings { context: 0, ..default() }, "engine.context"),
        (LocalSettings { step_tokens: 4, ..default() }, "engine.step_tokens"),
        (LocalSettings { prefill_tokens: 0, ..default() }, "engine.prefill_tokens"),
    ] {
        let error = Local::start(Box::new(FakeModel::new(1)), &settings).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
