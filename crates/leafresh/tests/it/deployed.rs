//! The program where it is deployed: without a home, in a folder of its own, with the environment that others give it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::assert_fails;
use crate::program::{Program, model};
use crate::run::leafresh;
use crate::support::{Connection, SSE, VALID, get, read};

fn shipped(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)).unwrap()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn assert_answers(program: &Program) {
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

/// What the shipped files give the program to do is something that it knows.
#[test]
fn the_shipped_files_name_flags_paths_and_settings_that_there_are() {
    let help = leafresh(&["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for name in ["leafresh.service", "kubernetes.yaml", "compose.yaml"] {
        let text = shipped(name);
        let text: String =
            text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.contains(&"serve"), "{name}");
        let flags: Vec<_> = words.iter().filter(|word| word.starts_with("--") && **word != "---").collect();
        assert_eq!(flags.len(), 3, "{name}: {flags:?}");
        for flag in flags {
            assert!(help.contains(*flag), "{name}: {flag}");
        }
    }
}

/// A unit's settings of this name, continued lines joined.
fn settings(unit: &str, name: &str) -> Vec<String> {
    let text = unit.replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

/// Field report 1: the unit as it is shipped, on this machine's paths.
#[tokio::test(flavor = "multi_thread")]
async fn it_serves_with_the_environment_and_in_the_folder_of_the_shipped_unit() {
    let Some(model) = model() else { return };
    let unit = shipped("leafresh.service");
    let state = tempfile::tempdir().unwrap();
    assert_eq!(settings(&unit, "StateDirectory"), ["leafresh"]);
    assert_eq!(settings(&unit, "WorkingDirectory"), ["/var/lib/leafresh"]);
    let as_unit = |command: &mut Command| {
        command.env_clear().env("STATE_DIRECTORY", state.path()).current_dir(state.path());
        // Beside many tests there is no time to embed.
        command.env("LEAFRESH_RETRIEVAL__MODEL", "").env("LEAFRESH_ENGINE__THREADS", "1");
        for setting in settings(&unit, "Environment") {
            let (name, value) = setting.split_once('=').unwrap();
            command.env(name, value);
        }
    };
    let program = Program::start_with("127.0.0.1:0", &model, as_unit).await;
    assert_answers(&program).await;
    assert!(state.path().join("sessions.db").exists() && !state.path().join("~").exists());
}

#[test]
fn systemd_takes_the_shipped_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("leafresh.service");
    let shipped = shipped("leafresh.service");
    // What `make install` puts there.
    let here = shipped.replace("/usr/local/bin/leafresh", env!("CARGO_BIN_EXE_leafresh"));
    std::fs::write(&unit, here.replace("man:leafresh(1)", "https://example.com")).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
