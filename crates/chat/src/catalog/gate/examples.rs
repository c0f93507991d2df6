//! Labelled examples, and whether a message is about the topic.

use serde::Deserialize;

use crate::Error;
use crate::catalog::files::Files;
use crate::catalog::source;

/// A message and whether it is about the topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    pub text: String,
    pub topic: Topic,
    pub split: Split,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    On,
    Off,
}

/// What an example is for. The classifier never sees those it is tested with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Tune,
    Test,
}

pub(super) fn load(files: &Files) -> Result<Vec<Example>, Error> {
    let mut examples = Vec::new();
    for name in source::list(files, "gate", "jsonl")? {
        let (text, path) = source::read(files, &name)?;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let example = serde_json::from_str(line).map_err(|error| {
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                source::error_on_line(&path, index + 1, source::explain(message, ""))
            })?;
            examples.push(example);
        }
    }
    Ok(examples)
}
