//! Whether an answer's opening speaks to the person: is it nearer to what this person said or chose than to what others did?
//!
//! By the embedding model, which shares no text with the answers. What all openings and all questions have in common is taken
//! away first (their mean): it tells none of them apart.

use std::collections::BTreeSet;

use leafresh_chat::{Catalog, Command, Files};
use leafresh_retrieval::{QueryVector, Search, centre, centred, dot};
use serde::Deserialize;

use super::answers::{Answer, Record};
use super::data::{self, LabelledQuery, lines_of};
use super::meaning::embed;
use super::measures::Measure;
use super::plan::Part;

/// Others that an opening is compared with.
const OTHERS: usize = 99;

/// Requests with openings written for them by hand: what can be reached.
const WRITTEN: &str = "eval/openings.jsonl";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    message: Option<String>,
    place: Option<String>,
    work: Option<String>,
    category: String,
    opening: String,
}

/// What somebody said or chose, and how the answer opened.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Opened {
    asked: String,
    opening: String,
    /// Its code, where it is known.
    category: Option<String>,
}

/// # Errors
/// With file and line, when the labelled data can't be used; when the embedding model fails.
pub(super) async fn measure(
    files: &Files,
    catalog: &Catalog,
    search: &Search,
    records: &[Record],
) -> anyhow::Result<Vec<Measure>> {
    let mut measures = Vec::new();
    let mut said = opened(records, Part::Questions, catalog);
    // Of roundabout messages nobody knows what they are about: what is nearer to one tells little of it.
    said.retain(|one| one.category.is_some());
    let chose = opened(records, Part::Grid, catalog);
    // With every seed the same is chosen: once is enough.
    let mut once = BTreeSet::new();
    let chose: Vec<Opened> = chose.into_iter().filter(|one| once.insert(one.asked.clone())).collect();
    let written = if files.has(WRITTEN) { lines_of::<Written>(files, WRITTEN)? } else { Vec::new() };
    let by_hand = |of_messages: bool| -> Vec<Opened> {
        let lines = written.iter().map(|(_, line)| line).filter(|line| line.message.is_some() == of_messages);
        lines.map(|line| line.opened(catalog)).collect()
    };
    for (key, goal, answers, about) in [
        ("addressed_messages", 80.0, said, "questions in people's own words"),
        ("addressed_persons", 70.0, chose, "combinations of category, place and kind of work"),
    ] {
        let floor: Vec<Opened> = answers.iter().map(|one| one.in_general(catalog)).collect();
        let by_hand = by_hand(key == "addressed_messages");
        for (kind, openings) in [("", answers), ("_floor", floor), ("_ceiling", by_hand)] {
            if openings.len() <= OTHERS {
                continue;
            }
            let ranks = ranks(search, &openings).await?;
            let whose = match kind {
                "_floor" => "with a sentence that says nothing but the category",
                "_ceiling" => "with openings written by hand for the request (eval/openings.jsonl)",
                _ => "with the answer's opening",
            };
            let first = Measure::share(
                &format!("{key}{kind}"),
                ranks.iter().map(|rank| *rank == 0),
                format!(
                    "{about} {whose} that is nearer to its own request than to {OTHERS} others', by the embedding"
                ),
            );
            measures.push(if kind.is_empty() { first.more(3.0).goal(goal) } else { first });
            if kind.is_empty() {
                measures.push(Measure::share(
                    &format!("{key}_top5"),
                    ranks.iter().map(|rank| *rank < 5),
                    "the same, among the five nearest",
                ));
            }
        }
    }
    measures.extend(varied(records));
    measures.push(first_relevant(&data::queries(files, catalog)?, catalog, records));
    Ok(measures)
}

/// Whether the first challenge of an answer answers the question.
fn first_relevant(queries: &[LabelledQuery], catalog: &Catalog, records: &[Record]) -> Measure {
    let right = records.iter().filter(|record| record.task.part == Part::Questions).filter_map(|record| {
        let Command::FreeText(request) = &record.task.command else { return None };
        let query = queries.iter().find(|query| query.query == request.message)?;
        let first = record.answer.as_ref()?.challenges.first()?;
        let document = catalog.documents().iter().find(|document| document.title == first.title)?;
        Some(query.relevant.contains(&document.id))
    });
    Measure::share(
        "first_challenge_relevant",
        right,
        "answered questions whose first challenge is one of the documents that answer them, by labels",
    )
    .more(3.0)
}

