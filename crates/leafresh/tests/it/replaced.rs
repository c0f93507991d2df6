//! A server goes on while its files change: its own program, `.env`, its configuration.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::engine::{assert_whole, reader};
use crate::program::{Program, logged, model};
use crate::support::VALID;

/// The processes that this one has started.
fn children(parent: u32) -> Vec<u32> {
    let of_parent = |pid: &u32| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        // Behind the name, which may hold anything: the state, and the parent.
        let rest = stat.rsplit_once(')').unwrap().1;
        rest.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    let all = fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).filter(of_parent).collect()
}

fn lines(log: &Path, text: &str) -> usize {
    fs::read_to_string(log).unwrap().lines().filter(|line| line.contains(text)).count()
}

/// Field reports 8 and 47.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_program_was_replaced_on_disk_starts_its_engine_and_its_next_model_all_the_same() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (copy, log, env) =
        (folder.path().join("leafresh"), folder.path().join("log"), folder.path().join(".env"));
    fs::copy(env!("CARGO_BIN_EXE_leafresh"), &copy).unwrap();
    fs::write(&env, "LEAFRESH_ENGINE__CONTEXT=4096\n").unwrap();
    let from_copy = |command: &mut Command| {
        let mut other = Command::new(&copy);
        other.args(command.get_args()).current_dir(folder.path());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => other.env(name, value),
                None => other.env_remove(name),
            };
        }
        other.stdout(std::process::Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        *command = other;
    };
    let program = Program::start_with("127.0.0.1:0", &model, from_copy).await;
    let engine = || children(program.pid()).first().copied();
    let first = engine().unwrap();

    fs::remove_file(&copy).unwrap();
    fs::write(&copy, "#!/bin/sh\necho another version\n").unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let killed = Command::new("kill").args(["-KILL", &first.to_string()]).status().unwrap();
    assert!(killed.success());
    assert_whole(&reader(program.address, VALID).await.0);
    let second = engine().unwrap();
    assert_ne!(first, second);
    let file = |pid: u32| fs::metadata(format!("/proc/{pid}/exe")).unwrap().ino();
    assert_eq!(file(second), file(program.pid()), "the program that runs, whatever lies at its path");

    // Another model is loaded by it as well; and `.env` says what it says now.
    assert_eq!((lines(&log, "(4096 tokens"), lines(&log, "(2048 tokens")), (2, 0));
    fs::write(&env, "LEAFRESH_ENGINE__CONTEXT=2048\n").unwrap();
    program.signal("HUP");
    logged(&log, "new requests go to the new model").await;
    assert_eq!(lines(&log, "(2048 tokens"), 1);
    assert_whole(&reader(program.address, VALID).await.0);
}

/// Field report 47.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_is_told_to_look_again_while_its_first_model_loads_does_so_afterwards() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (log, env) = (folder.path().join("log"), folder.path().join(".env"));
    fs::write(&env, "LEAFRESH_ENGINE__CONTEXT=4096\n").unwrap();
    let in_folder = |command: &mut Command| {
        command.current_dir(folder.path()).stderr(fs::File::create(&log).unwrap());
    };
    let program = Program::begin("127.0.0.1:0", &model, in_folder);
    fs::write(&env, "LEAFRESH_ENGINE__CONTEXT=2048\n").unwrap();
    program.signal("HUP");
    program.ready().await;
    logged(&log, "new requests go to the new model").await;
    assert_eq!((lines(&log, "(4096 tokens"), lines(&log, "(2048 tokens")), (1, 1));
    assert_whole(&reader(program.address, VALID).await.0);
}
