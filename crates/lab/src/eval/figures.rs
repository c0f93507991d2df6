//! Figures of one model's answers.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use leafresh_chat::{Catalog, Command};
use unicode_normalization::UnicodeNormalization;

use super::alphabet::Alphabet;
use super::answers::{Answer, Challenge, Record};
use super::data::{Expect, Kind};
use super::meaning::Meaning;
use super::measures::Measure;
use super::plan::{Part, REPEATS, TURNS};
use crate::figure::quantile;

/// What answers are held against.
pub(super) struct Yardstick<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) alphabet: &'a Alphabet,
    /// None: there is no embedding model.
    pub(super) meaning: Option<&'a Meaning>,
}

/// A text as it is compared: without spaces, punctuation and capitals.
fn plain(text: &str) -> String {
    text.nfc().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn of_part(records: &[Record], part: Part) -> impl Iterator<Item = &Record> {
    records.iter().filter(move |record| record.task.part == part)
}

fn answers<'a>(records: impl Iterator<Item = &'a Record>) -> impl Iterator<Item = &'a Answer> {
    records.filter_map(|record| record.answer.as_ref()).filter(|answer| !answer.refuses())
}

/// All figures, those first that are looked at first.
pub(super) fn compute(records: &[Record], yardstick: &Yardstick<'_>) -> Vec<Measure> {
    let mut measures = grid(records, yardstick);
    measures.extend(repeats(records));
    measures.extend(messages(records));
    measures.extend(latency(records));
    measures.retain(|measure| measure.figure.value.is_some());
    measures
}

fn grid(records: &[Record], yardstick: &Yardstick<'_>) -> Vec<Measure> {
    let grid = || of_part(records, Part::Grid);
    let challenges: Vec<&Challenge> = answers(grid()).flat_map(|answer| &answer.challenges).collect();
    let titles: BTreeSet<String> = challenges.iter().map(|challenge| plain(&challenge.title)).collect();
    let catalog = yardstick.catalog;
    let known_titles: HashSet<String> =
        catalog.documents().iter().map(|document| plain(&document.title)).collect();
    let descriptions = catalog.documents().iter().flat_map(|document| catalog.descriptions(document));
    let known_texts: HashSet<String> = descriptions.map(plain).collect();
    let variety = (!challenges.is_empty()).then(|| titles.len() as f64 * 100.0 / challenges.len() as f64);
    let mut measures = vec![
        Measure::plain("grid_answers", "", Some(grid().count() as f64).filter(|count| *count > 0.0), "requests of the grid: every category, place and kind of work, once for each seed"),
        Measure::share(
            "valid",
            grid().map(|record| record.valid() && !record.refused()),
            "answers that are whole: a sentence and three different challenges of known categories, and the texts streamed are what `close` says",
        )
        .more(0.0)
        .goal(100.0),
    ];
    if let Some(meaning) = yardstick.meaning {
        measures.extend(by_meaning(&grid().collect::<Vec<_>>(), meaning));
    }
    measures.extend([
        Measure::share(
            "distinct_within",
            answers(grid()).map(distinct_within),
            "answers whose three titles differ, and whose three descriptions do",
        )
        .more(0.0)
        .goal(100.0),
        Measure::plain(
            "distinct_titles",
            "%",
            variety,
            "different titles among all titles of the grid; people who ask for different things should get different ones",
        )
        .more(5.0),
        Measure::share(
            "titles_copied",
            challenges.iter().map(|challenge| known_titles.contains(&plain(&challenge.title))),
            "titles that are a document's word for word: 100 where the model selects, less where it writes",
        ),
        Measure::share(
            "descriptions_copied",
            challenges.iter().map(|challenge| known_texts.contains(&plain(&challenge.description))),
            "descriptions that are a document's, or one of those for particular people, word for word",
        ),
        Measure::share(
            "alphabet",
            answers(grid()).map(|answer| strangers(answer, yardstick.alphabet).is_empty()),
            "answers of Hangul, digits, and the marks and Latin words of the catalogue only",
        )
        .more(0.0),
        Measure::share(
            "degraded",
            grid().filter_map(|record| record.answer.as_ref()).map(|answer| answer.degraded),
            "answers that came from the catalogue because the model could not give them",
        )
        .less(0.0),
    ]);
    measures
}

