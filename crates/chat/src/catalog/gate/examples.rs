//! Labelled examples, and whether a message is about the topic.

use std::io;

use serde::Deserialize;
use serde::de::DeserializeOwned;

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

/// A message that alarms, or only sounds like one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alarming {
    pub(crate) text: String,
    pub(crate) kind: AlarmKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlarmKind {
    Distress,
    Danger,
    Insult,
    None,
}

pub(super) fn load(files: &Files) -> Result<Vec<Example>, Error> {
    lines(files, "gate")
}

/// A catalogue may have none: lists of words have to do then.
pub(super) fn load_alarming(files: &Files) -> Result<Vec<Alarming>, Error> {
    const FOLDER: &str = "gate/alarm";
    match lines(files, FOLDER) {
        Err(Error::Io { path, source })
            if source.kind() == io::ErrorKind::NotFound && path == files.path(FOLDER) =>
        {
            Ok(Vec::new())
        }
        read => read,
    }
}

fn lines<T: DeserializeOwned>(files: &Files, folder: &str) -> Result<Vec<T>, Error> {
    let mut examples = Vec::new();
    for name in source::list(files, folder, "jsonl")? {
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
