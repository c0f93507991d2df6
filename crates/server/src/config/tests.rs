use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::{Config, Flags, Listen, Sources};

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn load(text: &str, dotenv: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Config, String> {
    let (_dir, path) = file(text);
    let own =
        |list: &[(&str, &str)]| list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let sources = Sources {
        file: Some(path.clone()),
        dotenv: own(dotenv),
        environment: own(environment),
        ..Sources::default()
    };
    // The folder differs in every run.
    Config::load(&sources).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "test.toml"))
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/leafresh.toml")
}

#[test]
fn the_shipped_file_holds_the_defaults() {
    let sources = Sources { file: Some(shipped()), ..Sources::default() };
    assert_eq!(Config::load(&sources).unwrap(), Config::default());
}

#[test]
fn the_shipped_file_explains_every_key() {
    let text = std::fs::read_to_string(shipped()).unwrap();
    let sections = known_keys("");
    assert!(sections.contains(&"engine".to_owned()), "{sections:?}");
    let single = sections.iter().map(String::as_str).filter(|section| *section != "upstream");
    for section in single.chain(["chat.sampling"]) {
        let after =
            text.split_once(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("no [{section}]")).1;
        let lines: Vec<_> = after.lines().take_while(|line| !line.starts_with('[')).collect();
        for key in known_keys(section).iter().filter(|key| *key != "sampling") {
            let line = lines
                .iter()
                .position(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")))
                .unwrap_or_else(|| panic!("{section}.{key} is missing"));
            let comment = lines[line.saturating_sub(1)];
            assert!(
                comment.starts_with("# ") && !comment.contains(" = "),
                "{section}.{key} is not explained"
            );
        }
    }
}

/// Of upstreams there can be several, and by default is none: their part of the file is commented out as a whole.
#[test]
fn the_shipped_file_explains_every_key_of_an_upstream_and_its_default() {
    let text = std::fs::read_to_string(shipped()).unwrap();
    let part = text.split_once("\n# [[upstream]]\n").unwrap().1.split_once("\n\n").unwrap().0;
    let lines: Vec<&str> = part.lines().map(|line| line.strip_prefix("# ").unwrap()).collect();
    let keys = known_keys("[upstream]");
    assert!(keys.contains(&"url".to_owned()), "{keys:?}");
    for key in &keys {
        let line = lines.iter().position(|line| line.starts_with(&format!("{key} = ")));
        let line = line.unwrap_or_else(|| panic!("upstream.{key} is missing"));
        assert!(line > 0 && !lines[line - 1].contains(" = "), "upstream.{key} is not explained");
    }
    let settings: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| keys.iter().any(|known| known == key)))
        .collect();
    let bare = load("[[upstream]]\nurl = \"http://127.0.0.1:8001\"", &[], &[]).unwrap();
    let whole = load(&format!("[[upstream]]\n{}", settings.join("\n")), &[], &[]).unwrap();
    let without = |config: &Config| {
        let mut upstream = config.upstream[0].clone();
        (upstream.model, upstream.key) = (None, None);
        upstream
    };
    assert_eq!(without(&whole), without(&bare));
}

