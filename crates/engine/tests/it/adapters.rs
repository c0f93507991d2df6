//! Adapters: each answer is written with its own, whoever else writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use leafresh_engine::fake::FakeModel;
use leafresh_engine::{
    Backend, Error, Local, LocalSettings, Program, Request, Sampling, gguf, memory, merge,
};

use crate::lora;
use crate::model_files::model;
use crate::support::{SENTENCE, assert_valid, finish, free, idle, join_all, request, select, slot};

const NAMES: [&str; 8] = ["가", "나", "다", "라", "마", "바", "사", "아"];

fn with_adapter(adapter: Option<&str>, request: Request) -> Request {
    Request { adapter: adapter.map(str::to_owned), ..request }
}

/// A test's settings; the model is small.
fn settings() -> LocalSettings {
    LocalSettings { threads: Some(1), context: 2048, running: 4, ..LocalSettings::default() }
}

#[tokio::test]
async fn two_hundred_mixed_requests_write_what_each_writes_alone() {
    let settings = LocalSettings { queue: 256, ..settings() };
    let model = FakeModel::new(5).with_adapters(&NAMES);
    let changes = model.changes();
    let engine = Local::start(Box::new(model), &settings).unwrap();
    assert_eq!(engine.model().adapters, NAMES);
    let adapter = |number: u64| NAMES.get(number as usize % 9).copied();
    let ask = |number: u64| {
        let program = if number.is_multiple_of(2) { free(60) } else { select() };
        // Half of the prompts are the same for all adapters: nothing of them may be shared.
        let prompt = if number % 4 < 2 {
            "질문과 그에 앞서는 같은 말".repeat(4)
        } else {
            format!("{number}번 질문")
        };
        with_adapter(adapter(number), request(&prompt, program, number))
    };
    let mut alone = BTreeMap::new();
    for number in 0..200 {
        alone.insert(number, finish(&engine, ask(number)).await.unwrap().slots);
    }
    let before = changes.load(Ordering::Relaxed);
    for (number, written) in
        join_all((0..200).map(|number| finish(&engine, ask(number)))).await.into_iter().enumerate()
    {
        assert_eq!(written.unwrap().slots, alone[&(number as u64)], "request {number}");
    }
    idle(&engine).await;
    let (turns, steps) = (changes.load(Ordering::Relaxed) - before, engine.health().steps as usize);
    assert!(turns < steps / 4, "{turns} changes of the adapter");
    // The same question of two adapters gets two answers.
    let [plain, other] =
        [None, Some("나")].map(|adapter| with_adapter(adapter, request("질문", free(60), 1)));
    assert_ne!(finish(&engine, plain).await.unwrap().slots, finish(&engine, other).await.unwrap().slots);
}

#[tokio::test]
async fn a_request_for_an_adapter_that_is_not_there_is_told_so() {
    let model = FakeModel::new(5).with_adapters(&["정중한"]);
    let engine = Local::start(Box::new(model), &settings()).unwrap();
    let refused =
        finish(&engine, with_adapter(Some("없는"), request("질문", free(60), 1))).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Unfit(why) if why.contains("없는") && why.contains("정중한")),
        "{refused}"
    );
    idle(&engine).await;
}

/// llama.cpp's own graph: what it computes depends least on what else is in the batch, so that texts can be compared.
fn llama_cpp_alone() -> LocalSettings {
    LocalSettings {
        head_for_candidates: false,
        attention_over_own_cells: false,
        products_of_bytes: false,
        ..settings()
    }
}

/// Enough for other words.
const STRENGTH: f32 = 1.0;

/// A folder with adapters of these names for Gemma, each with other numbers.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (seed, name) in names.iter().enumerate() {
        lora::write(&folder.path().join(format!("{name}.gguf")), lora::GEMMA, seed as u64 + 1, STRENGTH);
    }
    folder
}

const GEMMA: &str = "gemma-3-270m-Q4_K_M.gguf";
const PROMPT: &str = "친환경 챌린지를 추천하는 글입니다.\n\n추천: ";

fn one_sentence() -> Program {
    Program::new(vec![slot("opening", leafresh_engine::Grammar::Regex(SENTENCE.into()), 48, &[])]).unwrap()
}

/// What is likeliest, so that numbers alone decide.
fn greedy(adapter: Option<&str>) -> Request {
    let request = with_adapter(adapter, request(PROMPT, one_sentence(), 1));
    Request {
        sampling: Sampling { temperature: 0.0, repetition_penalty: 1.0, ..request.sampling },
        ..request
    }
}

/// As far as it is the same wherever in the cache the prompt's cells lie: in the last bits of sums texts differ later on.
fn begin(text: &str) -> String {
    text.chars().take(6).collect()
}

