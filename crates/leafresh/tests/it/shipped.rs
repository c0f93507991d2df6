//! What lies in `deploy/`, tried as it is shipped: environment, user, folder, mounts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[cfg(target_os = "linux")]
mod contained;

use crate::deployed::assert_answers;
use crate::program::{Program, model};
use crate::run::leafresh;

fn shipped(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)).unwrap()
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
