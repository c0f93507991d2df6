//! What the engine's process may still do.

use std::fs;
use std::process::Command;

use leafresh_engine::fake::{Fault, Recipe};
use leafresh_engine::{Backend, Process};
use leafresh_server::config::Config;

use crate::engine::{assert_whole, launch, reader, slow, start};
use crate::kernel;
use crate::program::{Program, model};
use crate::support::VALID;

async fn process() -> Process {
    let launch = launch(slow(0), &Config::default());
    tokio::task::spawn_blocking(move || Process::load(&launch)).await.unwrap().unwrap()
}

/// Field report 46.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_s_process_has_next_to_nothing_of_the_server_s_environment() {
    let config = Config::default();
    let process =
        tokio::task::spawn_blocking(move || Process::load(&launch(slow(0), &config))).await.unwrap().unwrap();
    let environment = fs::read(format!("/proc/{}/environ", process.pid().unwrap())).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(std::env::var_os("PATH").is_some(), "the test has one");
    assert!(
        environment.split('\0').all(|one| !one.starts_with("PATH=") && !one.starts_with("HOME=")),
        "{environment}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_no_network_and_few_files() {
    let process = process().await;
    let pid = process.pid().unwrap();
    let threads: Vec<_> = fs::read_dir(format!("/proc/{pid}/task")).unwrap().collect();
    assert!(threads.len() > 2, "one that writes the log and the model's among them");
    for thread in threads {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let has =
            |name: &str, value: &str| status.lines().any(|line| line.split_whitespace().eq([name, value]));
        assert!(has("Seccomp:", "2") && has("NoNewPrivs:", "1"), "a filter is in force: {status}");
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    for (name, value) in [("Max open files", "256"), ("Max core file size", "0")] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line[name.len()..].split_whitespace().next(), Some(value), "{line}");
    }
}

/// Field report 46.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_opens_no_file_of_others_while_it_computes() {
    if !kernel::has_landlock() {
        eprintln!("skipped: there is no Landlock");
        return;
    }
    let recipe = Recipe { faults: vec![Fault::Trespass], ..slow(0) };
    let (server, process) = start(recipe, Config::default()).await;
    assert_whole(&reader(server.address, VALID).await.0);
    assert_eq!(process.health().restarts, 0, "it would have died of what it could open");
}

/// Field report 46.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_in_one_line_whether_it_is_kept_from_other_files() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let to_log = |command: &mut Command| {
        command.stderr(fs::File::create(&log).unwrap());
    };
    let kept =
        |text: &str| text.lines().filter(|line| line.contains("reads its model and what the kernel")).count();
    let lacks = |text: &str| text.lines().filter(|line| line.contains("isn't kept from other files")).count();
    if kernel::has_landlock() {
        drop(Program::start_with("127.0.0.1:0", &model, to_log).await);
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!((kept(&text), lacks(&text)), (1, 0), "{text}");
    }
    let on_an_old_kernel = |command: &mut Command| {
        to_log(command);
        kernel::fails(libc::SYS_landlock_create_ruleset, None, libc::ENOSYS);
    };
    let program = Program::start_with("127.0.0.1:0", &model, on_an_old_kernel).await;
    assert_whole(&reader(program.address, VALID).await.0);
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!((kept(&text), lacks(&text)), (0, 1), "{text}");
}
