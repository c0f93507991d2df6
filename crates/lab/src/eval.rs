//! `leafresh eval`: how good answers, search and refusals are.

mod addressed;
mod alphabet;
mod answers;
mod centroids;
mod choices;
mod choosing;
mod compare;
mod data;
mod figures;
mod fits;
mod gate;
mod intents;
mod intervals;
mod labelled;
mod meaning;
mod measures;
mod options;
mod own;
mod plan;
mod progress;
mod ranking;
mod report;
mod retrieval;
mod sensible;
mod surroundings;
#[cfg(test)]
mod tests;
mod understanding;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use leafresh_chat::{Catalog, Deadlines, Grounding, Recommender};
use leafresh_engine::{Backend, Local};
use leafresh_retrieval::Search;
use leafresh_server::setup;

use self::alphabet::Alphabet;
use self::answers::{Record, Subject, ask_all};
use self::figures::Yardstick;
use self::meaning::Meaning;
use self::plan::{Chain, Part};
use self::progress::Progress;
use self::report::{Column, Report};
use self::surroundings::Surroundings;
use crate::INTERRUPTED;
use crate::bench::machine;
use crate::interrupt::{self, Interrupt};
use leafresh_server::config::Config;
pub use options::Options;

/// What tells a report of this command from other JSON.
const KIND: &str = "leafresh eval";

