//! `leafresh models trim`, with the small models.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use leafresh_engine::gguf::{self, Header, Value};
use leafresh_engine::{Tokenizer, load_vocabulary};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value as Json;

use crate::model_files;
use crate::models::names;
use crate::process::assert_fails;
use crate::program::model;
use crate::run::{leafresh, text};

const SMOLLM: &str = "smollm2-135m-instruct-Q4_1.gguf";

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn trim(more: &[&str]) -> Output {
    leafresh(&[&["models", "trim"], more].concat()).output().unwrap()
}

/// A tensor's bytes and where they are: tensors lie one after the other at the end of the file.
fn tensors(header: &Header, bytes: &[u8]) -> HashMap<String, (Vec<u64>, Vec<u8>)> {
    let padded: u64 = header.tensors.iter().map(|tensor| tensor.bytes.next_multiple_of(32)).sum();
    let mut place = bytes.len() - padded as usize;
    let mut found = HashMap::new();
    for tensor in &header.tensors {
        let data = bytes[place..place + tensor.bytes as usize].to_vec();
        found.insert(tensor.name.clone(), (tensor.dims.clone(), data));
        place += tensor.bytes.next_multiple_of(32) as usize;
    }
    found
}

/// Everything but the rows and numbers of tokens is as it was.
fn assert_only_tokens_went(source: &Path, target: &Path) -> f64 {
    let [before, after] = [source, target].map(|path| gguf::check(path).unwrap());
    let [old, new] = [source, target].map(|path| std::fs::read(path).unwrap());
    assert!(after.vocabulary.is_multiple_of(64) && after.vocabulary < before.vocabulary);
    let [olds, news] = [tensors(&before, &old), tensors(&after, &new)];
    assert_eq!(olds.len(), news.len());
    for (name, (dims, data)) in &olds {
        let (new_dims, new_data) = &news[name];
        if name != "token_embd.weight" {
            assert_eq!((dims, data), (new_dims, new_data), "{name}");
            continue;
        }
        assert_eq!((dims[0], after.vocabulary as u64), (new_dims[0], new_dims[1]));
        let row = data.len() / before.vocabulary;
        let rows: std::collections::HashSet<&[u8]> = data.chunks(row).collect();
        assert!(new_data.chunks(row).all(|row| rows.contains(row)), "rows are copied as they are");
    }
    let same = |(key, value): (&str, &Value)| {
        let changed = key.starts_with("tokenizer.ggml.") || key.ends_with(".vocab_size");
        assert!(changed || after.metadata.get(key) == Some(value), "{key}");
    };
    before.metadata.iter().for_each(same);
    let tokens = Value::Integer(before.vocabulary as i64);
    assert_eq!(after.metadata.get("leafresh.trim.source_tokens"), Some(&tokens));
    new.len() as f64 / old.len() as f64
}

/// Texts of random tokens that stay are cut as before, whatever stands beside what.
fn assert_random_texts_are_cut_as_before(source: &Path, target: &Path) {
    let [(before, old), (after, new)] = [source, target].map(|path| load_vocabulary(path).unwrap());
    let tokens = gguf::check(target).unwrap().vocabulary as u32;
    let pieces: Vec<Vec<u8>> = (0..tokens)
        .map(|token| new.piece(token).to_vec())
        .filter(|piece| std::str::from_utf8(piece).is_ok_and(|text| !text.is_empty()))
        .collect();
    let spelled =
        |tokenizer: &Arc<dyn Tokenizer>, vocab: &leafresh_engine::Vocab, text: &str| -> Vec<Vec<u8>> {
            tokenizer.tokenize(text, false).iter().map(|&token| vocab.piece(token).to_vec()).collect()
        };
    let known: std::collections::HashSet<&Vec<u8>> = pieces.iter().collect();
    let mut random = StdRng::seed_from_u64(7);
    let mut compared = 0;
    for _ in 0..3000 {
        let count = random.random_range(1..12);
        let text: Vec<u8> = (0..count).flat_map(|_| pieces.choose(&mut random).unwrap().clone()).collect();
        let text = String::from_utf8(text).unwrap();
        let cut = spelled(&before, &old, &text);
        let whole = |piece: &&Vec<u8>| std::str::from_utf8(piece).is_ok();
        if cut.iter().filter(whole).all(|piece| known.contains(piece)) {
            compared += 1;
            assert_eq!(cut, spelled(&after, &new, &text), "{text:?}");
        }
        assert_eq!(spelled(&after, &new, &text).concat(), text.as_bytes());
    }
    assert!(compared > 1000, "only {compared} texts were cut into tokens that stay");
}