/// The openings of the answers of a part.
fn opened(records: &[Record], part: Part, catalog: &Catalog) -> Vec<Opened> {
    let of_part = records.iter().filter(|record| record.task.part == part);
    let answered = of_part.filter_map(|record| {
        let answer = record.answer.as_ref().filter(|answer| !answer.refuses())?;
        let asked = match &record.task.command {
            Command::FreeText(request) => request.message.clone(),
            Command::BaseInfo(request) => {
                person(catalog, Some(&request.location), Some(&request.work_type), &request.category)
            }
        };
        Some(Opened { asked, opening: answer.recommend.clone(), category: record.task.category.clone() })
    });
    answered.collect()
}

/// Somebody's choices as a phrase.
fn person(catalog: &Catalog, place: Option<&str>, work: Option<&str>, category: &str) -> String {
    let phrase = |term: Option<&leafresh_chat::Term>, text: Option<&str>| {
        term.map_or_else(|| text.unwrap_or_default().to_owned(), |term| term.phrase.clone())
    };
    let place = phrase(place.and_then(|text| catalog.place(text)), place);
    let work = phrase(work.and_then(|text| catalog.work_type(text)), work);
    let category = catalog.category(category).map_or(category, |category| &category.label);
    format!("{place} {work} {category}")
}

impl Written {
    fn opened(&self, catalog: &Catalog) -> Opened {
        let asked = self
            .message
            .clone()
            .unwrap_or_else(|| person(catalog, self.place.as_deref(), self.work.as_deref(), &self.category));
        Opened { asked, opening: self.opening.clone(), category: Some(self.category.clone()) }
    }
}

impl Opened {
    /// With the sentence that an answer opens with where nobody wrote one.
    fn in_general(&self, catalog: &Catalog) -> Self {
        let category = self.category.as_deref().and_then(|code| catalog.category(code));
        let category = category.or_else(|| catalog.categories().first());
        let opening = category.map(|category| catalog.general_opening(category)).unwrap_or_default();
        Self { opening, ..self.clone() }
    }
}

/// How many of the others' requests each opening is nearer to than to its own.
async fn ranks(search: &Search, openings: &[Opened]) -> anyhow::Result<Vec<usize>> {
    let texts = |text: &dyn Fn(&Opened) -> &String| openings.iter().map(text).cloned().collect::<Vec<_>>();
    let asked = seen_from_their_mean(&embed(search, texts(&|one| &one.asked), |_, _| ()).await?);
    let said = seen_from_their_mean(&embed(search, texts(&|one| &one.opening), |_, _| ()).await?);
    let count = openings.len();
    let rank = |own: usize| {
        // Others from all over, the same in every run.
        let others = (1..count).map(|step| (own + step * 37) % count).filter(|other| *other != own);
        let nearness = |other: usize| dot(&said[own], &asked[other]);
        let different: BTreeSet<usize> = others.collect();
        let stride = (different.len() / OTHERS).max(1);
        different
            .into_iter()
            .step_by(stride)
            .take(OTHERS)
            .filter(|other| nearness(*other) > nearness(own))
            .count()
    };
    Ok((0..count).map(rank).collect())
}

/// Each as it is seen from their mean.
fn seen_from_their_mean(vectors: &[QueryVector]) -> Vec<Vec<f32>> {
    let centre = centre(vectors.iter().map(QueryVector::as_slice));
    vectors.iter().map(|vector| centred(vector.as_slice(), &centre)).collect()
}

/// How many different openings there are.
fn varied(records: &[Record]) -> Vec<Measure> {
    let share = |part: Part| {
        let of_part = records.iter().filter(|record| record.task.part == part);
        let answers: Vec<&Answer> =
            of_part.filter_map(|record| record.answer.as_ref()).filter(|answer| !answer.refuses()).collect();
        let different: BTreeSet<&str> = answers.iter().map(|answer| &*answer.recommend).collect();
        (!answers.is_empty()).then(|| different.len() as f64 * 100.0 / answers.len() as f64)
    };
    [
        (
            "openings_grid",
            Part::Grid,
            80.0,
            "different openings among all of the grid; the goal is for two seeds",
        ),
        (
            "openings_questions",
            Part::Questions,
            60.0,
            "different openings among the answers to questions and roundabout messages, 524 in the shipped catalogue",
        ),
    ]
    .into_iter()
    .map(|(key, part, goal, about)| Measure::plain(key, "%", share(part), about).more(5.0).goal(goal))
    .collect()
}
