//! `leafresh models pull` and what comes after it, with a double of the Hub.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::hub_double::{COMMIT, Double, Repo, TOKEN, sha256};
use crate::process::assert_fails;
use crate::program::model;
use crate::run::{leafresh, text};

const NAME: &str = "gemma-Q4_K_M.gguf";
const REFERENCE: &str = "hf:owner/gemma-GGUF:Q4_K_M";

/// A cache of its own, and a Hub with a real model or something of the kind.
struct Place {
    dir: TempDir,
    hub: Double,
}

impl Place {
    fn with(bytes: &[u8]) -> Self {
        let hub = Double::start(&[("owner/gemma-GGUF", Repo::new(&[(NAME, bytes)]))]);
        Self { dir: tempfile::tempdir().unwrap(), hub }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = leafresh(arguments);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().to_ascii_lowercase();
            if name.starts_with("hf_") || name.ends_with("_proxy") || name.starts_with("huggingface") {
                command.env_remove(name);
            }
        }
        command.env("HF_HOME", self.dir.path()).env("HF_ENDPOINT", self.hub.url()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("hub/models--owner--gemma-GGUF/snapshots").join(COMMIT).join(NAME)
    }
}

fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_model_is_fetched_after_its_licence_was_accepted_once_and_served_by_its_name() {
    let Some(model) = model() else { return };
    let place = Place::with(&std::fs::read(model).unwrap());
    let inspect = |name: &str| place.run(&["doctor", "--json", "--model", name, "--listen", "127.0.0.1:0"]);
    let missing = place.run(&["serve", "--listen", "127.0.0.1:0", "--model", REFERENCE]);
    assert_fails(&missing, &["model.path", REFERENCE, &format!("`leafresh models pull {REFERENCE}`")]);
    let report: Value = serde_json::from_slice(&inspect(REFERENCE).stdout).unwrap();
    let about = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "model");
    assert_eq!(about.unwrap()["command"], format!("leafresh models pull {REFERENCE}"));

    let refused = place.run(&["models", "pull", REFERENCE]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("apache-2.0") && said(&refused).contains("--accept"),
        "{}",
        said(&refused)
    );
    assert!(place.hub.take_asked().iter().all(|line| !line.starts_with("bytes")), "not before that");

    let pulled = place.run(&["models", "pull", REFERENCE, "--accept"]);
    assert!(pulled.status.success(), "{}", said(&pulled));
    assert_eq!(text(&pulled.stdout).trim_end(), place.path().to_str().unwrap());
    assert!(said(&pulled).contains("(gemma3), Q4_K_M"), "{}", said(&pulled));
    assert!(place.run(&["models", "pull", REFERENCE]).status.success(), "it was accepted");

    let report: Value = serde_json::from_slice(&inspect("hf:owner/gemma-GGUF").stdout).unwrap();
    let about = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "model");
    assert_eq!(about.unwrap()["status"], "ok", "{report:#}");
}

#[test]
fn what_was_fetched_is_listed_checked_and_removed() {
    let place = Place::with(b"no model at all");
    let pulled = place.run(&["models", "pull", REFERENCE, "--accept"]);
    assert_fails_at_the_end(&pulled, "it was fetched as a whole, but can't be used");
    let listed = place.run(&["models", "list", "--json"]);
    let list: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(list["files"][0]["path"], place.path().to_str().unwrap());
    let name = list["files"][0]["model"].as_str().unwrap().to_owned();
    assert!(text(&place.run(&["models", "list"]).stdout).contains(&name));

    let verified = place.run(&["models", "verify"]);
    assert!(verified.status.success() && said(&verified).starts_with("whole"), "{}", said(&verified));
    std::fs::write(place.path(), "something else").unwrap();
    let verified = place.run(&["models", "verify", REFERENCE]);
    assert!(said(&verified).starts_with("damaged"), "{}", said(&verified));
    assert_eq!(verified.status.code(), Some(1));
    // What is advised mends it.
    let advice = said(&verified);
    let advice = advice.split_once("$ ").unwrap().1.trim_end();
    for command in advice.split(" && ") {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        place.run(&[&words[..], if words[1] == "pull" { &["--accept"] } else { &[] }].concat());
    }
    assert!(place.run(&["models", "verify"]).status.success());

    let dry = place.run(&["models", "remove", "hf:owner/gemma-GGUF", "--dry-run"]);
    assert!(said(&dry).contains(NAME) && place.path().exists());
    assert!(place.run(&["models", "remove", REFERENCE]).status.success());
    assert!(!place.dir.path().join("hub/models--owner--gemma-GGUF").exists());
    assert_fails(&place.run(&["models", "remove", REFERENCE]), &["isn't in the cache"]);
    assert_fails(&place.run(&["models", "verify", REFERENCE]), &["leafresh models pull"]);
}

