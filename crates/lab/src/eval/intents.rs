//! What is meant by messages about challenges that were offered.

use std::collections::BTreeSet;

use leafresh_chat::{Files, Intent, Recommender};
use serde::Deserialize;

use super::data::lines_of;
use super::measures::Measure;

/// Written by people who had seen none of those that are learned from.
const BLIND: &str = "eval/blind/intents.jsonl";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Labelled {
    text: String,
    intents: BTreeSet<Intent>,
    #[serde(rename = "number")]
    _number: Option<usize>,
}

/// The figures, and what was misunderstood. None where the catalogue has no such messages or there is no embedding model.
///
/// # Errors
/// With file and line, when the labelled data can't be used; when a message can't be embedded.
pub(super) async fn measure(
    files: &Files,
    recommender: &Recommender,
) -> anyhow::Result<Option<(Vec<Measure>, Vec<String>)>> {
    if !files.has(BLIND) {
        return Ok(None);
    }
    let (mut exact, mut first, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (_, labelled) in lines_of::<Labelled>(files, BLIND)? {
        let meant = recommender.intents(&labelled.text).await?;
        let Some(likeliest) = meant.first() else { return Ok(None) };
        first.push(labelled.intents.contains(likeliest));
        let right = meant.iter().copied().collect::<BTreeSet<_>>() == labelled.intents;
        if !right {
            wrong.push(format!("intents: {} is {:?}, taken for {meant:?}", labelled.text, labelled.intents));
        }
        exact.push(right);
    }
    let measures = vec![
        Measure::share(
            "intents_right",
            first.into_iter(),
            "messages about challenges that were offered of which the likeliest meaning is one of theirs",
        )
        .more(1.0)
        .goal(95.0),
        Measure::share(
            "intents_exact",
            exact.into_iter(),
            "the same messages, of which just what they mean is told: all of it where they mean two things",
        )
        .more(1.0),
    ];
    Ok(Some((measures, wrong)))
}