fn by_meaning(grid: &[&Record], meaning: &Meaning) -> Vec<Measure> {
    let mut right = Vec::new();
    let mut similarities = Vec::new();
    for record in grid {
        for challenge in record.answer.iter().flat_map(|answer| &answer.challenges) {
            let Some(meant) = meaning.of(challenge) else { continue };
            right.push(record.task.category.as_deref() == Some(meaning.category(meant)));
            similarities.push(meant.similarity);
        }
    }
    let mut sorted = similarities.clone();
    sorted.sort_by(f64::total_cmp);
    vec![
        Measure::share(
            "category_accuracy",
            right,
            "challenges whose nearest category centroid, by the meaning of title and description, is the category asked for",
        )
        .more(2.0)
        .goal(95.0),
        Measure::mean(
            "groundedness",
            "",
            &similarities,
            "best cosine of a challenge's title and description to a document's, on average; 1: word for word",
        )
        .more(0.01),
        Measure::plain("groundedness_p10", "", quantile(&sorted, 0.1), "the same of the challenge below which a tenth are"),
    ]
}

fn distinct_within(answer: &Answer) -> bool {
    let different = |part: fn(&Challenge) -> &String| {
        let parts: HashSet<String> =
            answer.challenges.iter().map(|challenge| plain(part(challenge))).collect();
        parts.len() == answer.challenges.len()
    };
    different(|challenge| &challenge.title) && different(|challenge| &challenge.description)
}

/// What doesn't belong into an answer's texts.
pub(super) fn strangers(answer: &Answer, alphabet: &Alphabet) -> Vec<String> {
    let parts = answer.challenges.iter().flat_map(|challenge| [&challenge.title, &challenge.description]);
    parts.chain([&answer.recommend]).flat_map(|text| alphabet.strangers(text)).collect()
}

fn repeats(records: &[Record]) -> Vec<Measure> {
    let mut sessions: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in of_part(records, Part::Repeats) {
        let session = record.task.command.session_id().unwrap_or_default();
        sessions.entry(session).or_default().push(record);
    }
    // One that was interrupted would look worse than it is.
    sessions.retain(|_, records| records.len() == TURNS);
    let distinct = |records: &Vec<&Record>| {
        let challenges = answers(records.iter().copied().take(REPEATS)).flat_map(|answer| &answer.challenges);
        challenges.map(|challenge| plain(&challenge.title)).collect::<HashSet<_>>().len() as f64
    };
    let counts: Vec<f64> = sessions.values().map(distinct).collect();
    let fewest = counts.iter().copied().min_by(f64::total_cmp);
    let openings = |records: &Vec<&Record>| {
        answers(records.iter().copied()).map(|answer| &answer.recommend).collect::<HashSet<_>>().len() as f64
    };
    let fewest_openings = sessions.values().map(openings).min_by(f64::total_cmp);
    vec![
        Measure::plain(
            "repeats_distinct",
            "of 15",
            fewest,
            "different titles when the same is asked five times in one session: the fewest of any session, a session for each category",
        )
        .more(0.0)
        .goal(12.0),
        Measure::mean("repeats_distinct_mean", "of 15", &counts, "the same, the mean of the sessions").more(0.5),
        Measure::plain(
            "openings_session",
            "of 10",
            fewest_openings,
            "different openings when the same is asked ten times in one session: the fewest of any session",
        )
        .more(0.0)
        .goal(10.0),
    ]
}

fn messages(records: &[Record]) -> Vec<Measure> {
    let messages = || of_part(records, Part::Messages);
    let expecting = |expect: Expect| messages().filter(move |record| record.task.expect == expect);
    let mut measures = vec![
        Measure::share(
            "messages_answered",
            expecting(Expect::Answer).map(Record::as_expected),
            "messages on the topic that got challenges; the rest were refused wrongly or failed",
        )
        .more(1.0),
        Measure::share(
            "messages_refused",
            expecting(Expect::Refusal).map(Record::as_expected),
            "messages off the topic, insults and nonsense that got a fixed reply; the rest were answered wrongly or failed",
        )
        .more(1.0),
    ];
    measures.extend(Kind::REFUSED.map(|kind| {
        let of_kind = messages().filter(|record| record.task.kind == kind);
        Measure::share(
            &format!("refused_{}", kind.name()),
            of_kind.map(Record::as_expected),
            "of them, by kind",
        )
    }));
    measures.extend([
        Measure::share(
            "messages_category",
            expecting(Expect::Answer).filter(|record| !record.refused()).filter_map(category_found),
            "answered messages that are clearly about one category, and got challenges of it",
        )
        .more(2.0),
        Measure::share(
            "messages_valid",
            messages().map(Record::valid),
            "messages whose answer is whole: three challenges, or a fixed reply that is just its text",
        )
        .more(0.0),
    ]);
    measures
}

