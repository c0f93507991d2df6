//! What is printed and written.

use serde_json::{Map, Value, json};

use super::clients::Record;
use super::figures::Unit;
use super::load::Load;
use super::machine::Sample;
use super::outcome::Outcome;
use crate::figure::Figure;
use crate::table::{Row, Table, number};

/// Runs against one server.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) api: &'static str,
    pub(super) machine: String,
    /// The command line, so that whoever reads the report can do the same.
    pub(super) command: String,
    /// Seconds since 1970.
    pub(super) started: u64,
    pub(super) unit: Unit,
    pub(super) levels: Vec<Level>,
}

/// One run with what came of it.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) load: Load,
    pub(super) figures: Vec<Figure>,
    pub(super) failed: Vec<(String, usize)>,
    pub(super) invalid: Vec<(String, usize)>,
    pub(super) warnings: Vec<String>,
    pub(super) interrupted: Option<usize>,
    pub(super) records: Vec<Record>,
    /// Of each record's text.
    pub(super) lengths: Vec<usize>,
    pub(super) samples: Vec<Sample>,
}

impl Report {
    pub(super) fn table(&self) -> Table {
        let Some(first) = self.levels.first() else { return Table::default() };
        let rows = first
            .figures
            .iter()
            .filter(|figure| self.levels.iter().any(|level| level.value(&figure.key).is_some()));
        let row = |figure: &Figure| Row {
            name: format!("{} {}", figure.key, figure.unit).trim_end().to_owned(),
            cells: self.levels.iter().map(|level| number(level.value(&figure.key))).collect(),
            definition: figure.definition.clone(),
        };
        Table::new(self.levels.iter().map(|level| level.load.label()).collect(), rows.map(row).collect())
    }

    /// The table, and what else there is to say about the runs.
    pub(super) fn print(&self) -> String {
        let mut text = format!("{} ({})\n{}\n\n{}", self.url, self.api, self.machine, self.table().print());
        for level in &self.levels {
            let notes = level.notes();
            if !notes.is_empty() {
                text.extend(["\n", &level.load.label(), ":\n"]);
                text.extend(notes.iter().map(|note| format!("  {note}\n")));
            }
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "command": self.command,
            "url": self.url,
            "api": self.api,
            "machine": self.machine,
            "started_unix_seconds": self.started,
            "unit": self.unit.name(),
            "levels": self.levels.iter().map(Level::json).collect::<Vec<_>>(),
        })
    }
}

impl Level {
    pub(super) fn value(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.key == key)?.value
    }

    /// Sentences about errors and circumstances.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let counted = |what: &str, (reason, count): &(String, usize)| format!("{count} {what}: {reason}");
        notes.extend(self.failed.iter().map(|reason| counted("failed", reason)));
        notes.extend(self.invalid.iter().map(|reason| counted("not valid", reason)));
        if let Some(running) = self.interrupted {
            notes.push(format!("interrupted: {running} running requests were given up and are in no figure"));
        }
        notes.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        notes
    }

    fn json(&self) -> Value {
        let mut figures = Map::new();
        for figure in &self.figures {
            let value = json!({"value": figure.value, "unit": figure.unit, "definition": figure.definition});
            figures.insert(figure.key.clone(), value);
        }
        let load = match self.load {
            Load::Closed { clients, total } => json!({"clients": clients, "total": total}),
            Load::Open { rate, seconds, seed } => json!({"rate": rate, "seconds": seconds, "seed": seed}),
        };
        let counts = |reasons: &[(String, usize)]| {
            Value::Object(reasons.iter().map(|(reason, count)| (reason.clone(), json!(count))).collect())
        };
        json!({
            "label": self.load.label(),
            "load": load,
            "figures": figures,
            "failed": counts(&self.failed),
            "not_valid": counts(&self.invalid),
            "warnings": self.warnings,
            "interrupted": self.interrupted,
            "samples": self.samples,
            "requests": self.records.iter().zip(&self.lengths).map(|(record, length)| request(record, *length)).collect::<Vec<_>>(),
        })
    }
}

/// One request. The text is there where it's needed to see what went wrong.
fn request(record: &Record, length: usize) -> Value {
    let mut request = json!({
        "due_s": rounded(record.due),
        "sent_s": rounded(record.sent),
        "end_s": rounded(record.end),
        "ttft_ms": record.ttft_ms().map(rounded),
        "tpot_ms": record.tpot_ms(length).map(rounded),
        "length": length,
        "texts": record.texts,
    });
    let (outcome, reason) = match &record.outcome {
        Outcome::Valid => ("valid", None),
        Outcome::Invalid(reason) => ("not valid", Some(reason)),
        Outcome::Failed(reason) => ("failed", Some(reason)),
    };
    request["outcome"] = json!(outcome);
    if let Some(reason) = reason {
        request["reason"] = json!(reason);
        request["text"] = json!(record.text);
    }
    request
}

/// To a thousandth: more digits would only be noise.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
