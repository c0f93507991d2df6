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
    for (_, labelled) in lines_of::<Labelled>(files, FIRST)? {
        let known = labelled.documents.iter().filter_map(|one| Some((one, document(catalog, &one.id)?)));
        let (candidates, found): (Vec<&Candidate>, Vec<&Document>) = known.unzip();
        let acceptable = candidates.iter().filter(|candidate| candidate.acceptable).count();
        if labelled.split != Split::Test || acceptable == 0 {
            continue;
        }
        let Some(First { document, openings: chosen }) = recommender.first(&labelled.message, &found).await?
        else {
            return Ok(Vec::new());
        };
        let candidate = candidates[document];
        by_chance.push(acceptable as f64 * 100.0 / candidates.len() as f64);
        documents.push(candidate.acceptable);
        let all = catalog.openings_of(found[document]);
        if !candidate.acceptable {
            wrong.push(format!("choices: {}: {}", labelled.message, found[document].title));
        } else if !candidate.openings.is_empty() {
            opening_by_chance.push(candidate.openings.len() as f64 * 100.0 / all.len().max(1) as f64);
            for opening in chosen {
                let right = candidate.openings.contains(&all[opening]);
                if !right {
                    wrong.push(format!("choices: {}: {}", labelled.message, all[opening]));
                }
                openings.push(right);
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
    for (_, one) in lines_of::<Told>(files, VARIANTS)?.into_iter().filter(|(_, one)| one.split == Split::Test)
    {
        let Some(document) = document(catalog, &one.document) else { continue };
        let all = recommender.variants(document);
        by_chance.push(one.acceptable.len() as f64 * 100.0 / all.len().max(1) as f64);
        let told = recommender.told(document, one.says.as_deref(), one.place.as_deref(), one.work.as_deref());
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
