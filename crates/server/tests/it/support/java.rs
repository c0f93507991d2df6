//! Clients in Java, started from their source.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

/// What a relay says that it has read and passed on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Relayed {
    pub(crate) forwarded: Vec<Forwarded>,
    /// Blocks that it couldn't forward.
    pub(crate) faults: Vec<Vec<String>>,
    pub(crate) keep_alives: usize,
    /// A `close` has come.
    pub(crate) complete: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Forwarded {
    #[serde(rename = "type")]
    pub(crate) name: String,
    pub(crate) id: String,
    /// As it came.
    data: String,
}

impl Forwarded {
    pub(crate) fn data(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Relayed {
    /// The texts joined.
    pub(crate) fn text(&self) -> String {
        let texts = self.forwarded.iter().filter(|event| event.name == "challenge");
        texts.filter_map(|event| event.data()["data"].as_str().map(str::to_owned)).collect()
    }
}

/// The program's output for what it is given to read; `None` where no clients are installed. Only
/// `LEAFRESH_TEST_CLIENTS` decides that: with it a missing Java is a failure.
pub(crate) async fn java(name: &str, arguments: &[&str], input: &str) -> Option<String> {
    if std::env::var_os("LEAFRESH_TEST_CLIENTS").is_none() {
        eprintln!("skipped: LEAFRESH_TEST_CLIENTS names no folder with clients (`make test` sets it)");
        return None;
    }
    let jars =
        std::env::var_os("LEAFRESH_TEST_JACKSON").map_or_else(|| "/usr/share/java".into(), PathBuf::from);
    let jars = ["databind", "core", "annotations"].map(|part| jars.join(format!("jackson-{part}.jar")));
    let missing = jars.iter().find(|jar| !jar.exists());
    assert!(missing.is_none(), "{missing:?} is missing; `scripts/setup.sh --test` installs it");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/tests/it/clients");
    let mut command = Command::new("java");
    command.arg("-cp").arg(std::env::join_paths(jars).unwrap()).arg(folder.join(name)).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let mut process = command.spawn().unwrap_or_else(|error| {
            panic!("java: {error}; `scripts/setup.sh --test` installs it");
        });
        let mut stdin = process.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
        drop(stdin);
        process.wait_with_output().unwrap()
    });
    let output = run.await.unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// What comes through a relay that reads this address.
pub(crate) async fn relay(url: &str) -> Option<Relayed> {
    let output = java("Relay.java", &[url], "").await?;
    Some(serde_json::from_str(&output).unwrap())
}
