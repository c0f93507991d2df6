//! `leafresh keys`: API keys.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use leafresh_server::{fresh_key, is_name};

const ABOUT_FILE: &str = "\
The file is TOML, one [[key]] for each key:

  [[key]]
  name = \"front-end\"             # whose sessions and streams are apart from all others'
  sha256 = \"64 hexadecimal digits\"
  requests_per_minute = 300      # of [limits] where a line is missing; 0 is no limit
  burst = 60
  running = 32

Instead of `sha256` it may have `key` with the key itself. Two entries may have the same name: to replace a key, add the new one \
under the old one's name, hand it out, and take the old entry away; sessions and streams belong to the name. Name the file in the configuration (keys.file). The server \
reads it again when it changes; a file that can't be used changes nothing and is named in the log.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key: its entry for the keys' file goes to stdout, the key itself to stderr, once
    #[command(after_help = ABOUT_FILE, after_long_help = ABOUT_FILE)]
    New(New),
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// What to call it, in the file and in the log: 1 to 64 visible ASCII characters
    name: String,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::New(New { name }) = command;
    anyhow::ensure!(is_name(name), "a name has 1 to 64 visible ASCII characters without spaces");
    let (key, digest) = fresh_key();
    writeln!(std::io::stdout(), "[[key]]\nname = {name:?}\nsha256 = \"{digest}\"")?;
    eprintln!("The key of {name}, shown this once: {key}");
    Ok(ExitCode::SUCCESS)
}
