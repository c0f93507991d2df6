//! Answers from the catalogue, when the model can't give one or can't finish the one it has begun.

use leafresh_engine::{Delta, Grammar, Progress, Slot, Usage};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::answer::Writer;
use crate::catalog::{CHALLENGES, Category, Document, Endings};
use crate::event::DegradedReason;

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

impl Endings {
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
        let new =
            |text: &&String| !slot.distinct_from.iter().any(|&earlier| progress.done[earlier] == **text);
        match &slot.grammar {
            Grammar::Choices(texts) => return begins(texts.iter().filter(new), written),
            Grammar::Lookup { of, table } => return begins(table.get(progress.done.get(*of)?)?, written),
            Grammar::Regex(_) => {}
        }
        let challenges = || documents.iter().filter(|document| !document.short.is_empty());
        let (whole, ends): (Vec<String>, _) = match part(index) {
            Part::Recommend => {
                (vec![self.recommend.replace("{category}", &category.label)], &self.recommend_ends)
            }
            Part::Title => (challenges().map(|document| document.title.clone()).collect(), &self.title_ends),
            Part::Description => {
                let title = progress.done.last()?;
                let document = documents.iter().find(|document| document.title == *title);
                let texts = document.map(|document| vec![document.text.clone(), document.short.clone()]);
                (texts.unwrap_or_default(), &self.description_ends)
            }
        };
        begins(whole.iter().filter(new), written).or_else(|| ended(ends, slot, written, category))
    }
}

/// What a slot of an answer holds: the sentence first, then titles and descriptions take turns.
enum Part {
    Recommend,
    Title,
    Description,
}

fn part(index: usize) -> Part {
    match index {
        0 => Part::Recommend,
        _ if index % 2 == 1 => Part::Title,
        _ => Part::Description,
    }
}

/// The first of `texts` that begins with what was written.
fn begins<'a>(texts: impl IntoIterator<Item = &'a String>, written: &str) -> Option<String> {
    texts.into_iter().find(|text| text.starts_with(written)).cloned()
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use leafresh_engine::{Program, Segment};

    use super::*;
    use crate::catalog::Shape;
    use crate::library::Found;
    use crate::{Catalog, Event, Grounding};

    fn catalog() -> Catalog {
        Catalog::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../catalog"))).unwrap()
    }

    /// Answers as a model would have written them, slot by slot.
    fn whole(grounding: Grounding, documents: &[&Document]) -> Vec<Vec<String>> {
        let sentences = [
            "바닷가에서 재택근무를 하는 분께 부담 없이 해 볼 수 있는 비건 챌린지를 권해요.",
            "오늘, 채소 요리를 즐기는 분께 이웃과 함께하기 좋은 비건 챌린지를 추천합니다.",
        ];
        let written = [
            (
                "두부 반찬 하나 더하기",
                "저녁상에 두부 반찬을 하나 더 올려 보세요. 값도 싸고 만들기도 아주 쉬운 반찬이에요.",
            ),
            ("콩나물국 끓여 먹기", "아침마다 콩나물국을 끓여 따뜻하게 먹어 봅니다."),
            ("채소 도시락 싸기", "일주일에 하루는 채소로만 도시락을 싸 보세요."),
        ];
        let chosen: Vec<(String, String)> = match grounding {
            Grounding::Select => {
                let texts = |document: &&Document| (document.title.clone(), document.short.clone());
                [documents[2], documents[0], documents[3]].iter().map(texts).collect()
            }
            _ => written.iter().map(|(title, text)| ((*title).to_owned(), (*text).to_owned())).collect(),
        };
        let parts: Vec<String> = chosen.into_iter().flat_map(|(title, text)| [title, text]).collect();
        sentences.map(|sentence| [vec![sentence.to_owned()], parts.clone()].concat()).to_vec()
    }

    /// Everything that a slot may hold, by its grammar and what was written before.
    fn allows(slot: &Slot, done: &[String], text: &str, documents: &[Document]) -> bool {
        let from_catalogue = documents
            .iter()
            .any(|document| document.title == text || document.text == text || document.short == text);
        from_catalogue
            || match &slot.grammar {
                Grammar::Regex(pattern) => Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(text),
                Grammar::Choices(choices) => choices.iter().any(|choice| choice == text),
                Grammar::Lookup { of, table } => table[&done[*of]].iter().any(|choice| choice == text),
            }
    }

    #[test]
    fn an_answer_that_was_cut_anywhere_is_completed_and_what_was_written_stays() {
        let catalog = catalog();
        let category = catalog.category("VEGAN").unwrap();
        let documents: Vec<&Document> = catalog.fitting("VEGAN", None, None).into_iter().take(6).collect();
        let owned: Vec<Document> = documents.iter().map(|&document| document.clone()).collect();
        for grounding in [Grounding::Select, Grounding::Context, Grounding::None] {
            let shape = Shape { describes: true, grounding };
            let program: Program = catalog.form().program(shape, category, &documents, None).unwrap();
            for slots in whole(grounding, &documents) {
                for cut in 0..slots.concat().chars().count() {
                    check(&catalog, &program, &slots, cut, category, &owned);
                }
            }
        }
    }

    fn check(
        catalog: &Catalog,
        program: &Program,
        slots: &[String],
        cut: usize,
        category: &Category,
        documents: &[Document],
    ) {
        let found =
            documents.iter().map(|document| Found { document: document.clone(), score: Some(0.5) }).collect();
        let mut writer = Writer::new(program.clone(), category.clone(), Grounding::Select, found);
        let mut left = cut;
        let mut seen = String::new();
        let mut note = |events: Vec<Event>| {
            for event in events {
                if let Event::Text(text) = event {
                    seen.push_str(&text);
                }
            }
        };
        for (slot, text) in slots.iter().enumerate() {
            let length = text.chars().count();
            let part: String = text.chars().take(left).collect();
            if !part.is_empty() {
                note(writer.push(Delta::Text { slot, text: part }));
            }
            if left < length {
                break;
            }
            note(writer.push(Delta::SlotDone { slot, text: text.clone() }));
            left -= length;
        }
        let deltas = catalog.form().fallback.complete(&writer, category, documents);
        let deltas = deltas.unwrap_or_else(|| panic!("not completed after a cut at {cut}"));
        writer.degrade(DegradedReason::Timeout, documents.to_vec());
        for delta in deltas {
            note(writer.push(delta));
        }
        let answer = writer.answer();
        assert_eq!(seen, answer.render());
        let done = &writer.progress().done;
        let kinds = program.segments().iter().filter_map(|segment| match segment {
            Segment::Slot(slot) => Some(slot),
            Segment::Fixed(_) => None,
        });
        for (index, slot) in kinds.enumerate() {
            let fits = allows(slot, done, &done[index], documents)
                || (index == 0
                    && done[0] == catalog.form().fallback.recommend.replace("{category}", &category.label));
            assert!(fits, "{:?} in slot {index} after a cut at {cut}", done[index]);
        }
        let titles: std::collections::BTreeSet<_> = answer.challenges.iter().map(|c| &c.title).collect();
        assert_eq!(titles.len(), CHALLENGES);
    }
}
