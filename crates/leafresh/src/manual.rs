//! Manual pages and shell completions, made from the command line's own description.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell; `make install` puts those of bash, zsh and fish where they are looked for
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder to write them into; one page for each command
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn completions(options: &Completions) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "leafresh", &mut text);
    std::io::Write::write_all(&mut std::io::stdout(), &text)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(options: &Man) -> anyhow::Result<ExitCode> {
    let dir = &options.dir;
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .with_context(|| format!("{} can't be written", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}
