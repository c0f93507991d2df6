//! Labelled examples, and whether a message is about the topic.

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
    lines(files, &source::list(files, "gate", "jsonl")?)
}

/// A catalogue may have none: lists of words have to do then.
pub(super) fn load_alarming(files: &Files) -> Result<Vec<Alarming>, Error> {
    lines(files, &source::list_if_any(files, "gate/alarm", "jsonl")?)
}

fn lines<T: DeserializeOwned>(files: &Files, names: &[String]) -> Result<Vec<T>, Error> {
    let mut examples = Vec::new();
    source::json_lines(files, names, |example| {
        examples.push(example);
        Ok(())
    })?;
    Ok(examples)
}
