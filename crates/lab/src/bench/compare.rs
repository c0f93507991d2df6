//! Two runs side by side.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use crate::table::{Row, Table, number};

/// One table for each load that both files have: what the first says, what the second says, second / first.
///
/// # Errors
/// When a file can't be read or is none of ours, or when they have no load in common.
pub(super) fn compare(first: &Path, second: &Path) -> anyhow::Result<String> {
    let (a, b) = (read(first)?, read(second)?);
    let about = |letter: &str, path: &Path, report: &Value| {
        let part = |key: &str| report[key].as_str().unwrap_or("?").to_owned();
        format!("{letter}  {}: {} ({}), {}\n", path.display(), part("url"), part("api"), part("machine"))
    };
    let mut text = about("A", first, &a) + &about("B", second, &b);
    if a["unit"] != b["unit"] {
        text += "The two count lengths in different units, so that per-token figures can't be compared.\n";
    }
    let mut common = 0;
    for level in levels(&a) {
        let Some(other) = levels(&b).find(|other| other["label"] == level["label"]) else { continue };
        common += 1;
        text.extend(["\n", level["label"].as_str().unwrap_or_default(), "\n", &table(level, other).print()]);
    }
    if common == 0 {
        bail!("{} and {} have no number of clients and no rate in common", first.display(), second.display());
    }
    Ok(text)
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    let report: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    if !report["levels"].is_array() {
        bail!("{} is no report of `leafresh bench --json`", path.display());
    }
    Ok(report)
}

fn levels(report: &Value) -> impl Iterator<Item = &Value> {
    report["levels"].as_array().into_iter().flatten()
}

fn table(a: &Value, b: &Value) -> Table {
    let empty = Map::new();
    let figures = a["figures"].as_object().unwrap_or(&empty);
    let rows = figures.iter().filter_map(|(key, figure)| {
        let (first, second) = (figure["value"].as_f64(), b["figures"][key]["value"].as_f64());
        first.or(second)?;
        let ratio = first.zip(second).map(|(first, second)| second / first).filter(|ratio| ratio.is_finite());
        Some(Row {
            name: format!("{key} {}", figure["unit"].as_str().unwrap_or_default()).trim_end().to_owned(),
            cells: vec![number(first), number(second), number(ratio)],
            definition: figure["definition"].as_str().unwrap_or_default().to_owned(),
        })
    });
    Table::new(["A", "B", "B/A"].map(String::from).to_vec(), rows.collect())
}
