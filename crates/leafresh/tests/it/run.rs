//! The program itself.

use std::path::Path;
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
