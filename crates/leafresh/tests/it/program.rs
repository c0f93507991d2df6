//! The program with a real model, from its first line to its exit code.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::model_files;
use crate::run::leafresh;
use crate::support::{Connection, DETAILED, SSE, VALID, get, read, read_some};

/// The model that `make run` takes.
pub(crate) fn model() -> Option<String> {
    Some(model_files::model("gemma-3-270m-Q4_K_M.gguf")?.to_str().unwrap().to_owned())
}

pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it printed before it served.
    said: String,
    /// Goes with it.
    #[allow(dead_code, reason = "it is kept")]
    data: Option<tempfile::TempDir>,
}

impl Program {
    async fn start(listen: &str, model: &str) -> Self {
        Self::start_with(listen, model, |_| ()).await
    }

    pub(crate) async fn start_with(listen: &str, model: &str, change: impl FnOnce(&mut Command)) -> Self {
        let program = Self::begin(listen, model, change);
        program.ready().await;
        program
    }

    /// One whose model is loading.
    pub(crate) fn begin(listen: &str, model: &str, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = leafresh(&["serve", "--listen", listen, "--model", model]);
        // One thread: on a machine that is busy with other tests, threads that spin for each other crawl.
        // Nor does it embed: other tests do, and it would take a minute of both cores.
        let data = tempfile::tempdir().unwrap();
        command.env("LEAFRESH_DATA__DIR", data.path()).env("LEAFRESH_RETRIEVAL__MODEL", "");
        command.env("LEAFRESH_ENGINE__THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::null());
        change(&mut command);
        let mut program = Self::spawn(command);
        program.data = Some(data);
        program
    }

    /// One that is started so, with its output piped.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said = String::new();
        while !said.contains("Ctrl-C") {
            said += &lines.next().expect("the program ended before it served");
            said.push('\n');
        }
        let port = said.rsplit_once("http://127.0.0.1:").unwrap().1.split('/').next().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Self { child, address, said, data: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn ready(&self) {
        for _ in 0..1800 {
            if Connection::ask(self.address, &get("/health/ready", &[])).await.status() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never ready");
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

/// Waits until a line of the log has this in it.
pub(crate) async fn logged(log: &Path, text: &str) {
    for _ in 0..1200 {
        if std::fs::read_to_string(log).unwrap().contains(text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{text:?} is not in\n{}", std::fs::read_to_string(log).unwrap());
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_28_sigterm_lets_a_stream_finish_and_ends_with_0() {
    let Some(model) = model() else { return };
    let mut program = Program::start("0.0.0.0:0", &model).await;
    assert!(program.said.starts_with("Leafresh answers at\n  http://"), "{}", program.said);
    let mut reader = Connection::open(program.address).await;
    reader.send(&get(VALID, &[SSE])).await;
    assert_eq!(reader.head().await.status, 200);
    program.signal("TERM");
    let mut body = Vec::new();
    while let Some(chunk) = reader.chunk().await {
        body.extend(chunk);
    }
    assert_eq!(read(&body).last().unwrap().name, "close");
    assert_eq!(program.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_28_a_second_signal_ends_the_program_at_once() {
    let Some(model) = model() else { return };
    let mut program = Program::start("127.0.0.1:0", &model).await;
    assert!(program.said.contains("--listen 0.0.0.0:"), "{}", program.said);
    let mut reader = Connection::open(program.address).await;
    reader.send(&get(VALID, &[SSE])).await;
    assert_eq!(reader.head().await.status, 200);
    program.signal("INT");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let asked = Instant::now();
    program.signal("TERM");
    let code = program.ended().code();
    // 0 if the answer was done before the second signal came.
    assert!(matches!(code, Some(130 | 0)), "{code:?}");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_killed_in_the_middle_of_streams_it_comes_back_whole_and_says_that_they_are_gone() {
    let Some(model) = model() else { return };
    let data = tempfile::tempdir().unwrap();
    let in_data = |command: &mut Command| {
        command.env("LEAFRESH_DATA__DIR", data.path());
    };
    let mut program = Program::start_with("127.0.0.1:0", &model, in_data).await;
    let remembered = format!("{DETAILED}&sessionId=s");
    let before = Connection::ask(program.address, &get(&remembered, &[SSE])).await;
    assert_eq!(read(&before.body()).last().unwrap().name, "close");
    let mut readers = Vec::new();
    for number in 0..3 {
        let target = format!("{remembered}&requestId={number}");
        let mut reader = Connection::open(program.address).await;
        reader.send(&get(&target, &[SSE])).await;
        assert_eq!(reader.head().await.status, 200);
        readers.push((target, reader));
    }
    // Requests of one session run one after the other: the first of them writes.
    let id = read_some(&mut readers[0].1, 2).await[1].id.clone();
    program.signal("KILL");
    assert!(!program.ended().success());

    let program = Program::start_with(&program.address.to_string(), &model, in_data).await;
    let session = Connection::ask(program.address, &get("/ai/chatbot/sessions/s", &[])).await.json();
    // Turns are whole: the first one's, and those of readers whose answers had ended before the kill.
    let turns = session["data"]["turns"].as_array().unwrap();
    assert!(turns.len() >= 2 && turns.len().is_multiple_of(2), "{session}");
    assert!(
        turns.iter().enumerate().all(|(n, turn)| turn["role"] == ["user", "assistant"][n % 2]),
        "{session}"
    );
    let again = Connection::ask(program.address, &get(&readers[0].0, &[SSE, ("Last-Event-ID", &id)])).await;
    let events = read(&again.body());
    let [gone] = &events[..] else { panic!("{events:?}") };
    assert_eq!((gone.name.as_str(), &gone.data["status"]), ("error", &410.into()));
    let header = ("Last-Event-ID", gone.id.as_str());
    assert_eq!(Connection::ask(program.address, &get(&readers[0].0, &[SSE, header])).await.status(), 204);
    let after = Connection::ask(program.address, &get(&remembered, &[SSE])).await;
    assert_eq!(read(&after.body()).last().unwrap().data["data"]["remembered"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_31_keys_are_never_logged_and_read_again_on_sighup() {
    let Some(model) = model() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (file, log) = (dir.path().join("keys.toml"), dir.path().join("log"));
    let write = |name: &str, key: &str| {
        std::fs::write(&file, format!("[[key]]\nname = \"{name}\"\nkey = \"{key}\"\n")).unwrap();
    };
    let (first, second, wrong) = ("first-key-0123456789", "second-key-012345678", "wrong-key-0123456789");
    write("first", first);
    let keyed = |command: &mut Command| {
        command.env("LEAFRESH_KEYS__FILE", &file).env("LEAFRESH_DATA__DIR", dir.path());
        command.env("LEAFRESH_LOG__FILTER", "trace").stderr(std::fs::File::create(&log).unwrap());
    };
    let mut program = Program::start_with("127.0.0.1:0", &model, keyed).await;
    let address = program.address;
    let status = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let as_bearer =
            Connection::ask(address, &get("/metrics", &[("Authorization", &bearer)])).await.status();
        let as_header = Connection::ask(address, &get("/metrics", &[("X-API-Key", key)])).await.status();
        assert_eq!(as_bearer, as_header);
        as_bearer
    };
    assert_eq!((status(first).await, status(second).await, status(wrong).await), (200, 401, 401));
    write("second", second);
    program.signal("HUP");
    for _ in 0..100 {
        if status(second).await == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((status(first).await, status(second).await), (401, 200));
    // A file that can't be used is named without what is in it.
    std::fs::write(&file, format!("[[key]]\nkey = \"{wrong}\" {second}\n")).unwrap();
    program.signal("HUP");
    program.signal("TERM");
    assert_eq!(program.ended().code(), Some(0));
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("API keys loaded"), "nothing was logged");
    for key in [first, second, wrong] {
        assert!(!log.contains(key), "{key} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_35_a_model_is_replaced_on_sighup_and_one_that_can_not_be_used_changes_nothing() {
    let Some(model) = model() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (file, config, log) = (path("model.gguf"), path("config.toml"), path("log"));
    std::os::unix::fs::symlink(&model, &file).unwrap();
    std::fs::write(&config, "[engine]\nrunning = 8\n").unwrap();
    let with_files = |command: &mut Command| {
        command.arg("--config").arg(&config).env("LEAFRESH_DATA__DIR", dir.path());
        command.stderr(std::fs::File::create(&log).unwrap());
    };
    let mut program = Program::start_with("127.0.0.1:0", file.to_str().unwrap(), with_files).await;
    let address = program.address;
    let logged = async |text: &str| logged(&log, text).await;
    let mut reader = Connection::open(address).await;
    reader.send(&get(DETAILED, &[SSE])).await;
    assert_eq!(reader.head().await.status, 200);
    let mut body = reader.chunk().await.unwrap();

    std::fs::write(&config, "[engine]\nrunning = 4\n").unwrap();
    program.signal("HUP");
    logged("new requests go to the new model").await;
    while let Some(chunk) = reader.chunk().await {
        body.extend(chunk);
    }
    assert_eq!(read(&body).last().unwrap().data["data"]["degraded"], false);
    let close = async || read(&Connection::ask(address, &get(DETAILED, &[SSE])).await.body()).pop().unwrap();
    assert_eq!(close().await.data["data"]["degraded"], false);

    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "this is no model").unwrap();
    program.signal("HUP");
    logged("the model stays as it was").await;
    assert_eq!(close().await.data["data"]["degraded"], false);
    program.signal("TERM");
    assert_eq!(program.ended().code(), Some(0));
    let log = std::fs::read_to_string(&log).unwrap();
    let refused = log.lines().find(|line| line.contains("stays as it was")).unwrap();
    assert!(refused.contains(file.to_str().unwrap()), "{refused}");
}

#[test]
fn ask_prints_a_sentence_and_three_challenges() {
    let Some(model) = model() else { return };
    let ask =
        ["ask", "--location", "도시", "--work-type", "사무직", "--category", "플로깅", "--model", &model];
    let data = tempfile::tempdir().unwrap();
    let mut ask = leafresh(&ask);
    // Nothing of this machine's own.
    ask.env("LEAFRESH_DATA__DIR", data.path()).env("LEAFRESH_RETRIEVAL__MODEL", "");
    let output = ask.env("LEAFRESH_ENGINE__THREADS", "1").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let parts: Vec<_> = text.trim_end().split("\n\n").collect();
    assert_eq!(parts.len(), 4, "{text}");
    for (number, part) in parts[1..].iter().enumerate() {
        assert!(part.starts_with(&format!("{}. ", number + 1)) && part.lines().count() == 2, "{part}");
    }
}

#[test]
fn ask_can_show_what_the_model_would_be_given() {
    let Some(model) = model() else { return };
    let ask = ["ask", "--location", "남극", "--work-type", "사무직", "--category", "MEDIA", "--show-prompt"];
    let output = leafresh(&ask).args(["--model", &model]).output().unwrap();
    let preview: Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["prompt", "program", "schema", "sampling"] {
        assert!(preview[key].is_object(), "{key} in {preview}");
    }
    assert!(preview["prompt"].to_string().contains("남극"));
}
