//! The language model's file.

use std::path::Path;

use leafresh_engine::gguf::{self, Header, Value};
use leafresh_engine::memory::bytes_as;
use leafresh_server::config::{Config, Error};

use super::finding::Finding;
use crate::shell::word;

const CHECK: &str = "model";

/// Files up to this size, in bytes, are read whole for their checksum: that takes a second.
const QUICK: u64 = 1 << 30;

/// The file's header, if it is a model, and what is to be said of it. `deep`: its checksum, however long that takes.
pub(super) fn finding(config: &Config, deep: bool) -> (Option<Header>, Finding) {
    let file = match config.model.file() {
        Ok(file) => file,
        Err(error) => return (None, unknown(config, &error)),
    };
    let header = match gguf::check(&file) {
        Ok(header) => header,
        Err(error) => {
            let advice = "fetch a whole one, or name another file with --model or model.path";
            return (None, Finding::failure(CHECK, error.to_string(), advice).run("make model"));
        }
    };
    let sum = if deep || header.file_bytes <= QUICK {
        match gguf::verify_checksum(&file) {
            Ok(Some(_)) => Ok("its checksum fits"),
            Ok(None) => Ok("no checksum is noted beside it"),
            Err(error) => Err(error.to_string()),
        }
    } else {
        Ok("its checksum wasn't looked at (--deep does)")
    };
    let finding = judge(&file, &header, sum);
    (Some(header), finding)
}

/// A file that has no path: most likely it wasn't fetched yet.
fn unknown(config: &Config, error: &Error) -> Finding {
    let finding = Finding::failure(
        CHECK,
        error.to_string(),
        "fetch it, or name another one with --model or model.path",
    );
    match config.model.reference() {
        Ok(Some(reference)) => finding.run(format!("leafresh models pull {}", word(&reference.to_string()))),
        _ => finding,
    }
}

fn judge(file: &Path, header: &Header, sum: Result<&str, String>) -> Finding {
    let sum = match sum {
        Ok(sum) => sum,
        Err(reason) => {
            return Finding::failure(CHECK, reason, "fetch it again").run("make model");
        }
    };
    let says = format!(
        "{}: {} ({}), {}, {:.0} million weights, {}, context {} tokens; {sum}",
        file.display(),
        header.name.as_deref().unwrap_or("no name"),
        header.architecture,
        header.file_type,
        header.parameters as f64 / 1e6,
        bytes_as(header.file_bytes),
        header.context_length
    );
    let pooling = header.metadata.get(&format!("{}.pooling_type", header.architecture));
    if matches!(pooling, Some(Value::Integer(1..))) {
        let says = format!("{says}: it makes vectors of texts and writes none");
        let advice = "this is an embedding model, for retrieval.model; name a language model with --model or model.path";
        return Finding::failure(CHECK, says, advice);
    }
    Finding::ok(CHECK, says)
}