#[track_caller]
fn assert_fails_at_the_end(output: &Output, part: &str) {
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.lines().last().unwrap().contains(part), "{said}");
}

#[test]
fn a_download_that_broke_goes_on_with_the_same_command_and_gc_takes_what_nobody_goes_on_with() {
    let bytes = vec![7; 300_000];
    let place = Place::with(&bytes);
    // And again, so that it doesn't come to its end before it is killed.
    place.hub.change(|hub| hub.cuts = [vec![100_000], vec![0; 9]].concat());
    let mut first = place.command(&["models", "pull", REFERENCE, "--accept"]);
    let mut first = first.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let incomplete = place
        .dir
        .path()
        .join("hub/models--owner--gemma-GGUF/blobs")
        .join(format!("{}.incomplete", sha256(&bytes)));
    while !std::fs::metadata(&incomplete).is_ok_and(|about| about.len() == 100_000) {
        assert!(first.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let dry = place.run(&["models", "gc", "--dry-run"]);
    assert!(said(&dry).contains("wasn't finished") && incomplete.exists(), "{}", said(&dry));
    place.hub.change(|hub| hub.cuts.clear());
    place.hub.take_asked();
    place.run(&["models", "pull", REFERENCE]);
    assert!(place.hub.take_asked().iter().any(|line| line.ends_with("bytes=100000-")));
    assert!(place.path().exists() && !incomplete.exists());
    std::fs::write(&incomplete, "half").unwrap();
    assert!(said(&place.run(&["models", "gc"])).contains("4 bytes freed"));
    assert!(!incomplete.exists() && place.path().exists());
}

#[test]
fn a_gated_model_names_the_page_and_the_token_and_takes_it_from_where_the_configuration_says() {
    let place = Place::with(b"secret weights");
    place.hub.change(|hub| hub.repos.get_mut("owner/gemma-GGUF").unwrap().gated = true);
    let pull = ["models", "pull", REFERENCE, "--accept"];
    let page = format!("{}/owner/gemma-GGUF", place.hub.url());
    assert_fails(&place.run(&pull), &["is gated", &page, "HF_TOKEN", "hub.token_file"]);
    let wrong = place.command(&pull).env("HF_TOKEN", "hf_wrong").output().unwrap();
    assert_fails(&wrong, &["the token of HF_TOKEN isn't valid"]);
    assert!(!said(&wrong).contains("hf_wrong"));
    let named =
        place.command(&pull).env("MINE", TOKEN).env("LEAFRESH_HUB__TOKEN_VARIABLE", "MINE").output().unwrap();
    assert!(place.path().exists(), "{}", said(&named));
    place.run(&["models", "remove", REFERENCE]);
    let file = place.dir.path().join("my token");
    std::fs::write(&file, TOKEN).unwrap();
    let named = place.command(&pull).env("LEAFRESH_HUB__TOKEN_FILE", &file).output().unwrap();
    assert!(place.path().exists() && !said(&named).contains(TOKEN), "{}", said(&named));
}

#[test]
fn short_names_are_listed_and_others_are_refused_with_where_to_look() {
    let place = Place::with(b"");
    let known = place.run(&["models", "list", "--known"]);
    let said = text(&known.stdout);
    assert_eq!(said.lines().count(), 10, "{said}");
    assert!(
        said.contains("qwen3-0.6b") && said.contains("Apache-2.0") && said.contains("hf:Qwen/"),
        "{said}"
    );
    let json: Value =
        serde_json::from_slice(&place.run(&["models", "list", "--known", "--json"]).stdout).unwrap();
    assert_eq!(json["known"][0]["fetched"], false);
    let refused = place.run(&["models", "pull", "qwen9"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("models list --known"));
    let serve = place.run(&["serve", "--listen", "127.0.0.1:0", "--model", "qwen3-0.6b"]);
    assert_fails(&serve, &["leafresh models pull hf:Qwen/Qwen3-0.6B-GGUF:Q8_0"]);
}

#[test]
fn a_disk_without_room_is_said_before_anything_is_fetched() {
    // As much as no disk has: the double says so, and is never asked for it.
    let place = Place::with(b"small");
    place.hub.change(|hub| hub.claimed = Some(1 << 60));
    let pulled = place.run(&["models", "pull", REFERENCE, "--accept"]);
    assert_fails_at_the_end(&pulled, "1048576.0 TiB");
    assert!(said(&pulled).contains("--cache"), "{}", said(&pulled));
    assert!(place.hub.take_asked().iter().all(|line| !line.starts_with("bytes")));
}
