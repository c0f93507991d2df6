//! Rows of figures in columns: as text and as Markdown; pages show them too.

use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};
use serde::Serialize;

/// Rows of figures in columns, each row with its definition.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) heads: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: Vec<String>,
    pub(crate) definition: String,
}

impl Table {
    /// The quantiles of a series have one definition: it stands at the first of them.
    pub(crate) fn new(heads: Vec<String>, mut rows: Vec<Row>) -> Self {
        let mut before = String::new();
        for row in &mut rows {
            let definition = row.definition.clone();
            if definition == before {
                row.definition.clear();
            }
            before = definition;
        }
        Self { title: "", heads, rows }
    }

    pub(crate) fn titled(self, title: &'static str) -> Self {
        Self { title, ..self }
    }

    pub(crate) fn print(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let right = |text: &String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.set_header([Cell::new("")].into_iter().chain(self.heads.iter().map(right)));
        for Row { name, cells, definition } in &self.rows {
            let cells = cells.iter().map(right);
            table.add_row([Cell::new(name)].into_iter().chain(cells).chain([Cell::new(definition)]));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    /// As a table of GitHub-flavoured Markdown, whose figures stand at the right: the library's don't.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let heads = self.heads.iter().map(String::as_str);
        let mut text = line(&mut [""].into_iter().chain(heads).chain([""]));
        text.extend([format!("|---|{}---|\n", "---:|".repeat(self.heads.len()))]);
        for Row { name, cells, definition } in &self.rows {
            let cells = cells.iter().map(String::as_str);
            text += &line(&mut [name.as_str()].into_iter().chain(cells).chain([definition.as_str()]));
        }
        text
    }
}

/// Three or four digits that count.
pub(crate) fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".into() };
    let size = value.abs();
    if size >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}
