//! `leafresh models`, with files of its own and with a real model.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::assert_fails;
use crate::program::model;
use crate::run::{leafresh, text};

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn inspecting_says_whether_a_model_fits() {
    let Some(model) = model() else { return };
    let inspect = |context: &str, more: &[&str]| {
        let arguments = [&["models", "inspect", model.as_str()], more].concat();
        leafresh(&arguments).env("LEAFRESH_ENGINE__CONTEXT", context).output().unwrap()
    };
    let output = inspect("4096", &["--json"]);
    assert!(output.status.success(), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["architecture"], "gemma3");
    assert_eq!(found["checksum"]["state"], "as noted");
    assert_eq!(found["memory"]["fits"], true);
    // 18 layers of one head of 256 numbers, keys and values, two bytes each.
    assert_eq!(found["memory"]["plan"]["host"]["kv"], 18 * 256 * 2 * 2 * 4096);

    let output = inspect("100000000000", &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    for part in ["gemma3", "as noted", "KV cache", "engine.context at most", "Instruction sets: "] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn a_quantised_file_is_whole_and_has_its_checksum() {
    let Some(model) = model() else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("small.gguf");
    let quantize = |more: &[&str]| {
        let arguments = [&["models", "quantize", &model, target.to_str().unwrap(), "q4_0"], more].concat();
        leafresh(&arguments).output().unwrap()
    };
    let output = quantize(&[]);
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("written") && said.contains("as Q4_0 (sha256 "), "{said}");
    assert_eq!(names(dir.path()), ["small.gguf", "small.gguf.sha256"]);
    let inspected = leafresh(&["models", "inspect", target.to_str().unwrap()]).output().unwrap();
    assert!(text(&inspected.stdout).contains("as noted"), "{inspected:?}");

    assert_eq!(quantize(&[]).status.code(), Some(1), "it exists");
    assert!(quantize(&["--force"]).status.success());
    let itself = ["models", "quantize", &model, &model, "q4_0", "--force"];
    assert!(text(&leafresh(&itself).output().unwrap().stderr).contains("is the file that is read"));
}

#[test]
fn an_interrupted_quantisation_leaves_nothing() {
    let Some(model) = model() else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("small.gguf");
    let arguments = ["models", "quantize", &model, target.to_str().unwrap(), "Q4_K_M", "--threads", "1"];
    let mut child = leafresh(&arguments).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while names(dir.path()).is_empty() {
        assert!(start.elapsed() < Duration::from_mins(1) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn what_can_not_be_quantised_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    std::fs::write(file("text.gguf"), "this is no model").unwrap();
    let source = file("text.gguf").to_str().unwrap().to_owned();
    let target = file("out.gguf").to_str().unwrap().to_owned();
    let output = leafresh(&["models", "quantize", &source, &target, "Q4_0"]).output().unwrap();
    assert_fails(&output, &["leafresh: ", &source]);
    let output = leafresh(&["models", "quantize", &source, &target, "Q3_XXL"]).output().unwrap();
    assert!(text(&output.stderr).contains("Q4_K_M"), "{output:?}");
    assert_eq!(names(dir.path()), ["text.gguf"]);
}
