//! Who chooses best: chance, the embedding model, or a language model by how likely it finds each text.
//!
//! A language model finds some texts likely whatever was asked, so that it chooses the same for everybody. What a text's
//! likelihood gains by the request is what the request has to do with it (Brown et al. 2020, "Language models are few-shot
//! learners", 2.4; Holtzman et al. 2021, "Surface form competition", PMI_DC).

mod questions;
mod ways;

use std::path::Path;

use leafresh_chat::Recommender;
use leafresh_engine::{LocalSettings, Prompt, Scorer};

use self::questions::{Kind, Question};
use self::ways::{Scores, Way};
use super::Eval;
use super::meaning::embed;
use super::measures::Measure;
use super::progress::Progress;
use super::surroundings::Surroundings;
use crate::interrupt::Interrupt;
use leafresh_retrieval::{QueryVector, Search, centre, centred, dot};

impl Eval<'_> {
    /// The figures: what each way of choosing gets right, on the test half of the labelled choices.
    pub(super) async fn choosing(
        &self,
        model: &Path,
        recommender: &Recommender,
        surroundings: &Surroundings,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Vec<Measure>> {
        let questions = questions::of(&self.config.catalog.files(), recommender)?;
        let meaning = match surroundings.search.as_ref().filter(|search| search.can_embed()) {
            Some(search) => by_meaning(search, &questions).await?,
            None => vec![None; questions.len()],
        };
        let settings = LocalSettings { context: 4096, ..self.config.engine.clone() };
        let mut scorer = Scorer::load(model, &settings)?;
        let progress = Progress::new("choices scored", questions.len());
        let mut scored = Vec::new();
        for (question, meaning) in questions.iter().zip(meaning) {
            if interrupt.happened() {
                break;
            }
            let texts: Vec<&str> = question.texts.iter().map(String::as_str).collect();
            let mut likelihoods = |prompt: &Prompt| scorer.score(prompt, &texts);
            let asked = likelihoods(&question.prompt)?;
            let unasked = likelihoods(&question.without)?;
            scored.push((question, Scores { asked, unasked, meaning }));
            progress.step();
        }
        Ok(Kind::ALL.into_iter().flat_map(|kind| measures(kind, &scored)).collect())
    }
}

fn measures(kind: Kind, scored: &[(&Question, Scores)]) -> Vec<Measure> {
    let of_kind = || scored.iter().filter(|(question, _)| question.kind == kind);
    if of_kind().next().is_none() {
        return Vec::new();
    }
    let chance: Vec<f64> = of_kind().map(|(question, _)| question.chance() * 100.0).collect();
    let by_chance = Measure::mean(
        &format!("choosing_{}_by_chance", kind.name()),
        "%",
        &chance,
        format!("{}, one of which is drawn", kind.about()),
    );
    let chosen = Way::ALL.into_iter().filter_map(|way| {
        let right: Option<Vec<bool>> =
            of_kind().map(|(question, scores)| Some(question.acceptable[scores.best(way)?])).collect();
        Some(Measure::share(&format!("choosing_{}_{}", kind.name(), way.name()), right?, way.about()))
    });
    std::iter::once(by_chance).chain(chosen).collect()
}

/// How near each text is to its request, all requests and all texts seen from their mean.
async fn by_meaning(search: &Search, questions: &[Question]) -> anyhow::Result<Vec<Option<Vec<f64>>>> {
    let requests: Vec<String> = questions.iter().map(|question| question.request.clone()).collect();
    let texts: Vec<String> = questions.iter().flat_map(|question| question.meant.iter().cloned()).collect();
    let requests = from_their_mean(&embed(search, requests, |_, _| ()).await?);
    let mut texts = from_their_mean(&embed(search, texts, |_, _| ()).await?).into_iter();
    let nearness = |(question, request): (&Question, &Vec<f32>)| {
        let texts = texts.by_ref().take(question.texts.len());
        Some(texts.map(|text| f64::from(dot(request, &text))).collect())
    };
    Ok(questions.iter().zip(&requests).map(nearness).collect())
}

fn from_their_mean(vectors: &[QueryVector]) -> Vec<Vec<f32>> {
    let centre = centre(vectors.iter().map(QueryVector::as_slice));
    vectors.iter().map(|vector| centred(vector.as_slice(), &centre)).collect()
}
