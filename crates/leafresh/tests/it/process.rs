//! The program itself: what it says and how it ends when it can't start.

use std::net::TcpListener;
use std::process::Output;

use leafresh_store::{Options, Rating, Role, SessionKey, SessionStore, Sqlite, Standing, Turn, Update};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::run::{leafresh, text};

/// Fails with one sentence that has all of these in it.
pub(crate) fn assert_fails(output: &Output, parts: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    for part in parts {
        assert!(error.contains(part), "no {part:?} in {error:?}");
    }
}

#[test]
fn case_18_a_model_file_that_is_none_gets_a_sentence_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let files = [
        dir.path().join("missing.gguf").to_str().unwrap().to_owned(),
        dir.path().to_str().unwrap().to_owned(),
        file("empty.gguf", b""),
        file("text.gguf", b"this is no model, whatever its name says"),
        file("cut.gguf", b"GGUF\x03\0\0\0\x05\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"),
    ];
    for path in &files {
        let served = leafresh(&["serve", "--listen", "127.0.0.1:0", "--model", path]).output().unwrap();
        assert_fails(&served, &["leafresh: ", path]);
        let ask =
            ["ask", "--location", "city", "--work-type", "office", "--category", "VEGAN", "--model", path];
        assert_fails(&leafresh(&ask).output().unwrap(), &[path]);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = leafresh(&["serve", "--listen", &address]).output().unwrap();
    assert_fails(&output, &[&address, "--listen"]);
}

#[test]
fn a_bad_setting_is_named_with_its_place() {
    let output = leafresh(&["serve", "--listen", "8000"]).output().unwrap();
    assert_fails(&output, &["--listen", "\"8000\"", "HOST:PORT"]);
    let output = leafresh(&["serve"]).env("LEAFRESH_SERVER__LISTEM", "a:1").output().unwrap();
    assert_fails(&output, &["LEAFRESH_SERVER__LISTEM", "did you mean `listen`?"]);
    let output = leafresh(&["serve", "--config", "nowhere.toml"]).output().unwrap();
    assert_fails(&output, &["nowhere.toml"]);
    let output = leafresh(&["serve"]).env("LEAFRESH_LOG__FILTER", "=[").output().unwrap();
    assert_fails(&output, &["log.filter"]);
    let output = leafresh(&["serve", "--catalog", "nowhere"]).output().unwrap();
    assert_fails(&output, &["nowhere", "--catalog"]);
}

#[test]
fn ask_refuses_what_the_server_refuses_and_names_the_categories() {
    let output = leafresh(&["ask", "--location", "city", "--work-type", "office", "--category", "x"])
        .output()
        .unwrap();
    assert_fails(&output, &["값을 확인해 주세요: category", "ZERO_WASTE", "VEGAN"]);
    let output =
        leafresh(&["ask", "--location", " ", "--work-type", "office", "--category", "x"]).output().unwrap();
    assert_fails(&output, &["location은 필수입니다."]);
}

#[test]
fn help_shows_the_commands_and_examples() {
    let output = leafresh(&["--help"]).output().unwrap();
    assert!(output.status.success());
    let help = text(&output.stdout);
    for part in ["serve", "ask", "Examples:", "config/leafresh.toml", "LEAFRESH_SECTION__KEY"] {
        assert!(help.contains(part), "no {part} in {help}");
    }
    let help = text(&leafresh(&["serve", "--help"]).output().unwrap().stdout);
    for part in ["--listen <ADDR>", "--config <FILE>", "--model <FILE>", "127.0.0.1:8000"] {
        assert!(help.contains(part), "no {part} in {help}");
    }
    let help = text(&leafresh(&["keys", "new", "--help"]).output().unwrap().stdout);
    assert!(help.contains("Two entries may have the same name"), "how a key is replaced: {help}");
}

#[test]
fn answers_that_were_rated_are_exported_with_their_questions_while_a_server_has_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let export = |more: &[&str]| {
        let data = dir.path().to_str().unwrap();
        leafresh(&[&["feedback", "export", "--data", data], more].concat()).output().unwrap()
    };
    assert_fails(&export(&[]), &["sessions.db", "no conversations", "--data"]);

    let store = Sqlite::open(&dir.path().join("sessions.db"), Options::default()).unwrap();
    let now = OffsetDateTime::now_utc();
    let turn = |role, text: String| Turn { role, text, at: now };
    for (n, owner) in ["", "front-end", ""].into_iter().enumerate() {
        let key = SessionKey { owner: owner.into(), id: format!("s{n}") };
        let turns = vec![turn(Role::User, format!("질문 {n}")), turn(Role::Assistant, format!("답 {n}"))];
        let answer = Some(format!("a{n}"));
        let update = Update { standing: Standing::default(), turns, answer, offered: Vec::new() };
        store.record(&key, &update, now).unwrap();
        let rating = [Some(Rating::Up), Some(Rating::Down), None][n];
        assert!(store.rate(&key, &format!("a{n}"), rating, now).unwrap());
    }
    let lines = |output: &Output| -> Vec<Value> {
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = lines(&export(&[]));
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["key"], json!(null));
    let down = lines(&export(&["--rating", "down"]));
    assert_eq!(down, all[1..]);
    let told = ["rating", "key", "question", "answer"].map(|name| down[0][name].clone());
    assert_eq!(told, ["down", "front-end", "질문 1", "답 1"].map(Value::from));
    assert!(down[0]["at"].as_str().unwrap().ends_with('Z'), "{}", down[0]);
}
