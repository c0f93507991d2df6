//! The embedding model's file.

use std::path::{Path, PathBuf};

use leafresh_engine::{EmbedderInfo, describe_embedder};
use leafresh_server::config::Config;

use super::finding::Finding;

const CHECK: &str = "embedding model";

/// What the model says of itself, if there is one that can be used, and what is to be said of it.
pub(super) fn finding(config: &Config) -> (Option<EmbedderInfo>, Finding) {
    let file = match config.retrieval.file() {
        Ok(file) => file,
        Err(error) => return (None, Finding::failure(CHECK, error.to_string(), "name the whole path")),
    };
    let described = file.as_deref().filter(|file| file.exists()).map(describe_embedder);
    let described = described.map(|described| described.map_err(|error| error.to_string()));
    let finding = judge(file.as_ref(), described.as_ref());
    (described.and_then(Result::ok), finding)
}

/// `described`: None where there is no file.
fn judge(file: Option<&PathBuf>, described: Option<&Result<EmbedderInfo, String>>) -> Finding {
    let shown = |file: &Path| file.display().to_string();
    match (file, described) {
        (None, _) => Finding::ok(CHECK, "none: documents are found by their words (retrieval.model)"),
        (Some(file), None) => {
            let says =
                format!("{}: there is no such file: documents are found by their words alone", shown(file));
            Finding::warning(CHECK, says, "fetch it, or name another file with --embedding-model")
                .run("make model")
        }
        (Some(_), Some(Err(reason))) => {
            let advice = "fetch a whole one, or name another file with --embedding-model or retrieval.model";
            Finding::failure(CHECK, reason, advice).run("make model")
        }
        (Some(file), Some(Ok(info))) => {
            let EmbedderInfo { name, dimension, longest, .. } = info;
            Finding::ok(
                CHECK,
                format!("{}: {name}, {dimension} dimensions, {longest} tokens of a text", shown(file)),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn one_that_is_missing_is_a_warning_and_one_that_is_none_a_failure() {
        let file = PathBuf::from("e.gguf");
        let info = EmbedderInfo {
            name: "e5".into(),
            id: "e5".into(),
            fingerprint: "f".into(),
            dimension: 384,
            longest: 512,
        };
        let cases = [
            (None, None, Status::Ok, "by their words"),
            (Some(&file), None, Status::Warning, "e.gguf: there is no such file"),
            (
                Some(&file),
                Some(Err("e.gguf: is no embedding model".to_owned())),
                Status::Failure,
                "is no embedding",
            ),
            (Some(&file), Some(Ok(info)), Status::Ok, "384 dimensions"),
        ];
        for (file, described, status, part) in cases {
            let finding = judge(file, described.as_ref());
            assert!(finding.status == status && finding.says.contains(part), "{finding:?}");
        }
    }
}
