//! The program itself.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `leafresh` in the repository's root, where the catalogue and the configuration are.
pub(crate) fn leafresh(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leafresh"));
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LEAFRESH_") {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A model of those that `make model` fetches.
pub(crate) fn model_file(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("LEAFRESH_TEST_MODELS") else {
        eprintln!("skipped: LEAFRESH_TEST_MODELS names no folder with models (`make test` sets it)");
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    assert!(path.exists(), "{} is missing: run `make model`", path.display());
    Some(path)
}
