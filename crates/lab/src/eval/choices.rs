//! Whether what is chosen is acceptable to a reader: the first document, its opening, and how a document is told.

use leafresh_chat::{Catalog, Document, Files, First, Recommender, Split};
use serde::Deserialize;

use super::data::lines_of;
use super::measures::Measure;

/// Labelled by reading: messages with documents that were found for them, and people with a document.
const FIRST: &str = "eval/choices.jsonl";
const VARIANTS: &str = "eval/variants.jsonl";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Labelled {
    message: String,
    /// Best first.
    documents: Vec<Candidate>,
    split: Split,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Candidate {
    id: String,
    acceptable: bool,
    /// The openings that are.
    openings: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    place: Option<String>,
    work: Option<String>,
    says: Option<String>,
    document: String,
    /// The texts of the variants that are.
    acceptable: Vec<String>,
    split: Split,
}

/// The messages, of both halves: what is chosen for them isn't asked.
///
/// # Errors
/// With file and line, when the labelled data can't be used.
pub(super) fn messages(files: &Files) -> anyhow::Result<Vec<String>> {
    let lines = if files.has(FIRST) { lines_of::<Labelled>(files, FIRST)? } else { Vec::new() };
    Ok(lines.into_iter().map(|(_, labelled)| labelled.message).collect())
}

/// A message of the test half, and the documents that were found for it, best first.
pub(super) struct FoundFor<'a> {
    pub(super) message: String,
    pub(super) documents: Vec<&'a Document>,
    /// Of each document whether it is, and which of its openings are.
    pub(super) acceptable: Vec<bool>,
    pub(super) openings: Vec<Vec<String>>,
}

/// # Errors
/// With file and line, when the labelled data can't be used.
pub(super) fn found<'a>(files: &Files, catalog: &'a Catalog) -> anyhow::Result<Vec<FoundFor<'a>>> {
    let lines = if files.has(FIRST) { lines_of::<Labelled>(files, FIRST)? } else { Vec::new() };
    let test = lines.into_iter().map(|(_, line)| line).filter(|line| line.split == Split::Test);
    let found = test.map(|line| {
        let known = line.documents.into_iter().filter_map(|one| Some((document(catalog, &one.id)?, one)));
        let (documents, candidates): (Vec<&Document>, Vec<Candidate>) = known.unzip();
        FoundFor {
            message: line.message,
            documents,
            acceptable: candidates.iter().map(|candidate| candidate.acceptable).collect(),
            openings: candidates.into_iter().map(|candidate| candidate.openings).collect(),
        }
    });
    Ok(found.filter(|found| !found.documents.is_empty()).collect())
}

/// Somebody of the test half, and a document that is told to them.
pub(super) struct ToldTo<'a> {
    pub(super) place: Option<String>,
    pub(super) work: Option<String>,
    pub(super) says: Option<String>,
    pub(super) document: &'a Document,
    pub(super) acceptable: Vec<String>,
}

/// # Errors
/// With file and line, when the labelled data can't be used.
pub(super) fn told<'a>(files: &Files, catalog: &'a Catalog) -> anyhow::Result<Vec<ToldTo<'a>>> {
    let lines = if files.has(VARIANTS) { lines_of::<Told>(files, VARIANTS)? } else { Vec::new() };
    let test = lines.into_iter().map(|(_, line)| line).filter(|line| line.split == Split::Test);
    let told = test.filter_map(|Told { place, work, says, document: id, acceptable, .. }| {
        Some(ToldTo { place, work, says, document: document(catalog, &id)?, acceptable })
    });
    Ok(told.collect())
}

