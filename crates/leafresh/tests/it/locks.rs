//! A disk that can't lock files, such as a network disk without a lock service.

use std::process::{Command, Stdio};

use crate::index_kill::embedding_model;
use crate::kernel;
use crate::process::assert_fails;
use crate::program::{Program, logged, model};
use crate::run::leafresh;
use crate::support::{Connection, SSE, VALID, get, read};

/// Field report 9.
#[test]
fn conversations_on_a_disk_without_locks_end_the_start_with_a_sentence_of_its_own() {
    let Some(model) = model() else { return };
    let data = tempfile::tempdir().unwrap();
    let serve = std::thread::spawn({
        let path = data.path().to_owned();
        move || {
            let mut command = leafresh(&["serve", "--listen", "127.0.0.1:0", "--model", &model]);
            command.env("LEAFRESH_DATA__DIR", path).env("LEAFRESH_LOG__FILTER", "off");
            kernel::fails(libc::SYS_fcntl, Some((1, libc::F_SETLK as u64)), libc::ENOLCK);
            command.stdin(Stdio::null()).output().unwrap()
        }
    });
    let output = serve.join().unwrap();
    assert_fails(&output, &["sessions.db", "can't lock files", "[data] dir"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("another process"));
}

/// Field report 9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_index_on_a_disk_without_locks_the_catalogue_answers() {
    let (Some(model), Some(embedding)) = (model(), embedding_model()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let without_flock = |command: &mut Command| {
        command.env("LEAFRESH_RETRIEVAL__MODEL", &embedding).stderr(std::fs::File::create(&log).unwrap());
        kernel::fails(libc::SYS_flock, None, libc::ENOLCK);
    };
    let program = Program::begin("127.0.0.1:0", &model, without_flock);
    let answer = async || Connection::ask(program.address, &get(VALID, &[SSE])).await;
    // Its models may still be loading.
    let answered = loop {
        let answer = answer().await;
        if answer.status() != 503 {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(read(&answered.body()).last().unwrap().name, "close");
    let said = || std::fs::read_to_string(&log).unwrap();
    logged(&log, "can't lock files").await;
    assert!(!said().contains("another process uses this index"), "{}", said());
}
