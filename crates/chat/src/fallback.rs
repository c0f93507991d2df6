//! Answers from the catalogue, when the model can't give one or can't finish the one it has begun.

use leafresh_engine::{Delta, Grammar, Progress, Slot, Usage};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::answer::{CHALLENGES, Writer};
use crate::{Category, DegradedReason, Document};

/// When the catalogue answers instead of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FallbackSettings {
    /// For these reasons; for others a reader gets an error.
    pub on: Vec<DegradedReason>,
    /// Such answers at once; one more gets an error.
    pub at_once: usize,
}

impl Default for FallbackSettings {
    fn default() -> Self {
        let on = vec![DegradedReason::Timeout, DegradedReason::Engine, DegradedReason::Overloaded];
        Self { on, at_once: 64 }
    }
}

/// Sentences and endings for answers that the model doesn't finish: `[fallback]` of `answer.toml`. `{category}` is the
/// label of the category asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endings {
    /// The whole opening sentence.
    pub(crate) recommend: String,
    /// How a sentence, a title and a description that were begun may end.
    recommend_ends: Vec<String>,
    title_ends: Vec<String>,
    description_ends: Vec<String>,
}

impl Endings {
    /// Every text in it, for checks.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &String> {
        let ends = self.recommend_ends.iter().chain(&self.title_ends).chain(&self.description_ends);
        [&self.recommend].into_iter().chain(ends)
    }

    /// Finishes what `writer` has begun with these documents: slot by slot, and what was written stays.
    ///
    /// `None` when a slot can't be finished: then nothing was added.
    pub(crate) fn complete(
        &self,
        writer: &Writer,
        category: &Category,
        documents: &[Document],
    ) -> Option<Vec<Delta>> {
        let mut progress = writer.progress().clone();
        let mut deltas = Vec::new();
        let slots: Vec<&Slot> = writer.program().slots().collect();
        for (index, slot) in slots.iter().enumerate().skip(progress.done.len()) {
            let written = std::mem::take(&mut progress.partial);
            let text = self.slot(index, slot, &written, &progress, category, documents)?;
            let rest = text.strip_prefix(&written)?.to_owned();
            if !rest.is_empty() {
                deltas.push(Delta::Text { slot: index, text: rest });
            }
            deltas.push(Delta::SlotDone { slot: index, text: text.clone() });
            progress.done.push(text);
        }
        deltas.push(Delta::Done(Usage::default()));
        Some(deltas)
    }

    /// The whole text of a slot that begins with what was written of it.
    fn slot(
        &self,
        index: usize,
        slot: &Slot,
        written: &str,
        progress: &Progress,
        category: &Category,
        documents: &[Document],
    ) -> Option<String> {
        // Slot 0 is the sentence; then titles and descriptions take turns.
        let is_title = index % 2 == 1;
        if index == 0 {
            let whole = self.recommend.replace("{category}", &category.label);
            return begins(&[whole], written)
                .or_else(|| ended(&self.recommend_ends, slot, written, category));
        }
        if is_title {
            let used =
                |title: &String| progress.done.iter().skip(1).step_by(2).any(|earlier| earlier == title);
            let titles: Vec<String> = documents
                .iter()
                .filter(|document| !document.short.is_empty())
                .map(|document| document.title.clone())
                .filter(|title| !used(title))
                .collect();
            return begins(&titles, written).or_else(|| ended(&self.title_ends, slot, written, category));
        }
        let title = progress.done.last()?;
        let document = documents.iter().find(|document| document.title == *title);
        let texts: Vec<String> =
            document.map(|document| vec![document.text.clone(), document.short.clone()]).unwrap_or_default();
        begins(&texts, written).or_else(|| ended(&self.description_ends, slot, written, category))
    }
}

/// The first of `texts` that begins with what was written.
fn begins(texts: &[String], written: &str) -> Option<String> {
    texts.iter().find(|text| text.starts_with(written)).cloned()
}

/// What was written with the ending that fits best: the one that continues most of it, if the slot's grammar allows
/// the whole.
fn ended(ends: &[String], slot: &Slot, written: &str, category: &Category) -> Option<String> {
    let allowed: Box<dyn Fn(&str) -> bool> = match &slot.grammar {
        Grammar::Regex(pattern) => {
            let whole = Regex::new(&format!("^(?:{pattern})$")).ok()?;
            Box::new(move |text| whole.is_match(text))
        }
        Grammar::Choices(_) | Grammar::Lookup { .. } => return None,
    };
    let mut best: Option<(usize, String)> = None;
    for end in ends {
        let end = end.replace("{category}", &category.label);
        // How much of the ending is there already: "… 챌린지를 추" needs "천합니다." only.
        let starts = end.char_indices().map(|(at, _)| at).chain([end.len()]);
        for shared in starts.filter(|&at| written.ends_with(&end[..at])) {
            let text = format!("{written}{}", &end[shared..]);
            if best.as_ref().is_none_or(|(most, _)| shared > *most) && allowed(&text) {
                best = Some((shared, text));
            }
        }
    }
    best.map(|(_, text)| text)
}

/// Three documents suffice.
pub(crate) fn enough(documents: &[Document]) -> bool {
    documents.iter().filter(|document| !document.short.is_empty()).count() >= CHALLENGES
}
