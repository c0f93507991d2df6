//! `leafresh bench engine`: what a running answer feels of the others, and whether every answer is whole.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use leafresh_chat::{BaseInfo, Catalog, Grounding, Recommender, Settings};
use leafresh_engine::{
    Backend, Delta, Grammar, Local, LocalSettings, Piece, Program, Progress, Prompt, Request, Sampling,
    Segment, Slot,
};
use leafresh_server::setup;
use regex::Regex;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use leafresh_server::config::Common;

/// Answers that are being written while others join.
const WRITING: usize = 4;
/// Tokens of the prompt that joins.
const LONG_PROMPT: usize = 1500;
/// Tokens of each prompt that the idle cache is filled with.
const IDLE_PROMPT: usize = 256;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Fewer rounds and seeds
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = options.common.load(None)?;
    let _logging = setup::start_logging(&config)?;
    let catalog = setup::load_catalog(&config)?;
    let model = config.model.file()?;
    setup::check_model(&model)?;
    let load = |cached_tokens| {
        let settings = LocalSettings { cached_tokens, ..config.engine.clone() };
        Local::load(&model, &settings).map(Arc::new)
    };
    let (full, empty) = (load(config.engine.cached_tokens)?, load(0)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (rounds, seeds) = if options.quick { (2, 24) } else { (5, 200) };
    let job = Job::new(&catalog, full.clone(), Grounding::None)?;
    goal("tpot_p95_while_1500_tokens_join_over_without", joining(&runtime, &full, &job, rounds)?, 2.0, true);
    goal("tpot_with_full_idle_cache_over_empty", idle(&runtime, &full, &empty, &job, rounds)?, 1.1, true);
    for (name, grounding) in [("free", Grounding::None), ("shipped", Grounding::Select)] {
        let job = Job::new(&catalog, full.clone(), grounding)?;
        let least = job.with_least_budgets(&full)?;
        for (budgets, job) in [("", &job), ("_at_least_budgets", &least)] {
            let percent = runtime.block_on(valid_percent(&full, job, seeds))?;
            goal(&format!("valid_percent_{name}{budgets}_{seeds}_seeds"), percent, 100.0, false);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn goal(name: &str, value: f64, target: f64, at_most: bool) {
    let reached = if at_most { value <= target } else { value >= target };
    println!("goal {name} {value:.2} {target} {}", if reached { "ok" } else { "short" });
}

/// A prompt and a program as requests have them.
struct Job {
    prompt: Prompt,
    program: Program,
    sampling: Sampling,
}

impl Job {
    fn new(catalog: &Arc<Catalog>, engine: Arc<Local>, grounding: Grounding) -> anyhow::Result<Self> {
        let settings = Settings { grounding: Some(grounding), ..Settings::default() };
        let recommender = Recommender::new(catalog.clone(), engine, settings)?;
        let first = |codes: Option<String>| codes.context("the catalogue has no choices");
        let preview = recommender.preview(&BaseInfo {
            location: first(catalog.places().first().map(|place| place.code.clone()))?,
            work_type: first(catalog.work_types().first().map(|work| work.code.clone()))?,
            category: first(catalog.categories().first().map(|category| category.code.clone()))?,
            ..BaseInfo::default()
        })?;
        Ok(Self { prompt: preview.prompt, program: preview.program, sampling: preview.sampling })
    }

    fn with_least_budgets(&self, engine: &Local) -> anyhow::Result<Self> {
        let mut least = engine.least_budgets(&self.prompt, &self.program)?.into_iter();
        let segments = self.program.segments().iter().map(|segment| match segment {
            Segment::Fixed(text) => Segment::Fixed(text.clone()),
            Segment::Slot(slot) => {
                let max_tokens = least.next().unwrap_or(slot.max_tokens);
                Segment::Slot(Slot { max_tokens, ..slot.clone() })
            }
        });
        let program = Program::new(segments.collect())?;
        Ok(Self { prompt: self.prompt.clone(), program, sampling: self.sampling.clone() })
    }

    fn request(&self, seed: u64) -> Request {
        Request {
            adapter: None,
            prompt: self.prompt.clone(),
            program: self.program.clone(),
            progress: Progress::default(),
            sampling: Sampling { seed: Some(seed), ..self.sampling.clone() },
        }
    }
}

/// A request that has only a prompt to be read: one of two tokens is to be chosen.
fn prompt_only(text: String) -> anyhow::Result<Request> {
    let slot = Slot {
        name: "end".into(),
        grammar: Grammar::Choices(vec!["0".into(), "1".into()]),
        max_tokens: 4,
        distinct_from: Vec::new(),
        stop: Vec::new(),
    };
    Ok(Request {
        adapter: None,
        prompt: Prompt { pieces: vec![Piece::Text(text)] },
        program: Program::new(vec![Segment::Slot(slot)])?,
        progress: Progress::default(),
        sampling: Sampling::default(),
    })
}

/// Text of so many tokens, each time another one.
fn text_of(engine: &Local, tokens: usize, salt: usize) -> String {
    let mut text = format!("{salt} ");
    let piece = "동네를 걸으며 쓰레기를 줍고 물과 전기를 아껴 씁니다. ";
    let each = engine.count_tokens(piece).max(1);
    text.push_str(&piece.repeat(tokens.saturating_sub(engine.count_tokens(&text)) / each + 1));
    text
}

/// Milliseconds for each token behind the first, and the slots.
async fn answer(engine: &Local, request: Request) -> anyhow::Result<(f64, Vec<String>)> {
    let mut generation = engine.generate(request)?;
    let (mut first, mut slots) = (None, Vec::new());
    while let Some(delta) = generation.next().await {
        match delta {
            Delta::Text { .. } => _ = first.get_or_insert_with(Instant::now),
            Delta::SlotDone { text, .. } => slots.push(text),
            Delta::Done(_) => {
                let tokens: usize = slots.iter().map(|text| engine.count_tokens(text)).sum();
                let spent = first.map_or(Duration::ZERO, |first| first.elapsed());
                return Ok((spent.as_secs_f64() * 1e3 / (tokens.max(2) - 1) as f64, slots));
            }
            Delta::Failed(error) => return Err(error.into()),
        }
    }
    Err(anyhow!("a generation ended without a word"))
}

/// TPOT of answers that are written at the same time, `more` going on meanwhile.
async fn tpots(engine: &Arc<Local>, job: &Job, salt: u64, more: Vec<Request>) -> anyhow::Result<Vec<f64>> {
    let mut answers = JoinSet::new();
    for seed in 0..WRITING as u64 {
        let (engine, request) = (engine.clone(), job.request(salt * 100 + seed));
        answers.spawn(async move { answer(&engine, request).await.map(|(tpot, _)| tpot) });
    }
    let others = more.into_iter().map(|request| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        answer(engine, request).await
    });
    for other in others {
        other.await?;
    }
    answers.join_all().await.into_iter().collect()
}

/// The quotient of TPOT p95 with and without a long prompt that joins.
fn joining(runtime: &Runtime, engine: &Arc<Local>, job: &Job, rounds: usize) -> anyhow::Result<f64> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    runtime.block_on(tpots(engine, job, 0, Vec::new()))?;
    for round in 1..=rounds {
        let long = prompt_only(text_of(engine, LONG_PROMPT, round))?;
        without.extend(runtime.block_on(tpots(engine, job, round as u64, Vec::new()))?);
        with.extend(runtime.block_on(tpots(engine, job, round as u64, vec![long]))?);
    }
    println!(
        "TPOT p95 of {WRITING} answers: {:.1} ms, {:.1} ms with a prompt of {LONG_PROMPT} tokens joining",
        p95(&mut without),
        p95(&mut with)
    );
    Ok(p95(&mut with) / p95(&mut without))
}

fn p95(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The quotient of median TPOTs with the cache full of what nobody uses, and without.
fn idle(
    runtime: &Runtime,
    full: &Arc<Local>,
    empty: &Arc<Local>,
    job: &Job,
    rounds: usize,
) -> anyhow::Result<f64> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        // Filled anew each time: what an answer leaves behind takes the place of older entries.
        for salt in 0..16 {
            let text = text_of(full, IDLE_PROMPT, round * 100 + salt);
            runtime.block_on(answer(full, prompt_only(text)?))?;
        }
        let mine = runtime.block_on(tpots(full, job, round as u64, Vec::new()))?;
        let other = runtime.block_on(tpots(empty, job, round as u64, Vec::new()))?;
        if round > 0 {
            with.extend(mine);
            without.extend(other);
        }
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (with, without) = (median(&mut with), median(&mut without));
    println!("TPOT p50 of {WRITING} answers: {without:.1} ms, {with:.1} ms with the idle cache full");
    Ok(with / without)
}

/// The share of whole answers among those of many seeds, eight at a time.
async fn valid_percent(engine: &Arc<Local>, job: &Job, seeds: u64) -> anyhow::Result<f64> {
    let mut valid = 0u64;
    for first in (0..seeds).step_by(8) {
        let mut answers = JoinSet::new();
        for seed in first..seeds.min(first + 8) {
            let (engine, request) = (engine.clone(), job.request(seed));
            answers.spawn(async move { answer(&engine, request).await });
        }
        for answer in answers.join_all().await {
            let (_, slots) = answer?;
            match check(&job.program, &slots) {
                Ok(()) => valid += 1,
                Err(error) => eprintln!("not valid: {error:#}"),
            }
        }
    }
    Ok(valid as f64 * 100.0 / seeds as f64)
}

/// Every slot holds what its grammar allows, by an engine for regular expressions that isn't the one that wrote it.
fn check(program: &Program, slots: &[String]) -> anyhow::Result<()> {
    if slots.len() != program.slots().count() {
        bail!("{} of {} slots", slots.len(), program.slots().count());
    }
    for (slot, text) in program.slots().zip(slots) {
        let fits = match &slot.grammar {
            Grammar::Regex(pattern) => Regex::new(&format!("^(?:{pattern})$"))?.is_match(text),
            Grammar::Choices(choices) => choices.contains(text),
            Grammar::Lookup { of, table } => table.get(&slots[*of]).is_some_and(|texts| texts.contains(text)),
        };
        if !fits || slot.distinct_from.iter().any(|&other| slots[other] == *text) {
            bail!("slot {} holds {text:?}", slot.name);
        }
    }
    Ok(())
}