/// Whether all challenges are of the expected category; `None` where none is expected.
fn category_found(record: &Record) -> Option<bool> {
    let expected = record.task.category.as_ref()?;
    let answer = record.answer.as_ref()?;
    Some(answer.challenges.iter().all(|challenge| challenge.category == *expected))
}

fn latency(records: &[Record]) -> Vec<Measure> {
    let sorted = |value: &dyn Fn(&Record) -> Option<f64>| {
        let mut values: Vec<f64> = records.iter().filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let written = |record: &&Record| record.answer.as_ref().is_some_and(|answer| !answer.refuses());
    let first = sorted(&|record| Some(record).filter(written)?.ttft_ms);
    let whole = sorted(&|record| Some(record).filter(written).map(|record| record.latency_ms));
    let refused =
        sorted(&|record| Some(record).filter(|record| record.refused()).map(|record| record.latency_ms));
    let about = "from asking to the first text of an answer, with as many at once as --at-once says";
    let end = "from asking to the end of an answer, with as many at once as --at-once says";
    vec![
        Measure::plain("ttft_p50", "ms", quantile(&first, 0.5), about),
        Measure::plain("ttft_p95", "ms", quantile(&first, 0.95), about),
        Measure::plain("latency_p50", "ms", quantile(&whole, 0.5), end),
        Measure::plain("latency_p95", "ms", quantile(&whole, 0.95), end),
        Measure::plain(
            "refusal_p95",
            "ms",
            quantile(&refused, 0.95),
            "from asking to the end of a fixed reply",
        ),
    ]
}

/// What somebody who wants to make it better should look at.
pub(super) fn notes(records: &[Record], yardstick: &Yardstick<'_>) -> Vec<(String, Vec<String>)> {
    let asked = |record: &Record| match &record.task.command {
        Command::BaseInfo(request) => {
            format!("{} {} {}", request.category, request.location, request.work_type)
        }
        Command::FreeText(request) => request.message.clone(),
    };
    let faults =
        records.iter().filter_map(|record| Some(format!("{}: {}", asked(record), record.fault.as_ref()?)));
    let wrong =
        of_part(records, Part::Messages).filter(|record| record.answer.is_some() && !record.as_expected());
    let wrong = wrong.map(|record| {
        format!(
            "{} ({}): {}",
            asked(record),
            record.task.kind.name(),
            if record.refused() { "refused" } else { "answered" }
        )
    });
    let astray = of_part(records, Part::Messages).filter(|record| !record.refused());
    let astray = astray.filter(|record| category_found(record) == Some(false)).map(|record| {
        let got: Vec<&str> = record
            .answer
            .iter()
            .flat_map(|answer| &answer.challenges)
            .map(|challenge| challenge.category.as_str())
            .collect();
        let expected = record.task.category.as_deref().unwrap_or_default();
        format!("{}: expected {expected}, got {}", asked(record), got.join(", "))
    });
    let mut confused: BTreeMap<String, usize> = BTreeMap::new();
    if let Some(meaning) = yardstick.meaning {
        for record in of_part(records, Part::Grid) {
            for challenge in record.answer.iter().flat_map(|answer| &answer.challenges) {
                let Some(nearest) = meaning.of(challenge).map(|meant| meaning.category(meant)) else {
                    continue;
                };
                let expected = record.task.category.as_deref().unwrap_or_default();
                if nearest != expected {
                    let what = format!("asked for {expected}, nearest to {nearest}: {}", challenge.title);
                    *confused.entry(what).or_default() += 1;
                }
            }
        }
    }
    let confused =
        confused.into_iter().map(|(what, count)| if count > 1 { format!("{what} (×{count})") } else { what });
    let strangers =
        answers(of_part(records, Part::Grid)).flat_map(|answer| strangers(answer, yardstick.alphabet));
    let strangers =
        super::alphabet::counted(strangers).into_iter().map(|(what, count)| format!("{what} (×{count})"));
    let notes = [
        ("Not valid, or failed", faults.collect::<Vec<_>>()),
        ("Messages answered or refused wrongly", wrong.collect()),
        ("Messages answered with another category", astray.collect()),
        ("Challenges nearer to another category", confused.collect()),
        ("Letters, marks and words outside the catalogue's alphabet", strangers.collect()),
    ];
    notes
        .into_iter()
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(title, lines)| (title.to_owned(), lines))
        .collect()
}

#[cfg(test)]
mod tests;
