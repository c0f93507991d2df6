//! Two runs side by side, and whether the second is worse.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use crate::table::{Row, Table, number};

/// What there is to say about two runs.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) text: String,
    /// Figures that became worse by more than their slack.
    pub(super) regressions: usize,
}

/// # Errors
/// When a file can't be read or is none of ours, or when they have nothing in common.
pub(super) fn compare(first: &Path, second: &Path) -> anyhow::Result<Comparison> {
    let (a, b) = (read(first)?, read(second)?);
    let about = |letter: &str, path: &Path, report: &Value| {
        format!("{letter}  {}: {}\n", path.display(), report["machine"].as_str().unwrap_or("?"))
    };
    let mut comparison = both(&a, &b)
        .with_context(|| format!("{} and {} can't be compared", first.display(), second.display()))?;
    comparison.text = about("A", first, &a) + &about("B", second, &b) + &comparison.text;
    Ok(comparison)
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    let report: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    if report["kind"] != super::KIND {
        bail!("{} is no report of `leafresh eval --json`", path.display());
    }
    Ok(report)
}

fn both(a: &Value, b: &Value) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison { text: String::new(), regressions: 0 };
    for (heading, first, second) in pairs(a, b) {
        let (table, worse) = table(first, second);
        if table.rows.is_empty() {
            continue;
        }
        comparison.text.extend(["\n", &heading, "\n", &table.print()]);
        comparison.regressions += worse;
    }
    if comparison.text.is_empty() {
        bail!("they have no model and no figure in common");
    }
    if a["interrupted"] == true || b["interrupted"] == true {
        comparison.text += "\nOne of the runs was interrupted: its figures are of a part of the requests.\n";
    }
    comparison.text.extend([match comparison.regressions {
        0 => "\nno figure became worse by more than its slack\n".to_owned(),
        1 => "\n1 figure became worse by more than its slack\n".to_owned(),
        more => format!("\n{more} figures became worse by more than their slack\n"),
    }]);
    Ok(comparison)
}

/// Figures that belong together, with a heading: columns of the same name or, where each run has only one, those.
fn pairs<'a>(a: &'a Value, b: &'a Value) -> Vec<(String, &'a Value, &'a Value)> {
    let columns = |report: &'a Value| report["columns"].as_array().map_or(&[][..], Vec::as_slice);
    let label = |column: &Value| column["label"].as_str().unwrap_or_default().to_owned();
    let mut pairs = Vec::new();
    match (columns(a), columns(b)) {
        ([first], [second]) => {
            let heading = if label(first) == label(second) {
                label(first)
            } else {
                format!("{} / {}", label(first), label(second))
            };
            pairs.push((heading, &first["figures"], &second["figures"]));
        }
        (firsts, seconds) => {
            for first in firsts {
                let same = seconds.iter().find(|second| second["label"] == first["label"]);
                pairs.extend(same.map(|second| (label(first), &first["figures"], &second["figures"])));
            }
        }
    }
    pairs.push(("Search and refusals".into(), &a["search"]["figures"], &b["search"]["figures"]));
    pairs
}

/// The figures of both, and how many became worse.
fn table(a: &Value, b: &Value) -> (Table, usize) {
    let empty = Map::new();
    let mut worse = 0;
    let figures = a.as_object().unwrap_or(&empty);
    let rows = figures.iter().filter_map(|(key, figure)| {
        // What only one of them measured says nothing.
        let (first, second) = (figure["value"].as_f64()?, b[key]["value"].as_f64()?);
        let verdict = verdict(figure, first, second);
        worse += usize::from(verdict == "worse");
        Some(Row {
            name: format!("{key} {}", figure["unit"].as_str().unwrap_or_default()).trim_end().to_owned(),
            cells: vec![
                number(Some(first)),
                number(Some(second)),
                number(Some(second - first)),
                verdict.to_owned(),
            ],
            definition: figure["definition"].as_str().unwrap_or_default().to_owned(),
        })
    });
    let rows = rows.collect();
    (Table::new(["A", "B", "B-A", ""].map(String::from).to_vec(), rows), worse)
}

/// Whether a figure became worse or better by more than its slack; empty where nothing is wanted of it.
fn verdict(figure: &Value, first: f64, second: f64) -> &'static str {
    let gain = match figure["better"].as_str() {
        Some("more") => second - first,
        Some("less") => first - second,
        _ => return "",
    };
    // What is written as decimal fractions is off by the last bits.
    let slack = figure["slack"].as_f64().unwrap_or(0.0) + 1e-9;
    if gain < -slack {
        "worse"
    } else if gain > slack {
        "better"
    } else {
        "same"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn report(columns: &[(&str, f64)], mrr: f64) -> Value {
        let figure = |value: f64, better: &str, slack: f64| json!({"value": value, "unit": "%", "definition": "d", "better": better, "slack": slack});
        let column = |(label, valid): &(&str, f64)| {
            json!({"label": label, "figures": {
                "valid": figure(*valid, "more", 0.0), "degraded": figure(1.0, "less", 0.5), "copied": {"value": valid, "unit": "%"},
            }})
        };
        json!({
            "kind": crate::eval::KIND,
            "columns": columns.iter().map(column).collect::<Vec<_>>(),
            "search": {"figures": {"mrr": figure(mrr, "more", 0.02)}},
        })
    }

    #[test]
    fn less_than_before_is_a_regression_only_beyond_the_slack() {
        let before = report(&[("m select", 100.0)], 0.9);
        for (after, regressions) in [
            (report(&[("m select", 100.0)], 0.9), 0),
            (report(&[("m select", 100.0)], 0.88), 0),
            (report(&[("m select", 100.0)], 0.879), 1),
            (report(&[("m select", 99.9)], 0.879), 2),
            (report(&[("other", 99.9)], 0.95), 1),
        ] {
            let comparison = both(&before, &after).unwrap();
            assert_eq!(comparison.regressions, regressions, "{}", comparison.text);
        }
        let text = both(&before, &report(&[("m select", 50.0)], 0.95)).unwrap().text;
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(row("valid %").contains("-50") && row("valid %").contains("worse"), "{text}");
        assert!(row("mrr").contains("better") && !row("copied").contains("worse"), "{text}");
        assert!(text.ends_with("1 figure became worse by more than its slack\n"), "{text}");
    }

    #[test]
    fn of_several_columns_those_of_the_same_name_are_compared() {
        let before = report(&[("a select", 100.0), ("b select", 90.0)], 0.9);
        let after = report(&[("b select", 80.0), ("c select", 10.0)], 0.9);
        let comparison = both(&before, &after).unwrap();
        assert_eq!(comparison.regressions, 1, "{}", comparison.text);
        assert!(comparison.text.contains("b select") && !comparison.text.contains("c select"));
    }

    #[test]
    fn runs_with_nothing_in_common_are_refused() {
        let only = |part: &str| {
            let mut report = report(&[("a", 1.0)], 1.0);
            report[part] = Value::Null;
            report
        };
        assert!(both(&only("search"), &only("columns")).is_err());
    }

    proptest! {
        #[test]
        fn a_run_is_no_regression_against_itself_and_never_both_ways(
            first in 0.0..100.0f64, second in 0.0..100.0f64, slack in 0.0..10.0f64, more: bool,
        ) {
            let figure = json!({"better": if more { "more" } else { "less" }, "slack": slack});
            prop_assert_eq!(verdict(&figure, first, first), "same");
            let there = verdict(&figure, first, second);
            let back = verdict(&figure, second, first);
            let opposite = match there { "worse" => "better", "better" => "worse", same => same };
            prop_assert_eq!(back, opposite);
        }
    }
}
