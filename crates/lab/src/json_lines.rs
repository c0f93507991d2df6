//! Files with one JSON object on each line.

use std::path::Path;

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;

/// The objects, each with its line from 1; empty lines don't count.
///
/// # Errors
/// A sentence with file, line and column.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<(usize, T)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    parse(path, &text)
}

/// Of a file's text; the path is for messages.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> anyhow::Result<Vec<(usize, T)>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parse = |(index, line): (usize, &str)| {
        let object = serde_json::from_str(line).map_err(|error| {
            // Its own "line 1" would be taken for the file's.
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            anyhow!("{} line {}, column {}: {reason}", path.display(), index + 1, error.column())
        });
        Ok((index + 1, object?))
    };
    lines.map(parse).collect()
}
