//! What only loading the models tells: whether they compute here.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use leafresh_chat::{Catalog, Event};
use leafresh_engine::Embedder;
use leafresh_server::config::Config;
use leafresh_server::{assemble, base_info, setup};
use tokio::runtime::Runtime;

use super::finding::Finding;

const ANSWER: &str = "answer";
const EMBEDDING: &str = "embedding";

pub(super) fn findings(config: &Config, catalog: Option<Arc<Catalog>>, runtime: &Runtime) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(catalog) = catalog {
        findings.push(told(ANSWER, answer(config, catalog.clone(), runtime)));
        findings.extend(embedding(config, &catalog).map(|embedded| told(EMBEDDING, embedded)));
    }
    findings
}

fn told(check: &'static str, tried: anyhow::Result<String>) -> Finding {
    let advice = "the other checks say what to change; if they are all well, this is a fault worth reporting";
    tried.map_or_else(
        |error| Finding::failure(check, format!("{error:#}"), advice),
        |says| Finding::ok(check, says),
    )
}

/// Loads the model and has it answer the first category, place and kind of work.
fn answer(config: &Config, catalog: Arc<Catalog>, runtime: &Runtime) -> anyhow::Result<String> {
    let mut config = config.clone();
    // One answer: there is nothing to go on with when the engine dies.
    config.engine.process = false;
    let first = |terms: &[leafresh_chat::Term]| {
        terms.first().map(|term| term.code.clone()).context("the catalogue names no places or kinds of work")
    };
    let (place, work) = (first(catalog.places())?, first(catalog.work_types())?);
    let category = catalog.categories().first().context("the catalogue names no category")?.code.clone();
    let begin = Instant::now();
    let recommender = setup::load_recommender(&config, catalog)?;
    let loaded = begin.elapsed();
    let request = base_info(&place, &work, &category, recommender.catalog())
        .map_err(|refused| anyhow!("the catalogue's own terms are refused: {refused}"))?;
    let _guard = runtime.enter();
    let asked = Instant::now();
    let mut events = recommender.base_info(&request)?;
    runtime.block_on(async {
        let mut first = None;
        while let Some(event) = events.next().await {
            match event {
                Event::Text(_) => first = first.or_else(|| Some(asked.elapsed())),
                Event::Challenge { .. } => {}
                Event::Close(answer) if answer.degraded => {
                    bail!("the catalogue answered in the model's place")
                }
                Event::Close(answer) => {
                    return Ok(format!(
                        "{} loaded in {:.1} s; first words after {:.2} s, {} challenges after {:.2} s",
                        recommender.backend().model().name,
                        loaded.as_secs_f64(),
                        first.unwrap_or_default().as_secs_f64(),
                        answer.challenges.len(),
                        asked.elapsed().as_secs_f64()
                    ));
                }
                Event::Error(failure) => {
                    bail!("{}", leafresh_server::sentence(Some(failure), recommender.catalog()));
                }
            }
        }
        bail!("the answer had no end")
    })
}

/// Embeds one text. None: there is no model for it.
fn embedding(config: &Config, catalog: &Catalog) -> Option<anyhow::Result<String>> {
    let text = catalog.documents().first()?.text.clone();
    let embedder = assemble::embedder(config, config.retrieval.threads).transpose()?;
    Some(embedder.and_then(|embedder| embed(&*embedder, &text)))
}

fn embed(embedder: &dyn Embedder, text: &str) -> anyhow::Result<String> {
    let begin = Instant::now();
    let vectors = embedder.embed(&[text])?;
    let numbers = vectors.first().map_or(0, |vector| vector.meaning.len());
    let expected = embedder.info().dimension;
    anyhow::ensure!(numbers == expected, "a vector has {numbers} numbers instead of {expected}");
    Ok(format!("{} embeds a text in {:.3} s", embedder.info().name, begin.elapsed().as_secs_f64()))
}
