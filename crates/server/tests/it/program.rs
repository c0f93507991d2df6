//! The program with a real model, from its first line to its exit code.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::program::leafresh;
use crate::support::{Connection, SSE, VALID, get, read};

/// The model that `make run` takes.
fn model() -> Option<String> {
    let Some(folder) = std::env::var_os("LEAFRESH_TEST_MODELS") else {
        eprintln!("skipped: LEAFRESH_TEST_MODELS names no folder with models (`make test` sets it)");
        return None;
    };
    let path = PathBuf::from(folder).join("gemma-3-270m-Q4_K_M.gguf");
    assert!(path.exists(), "{} is missing: run `make model`", path.display());
    Some(path.to_str().unwrap().to_owned())
}

struct Program {
    child: Child,
    address: SocketAddr,
    /// What it printed before it served.
    said: String,
}

impl Program {
    async fn start(listen: &str, model: &str) -> Self {
        let mut command = leafresh(&["serve", "--listen", listen, "--model", model]);
        let mut child = command
            // One thread: on a machine that is busy with other tests, threads that spin for each other crawl.
            .env("LEAFRESH_ENGINE__THREADS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said = String::new();
        while !said.contains("Ctrl-C") {
            said += &lines.next().expect("the program ended before it served");
            said.push('\n');
        }
        let port = said.rsplit_once("http://127.0.0.1:").unwrap().1.split('/').next().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        let program = Self { child, address, said };
        program.ready().await;
        program
    }

    async fn ready(&self) {
        for _ in 0..600 {
            if Connection::ask(self.address, &get("/health/ready", &[])).await.status() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never ready");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
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

#[test]
fn ask_prints_a_sentence_and_three_challenges() {
    let Some(model) = model() else { return };
    let ask =
        ["ask", "--location", "도시", "--work-type", "사무직", "--category", "플로깅", "--model", &model];
    let output = leafresh(&ask).env("LEAFRESH_ENGINE__THREADS", "1").output().unwrap();
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
