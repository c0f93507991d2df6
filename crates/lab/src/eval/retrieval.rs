//! Search and gate, by labelled data. They have nothing to do with the model that writes.

use std::collections::BTreeSet;
use std::time::Instant;

use leafresh_retrieval::{Hit, Query, Search};

use super::data::LabelledQuery;
use super::measures::Measure;
use super::ranking::{Ranked, rank};
use crate::figure::quantile;

/// Documents looked at for the reciprocal rank.
const DEPTH: usize = 20;

/// Where recall is counted.
const CUT: usize = 5;

/// What was found for a question.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) query: String,
    /// Ids, best first, however many there are of a category.
    pub(super) ids: Vec<String>,
    fresh: bool,
    ranked: Ranked,
    /// 1 when a fitting document is among those that a person's answer is made from, else 0.
    shown: f64,
    ms: f64,
}

/// Searches as a message does, with no category asked for; and once more for the order of all.
///
/// # Errors
/// When the store or the embedding model fails.
pub(super) async fn look_up(search: &Search, labelled: &LabelledQuery) -> anyhow::Result<Found> {
    let relevant: BTreeSet<&str> = labelled.relevant.iter().map(String::as_str).collect();
    let ids = |hits: Vec<Hit>| hits.into_iter().map(|hit| hit.document.id).collect::<Vec<String>>();
    let began = Instant::now();
    let vector = Some(search.embed(&labelled.query).await?);
    let query = Query { text: labelled.query.clone(), vector, ..Query::default() };
    let shown = ids(search.search(&query).await?);
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let ids = ids(search.search(&Query { limit: DEPTH, per_category: DEPTH, ..query }).await?);
    let ranked = rank(&ids.iter().map(String::as_str).collect::<Vec<_>>(), &relevant, CUT);
    let shown = if shown.iter().any(|id| relevant.contains(id.as_str())) { 1.0 } else { 0.0 };
    Ok(Found { query: labelled.query.clone(), ids, fresh: labelled.fresh, ranked, shown, ms })
}

pub(super) fn measures(found: &[Found]) -> Vec<Measure> {
    let of = |value: fn(&Ranked) -> f64| found.iter().map(|found| value(&found.ranked)).collect::<Vec<f64>>();
    let mut ms: Vec<f64> = found.iter().map(|found| found.ms).collect();
    ms.sort_by(f64::total_cmp);
    let mut measures = vec![
        Measure::plain(
            "retrieval_questions",
            "",
            found.len() as f64,
            "questions whose fitting documents are known",
        ),
        Measure::mean(
            "retrieval_mrr",
            "",
            &of(|ranked| ranked.reciprocal),
            format!("mean reciprocal rank of the first fitting document among {DEPTH}"),
        )
        .more(0.02)
        .goal(0.9),
        Measure::mean(
            "retrieval_recall_at_5",
            "",
            &of(|ranked| ranked.hit),
            "questions with a fitting document among the first five",
        )
        .more(0.02)
        .goal(0.97),
        Measure::mean(
            "retrieval_recall_at_5_of_all",
            "",
            &of(|ranked| ranked.recall),
            "of all fitting documents (five at most), the share among the first five",
        )
        .more(0.02),
        Measure::mean(
            "retrieval_shown",
            "",
            &found.iter().map(|found| found.shown).collect::<Vec<_>>(),
            "questions with a fitting document among the five of which two of a category at most are shown",
        )
        .more(0.02),
        Measure::plain(
            "search_p50",
            "ms",
            quantile(&ms, 0.5),
            "embedding a question and searching, one at a time",
        ),
        Measure::plain(
            "search_p95",
            "ms",
            quantile(&ms, 0.95),
            "embedding a question and searching, one at a time",
        ),
    ];
    if found.iter().any(|found| found.fresh) {
        measures.extend(apart(found));
    }
    measures
}

/// The questions by which search was tuned, and those by which it wasn't.
fn apart(found: &[Found]) -> Vec<Measure> {
    let halves = [
        (false, "tuned", "questions that search was tuned by"),
        (true, "fresh", "questions that nothing was ever chosen by"),
    ];
    let measures = |(fresh, name, whose): (bool, &str, &str)| {
        let half = || found.iter().filter(move |found| found.fresh == fresh);
        let of = |value: fn(&Ranked) -> f64| half().map(|found| value(&found.ranked)).collect::<Vec<f64>>();
        let (reciprocal, hits) = (of(|ranked| ranked.reciprocal), of(|ranked| ranked.hit));
        [
            Measure::mean(
                &format!("retrieval_mrr_{name}"),
                "",
                &reciprocal,
                format!("retrieval_mrr of {whose}"),
            ),
            Measure::mean(
                &format!("retrieval_recall_at_5_{name}"),
                "",
                &hits,
                format!("retrieval_recall_at_5 of {whose}"),
            ),
        ]
    };
    halves.into_iter().flat_map(measures).collect()
}

/// Questions without a fitting document among the first five.
pub(super) fn missed(found: &[Found]) -> Vec<String> {
    let missed = found.iter().filter(|found| found.ranked.hit < 1.0);
    missed
        .map(|found| format!("{}: {}", found.query, found.ids[..found.ids.len().min(CUT)].join(", ")))
        .collect()
}
