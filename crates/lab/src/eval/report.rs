//! What is printed and written.

use leafresh_chat::Command;
use serde_json::{Map, Value, json};

use super::answers::Record;
use super::measures::Measure;
use crate::page::{self, Page, Plot, distribution};
use crate::table::{Row, Table};

/// Lines of a list that are printed; the files have all of them.
const SHOWN: usize = 12;

/// Everything that a run gave.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) machine: String,
    /// The command line, so that whoever reads the report can do the same.
    pub(super) command: String,
    /// Seconds since 1970.
    pub(super) started: u64,
    pub(super) columns: Vec<Column>,
    /// What has nothing to do with the model that writes: search and gate.
    pub(super) shared: Vec<Measure>,
    pub(super) notes: Vec<Note>,
    pub(super) interrupted: bool,
}

/// One model, used in one way.
#[derive(Debug)]
pub(super) struct Column {
    /// Model and way: what the column is called.
    pub(super) label: String,
    pub(super) model: String,
    pub(super) parameters: u64,
    pub(super) grounding: &'static str,
    pub(super) measures: Vec<Measure>,
    pub(super) notes: Vec<Note>,
    pub(super) records: Vec<Record>,
}

/// A heading, and what is listed under it.
pub(super) type Note = (String, Vec<String>);

impl Report {
    /// Lists something, unless there is nothing to list.
    pub(super) fn note(&mut self, title: &str, lines: Vec<String>) {
        if !lines.is_empty() {
            self.notes.push((title.to_owned(), lines));
        }
    }

    /// The models side by side; figures that only some have are empty elsewhere.
    pub(super) fn answers(&self) -> Table {
        table(
            &self
                .columns
                .iter()
                .map(|column| (column.label.clone(), &column.measures[..]))
                .collect::<Vec<_>>(),
        )
    }

    pub(super) fn search(&self) -> Table {
        table(&[(String::new(), &self.shared[..])])
    }

    fn tables(&self) -> Vec<Table> {
        let tables = [self.answers().titled("Answers"), self.search().titled("Search and refusals")];
        tables.into_iter().filter(|table| !table.rows.is_empty()).collect()
    }

    fn headed_notes(&self) -> Vec<Note> {
        let several = self.columns.len() > 1;
        let of_columns = self.columns.iter().flat_map(|column| {
            column.notes.iter().map(move |(title, lines)| {
                let title = if several { format!("{}: {title}", column.label) } else { title.clone() };
                (title, lines.clone())
            })
        });
        of_columns.chain(self.notes.iter().cloned()).collect()
    }

    fn circumstances(&self) -> String {
        let interrupted = if self.interrupted { " Interrupted: figures are of what had ended." } else { "" };
        format!("{}.{interrupted}", self.machine)
    }

    /// A line for each goal that was measured; of several columns the first one's.
    pub(super) fn goals(&self) -> Vec<String> {
        let first = self.columns.first().map(|column| &column.measures[..]).unwrap_or_default();
        self.shared.iter().chain(first).filter_map(Measure::goal_line).collect()
    }

    pub(super) fn print(&self) -> String {
        let mut text = self.circumstances() + "\n";
        for table in self.tables() {
            text.extend([format!("\n{}\n{}", table.title, table.print())]);
        }
        for (title, lines) in self.headed_notes() {
            text.extend([format!("\n{title}: {}\n", lines.len())]);
            text.extend(lines.iter().take(SHOWN).map(|line| format!("  {line}\n")));
            if lines.len() > SHOWN {
                text.extend([format!(
                    "  … and {} more: --json, --markdown and --html have them\n",
                    lines.len() - SHOWN
                )]);
            }
        }
        text
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!("# leafresh eval\n\n{}\n\n`{}`\n", self.circumstances(), self.command);
        for table in self.tables() {
            text.extend([format!("\n## {}\n\n{}", table.title, table.markdown())]);
        }
        for (title, lines) in self.headed_notes() {
            text.extend([format!("\n## {title}\n\n")]);
            text.extend(lines.iter().map(|line| format!("- {line}\n")));
        }
        text
    }

    pub(super) fn html(&self) -> anyhow::Result<String> {
        let latencies = |column: &Column| {
            let written = column.records.iter().filter(|record| record.answer.is_some() && !record.refused());
            (column.label.clone(), written.map(|record| record.latency_ms).collect::<Vec<f64>>())
        };
        let latencies: Vec<_> = self.columns.iter().map(latencies).filter(|(_, ms)| !ms.is_empty()).collect();
        let plot = (!latencies.is_empty()).then(|| Plot {
            title: "Time to the end: share of answers within so many milliseconds".into(),
            about: String::new(),
            svg: distribution(&latencies),
        });
        let notes = self.headed_notes().into_iter();
        let page = Page {
            title: "leafresh eval",
            heading: "leafresh eval",
            about: self.circumstances(),
            command: &self.command,
            tables: self.tables(),
            plots: plot.into_iter().collect(),
            notes: notes.map(|(title, lines)| page::Note { title, lines }).collect(),
            ..Page::default()
        };
        page.render()
    }

    pub(super) fn json(&self) -> Value {
        let column = |column: &Column| {
            json!({
                "label": column.label,
                "model": column.model,
                "parameters": column.parameters,
                "grounding": column.grounding,
                "figures": figures(&column.measures),
                "notes": notes(&column.notes),
                "requests": column.records.iter().map(request).collect::<Vec<_>>(),
            })
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kind": super::KIND,
            "command": self.command,
            "machine": self.machine,
            "started_unix_seconds": self.started,
            "interrupted": self.interrupted,
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
            "search": {"figures": figures(&self.shared), "notes": notes(&self.notes)},
        })
    }
}

fn table(columns: &[(String, &[Measure])]) -> Table {
    let mut rows: Vec<Row> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for measure in columns.iter().flat_map(|(_, measures)| *measures) {
        let figure = &measure.figure;
        if keys.contains(&figure.key.as_str()) {
            continue;
        }
        keys.push(&figure.key);
        let cell = |(_, measures): &(String, &[Measure])| {
            let found = measures.iter().find(|other| other.figure.key == figure.key);
            found.map_or("-".into(), Measure::cell)
        };
        rows.push(Row {
            name: format!("{} {}", figure.key, figure.unit).trim_end().to_owned(),
            cells: columns.iter().map(cell).collect(),
            definition: figure.definition.clone(),
        });
    }
    Table::new(columns.iter().map(|(label, _)| label.clone()).collect(), rows)
}

fn figures(measures: &[Measure]) -> Value {
    Value::Object(measures.iter().map(|measure| (measure.figure.key.clone(), measure.json())).collect())
}

fn notes(notes: &[Note]) -> Value {
    Value::Object(notes.iter().map(|(title, lines)| (title.clone(), json!(lines))).collect::<Map<_, _>>())
}

fn request(record: &Record) -> Value {
    let mut request = match &record.task.command {
        Command::BaseInfo(asked) => json!({
            "location": asked.location,
            "workType": asked.work_type,
            "category": asked.category,
            "sessionId": asked.session_id,
        }),
        Command::FreeText(asked) => json!({
            "message": asked.message,
            "location": asked.location,
            "workType": asked.work_type,
            "kind": record.task.kind.name(),
            "expectedCategory": record.task.category,
        }),
    };
    request["seed"] = json!(record.task.seed);
    request["ttft_ms"] = json!(record.ttft_ms.map(f64::round));
    request["latency_ms"] = json!(record.latency_ms.round());
    request["answer"] = json!(record.answer);
    if let Some(fault) = &record.fault {
        request["fault"] = json!(fault);
    }
    request
}