#[test]
fn upstreams_are_read_with_what_is_wrong_in_them_and_no_key_in_a_message() {
    let text = "[[upstream]]\nurl = \"http://a:1\"\nkind = \"vllm\"\nkey = \"env:A_KEY\"\nidle_seconds = 2.5\n[[upstream]]\nurl = \"https://b/v1\"";
    let upstreams = load(text, &[], &[]).unwrap().upstream;
    let [first, second]: [leafresh_remote::Upstream; 2] = [(&upstreams[0]).into(), (&upstreams[1]).into()];
    assert_eq!((first.kind, first.idle), (Some(leafresh_remote::Kind::Vllm), Duration::from_millis(2500)));
    assert_eq!(
        (first.key, second.url.as_str()),
        (Some(leafresh_remote::Key::Variable("A_KEY".into())), "https://b")
    );
    let environment = [("LEAFRESH_UPSTREAM", r#"[{url="http://c:1", running=4}]"#)];
    assert_eq!(load("", &[], &environment).unwrap().upstream[0].running, 4);
    let cases = [
        ("kind = \"vllm\"", "missing field `url`"),
        (
            "url = \"127.0.0.1:8001\"",
            "upstream.0.url in test.toml: found something else, expected an address such as http://",
        ),
        ("url = \"http://secret@a\"", "upstream.0.url in test.toml: found something else"),
        (
            "url = \"http://a\"\nkey = \"secret\"",
            "upstream.0.key in test.toml: found something else, expected \"env:NAME\"",
        ),
        ("url = \"http://a\"\nkey = \"env:\"", "upstream.0.key in test.toml: found something else"),
        (
            "url = \"http://a\"\nkind = \"vlm\"",
            "upstream.0.kind in test.toml: unknown value `vlm`; did you mean `vllm`?",
        ),
        (
            "url = \"http://a\"\nrunning = 0",
            "upstream.0.running in test.toml: found 0, expected a whole number above 0",
        ),
        ("url = \"http://a\"\nidle = 1", "upstream.0.idle in test.toml: unknown key `idle`"),
    ];
    for (text, expected) in cases {
        let error = load(&format!("[[upstream]]\n{text}"), &[], &[]).unwrap_err();
        assert!(error.contains(expected) && !error.contains("secret"), "{error}");
    }
}

/// What a section may hold, as the error about an unknown key lists it.
fn known_keys(section: &str) -> Vec<String> {
    let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
    let error = load(&format!("{header}0 = 0"), &[], &[]).unwrap_err();
    let list = error.split_once("known are `").unwrap_or_else(|| panic!("{error}")).1;
    list.trim_end_matches('`').split("`, `").map(str::to_owned).collect()
}

#[test]
fn flags_override_the_environment_which_overrides_dotenv_which_overrides_the_file() {
    let text = "[server]\nlisten = \"a:1\"\n[stream]\nkeep_alive_seconds = 1\n[engine]\nrunning = 1\n[log]\nfilter = \"a\"";
    let dotenv = [("LEAFRESH_STREAM__KEEP_ALIVE_SECONDS", "0.25"), ("LEAFRESH_ENGINE__RUNNING", "2")];
    let environment =
        [("LEAFRESH_ENGINE__RUNNING", "3"), ("PATH", "/bin"), ("LEAFRESH_TEST_MODELS", "/models")];
    let config = load(text, &dotenv, &environment).unwrap();
    assert_eq!(config.server.listen.as_str(), "a:1");
    assert_eq!(config.stream.keep_alive_seconds.0, Duration::from_millis(250));
    assert_eq!(config.engine.running, 3);

    let (_dir, path) = file(text);
    let sources = Sources {
        file: Some(path),
        environment: vec![("LEAFRESH_SERVER__LISTEN".into(), "b:2".into())],
        flags: Flags(vec![("--listen", "server.listen", "c:3".into())]),
        ..Sources::default()
    };
    assert_eq!(Config::load(&sources).unwrap().server.listen.as_str(), "c:3");
}

#[test]
fn lists_and_deep_keys_come_from_the_environment_too() {
    let environment = [
        ("LEAFRESH_CORS__ORIGINS", r#"["https://a.example", "http://localhost:3000"]"#),
        ("LEAFRESH_CHAT__SAMPLING__SEED", "7"),
        ("LEAFRESH_CHAT__GROUNDING", "context"),
    ];
    let config = load("", &[], &environment).unwrap();
    assert_eq!(config.cors.origins.len(), 2);
    assert_eq!(config.chat.sampling.seed, Some(7));
    assert_eq!(config.chat.grounding, Some(leafresh_chat::Grounding::Context));
}

#[test]
fn errors_name_the_place_what_was_found_and_what_was_expected() {
    type Variables = &'static [(&'static str, &'static str)];
    let cases: &[(&str, Variables, &str)] = &[
        (
            "[server]\nlisen = \"a:1\"",
            &[],
            "server.lisen in test.toml: unknown key `lisen`; did you mean `listen`?",
        ),
        ("[sever]\nlisten = \"a:1\"", &[], "sever in test.toml: unknown key `sever`; did you mean `server`?"),
        ("[server]\nlisten = 8000", &[], "server.listen in test.toml: found 8000, expected a text in quotes"),
        (
            "[server]\nlisten = \"8000\"",
            &[],
            "server.listen in test.toml: found \"8000\", expected an address HOST:PORT, such as 127.0.0.1:8000 or \
             0.0.0.0:8000",
        ),
        (
            "[server]\nrequest_seconds = 0",
            &[],
            "server.request_seconds in test.toml: found 0, expected a number of seconds above 0",
        ),
        (
            "[stream]\nkeep_alive_seconds = -1",
            &[],
            "stream.keep_alive_seconds in test.toml: found -1, expected a number of seconds, 0 to 86400",
        ),
        (
            "[log]\nformat = \"jsonl\"",
            &[],
            "log.format in test.toml: unknown value `jsonl`; did you mean `json`?",
        ),
        (
            "",
            &[("LEAFRESH_SERVER__LISTEM", "a:1")],
            "LEAFRESH_SERVER__LISTEM (environment): unknown key `listem`; did you mean `listen`?",
        ),
        (
            "",
            &[("LEAFRESH_SERVER_LISTEN", "a:1")],
            "LEAFRESH_SERVER_LISTEN (environment): unknown key `server_listen`; section and key are separated by two \
             underscores: LEAFRESH_SERVER__LISTEN",
        ),
        (
            "",
            &[("LEAFRESH_ENGINE__RUNNING", "many")],
            "LEAFRESH_ENGINE__RUNNING (environment): found \"many\", expected a whole number, 0 or more",
        ),
        (
            "[cors]\norigins = [\"https://a.example/\"]",
            &[],
            "cors.origins.0 in test.toml: found \"https://a.example/\", expected an origin such as https://example.com \
             or http://localhost:3000 (no path, no final slash), or *",
        ),
    ];
    for (text, environment, expected) in cases {
        assert_eq!(load(text, &[], environment).unwrap_err(), *expected);
    }
}

#[test]
fn a_file_that_is_not_there_or_no_toml_is_named() {
    let sources = Sources { file: Some("/nowhere/leafresh.toml".into()), ..Sources::default() };
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(error.starts_with("configuration file /nowhere/leafresh.toml: "), "{error}");

    let error = load("[server\nlisten = 1", &[], &[]).unwrap_err();
    assert!(error.contains("test.toml") && error.contains("line 1"), "{error}");
}

#[test]
fn a_flag_is_named_by_its_own_name() {
    let sources = Sources {
        file: Some(shipped()),
        flags: Flags(vec![("--listen", "server.listen", "8000".into())]),
        ..Sources::default()
    };
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(error.starts_with("--listen (command line): found \"8000\""), "{error}");
}

/// Field report 2.
#[test]
fn what_kubernetes_sets_for_services_is_passed_over_with_one_note() {
    let environment = [
        ("LEAFRESH_SERVICE_HOST", "10.96.12.7"),
        ("LEAFRESH_SERVICE_PORT", "8000"),
        ("LEAFRESH_SERVICE_PORT_HTTP", "8000"),
        ("LEAFRESH_PORT", "tcp://10.96.12.7:8000"),
        ("LEAFRESH_PORT_8000_TCP", "tcp://10.96.12.7:8000"),
        ("LEAFRESH_PORT_8000_TCP_PROTO", "tcp"),
        ("LEAFRESH_PORT_8000_TCP_PORT", "8000"),
        ("LEAFRESH_PORT_8000_TCP_ADDR", "10.96.12.7"),
        ("LEAFRESH_X_SERVICE_HOST", "10.96.12.8"),
        ("LEAFRESH_X_PORT", "udp://10.96.12.8:53"),
        ("LEAFRESH_X_PORT_53_UDP_ADDR", "10.96.12.8"),
        ("LEAFRESH_ENGINE__RUNNING", "3"),
    ];
    let config = load("", &[], &environment).unwrap();
    assert_eq!(config.engine.running, 3);
    let [note] = &config.notes[..] else { panic!("{:?}", config.notes) };
    assert!(note.contains("LEAFRESH_PORT_8000_TCP_ADDR") && !note.contains("10.96"), "{note}");
    for (name, value) in
        [("LEAFRESH_PORT", "8000"), ("LEAFRESH_PROT", "tcp"), ("LEAFRESH_SERVER__PORT", "tcp://a:1")]
    {
        let error = load("", &[], &[(name, value)]).unwrap_err();
        assert!(error.contains(name) && error.contains("unknown key"), "{error}");
    }
}

/// Field report 3.
#[test]
fn an_empty_variable_is_none_but_where_empty_has_a_meaning() {
    let text = "[retrieval]\nurl = \"http://a\"\n[admin]\nlisten = \"a:1\"";
    let names =
        ["ADMIN__LISTEN", "RETRIEVAL__URL", "KEYS__FILE", "CATALOG__DIR", "ENGINE__RUNNING", "DATA__DIR"];
    let names = names.map(|name| format!("LEAFRESH_{name}"));
    let empty: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(load(text, &empty, &empty), load(text, &[], &[]));
    let config = load("", &[], &[("LEAFRESH_RETRIEVAL__MODEL", "")]).unwrap();
    assert_eq!(config.retrieval.file().unwrap(), None);
}

/// Field report 4.
#[test]
fn the_field_decides_what_a_variable_is() {
    for text in ["20240917", "007", "true", "[a]", "1e5", "-1", "a,b", "{}"] {
        let environment = [
            ("LEAFRESH_RETRIEVAL__API_KEY", text),
            ("LEAFRESH_RETRIEVAL__COLLECTION", text),
            ("LEAFRESH_DATA__DIR", text),
        ];
        let config = load("", &environment, &[("LEAFRESH_LOG__FILTER", text)]).unwrap();
        assert_eq!(config.retrieval.api_key.as_deref(), Some(text));
        assert_eq!(config.retrieval.collection, text);
        assert_eq!(config.data.dir.as_deref(), Some(Path::new(text)));
        assert_eq!(config.log.filter, text);
    }
}

/// Field report 4.
#[test]
fn a_secret_is_in_no_message() {
    let files = [
        "[retrieval]\napi_key = 20240917",
        "[retrieval]\napi_key = [\"20240917\"]",
        "[retrieval]\napi_key = \"20240917",
        "retrieval = \"20240917\"",
        "[retrieval.api_key]\nx = 20240917",
    ];
    for text in files {
        let error = load(text, &[], &[]).unwrap_err();
        assert!(error.contains("test.toml") && !error.contains("20240917"), "{error}");
    }
    for name in ["LEAFRESH_RETRIEVAL", "LEAFRESH_RETRIEVAL__API_KEY__X", "LEAFRESH_RETRIEVAL__API_KEI"] {
        let error = load("", &[], &[(name, "20240917")]).unwrap_err();
        assert!(error.contains("LEAFRESH_RETRIEVAL") && !error.contains("20240917"), "{error}");
    }
}

#[test]
fn a_list_may_be_one_value_or_several_with_commas() {
    let cases = [
        ("https://a.example", 1),
        ("https://a.example, http://localhost:3000", 2),
        (r#"["https://a.example"]"#, 1),
        ("*", 1),
    ];
    for (text, count) in cases {
        let config = load("", &[], &[("LEAFRESH_CORS__ORIGINS", text)]).unwrap();
        assert_eq!(config.cors.origins.len(), count, "{text}");
    }
    let networks = [("LEAFRESH_LIMITS__TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")];
    assert_eq!(load("", &networks, &[]).unwrap().limits.trusted_proxies.len(), 2);
    let error = load("", &[], &[("LEAFRESH_CORS__ORIGINS", "https://a.example,b")]).unwrap_err();
    assert!(error.contains("LEAFRESH_CORS__ORIGINS") && error.contains("\"b\""), "{error}");
}

#[test]
fn the_default_address_is_one() {
    assert_eq!(
        load("[server]\nlisten = \"127.0.0.1:8000\"", &[], &[]).unwrap().server.listen,
        Listen::default()
    );
}

/// Values of every kind, good and bad for some key.
const VALUES: [&str; 16] = [
    "0",
    "-1",
    "1.5",
    "1e400",
    "99999999999999999999",
    "true",
    "\"\"",
    "\"x\"",
    "\"127.0.0.1:0\"",
    "[]",
    "[1, \"a\"]",
    "{ a = 1 }",
    "1979-05-27",
    "\"\\u0000\"",
    "nan",
    "'",
];

#[test]
fn letters_before_a_backslash_in_quotes_are_no_reason_to_panic() {
    let error = load("", &[], &[("LEAFRESH_ENGINE__RUNNING", r#""가\n""#)]).expect_err("no number");
    assert!(error.contains("LEAFRESH_ENGINE__RUNNING"), "{error}");
}

proptest! {
    #[test]
    fn fuzz_a_damaged_configuration_loads_or_names_file_and_place(
        changes in proptest::collection::vec((any::<Index>(), 0..4, 0..VALUES.len(), any::<char>()), 1..4),
    ) {
        // Every key, those that are commented out, too.
        let shipped = std::fs::read_to_string(shipped()).unwrap();
        let mut lines: Vec<String> = shipped
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line).to_owned())
            .filter(|line| !line.starts_with('#') && !line.contains("LEAFRESH_"))
            .collect();
        for (at, kind, value, character) in changes {
            let at = at.index(lines.len());
            let line = &mut lines[at];
            match kind {
                0 => if let Some((key, _)) = line.clone().split_once(" = ") {
                    *line = format!("{key} = {}", VALUES[value]);
                },
                1 => line.push(character),
                2 => _ = line.pop(),
                _ => {
                    let again = line.clone();
                    lines.insert(at, again);
                }
            }
        }
        if let Err(error) = load(&lines.join("\n"), &[], &[]) {
            prop_assert!(error.contains("test.toml"), "{error}");
            prop_assert!(error.contains(" in test.toml: ") || error.contains("line "), "no place: {error}");
        }
    }

    #[test]
    fn fuzz_no_variable_of_the_environment_is_too_strange(name in "LEAFRESH_[A-Z_]{0,20}", value in any::<String>()) {
        if let Err(error) = load("", &[], &[(&name, &value)]) {
            prop_assert!(error.contains("LEAFRESH_"), "{error}");
        }
    }
}
