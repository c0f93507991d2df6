//! `leafresh models pull`.

use std::cell::Cell;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use leafresh_engine::gguf;
use leafresh_engine::memory::{self, bytes_as};
use leafresh_hub::{Download, Hub, Licence, Progress, Reference};

use super::place::{self, Place};

const HELP: &str = "\
What is fetched lies in the cache that huggingface_hub, llama.cpp and others use, and what they have fetched is found there.
A download that was interrupted goes on where it stopped, when the same command is given again. Every file is checked by the
SHA-256 that the Hub names, and gets its name when it is whole.

From the environment: HF_TOKEN (a token, for gated and private repositories), HF_HOME and HF_HUB_CACHE (the cache),
HF_ENDPOINT (a mirror), HF_HUB_OFFLINE, HTTPS_PROXY and NO_PROXY, SSL_CERT_FILE (certificates of a company's proxy).

Examples:
  leafresh models pull qwen3-0.6b
      One of the models with a short name; `leafresh models list --known` shows them.
  leafresh models pull hf:ggml-org/gemma-3-1b-it-GGUF:Q4_K_M
      Any GGUF repository; without a quantisation Q4_K_M, Q4_0 or Q8_0 is taken, the first that there is.
  leafresh serve --model hf:ggml-org/gemma-3-1b-it-GGUF:Q4_K_M
      What was fetched, by the same name.";

/// Left free on the disk, in bytes.
const SPARE: u64 = 64 << 20;

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// hf:OWNER/REPO[:QUANT], or a short name
    #[arg(value_name = "MODEL", value_parser = place::named)]
    model: Reference,
    /// A branch, tag or commit of the repository
    #[arg(long, value_name = "REV", default_value = "main")]
    revision: String,
    /// Accept the licence without being asked
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let settings = options.place.hub()?;
    let (cache, hub) = (settings.cache()?, Hub::new(settings.settings()?));
    let download = hub.download(&cache, &options.model, &options.revision)?;
    let Download { repository, parts, .. } = &download;
    for part in parts {
        let here =
            if part.here == 0 { String::new() } else { format!(", {} of them here", bytes_as(part.here)) };
        eprintln!("{}: {} ({}{here})", repository.id, part.name, bytes_as(part.bytes));
    }
    memory::require_disk(cache.folder(), download.missing() + SPARE, &repository.id.to_string())
        .context("hub.cache, --cache or HF_HUB_CACHE names another folder")?;
    options.agree(&download)?;
    let shown = Shown::new(parts.iter().map(|part| part.bytes).sum());
    let paths = download.fetch(|progress| shown.show(&download, &progress));
    shown.bar.finish_and_clear();
    let paths = paths?;
    let mut out = std::io::stdout();
    for path in &paths {
        writeln!(out, "{}", path.display())?;
    }
    match &paths[..] {
        [path] => options.say_what_it_is(path),
        parts => {
            eprintln!(
                "a model in {} parts: llama.cpp's `llama-gguf-split --merge` joins them into the one file that is served",
                parts.len()
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Options {
    /// Shows the licence, and asks once for each repository.
    fn agree(&self, download: &Download) -> anyhow::Result<()> {
        let Licence { name, page } = &download.repository.licence;
        let name = if name.is_empty() { "none named" } else { name };
        eprintln!("licence: {name}, {page}");
        if download.is_accepted() {
            return Ok(());
        }
        if !self.accept {
            if !std::io::stdin().is_terminal() {
                bail!("the licence hasn't been accepted yet: read it at {page}, and say --accept");
            }
            eprint!("Do you accept it? [y/N] ");
            std::io::stderr().flush()?;
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer)?;
            if !["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
                bail!("the licence wasn't accepted: nothing was fetched");
            }
        }
        Ok(download.accept()?)
    }

    /// The Hub has all kinds of files: whether this one can be used is said now, not when the server starts.
    fn say_what_it_is(&self, path: &Path) -> anyhow::Result<ExitCode> {
        let header = gguf::check(path).context("it was fetched as a whole, but can't be used")?;
        eprintln!(
            "{} ({}), {}, {:.0} million weights\n`leafresh serve --model {}` answers with it, `leafresh models inspect` says \
             whether it fits here",
            header.name.as_deref().unwrap_or("a model"),
            header.architecture,
            header.file_type,
            header.parameters as f64 / 1e6,
            self.model
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// A bar on a terminal; elsewhere a line now and then.
struct Shown {
    bar: ProgressBar,
    line: Cell<Instant>,
}

/// Between two lines.
const LINES: Duration = Duration::from_secs(10);

impl Shown {
    fn new(total: u64) -> Self {
        let form = "{bar:32} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
        let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        bar.set_style(style);
        Self { bar, line: Cell::new(Instant::now()) }
    }

    fn show(&self, download: &Download, progress: &Progress) {
        match progress {
            Progress::Waits { name } => self.say(&format!("another process fetches {name}: waiting for it")),
            Progress::Again { reason, after } => {
                self.say(&format!("{reason}; trying again in {:.0} s", after.as_secs_f64().ceil()));
            }
            Progress::Here { name, bytes } => {
                // What lies before it is whole.
                let before =
                    download.parts.iter().take_while(|part| part.name != *name).map(|part| part.bytes);
                let here = before.sum::<u64>() + bytes;
                self.bar.set_position(here);
                if !std::io::stderr().is_terminal() && self.line.get().elapsed() >= LINES {
                    self.line.set(Instant::now());
                    let total = self.bar.length().unwrap_or(here);
                    eprintln!("{} of {}", bytes_as(here), bytes_as(total));
                }
            }
        }
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }
}
