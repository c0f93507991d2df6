//! The program where it is deployed: without a home, in a folder of its own, with the environment that others give it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::assert_fails;
use crate::program::{Program, model};
use crate::run::leafresh;
use crate::support::{Connection, SSE, VALID, get, read};

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

pub(crate) async fn assert_answers(program: &Program) {
    let answer = Connection::ask(program.address, &get(VALID, &[SSE])).await;
    assert_eq!(read(&answer.body()).last().unwrap().name, "close");
}

/// Field reports 1, 2 and 3.
#[tokio::test(flavor = "multi_thread")]
async fn it_serves_from_an_empty_folder_without_a_home_beside_a_service_of_its_name() {
    let Some(model) = model() else { return };
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deployed = |command: &mut Command| {
        command.current_dir(folder.path()).env_remove("HOME").env_remove("LEAFRESH_DATA__DIR");
        command.env_remove("XDG_DATA_HOME").env("STATE_DIRECTORY", state.path());
        command.env("LEAFRESH_PORT", "tcp://10.96.12.7:8000").env("LEAFRESH_SERVICE_HOST", "10.96.12.7");
        command.env("LEAFRESH_PORT_8000_TCP_ADDR", "10.96.12.7").env("LEAFRESH_ADMIN__LISTEN", "");
    };
    let mut program = Program::start_with("127.0.0.1:0", &model, deployed).await;
    assert_answers(&program).await;
    assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
    assert!(state.path().join("sessions.db").exists());
    program.signal("TERM");
    assert_eq!(program.ended().code(), Some(0));
}

/// Field report 1.
#[test]
fn without_any_place_for_its_data_it_says_which_setting_names_one() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = leafresh(&["serve", "--listen", "127.0.0.1:0", "--model", &model]);
    for name in ["HOME", "XDG_DATA_HOME", "STATE_DIRECTORY"] {
        command.env_remove(name);
    }
    let output = command.current_dir(folder.path()).output().unwrap();
    assert_fails(&output, &["data.dir"]);
    assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_elsewhere_it_writes_its_catalogue_out_and_serves_with_that() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("elsewhere");
    std::fs::copy(env!("CARGO_BIN_EXE_leafresh"), &copy).unwrap();
    let export = Command::new(&copy).args(["catalog", "export", "own"]).current_dir(folder.path()).output();
    assert!(export.unwrap().status.success());
    let own = folder.path().join("own");
    let with_own = |command: &mut Command| {
        command.arg("--catalog").arg(&own).current_dir(folder.path());
    };
    let program = Program::start_with("127.0.0.1:0", &model, with_own).await;
    assert_answers(&program).await;
}

#[test]
fn manual_pages_and_completions_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let made = leafresh(&["man", folder.path().to_str().unwrap()]).status().unwrap();
    assert!(made.success());
    for page in ["leafresh.1", "leafresh-serve.1"] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains("leafresh"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = leafresh(&["completions", shell]).output().unwrap();
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("embedding-model")
        );
    }
}

/// Field report 7.
#[test]
fn sigterm_while_it_starts_ends_it_in_order() {
    let Some(model) = model() else { return };
    let data = tempfile::tempdir().unwrap();
    let mut command = leafresh(&["serve", "--listen", "127.0.0.1:0", "--model", &model]);
    command.env("LEAFRESH_DATA__DIR", data.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // It says where it answers before it loads its models.
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
