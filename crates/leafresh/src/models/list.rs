//! `leafresh models list`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use leafresh_engine::memory::bytes_as;
use leafresh_hub::{Cached, Known, known};
use serde_json::{Value, json};

use super::place::Place;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The models with a short name instead, fetched or not: size, memory with the default settings, licence
    #[arg(long)]
    known: bool,
    /// Print one JSON object; sizes in bytes
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let cache = options.place.cache()?;
    let files = cache.list()?;
    let (rows, json) = if options.known {
        let is_here = |known: &Known| cache.find(&known.reference()).is_some();
        let rows = known().iter().map(|known| short(known, is_here(known))).collect();
        let list: Vec<_> = known().iter().map(|known| short_json(known, is_here(known))).collect();
        (rows, json!({ "known": list }))
    } else {
        let rows: Vec<_> = files.iter().map(row).collect();
        let list: Vec<_> = files.iter().map(row_json).collect();
        (rows, json!({ "cache": cache.folder(), "files": list }))
    };
    let mut out = std::io::stdout();
    if options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&json)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    out.write_all(table(&rows).as_bytes())?;
    if !options.known {
        let total: u64 = files.iter().map(|file| file.bytes).sum();
        let folder = cache.folder().display();
        eprintln!(
            "{} GGUF files, {}, in {folder}; `leafresh models list --known` shows some that can be fetched",
            files.len(),
            bytes_as(total)
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns as wide as their widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Under which name it is served.
fn name(file: &Cached) -> String {
    format!("hf:{}:{}", file.repo, file.name)
}

fn row(file: &Cached) -> Vec<String> {
    let commit = file.commit.chars().take(8).collect();
    vec![name(file), bytes_as(file.bytes), commit, file.path.display().to_string()]
}

fn row_json(file: &Cached) -> Value {
    json!({ "model": name(file), "bytes": file.bytes, "commit": file.commit, "path": file.path })
}

fn short(known: &Known, here: bool) -> Vec<String> {
    vec![
        known.name.clone(),
        format!("{} MB", known.download_mb),
        format!("about {:.1} GB of memory", known.memory_gb),
        known.licence.clone(),
        known.reference().to_string(),
        if here { "fetched" } else { "" }.to_owned(),
    ]
}

fn short_json(known: &Known, here: bool) -> Value {
    json!({
        "name": known.name,
        "model": known.reference().to_string(),
        "download_mb": known.download_mb,
        "memory_gb": known.memory_gb,
        "licence": known.licence,
        "licence_url": known.licence_url,
        "fetched": here,
    })
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_stand_below_each_other_whatever_they_hold() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["a", "1 GB", "x"]), row(["한국어", "10 MB", ""])];
        assert_eq!(table(&rows), "a    1 GB   x\n한국어  10 MB\n");
        assert_eq!(table(&[]), "");
    }
}
