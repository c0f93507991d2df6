//! `leafresh index`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use leafresh_retrieval::{Corpus, Error, Index, Plan, Progress, Report};
use leafresh_server::config::{Config, Flags, Sources};
use leafresh_server::{assemble, setup};

use super::INTERRUPTED;

const EXAMPLES: &str = "\
Files:
  .jsonl  One JSON object a line. Only \"text\" has to be there:
          {\"title\": \"…\", \"text\": \"…\", \"category\": \"ZERO_WASTE\", \"places\": [\"city\"],
           \"work_types\": [\"office\"], \"short\": \"…\", \"id\": \"…\", \"source\": \"…\"}
          Without places or work types it fits all of them. With \"short\", a sentence in other
          words, it is a challenge that small models choose from as it is; without, it is something
          to read for models that write.
  .md     A document for each heading. `category: CODE` between two lines of --- at the top puts all of them there.
  .txt    One document.
Long texts are cut into passages where sentences end. Folders are searched for such files; hidden ones are \
left out.

The same command again embeds only what has changed, and takes out what is no longer in those files and folders. Ctrl-C and \
even a crash lose nothing that was counted: the same command goes on from there. The catalogue's own documents are kept up to \
date too. An index in a folder belongs to one process: stop the server first, or let both use a Qdrant server \
(retrieval.url).

Examples:
  leafresh index notes/ challenges.jsonl
  leafresh index --dry-run notes/       What would be embedded and taken out
  leafresh index --remove notes/        Take out what came from there, still existing or not
  leafresh index --rebuild notes/       Begin anew, after a change of the embedding model";

/// Put documents into the index that answers are made from, or take them out.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Files and folders; none: the catalogue's documents alone
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Take out what came from PATH
    #[arg(long, requires = "paths", conflicts_with = "rebuild")]
    remove: bool,
    /// Empty the index first
    #[arg(long, conflicts_with = "dry_run")]
    rebuild: bool,
    /// Threads that embed [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Read settings from FILE [default: config/leafresh.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Embed with this GGUF model [setting: retrieval.model]
    #[arg(long, value_name = "FILE")]
    embedding_model: Option<PathBuf>,
    /// Read the codes of categories, places and work types from DIR [setting: catalog.dir]
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = options.load()?;
    let _logging = setup::start_logging(&config)?;
    let catalog = setup::load_catalog(&config)?;
    let files = if options.remove {
        Corpus::nothing_at(&options.paths)?
    } else {
        Corpus::files(&options.paths, assemble::codes(&catalog))?
    };
    let corpus = Corpus::catalog(catalog.documents()).and(files);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let embedder = assemble::embedder(&config, options.threads.unwrap_or(cores).max(1))
        .context("the embedding model can't be used")?;
    let Some(embedder) = embedder else {
        bail!(
            "an index needs an embedding model; `make model` fetches one, --embedding-model names another file"
        );
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let location = assemble::location(&config)?;
        let index = if options.rebuild {
            Index::rebuild(&location, embedder).await
        } else {
            Index::open(&location, embedder).await
        };
        let index = index.map_err(|error| match error {
            Error::Locked(folder) => anyhow::anyhow!(
                "{}: another process uses this index, most likely `leafresh serve`; stop it, run this command, and start it \
                 again, or let both use a Qdrant server (retrieval.url)",
                folder.display()
            ),
            error => error.into(),
        })?;
        options.update(&index, &corpus).await
    })
}

impl Options {
    fn load(&self) -> anyhow::Result<Config> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let flags = [
            ("--embedding-model", "retrieval.model", self.embedding_model.as_ref().map(path)),
            ("--catalog", "catalog.dir", self.catalog.as_ref().map(path)),
        ];
        let given = flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?)));
        Ok(Config::load(&Sources::read(self.config.clone(), Flags(given.collect())))?)
    }

    async fn update(&self, index: &Index, corpus: &Corpus) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        let started = Instant::now();
        let plan = index.plan(corpus).await?;
        writeln!(out, "{}", describe(&plan, corpus))?;
        if self.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let stop = stop_on_ctrl_c();
        let shown = Shown::new(plan.new_documents());
        let report = index.run(corpus, plan, &stop, |progress| shown.show(progress)).await;
        shown.finish();
        let report =
            report.context("what was embedded before counts; the same command goes on from there")?;
        let total = index.search().count().await?;
        writeln!(out, "{}", outcome(report, started.elapsed(), total))?;
        Ok(if report.stopped { ExitCode::from(INTERRUPTED as u8) } else { ExitCode::SUCCESS })
    }
}

fn describe(plan: &Plan, corpus: &Corpus) -> String {
    let mut parts = vec![format!("{} documents", plan.documents)];
    if corpus.file_count() > 0 {
        parts[0].extend([format!(", with those of {} files and of the catalogue", corpus.file_count())]);
    }
    for (count, what) in [
        (plan.new_documents(), "to be embedded"),
        (plan.unchanged, "already indexed"),
        (plan.duplicates, "said more than once"),
        (plan.gone(), "to be taken out"),
        (corpus.skipped, "files of other kinds left out"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join("; ")
}

fn outcome(report: Report, elapsed: Duration, total: usize) -> String {
    let Report { embedded, removed, stopped } = report;
    let seconds = elapsed.as_secs_f64();
    let end = if stopped { "stopped; the same command goes on from here. " } else { "" };
    let rate = embedded as f64 / seconds.max(0.001);
    format!(
        "{end}{embedded} embedded and {removed} taken out in {seconds:.1} s ({rate:.0} a second); the index holds {total}"
    )
}

/// The first Ctrl-C ends the work after the documents at hand, the second one the process.
fn stop_on_ctrl_c() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("\nstopping after the documents at hand; Ctrl-C once more ends at once");
            seen.store(true, Ordering::Relaxed);
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
    });
    stop
}

/// A bar on a terminal; elsewhere a line now and then.
struct Shown {
    bar: ProgressBar,
    started: Instant,
    lines: std::cell::Cell<Instant>,
}

/// Between two lines.
const LINES: Duration = Duration::from_secs(10);

impl Shown {
    fn new(total: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:32} {pos}/{len} documents, {per_sec:.0}, {eta} left");
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, started: Instant::now(), lines: std::cell::Cell::new(Instant::now()) }
    }

    fn show(&self, Progress { done, total }: Progress) {
        self.bar.set_position(done as u64);
        let due = done > 0 && self.lines.get().elapsed() >= LINES;
        if !std::io::stderr().is_terminal() && due {
            self.lines.set(Instant::now());
            let rate = done as f64 / self.started.elapsed().as_secs_f64();
            let left = (total - done) as f64 / rate;
            eprintln!("{done}/{total} documents, {rate:.0} a second, {left:.0} s left");
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_was_done_and_how_to_go_on() {
        let report = Report { embedded: 200, removed: 3, stopped: false };
        let text = outcome(report, Duration::from_secs(2), 520);
        assert_eq!(text, "200 embedded and 3 taken out in 2.0 s (100 a second); the index holds 520");
        let stopped = outcome(Report { stopped: true, ..report }, Duration::from_secs(2), 520);
        assert!(stopped.starts_with("stopped; the same command goes on"), "{stopped}");
    }
}
