//! `leafresh bench requests`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use leafresh_chat::{BaseInfo, Catalog, Preview, Recommender};
use leafresh_engine::{Backend, Grammar, Sampling};
use leafresh_server::setup;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::questions::Question;
use super::target::at_least_one;
use leafresh_server::config::Common;

/// Other servers spell texts in their own pieces and have no budget for each part, so that they may need more tokens.
const ALLOWANCE: usize = 2;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// How many requests to write
    #[arg(long, value_name = "N", default_value = "64", value_parser = at_least_one)]
    count: usize,
    /// Write them to FILE, one JSON object in each line
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Draw places, work types and categories from this seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How documents are used; none has every part written freely [setting: chat.grounding]
    #[arg(long, value_enum)]
    grounding: Option<Grounding>,
    /// Tokens that an answer may have [default: twice what our own answers may have, and the JSON around them]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_tokens: Option<usize>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Grounding {
    None,
    Context,
    Select,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let grounding = options.grounding.map(|grounding| {
        let name = match grounding {
            Grounding::None => "none",
            Grounding::Context => "context",
            Grounding::Select => "select",
        };
        ("--grounding", "chat.grounding", name.to_owned())
    });
    let config = options.common.load(grounding)?;
    let _logging = setup::start_logging(&config)?;
    let catalog = setup::load_catalog(&config)?;
    setup::check_engine(&config)?;
    let recommender = setup::load_recommender(&config, catalog)?;
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut lines = String::new();
    for _ in 0..options.count {
        let request = draw(recommender.catalog(), &mut rng);
        let question = question(request, &recommender, options.max_tokens)?;
        lines += &serde_json::to_string(&question)?;
        lines.push('\n');
    }
    let written = std::fs::File::create(&options.out).and_then(|mut file| file.write_all(lines.as_bytes()));
    written.with_context(|| format!("--out {} can't be written", options.out.display()))?;
    eprintln!("{} requests in {}", options.count, options.out.display());
    Ok(ExitCode::SUCCESS)
}

fn draw(catalog: &Catalog, rng: &mut impl Rng) -> BaseInfo {
    BaseInfo {
        location: catalog.places().choose(rng).map(|place| place.code.clone()).unwrap_or_default(),
        work_type: catalog.work_types().choose(rng).map(|work| work.code.clone()).unwrap_or_default(),
        category: catalog.categories().choose(rng).map(|category| category.code.clone()).unwrap_or_default(),
        ..BaseInfo::default()
    }
}

/// What another server is asked instead of this request.
fn question(
    request: BaseInfo,
    recommender: &Recommender,
    max_tokens: Option<usize>,
) -> anyhow::Result<Question> {
    let preview = recommender.preview(&request)?;
    let backend = recommender.backend();
    let max_tokens = max_tokens.unwrap_or_else(|| cap(&preview, backend));
    Ok(Question {
        location: request.location,
        adapter: String::new(),
        work_type: request.work_type,
        category: request.category,
        prompt: preview.prompt.text(),
        schema: Some(preview.schema),
        // The exemptions are this server's own; they mean nothing elsewhere.
        sampling: Sampling { penalty_exempt: Vec::new(), ..preview.sampling },
        max_tokens: Some(max_tokens),
    })
}

/// Tokens within which every answer of this program should end, written as JSON.
fn cap(preview: &Preview, backend: &dyn Backend) -> usize {
    let longest = |texts: &mut dyn Iterator<Item = &String>| {
        texts.map(|text| backend.count_tokens(text)).max().unwrap_or(0)
    };
    let slots = preview.program.slots().map(|slot| match &slot.grammar {
        Grammar::Regex(_) => slot.max_tokens,
        Grammar::Choices(choices) => longest(&mut choices.iter()),
        Grammar::Lookup { table, .. } => longest(&mut table.values().flatten()),
    });
    let challenge = r#"{"title": "", "description": ""}"#;
    let frame = format!(r#"{{"recommend": "", "challenges": [{challenge}, {challenge}, {challenge}]}}"#);
    ALLOWANCE * (slots.sum::<usize>() + backend.count_tokens(&frame))
}
