//! What is asked, and what is known about the right answer: files of the catalogue.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context, bail};
use leafresh_chat::{Catalog, Files};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::json_lines;

const QUERIES: &str = "eval/queries.jsonl";
/// Questions that nothing was ever chosen by. A catalogue may go without.
const FRESH_QUERIES: &str = "eval/queries-fresh.jsonl";
const MESSAGES: &str = "eval/messages.jsonl";

/// A question with the ids of all documents that answer it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelledQuery {
    pub(super) query: String,
    pub(super) relevant: BTreeSet<String>,
    /// Nothing was ever chosen by it.
    #[serde(skip)]
    pub(super) fresh: bool,
}

/// A message, and whether it should be answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) expect: Expect,
    pub(super) kind: Kind,
    /// The code of the category that it is about, where that is clear.
    pub(super) category: Option<String>,
    pub(super) location: Option<String>,
    pub(super) work_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Expect {
    Answer,
    Refusal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    OnTopic,
    OffTopic,
    Insult,
    Nonsense,
}

impl Kind {
    pub(super) const REFUSED: [Self; 3] = [Self::OffTopic, Self::Insult, Self::Nonsense];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OnTopic => "on_topic",
            Self::OffTopic => "off_topic",
            Self::Insult => "insult",
            Self::Nonsense => "nonsense",
        }
    }
}

/// # Errors
/// With file and line, when there are no such documents, or a question comes twice.
pub(super) fn queries(files: &Files, catalog: &Catalog) -> anyhow::Result<Vec<LabelledQuery>> {
    let known: HashSet<&str> = catalog.documents().iter().map(|document| document.id.as_str()).collect();
    let mut seen = HashSet::new();
    let mut queries = Vec::new();
    let mut lines = Vec::new();
    for (name, fresh) in [(QUERIES, false), (FRESH_QUERIES, true)] {
        if fresh && !files.has(name) {
            continue;
        }
        for (line, query) in lines_of::<LabelledQuery>(files, name)? {
            lines.push((files.path(name), line, LabelledQuery { fresh, ..query }));
        }
    }
    for (path, line, query) in lines {
        let place = || format!("{} line {line}", path.display());
        if let Some(id) = query.relevant.iter().find(|id| !known.contains(id.as_str())) {
            bail!("{}: the catalogue has no document {id:?}", place());
        }
        if query.relevant.is_empty() {
            bail!("{}: `relevant` is empty; name the documents that answer the question", place());
        }
        if !seen.insert(query.query.clone()) {
            bail!("{}: the question comes twice", place());
        }
        queries.push(query);
    }
    Ok(queries)
}

/// # Errors
/// With file and line, when a category isn't the catalogue's, or expectation and kind contradict each other.
pub(super) fn messages(files: &Files, catalog: &Catalog) -> anyhow::Result<Vec<Message>> {
    let path = files.path(MESSAGES);
    let mut messages = Vec::new();
    for (line, message) in lines_of::<Message>(files, MESSAGES)? {
        let place = || format!("{} line {line}", path.display());
        let known = |code: &String| catalog.categories().iter().any(|category| category.code == *code);
        if let Some(code) = message.category.as_ref().filter(|code| !known(code)) {
            bail!("{}: the catalogue has no category {code:?}", place());
        }
        if (message.expect == Expect::Answer) != (message.kind == Kind::OnTopic) {
            bail!("{}: a message of kind `{}` can't have this `expect`", place(), message.kind.name());
        }
        messages.push(message);
    }
    Ok(messages)
}

pub(super) fn lines_of<T: DeserializeOwned>(files: &Files, name: &str) -> anyhow::Result<Vec<(usize, T)>> {
    let text = files.read(name).context(ABOUT_DATA)?;
    json_lines::parse(&files.path(name), &String::from_utf8_lossy(&text)).context(ABOUT_DATA)
}

const ABOUT_DATA: &str = "the catalogue's labelled data can't be used (--parts leaves out what needs it)";

#[cfg(test)]
mod tests;
