//! `leafresh catalog`: the domain as files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use leafresh_chat::{Catalog, Files};

const ABOUT_EXPORT: &str = "\
Change what is yours in the folder, then start the server with it:
  leafresh catalog export my-catalogue
  leafresh catalog check my-catalogue
  leafresh serve --catalog my-catalogue       (or catalog.dir in the configuration)

Each file explains itself at its top.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the program's own catalogue into a new folder, to be adapted
    #[command(after_help = ABOUT_EXPORT)]
    Export(Folder),
    /// Say what is wrong with a catalogue, with file, line and key
    Check(Folder),
}

#[derive(Debug, Args)]
pub(super) struct Folder {
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Export(Folder { dir }) => {
            let count = Files::export(dir)?;
            let dir = dir.display();
            println!("{count} files in {dir}; `leafresh serve --catalog {dir}` uses them");
        }
        Command::Check(Folder { dir }) => {
            let catalog = Catalog::load(dir)?;
            println!(
                "{} can be used: {} categories, {} places, {} work types, {} documents",
                dir.display(),
                catalog.categories().len(),
                catalog.places().len(),
                catalog.work_types().len(),
                catalog.documents().len()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