/// It is the answers that are measured here, not whether the machine is fast enough: a slow one gets them too.
const PATIENT: Deadlines = Deadlines {
    queue: Duration::from_hours(1),
    retrieval: Duration::from_mins(1),
    stall: Duration::from_mins(10),
    answer: Duration::from_hours(1),
};

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some([first, second]) = options.compare.as_deref() {
        let comparison = compare::compare(first, second)?;
        print!("{}", comparison.text);
        return Ok(if comparison.regressions == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if let Some(form) = &options.read {
        print!("{}", sensible::read(form)?);
        return Ok(ExitCode::SUCCESS);
    }
    let config = options.common.load(None)?;
    let _logging = setup::start_logging(&config)?;
    let catalog = setup::load_catalog(&config)?;
    let models = if options.models.is_empty() { vec![config.model.file()?] } else { options.models.clone() };
    if options.writes() || options.measures(Part::Choosing) {
        models.iter().try_for_each(|model| setup::check_model(model))?;
    }
    let eval = Eval { options, config: &config, catalog };
    if let Some(file) = &options.draw {
        let form = eval.draw(&models[0], options.seed)?;
        std::fs::write(file, form).with_context(|| format!("{} can't be written", file.display()))?;
        println!("{}: fill it in, then `leafresh eval --read` it", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let report = eval.run(&models)?;
    print!("{}", report.print());
    for (file, text) in [
        (&options.json, report.json().to_string() + "\n"),
        (&options.markdown, report.markdown()),
        (&options.html, report.html()?),
    ] {
        if let Some(file) = file {
            std::fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))?;
        }
    }
    let goals = report.goals();
    if !goals.is_empty() {
        println!("\n{}", goals.join("\n"));
    }
    Ok(if report.interrupted { ExitCode::from(INTERRUPTED as u8) } else { ExitCode::SUCCESS })
}

impl Options {
    fn measures(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whether a language model is needed.
    fn writes(&self) -> bool {
        [Part::Grid, Part::Repeats, Part::Messages, Part::Questions]
            .into_iter()
            .any(|part| self.measures(part))
    }
}

/// A run before it begins.
struct Eval<'a> {
    options: &'a Options,
    config: &'a Config,
    catalog: Arc<Catalog>,
}

impl Eval<'_> {
    fn run(&self, models: &[std::path::PathBuf]) -> anyhow::Result<Report> {
        let chains = self.chains()?;
        // Before the runtime, so that nothing uses it any more when it goes.
        let folder = Self::folder()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let interrupt = runtime.block_on(async { interrupt::on_ctrl_c() });
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut report = Report {
            machine: machine::describe(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            started,
            ..Report::default()
        };
        let surroundings = runtime.block_on(Surroundings::make(folder.path(), self.config, &self.catalog))?;
        let mut meaning = runtime.block_on(self.meaning(&surroundings, &mut report))?;
        runtime.block_on(self.labelled(&surroundings, &interrupt, &mut report))?;
        if self.options.measures(Part::Choosing) {
            let recommender = self.without_model(&surroundings)?;
            let choosing = self.choosing(&models[0], &recommender, &surroundings, &interrupt);
            report.shared.extend(runtime.block_on(choosing)?);
        }
        if self.options.writes() {
            for model in models {
                // Loaded one after the other: two may not fit.
                let backend: Arc<dyn Backend> = Arc::new(Local::load(model, &self.config.engine)?);
                for way in self.ways() {
                    if interrupt.happened() {
                        break;
                    }
                    let recommender = self.recommender(&backend, way, &surroundings)?;
                    let asking = self.ask(
                        &recommender,
                        chains.clone(),
                        &mut meaning,
                        surroundings.search.as_ref(),
                        &interrupt,
                    );
                    report.columns.push(runtime.block_on(asking)?.named(model));
                }
            }
        }
        report.interrupted = interrupt.happened();
        Ok(report)
    }

    /// For an index and conversations.
    fn folder() -> anyhow::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("leafresh-eval-").tempdir().context("no folder for the run")
    }

    fn chains(&self) -> anyhow::Result<Vec<Chain>> {
        let mut chains = Vec::new();
        if self.options.measures(Part::Grid) {
            chains.extend(plan::grid(&self.catalog, self.options.seeds));
        }
        if self.options.measures(Part::Repeats) {
            chains.extend(plan::repeats(&self.catalog));
        }
        if self.options.measures(Part::Messages) {
            let messages = data::messages(&self.config.catalog.files(), &self.catalog)?;
            chains.extend(plan::messages(&messages));
        }
        if self.options.measures(Part::Questions) {
            let files = self.config.catalog.files();
            chains.extend(plan::questions(&data::queries(&files, &self.catalog)?, &self.catalog));
            chains.extend(plan::roundabout(choices::messages(&files)?));
        }
        Ok(chains)
    }

    /// `None`: what fits the model.
    fn ways(&self) -> Vec<Option<Grounding>> {
        if self.options.grounding.is_empty() {
            return vec![self.config.chat.grounding];
        }
        self.options.grounding.iter().map(|way| Some((*way).into())).collect()
    }

    fn recommender(
        &self,
        backend: &Arc<dyn Backend>,
        grounding: Option<Grounding>,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Recommender> {
        let settings = leafresh_chat::Settings { grounding, ..self.config.chat.clone() };
        let recommender = Recommender::new(self.catalog.clone(), backend.clone(), settings)?;
        // What the gate learned is kept by what it learned from: this run may use what another one left.
        let kept = self.config.data.path()?;
        let recommender = recommender.with_deadlines(PATIENT).with_kept(kept);
        let recommender = recommender.with_sessions(surroundings.new_sessions()?);
        Ok(match &surroundings.search {
            Some(search) => recommender.with_search(search.clone()),
            None => recommender,
        })
    }

    async fn meaning(
        &self,
        surroundings: &Surroundings,
        report: &mut Report,
    ) -> anyhow::Result<Option<Meaning>> {
        let Some(search) = surroundings.search.as_ref().filter(|search| search.can_embed()) else {
            let reason = "there is no embedding model: category_accuracy and groundedness are not measured";
            report.notes.push(("Left out".into(), vec![reason.into()]));
            return Ok(None);
        };
        if !self.options.measures(Part::Grid) {
            return Ok(None);
        }
        let progress = Progress::new("documents embedded", self.catalog.documents().len());
        let meaning =
            Meaning::of_catalog(search.clone(), &self.catalog, |done, all| progress.set(done, all)).await?;
        report.shared.extend(meaning.as_ref().map(Meaning::measure));
        Ok(meaning)
    }

    async fn ask(
        &self,
        recommender: &Recommender,
        chains: Vec<Chain>,
        meaning: &mut Option<Meaning>,
        search: Option<&Search>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Asked> {
        let model = recommender.backend().model().clone();
        let records = self.records(recommender, chains, interrupt).await?;
        if let Some(meaning) = meaning.as_mut() {
            let progress = Progress::new("challenges embedded", 0);
            meaning.learn(&records, |done, all| progress.set(done, all)).await?;
        }
        let alphabet = Alphabet::of(&self.catalog);
        let yardstick = Yardstick { catalog: &self.catalog, alphabet: &alphabet, meaning: meaning.as_ref() };
        let mut measures = figures::compute(&records, &yardstick);
        if let Some(search) = search {
            let files = self.config.catalog.files();
            let _progress = Progress::new("openings compared", 1);
            measures.extend(addressed::measure(&files, &self.catalog, search, &records).await?);
        }
        let (fitting, unfit) = fits::measure(recommender, &records);
        measures.extend(fitting);
        let mut notes = figures::notes(&records, &yardstick);
        notes.extend(
            (!unfit.is_empty()).then(|| ("Challenges that don't fit the time or the person".into(), unfit)),
        );
        Ok(Asked {
            grounding: recommender.grounding(),
            parameters: model.parameters,
            measures,
            notes,
            records,
        })
    }

    /// The requests with their answers, as far as they ended before an interrupt.
    async fn records(
        &self,
        recommender: &Recommender,
        chains: Vec<Chain>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Vec<Record>> {
        let name = &recommender.backend().model().name;
        {
            let _progress = Progress::new(format!("{name}: warming up"), 1);
            recommender.warm().await?;
            recommender.learn().await?;
        }
        let progress = Progress::new(name.clone(), chains.iter().map(Vec::len).sum());
        let seeded = recommender.clone();
        let subject: Subject = Arc::new(move |seed| Arc::new(seeded.clone().with_seed(seed)));
        let mut faults = 0;
        let count = |record: &Record| {
            faults += usize::from(!record.valid());
            progress.step();
            if faults > 0 {
                progress.say(format!(", {faults} not valid"));
            }
        };
        Ok(ask_all(&subject, chains, self.options.at_once, interrupt.clone().wait(), count).await)
    }
}

/// A column before it has a name.
struct Asked {
    grounding: Grounding,
    parameters: u64,
    measures: Vec<measures::Measure>,
    notes: Vec<report::Note>,
    records: Vec<Record>,
}

impl Asked {
    fn named(self, model: &Path) -> Column {
        let file = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let grounding = match self.grounding {
            Grounding::None => "none",
            Grounding::Context => "context",
            Grounding::Select => "select",
        };
        Column {
            label: format!("{file} {grounding}"),
            model: file,
            parameters: self.parameters,
            grounding,
            measures: self.measures,
            notes: self.notes,
            records: self.records,
        }
    }
}