#[test]
fn the_default_model_is_a_third_and_says_the_same() {
    let Some(model) = model() else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("small.gguf");
    let output = trim(&[&model, &path(&target)]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    for line in [
        "kept  ",
        "catalogue ",
        "held out  ",
        "ascii  ",
        "any text  ",
        "logits  ",
        "answers   10 of 10 ",
        "sha256 ",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    assert!(said.contains("equal to the last bit"), "{said}");
    assert_eq!(names(dir.path()), ["small.gguf", "small.gguf.sha256"]);
    let share = assert_only_tokens_went(Path::new(&model), &target);
    assert!(share < 0.4, "{share}");
    assert_random_texts_are_cut_as_before(Path::new(&model), &target);

    let inspected = leafresh(&["models", "inspect", "--json", &path(&target)]).output().unwrap();
    let inspected: Json = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(inspected["checksum"]["state"], "as noted");
    assert_eq!(inspected["trimmed_from"], 262_144);
    let again = trim(&[&path(&target), &path(&dir.path().join("smaller.gguf"))]);
    assert_fails(&again, &["was trimmed already"]);
}

#[test]
fn a_model_with_pairs_and_a_chat_template_is_trimmed_too() {
    let Some(model) = model_files::model(SMOLLM) else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("small.gguf");
    let own = dir.path().join("own.txt");
    std::fs::write(&own, "Supercalifragilistic bicycles\n\nunbelievable\n").unwrap();
    let output = trim(&[&path(&model), &path(&target), "--text", &path(&own), "--ascii-length", "2"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_only_tokens_went(&model, &target);
    assert_random_texts_are_cut_as_before(&model, &target);
    let [(before, _), (after, vocab)] = [&model, &target].map(|path| load_vocabulary(path).unwrap());
    let pieces = |text| after.tokenize(text, false).len();
    assert_eq!(pieces(" bicycles"), before.tokenize(" bicycles", false).len(), "it was asked for");
    assert!(pieces(" tomatoes") > before.tokenize(" tomatoes", false).len(), "nobody asked for it");
    let end = after.tokenize("<|im_end|>", true);
    assert_eq!(end.len(), 1, "marks stay marks");
    assert!(vocab.ends().contains(&end[0]));
}

#[test]
fn a_trim_that_can_not_be_proven_leaves_nothing() {
    let Some(model) = model_files::model(SMOLLM) else { return };
    let dir = tempfile::tempdir().unwrap();
    let catalog = dir.path().join("catalog");
    assert!(leafresh(&["catalog", "export", &path(&catalog)]).status().unwrap().success());
    // Nothing was kept for what nobody wrote.
    let words = ["unforgettable", "photosynthesis", "wonderfully", "neighbourhoods"];
    let lines: String = words.map(|word| format!("{{\"text\": \"so {word}, {word}\"}}\n")).concat();
    std::fs::write(catalog.join("eval/everyday.jsonl"), lines).unwrap();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let output = trim(&[&path(&model), &path(&out.join("small.gguf")), "--catalog", &path(&catalog)]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("as good as the model in this: held out; it was taken away"), "{error}");
    assert!(text(&output.stdout).contains(" of 4 texts are cut into the same tokens   NOT"), "{output:?}");
    assert_eq!(names(&out), Vec::<String>::new());
}

#[test]
fn an_interrupted_trim_leaves_nothing() {
    let Some(model) = model_files::model(SMOLLM) else { return };
    for signal in ["INT", "TERM"] {
        let dir = tempfile::tempdir().unwrap();
        let arguments = ["models", "trim", &path(&model), &path(&dir.path().join("small.gguf"))];
        let mut child = leafresh(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while names(dir.path()).is_empty() {
            assert!(start.elapsed() < Duration::from_mins(1) && child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(2));
        }
        let sent = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }
}

/// As on a disk that is full: files of this process may not grow beyond 8 MB.
#[test]
fn a_disk_that_fills_up_is_named_and_nothing_is_left() {
    let Some(model) = model_files::model(SMOLLM) else { return };
    let dir = tempfile::tempdir().unwrap();
    let line = "trap '' XFSZ; ulimit -f 16384; exec \"$0\" models trim \"$1\" \"$2\"";
    let target = path(&dir.path().join("small.gguf"));
    let output = std::process::Command::new("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_leafresh"), &path(&model), &target])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("has no room") && error.contains(&path(dir.path())), "{error}");
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn what_can_not_be_trimmed_is_named_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    std::fs::write(file("text.gguf"), "this is no model").unwrap();
    let (source, target) = (path(&file("text.gguf")), path(&file("out.gguf")));
    assert_fails(&trim(&[&source, &target]), &["leafresh: ", &source, "no GGUF file"]);
    let Some(model) = model_files::model(SMOLLM) else { return };
    let begun = std::fs::read(&model).unwrap();
    std::fs::write(file("begun.gguf"), &begun[..10_000_000]).unwrap();
    assert_fails(&trim(&[&path(&file("begun.gguf")), &target]), &["cut off in the tensor data"]);
    let embedding = model_files::model("multilingual-e5-small-Q4_0.gguf").unwrap();
    assert_fails(&trim(&[&path(&embedding), &target]), &["`t5`", "`llama`", "`gpt2`"]);
    let model = path(&model);
    assert_fails(&trim(&[&model, &source]), &["exists; --force replaces it"]);
    assert_fails(&trim(&[&model, &model, "--force"]), &["is the file that is read"]);
    assert_fails(&trim(&[&model, &path(&file("no/out.gguf"))]), &["there is no folder"]);
    assert_fails(&trim(&[&model, &target, "--text", "no.txt"]), &["no.txt"]);
    std::fs::write(file("latin.txt"), [0xE9, 0x21]).unwrap();
    assert_fails(&trim(&[&model, &target, "--text", &path(&file("latin.txt"))]), &["latin.txt", "UTF-8"]);
    assert_fails(&trim(&[&model, &target, "--catalog", "no-catalogue"]), &["no-catalogue"]);
    let output = trim(&[&model, &target, "--ascii-length", "0"]);
    assert!(text(&output.stderr).contains("--ascii-length"), "{output:?}");
    assert_eq!(names(dir.path()), ["begun.gguf", "latin.txt", "text.gguf"]);
}