/// The figures, and what isn't acceptable. Of the test half alone.
///
/// # Errors
/// With file and line, when the labelled data can't be used; when a message can't be embedded.
pub(super) async fn measure(
    files: &Files,
    catalog: &Catalog,
    recommender: &Recommender,
) -> anyhow::Result<(Vec<Measure>, Vec<String>)> {
    let mut wrong = Vec::new();
    let mut measures = Vec::new();
    if files.has(FIRST) {
        measures.extend(first(files, catalog, recommender, &mut wrong).await?);
    }
    if files.has(VARIANTS) {
        measures.extend(variants(files, catalog, recommender, &mut wrong)?);
    }
    Ok((measures, wrong))
}

async fn first(
    files: &Files,
    catalog: &Catalog,
    recommender: &Recommender,
    wrong: &mut Vec<String>,
) -> anyhow::Result<Vec<Measure>> {
    let (mut documents, mut openings) = (Vec::new(), Vec::new());
    let (mut by_chance, mut opening_by_chance) = (Vec::new(), Vec::new());
    for found in found(files, catalog)? {
        let acceptable = found.acceptable.iter().filter(|acceptable| **acceptable).count();
        if acceptable == 0 {
            continue;
        }
        let first = recommender.first(&found.message, &found.documents).await?;
        let Some(First { document, openings: chosen }) = first else { return Ok(Vec::new()) };
        by_chance.push(acceptable as f64 * 100.0 / found.documents.len() as f64);
        documents.push(found.acceptable[document]);
        let (right, all) = (&found.openings[document], catalog.openings_of(found.documents[document]));
        if !found.acceptable[document] {
            wrong.push(format!("choices: {}: {}", found.message, found.documents[document].title));
        } else if !right.is_empty() {
            opening_by_chance.push(right.len() as f64 * 100.0 / all.len().max(1) as f64);
            for opening in chosen.iter().map(|&opening| &all[opening]) {
                if !right.contains(opening) {
                    wrong.push(format!("choices: {}: {opening}", found.message));
                }
                openings.push(right.contains(opening));
            }
        }
    }
    let share =
        |key: &str, of: Vec<bool>, definition: &str| Measure::share(key, of, definition).more(2.0).goal(90.0);
    Ok(vec![
        share(
            "choices_documents",
            documents,
            "messages whose first challenge is acceptable to a reader, where one of those found is",
        ),
        Measure::mean("choices_documents_by_chance", "%", &by_chance, "the same for one that is drawn"),
        share(
            "choices_openings",
            openings,
            "openings put to the model that are acceptable with that first challenge, where one is",
        ),
        Measure::mean(
            "choices_openings_by_chance",
            "%",
            &opening_by_chance,
            "the same for one that is drawn",
        ),
    ])
}

fn variants(
    files: &Files,
    catalog: &Catalog,
    recommender: &Recommender,
    wrong: &mut Vec<String>,
) -> anyhow::Result<Vec<Measure>> {
    let (mut right, mut by_chance) = (Vec::new(), Vec::new());
    for one in told(files, catalog)? {
        let all = recommender.variants(one.document);
        by_chance.push(one.acceptable.len() as f64 * 100.0 / all.len().max(1) as f64);
        let told =
            recommender.told(one.document, one.says.as_deref(), one.place.as_deref(), one.work.as_deref());
        for text in told.iter().filter(|text| all.contains(&text.as_str())) {
            let acceptable = one.acceptable.contains(text);
            if !acceptable {
                let person =
                    [&one.place, &one.work, &one.says].map(|text| text.as_deref().unwrap_or("-")).join(", ");
                wrong.push(format!("choices: {person}: {text}"));
            }
            right.push(acceptable);
        }
    }
    Ok(vec![
        Measure::share(
            "choices_variants",
            right,
            "texts for particular people that are acceptable to the person they are told to",
        )
        .more(2.0)
        .goal(92.0),
        Measure::mean("choices_variants_by_chance", "%", &by_chance, "the same for one that is drawn"),
    ])
}

fn document<'a>(catalog: &'a Catalog, id: &str) -> Option<&'a Document> {
    catalog.documents().iter().find(|document| document.id == id)
}
