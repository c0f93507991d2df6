use leafresh_engine::{
    Backend, Delta, Local, LocalSettings, Progress, Request, Sampling, load_tokenizer, quantize,
};

use crate::model_files::model;
use crate::support::{assert_valid, cuts, finish, free, idle, join_all, request, select};

const GEMMA: &str = "gemma-3-270m-Q4_K_M.gguf";
const SMOLLM: &str = "smollm2-135m-instruct-Q4_1.gguf";

const PROMPT: &str = "친환경 챌린지를 추천하는 글입니다.\n\n추천: ";

/// One thread: on a machine that is busy with other tests, threads that spin for each other crawl.
fn settings() -> LocalSettings {
    LocalSettings { threads: Some(1), context: 2048, running: 4, ..LocalSettings::default() }
}

fn load(name: &str) -> Option<Local> {
    model(name).map(|path| Local::load(&path, &settings()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_models_write_valid_answers() {
    for name in [GEMMA, SMOLLM] {
        let Some(engine) = load(name) else { return };
        for (seed, program) in [(1, free(80)), (2, select()), (3, select())] {
            let written = finish(&engine, request(PROMPT, program.clone(), seed)).await.unwrap();
            assert_valid(&program, &written.slots);
        }
        assert_eq!(engine.health().nan_logits, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_generation_cut_anywhere_continues_from_there() {
    let Some(engine) = load(GEMMA) else { return };
    let program = select();
    let whole = finish(&engine, request(PROMPT, program.clone(), 4)).await.unwrap();
    for progress in cuts(&whole.slots).into_iter().step_by(3) {
        let begun = program.render(&progress);
        let resumed = Request { progress, ..request(PROMPT, program.clone(), 5) };
        let written = finish(&engine, resumed).await.unwrap();
        assert_valid(&program, &written.slots);
        let text = program.render(&Progress { done: written.slots, partial: String::new() });
        assert!(text.starts_with(&begun), "{text:?} begins with {begun:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_16_a_real_cache_that_runs_full_preempts_and_every_answer_is_valid() {
    let Some(path) = model(GEMMA) else { return };
    let settings = LocalSettings { context: 260, running: 8, ..settings() };
    let engine = Local::load(&path, &settings).unwrap();
    let program = free(24);
    let ask = |seed: u64| finish(&engine, request(&format!("{seed}. {PROMPT}"), program.clone(), seed));
    for written in join_all((0..8).map(ask)).await {
        // That a slot is exactly what was sent of it, `finish` checks.
        assert_valid(&program, &written.unwrap().slots);
    }
    let preemptions = engine.health().preemptions;
    assert!((1..=8 * 3).contains(&preemptions), "{preemptions}");
    idle(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_2_a_real_generation_that_was_parked_goes_on_in_its_own_words() {
    let Some(engine) = load(GEMMA) else { return };
    let mut generation = engine.generate(request(PROMPT, free(40), 3)).unwrap();
    let mut slots = vec![String::new()];
    let mut deltas = 0;
    while let Some(delta) = generation.next().await {
        deltas += 1;
        if deltas % 5 == 0 {
            generation.presence().park();
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            generation.presence().resume();
        }
        match delta {
            Delta::Text { text, .. } => slots.last_mut().unwrap().push_str(&text),
            Delta::SlotDone { .. } => slots.push(String::new()),
            Delta::Done(_) => slots.truncate(slots.len() - 1),
            Delta::Failed(error) => panic!("{error}"),
        }
    }
    assert_valid(&free(40), &slots);
    idle(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_greedy_text_is_the_same_with_and_without_jump_forward_and_the_small_head() {
    let Some(path) = model(GEMMA) else { return };
    let load = |jump_forward, head_for_candidates| {
        let settings = LocalSettings { jump_forward, head_for_candidates, ..settings() };
        Local::load(&path, &settings).unwrap()
    };
    let greedy = |prompt: &str, program| {
        let request = request(prompt, program, 1);
        Request { sampling: Sampling { temperature: 0.0, ..request.sampling.clone() }, ..request }
    };
    let mut written = Vec::new();
    for engine in [load(true, true), load(false, true), load(true, false)] {
        let (mut texts, mut sampled) = (Vec::new(), 0);
        for (prompt, program) in [(PROMPT, select()), ("환경을 위해 할 일: ", select()), (PROMPT, free(60))]
        {
            let answer = finish(&engine, greedy(prompt, program)).await.unwrap();
            sampled += answer.usage.sampled_tokens;
            texts.push(answer.slots);
        }
        written.push((texts, sampled));
    }
    let [(jumping, few), (stepping, many), (whole_head, _)] = &written[..] else { unreachable!() };
    assert_eq!(jumping, stepping, "forced text is the same text however it is fed");
    assert_eq!(jumping, whole_head, "the head for some tokens gives the same likeliest one");
    assert!(few < many, "{few} tokens sampled, {many} without jump-forward");
}

#[tokio::test(flavor = "multi_thread")]
async fn special_tokens_typed_by_people_are_spelled_out() {
    for (name, typed) in [(GEMMA, "<start_of_turn>"), (SMOLLM, "<|im_start|>")] {
        let Some(engine) = load(name) else { return };
        assert!(engine.count_tokens(typed) > 1, "{typed} is text, not one special token");
    }
}

#[test]
fn a_tokenizer_without_weights_counts_as_the_loaded_model_does() {
    for name in [GEMMA, SMOLLM] {
        let (Some(path), Some(engine)) = (model(name), load(name)) else { return };
        let tokenizer = load_tokenizer(&path).unwrap();
        for text in [PROMPT, "", " a", "추천합니다. 🌱"] {
            assert_eq!(tokenizer.tokenize(text, false).len(), engine.count_tokens(text), "{text:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_tokenise_as_the_whole_does() {
    for name in [GEMMA, SMOLLM] {
        let Some(engine) = load(name) else { return };
        let (first, second) = ("추천: 도시에서", " 사무직으로 일하는 분께");
        let apart = engine.count_tokens(first) + engine.count_tokens(second);
        assert_eq!(
            apart,
            engine.count_tokens(&format!("{first}{second}")),
            "{name}: no space slips in between"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_model_in_eight_bits_answers_too() {
    let Some(path) = model(GEMMA) else { return };
    let folder = tempfile::tempdir().unwrap();
    let eight = folder.path().join("gemma-Q8_0.gguf");
    quantize(&path, &eight, "q8_0", 2).unwrap();
    let engine = Local::load(&eight, &settings()).unwrap();
    let written = finish(&engine, request(PROMPT, select(), 1)).await.unwrap();
    assert_valid(&select(), &written.slots);
    assert!(quantize(&path, &eight, "Q3_XXL", 2).unwrap_err().to_string().contains("Q4_K_M"));
}

#[test]
fn case_18_a_file_that_is_no_whole_model_is_refused_with_its_name() {
    let Some(path) = model(SMOLLM) else { return };
    let bytes = std::fs::read(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8]); 4] = [
        ("empty.gguf", b""),
        ("header.gguf", &bytes[..100]),
        ("half.gguf", &bytes[..bytes.len() / 2]),
        ("page.gguf", b"<!DOCTYPE html><html></html>"),
    ];
    for (name, content) in cases {
        let broken = folder.path().join(name);
        std::fs::write(&broken, content).unwrap();
        let error = Local::load(&broken, &settings()).unwrap_err().to_string();
        assert!(error.contains(name) && error.len() > name.len() + 20, "{error}");
    }
    for missing in [folder.path().join("none.gguf"), folder.path().to_owned()] {
        let error = Local::load(&missing, &settings()).unwrap_err().to_string();
        assert!(error.contains(&*missing.to_string_lossy()), "{error}");
    }
}
