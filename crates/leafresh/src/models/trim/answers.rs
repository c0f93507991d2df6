//! Greedy answers of a model: the catalogue's own prompts and programs, one after the other.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use leafresh_chat::{BaseInfo, Catalog, Grounding, Recommender, Settings};
use leafresh_engine::{
    Backend, Delta, Grammar, Local, LocalSettings, Piece, Program, Progress, Prompt, Request, Sampling,
    Segment, Slot,
};
use tokio::runtime::Handle;

/// A model that is to write freely is asked so often: that takes longer.
const WRITTEN: usize = 2;

/// What a model was asked, and what it wrote.
pub(super) struct Asked {
    pub(super) prompts: Vec<(Prompt, Program)>,
    pub(super) answers: Vec<String>,
}

/// Asks the model in a file for an answer in each category. On a thread that may block, of a runtime.
///
/// # Errors
/// A model that can't be loaded, or fails.
pub(super) fn ask(
    catalog: &Arc<Catalog>,
    model: &Path,
    settings: &LocalSettings,
    say: &dyn Fn(String),
) -> anyhow::Result<Asked> {
    say("answering with the model as it was".into());
    let backend: Arc<dyn Backend> = Arc::new(Local::load(model, settings)?);
    let mut prompts = Vec::new();
    for (grounding, most) in [(Grounding::Select, usize::MAX), (Grounding::Context, WRITTEN)] {
        let settings = Settings { grounding: Some(grounding), ..Settings::default() };
        // Where Korean takes more tokens than the catalogue's answers may have, there are none.
        if let Ok(recommender) = Recommender::new(catalog.clone(), backend.clone(), settings) {
            prompts.extend(previews(&recommender, most)?);
        }
    }
    if prompts.is_empty() {
        prompts = choices(catalog)?;
    }
    let answers =
        answers(&*backend, &prompts, |done| say(format!("answering with the model as it was, {done}")))?;
    Ok(Asked { prompts, answers })
}

/// Asks another model the same.
///
/// # Errors
/// As [`ask`].
pub(super) fn again(
    asked: &Asked,
    model: &Path,
    settings: &LocalSettings,
    say: &dyn Fn(String),
) -> anyhow::Result<Vec<String>> {
    let backend = Local::load(model, settings)?;
    answers(&backend, &asked.prompts, |done| say(format!("answering with the trimmed model, {done}")))
}

/// What the server would ask for, in each category for other people.
fn previews(recommender: &Recommender, most: usize) -> anyhow::Result<Vec<(Prompt, Program)>> {
    let recommender = recommender.clone().with_seed(Some(1));
    let catalog = recommender.catalog();
    let mut places = catalog.places().iter().cycle();
    let mut work_types = catalog.work_types().iter().cycle().skip(1);
    let mut previews = Vec::new();
    for category in catalog.categories().iter().take(most) {
        let code =
            |term: Option<&leafresh_chat::Term>| term.map_or_else(String::new, |term| term.code.clone());
        let request = BaseInfo {
            location: code(places.next()),
            work_type: code(work_types.next()),
            category: category.code.clone(),
            ..BaseInfo::default()
        };
        let preview = recommender.preview(&request)?;
        previews.push((preview.prompt, preview.program));
    }
    Ok(previews)
}

/// In each category a choice among all titles, then among all texts of the documents.
fn choices(catalog: &Catalog) -> anyhow::Result<Vec<(Prompt, Program)>> {
    let mut programs = Vec::new();
    for category in catalog.categories() {
        let documents = catalog.fitting(&category.code, None, None);
        let slot = |name: &str, texts: Vec<String>| {
            let max_tokens = 4 * texts.iter().map(String::len).max().unwrap_or_default();
            Segment::Slot(Slot {
                name: name.into(),
                grammar: Grammar::Choices(texts),
                max_tokens,
                distinct_from: Vec::new(),
                stop: Vec::new(),
            })
        };
        let program = Program::new(vec![
            slot("title", documents.iter().map(|document| document.title.clone()).collect()),
            Segment::Fixed("\n".into()),
            slot("text", documents.iter().map(|document| document.text.clone()).collect()),
        ])?;
        let text = format!("{}\n\n1. ", category.description);
        programs.push((Prompt { pieces: vec![Piece::Text(text)] }, program));
    }
    Ok(programs)
}

fn answers(
    backend: &dyn Backend,
    prompts: &[(Prompt, Program)],
    say: impl Fn(String),
) -> anyhow::Result<Vec<String>> {
    let all = prompts.len();
    let answer = |(number, (prompt, program)): (usize, &(Prompt, Program))| {
        say(format!("{} of {all}", number + 1));
        Handle::current().block_on(answer(backend, prompt, program))
    };
    prompts.iter().enumerate().map(answer).collect()
}

/// The likeliest answer, as a reader sees it.
async fn answer(backend: &dyn Backend, prompt: &Prompt, program: &Program) -> anyhow::Result<String> {
    let sampling = Sampling { temperature: 0.0, repetition_penalty: 1.1, ..Sampling::default() };
    let request = Request {
        adapter: None,
        prompt: prompt.clone(),
        program: program.clone(),
        progress: Progress::default(),
        sampling,
    };
    let mut generation = backend.generate(request)?;
    let mut progress = Progress::default();
    while let Some(delta) = generation.next().await {
        match delta {
            Delta::Text { .. } => {}
            Delta::SlotDone { text, .. } => progress.done.push(text),
            Delta::Done(_) => return Ok(program.render(&progress)),
            Delta::Failed(error) => return Err(error).context("an answer to compare failed"),
        }
    }
    bail!("the model stopped in an answer that was to be compared")
}
