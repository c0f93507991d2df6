//! `leafresh models trim`.

mod answers;
mod proof;

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use clap::Args;
use leafresh_chat::{Catalog, Files};
use leafresh_engine::memory::bytes_as;
use leafresh_engine::trim::{Trim, Wanted};
use leafresh_engine::{end_process, gguf};

use super::target::{INTERRUPTED, Target, interruptible};
use proof::Proof;

/// What nothing is kept for: everyday sentences, to see what becomes of texts that nobody knew of.
const HELD_OUT: &str = "eval/everyday.jsonl";

const HELP: &str = "\
Of a small model's file half and more is the table of its tokens, most of them in scripts that are
never written here. What stays:
  special   what begins and ends texts, and what the file cuts out of texts before all else
  bytes     every byte, so that any text can still be read and written, if in more tokens
  letters   every token with a Hangul letter
  symbols   every token that is one sign or one emoji
  ascii     tokens of up to --ascii-length ASCII characters
  texts     every token that is a part of a text of the catalogue, or of a --text
  parts     what those are made of, as the tokenizer joins them
Rows are copied as they are, all else byte for byte: the model says the same of the tokens that stay,
to the last bit. Known are the tokenizers `llama` (SentencePiece) and `gpt2` (byte-pair encoding).
The licence of IN holds for OUT, which says in its metadata what was done (leafresh.trim.*).

OUT appears only when it is proven, line by line:
  pieces    the catalogue's texts are cut into the same tokens as before, and so are held-out Korean
            ones that nothing was kept for (how many is said; 95 % have to be)
  any text  every character of Unicode's first plane comes back as it was
  logits    behind prompts and other texts, of all tokens that stay
  answers   greedy ones, chosen among documents and written freely
OUT.sha256 is written beside it, and the server checks it before loading. A catalogue of your own can
be answered from with any trimmed model, in a few more tokens; name it with --catalog to keep its own.

Examples:
  leafresh models trim models/gemma-3-270m-Q4_K_M.gguf models/gemma-3-270m-Q4_K_M.trim.gguf
  leafresh models trim --catalog my-catalogue --text letters.txt models/big.gguf models/big.trim.gguf";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The GGUF file to read
    #[arg(value_name = "IN")]
    source: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    target: PathBuf,
    /// Keep what the texts in DIR need [default: the program's own catalogue]
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Keep what this text needs too (UTF-8); may be given more than once
    #[arg(long = "text", value_name = "FILE")]
    texts: Vec<PathBuf>,
    /// Keep tokens of so many ASCII characters; longer words are written in pieces
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
    ascii_length: u8,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
}

/// What is being done, for whoever waits.
#[derive(Clone, Default)]
struct Stage(Arc<Mutex<String>>);

impl Stage {
    fn set(&self, text: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    gguf::check(&options.source)?;
    let target = Target::new(&options.source, &options.target, options.force)?;
    let files = options.catalog.clone().map_or_else(Files::built_in, Files::in_folder);
    let texts = options.texts(&files)?;
    let catalog = Arc::new(Catalog::of(&files)?);
    let held_out = held_out(&files)?;
    let wanted = Wanted { letters: is_hangul, ascii_length: options.ascii_length.into(), texts: &texts };
    let trim = Trim::plan(&options.source, &wanted)?;
    target.require_room(trim.bytes())?;
    println!("{}", kept(&trim));

    let unfinished = target.unfinished("trimmed");
    let (stage, expected) = (Stage::default(), bytes_as(trim.bytes()));
    let (at, source, to) = (stage.clone(), options.source.clone(), unfinished.path().to_owned());
    let before = trim.header().file_bytes;
    let work = move || {
        at.set(format!("writing about {expected}"));
        trim.write(&to)?;
        gguf::check(&to).context("what was written isn't whole")?;
        let proof =
            Proof { source: &source, trimmed: &to, kept: trim.kept(), texts: &texts, held_out: &held_out };
        proof.run(&catalog, &|doing| at.set(doing))
    };
    let said = Cell::new(String::new());
    let say = || {
        let doing = stage.get();
        if said.replace(doing.clone()) != doing {
            eprintln!("{doing}");
        }
    };
    let Some(done) = interruptible(work, say)? else {
        drop(unfinished);
        target.say_interrupted();
        // A model may be computing, which the usual end would pull its memory from.
        end_process(INTERRUPTED);
    };
    done?;
    let after = unfinished.bytes();
    let sum = target.put_in_place(&unfinished)?;
    println!(
        "{}: {}\n{}: {}, {:.2} of it (sha256 {})",
        options.source.display(),
        bytes_as(before),
        options.target.display(),
        bytes_as(after),
        after as f64 / before as f64,
        sum.sha256
    );
    Ok(ExitCode::SUCCESS)
}

impl Options {
    /// What is kept for: the catalogue's texts and the given ones, line by line.
    fn texts(&self, files: &Files) -> anyhow::Result<Vec<String>> {
        let mut texts = files.texts(|name| name != HELD_OUT)?;
        for path in &self.texts {
            let text = fs::read_to_string(path).with_context(|| {
                format!("{} can't be read; expected a file of UTF-8 text", path.display())
            })?;
            texts.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
        }
        Ok(texts.into_iter().collect())
    }
}

/// The catalogue's own, or else the program's.
fn held_out(files: &Files) -> anyhow::Result<Vec<String>> {
    let files = if files.has(HELD_OUT) { files } else { &Files::built_in() };
    let texts: Vec<String> = files.texts(|name| name == HELD_OUT)?.into_iter().collect();
    if texts.is_empty() {
        bail!("{} holds no texts; without any nothing can be proven", files.path(HELD_OUT).display());
    }
    Ok(texts)
}

/// Syllables and letters, the old ones and those of the compatibility block.
fn is_hangul(c: char) -> bool {
    matches!(c, '\u{AC00}'..='\u{D7A3}' | '\u{1100}'..='\u{11FF}' | '\u{3131}'..='\u{318E}')
}

fn kept(trim: &Trim) -> String {
    let reasons = trim.reasons().iter().filter(|(_, count)| *count > 0);
    let reasons: Vec<String> = reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
    format!(
        "{:<10}{} of {} tokens: {}",
        "kept",
        trim.kept().len(),
        trim.header().vocabulary,
        reasons.join(", ")
    )
}
