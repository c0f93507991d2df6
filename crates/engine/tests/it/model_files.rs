//! The real models. Tests of other crates take this file too.

use std::path::PathBuf;

/// A file of those that `make model` fetches. Only `make test` names their folder: then a missing one is a failure.
pub(crate) fn model(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("LEAFRESH_TEST_MODELS") else {
        eprintln!("skipped: LEAFRESH_TEST_MODELS names no folder with models (`make test` sets it)");
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    assert!(path.exists(), "{} is missing: run `make model`", path.display());
    Some(path)
}