async fn sentence(engine: &Local, adapter: Option<&str>) -> String {
    finish(engine, greedy(adapter)).await.unwrap().slots.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_adapters_come_and_go_and_each_writes_its_own() {
    let Some(path) = model(GEMMA) else { return };
    let names = ["a", "b", "c", "d", "e"];
    let folder = folder(&names);
    let settings =
        LocalSettings { adapters: Some(folder.path().to_owned()), adapters_in_memory: 2, ..settings() };
    let engine = Local::load(&path, &settings).unwrap();
    assert_eq!(engine.model().adapters, names);
    let mut alone = BTreeMap::new();
    for adapter in [None, Some("a"), Some("b"), Some("c"), Some("d"), Some("e")] {
        alone.insert(adapter, sentence(&engine, adapter).await);
    }
    let distinct: std::collections::BTreeSet<&String> = alone.values().collect();
    assert!(distinct.len() >= 5, "adapters make a difference: {alone:?}");
    for _ in 0..2 {
        for (adapter, text) in &alone {
            assert_eq!(begin(&sentence(&engine, *adapter).await), begin(text), "{adapter:?} again");
        }
    }
    // All at once: every one is valid, and comes to its end.
    let ask = |number: usize| {
        let adapter = alone.keys().nth(number % alone.len()).copied().flatten();
        finish(&engine, with_adapter(adapter, request(PROMPT, select(), number as u64)))
    };
    for written in join_all((0..24).map(ask)).await {
        assert_valid(&select(), &written.unwrap().slots);
    }
    idle(&engine).await;
}

/// With an adapter our head and kernels give what llama.cpp's own graph gives.
#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_changes_the_same_whichever_kernels_compute() {
    let Some(path) = model(GEMMA) else { return };
    let folder = folder(&["a", "b"]);
    let ours = LocalSettings { adapters: Some(folder.path().to_owned()), ..settings() };
    let theirs = LocalSettings { adapters: ours.adapters.clone(), ..llama_cpp_alone() };
    let mut texts = Vec::new();
    for settings in [ours, theirs] {
        let engine = Local::load(&path, &settings).unwrap();
        let mut written = Vec::new();
        for adapter in [Some("a"), None, Some("b")] {
            written.push(sentence(&engine, adapter).await);
        }
        texts.push(written);
    }
    for (ours, theirs) in texts[0].iter().zip(&texts[1]) {
        assert_eq!(begin(ours), begin(theirs), "{texts:?}");
    }
    assert_ne!(texts[0][0], texts[0][1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_model_writes_what_the_adapter_writes() {
    let Some(path) = model(GEMMA) else { return };
    let folder = folder(&["a"]);
    let merged = folder.path().join("merged.bin");
    merge(&path, &folder.path().join("a.gguf"), &merged).unwrap();
    let (base, written) = (gguf::check(&path).unwrap(), gguf::check(&merged).unwrap());
    assert_eq!(base.tensors.len(), written.tensors.len());
    for (before, after) in base.tensors.iter().zip(&written.tensors) {
        let changed = lora::GEMMA.1.iter().any(|changed| changed.name == before.name);
        let kind = if changed { "F32" } else { before.kind.name };
        assert_eq!((&before.name, &before.dims, kind), (&after.name, &after.dims, after.kind.name));
    }
    let with = LocalSettings { adapters: Some(folder.path().to_owned()), ..llama_cpp_alone() };
    let adapted = sentence(&Local::load(&path, &with).unwrap(), Some("a")).await;
    let engine = Local::load(&merged, &llama_cpp_alone()).unwrap();
    assert!(engine.model().adapters.is_empty());
    assert_eq!(begin(&sentence(&engine, None).await), begin(&adapted), "{adapted}");
}

#[test]
fn adapters_that_can_not_be_used_are_named_before_anything_is_loaded() {
    let Some(path) = model(GEMMA) else { return };
    let load = |folder: &Path, change: fn(&mut LocalSettings)| {
        let mut settings = LocalSettings { adapters: Some(folder.to_owned()), ..settings() };
        change(&mut settings);
        Local::load(&path, &settings).unwrap_err().to_string()
    };
    let good = folder(&["a"]);
    let missing = load(&good.path().join("none"), |_| ());
    assert!(missing.contains("engine.adapters") && missing.contains("none"), "{missing}");
    let large = load(good.path(), |settings| settings.adapters_bytes = 1000);
    assert!(large.contains("engine.adapters_bytes"), "{large}");
    let none = load(good.path(), |settings| settings.adapters_in_memory = 0);
    assert!(none.contains("engine.adapters_in_memory"), "{none}");
    std::fs::write(good.path().join("a b.gguf"), "").unwrap();
    assert!(load(good.path(), |_| ()).contains("rename"));
    std::fs::remove_file(good.path().join("a b.gguf")).unwrap();
    lora::write(&good.path().join("z.gguf"), ("llama", lora::GEMMA.1), 1, 0.1);
    let other = load(good.path(), |_| ());
    assert!(other.contains("z.gguf") && other.contains("`llama`") && other.contains("gemma3"), "{other}");
    std::fs::copy(&path, good.path().join("z.gguf")).unwrap();
    assert!(load(good.path(), |_| ()).contains("isn't an adapter"));
}

#[test]
fn the_memory_plan_counts_as_many_adapters_as_may_be_there_together() {
    let Some(path) = model(GEMMA) else { return };
    let folder = folder(&["a", "b", "c", "d"]);
    let header = gguf::check(&path).unwrap();
    let one = std::fs::metadata(folder.path().join("a.gguf")).unwrap().len();
    let available = memory::Available::here().unwrap();
    let planned = |settings: &LocalSettings| memory::plan(&header, settings, &available).unwrap().host;
    let without = planned(&settings());
    let mut with = LocalSettings { adapters: Some(folder.path().to_owned()), ..settings() };
    assert_eq!(planned(&with).adapters, 3 * one);
    assert_eq!(planned(&with).needed(), without.needed() + 3 * one);
    with.adapters_bytes = 2 * one;
    assert_eq!(planned(&with).adapters, 2 * one);
}
