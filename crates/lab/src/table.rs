//! Rows of figures in columns: as text, as Markdown, as HTML.

use std::fmt::Write;

use super::page::escape;

/// Rows of figures in columns, each row with its definition.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) heads: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: Vec<String>,
    pub(crate) definition: String,
}

impl Table {
    pub(crate) fn print(&self) -> String {
        let width =
            |cells: &mut dyn Iterator<Item = &str>| cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        let names = width(&mut self.rows.iter().map(|row| row.name.as_str()));
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.cells.get(column)).map(String::as_str);
                width(&mut cells.chain([self.heads[column].as_str()]))
            })
            .collect();
        let line = |name: &str, cells: &[String], definition: &str| {
            let mut line = format!("{name:names$}");
            for (cell, width) in cells.iter().zip(&widths) {
                line.extend([format!("  {cell:>width$}")]);
            }
            format!("{line}  {definition}").trim_end().to_owned() + "\n"
        };
        let mut text = line("", &self.heads, "");
        let mut before = "";
        for row in &self.rows {
            // The quantiles of a series have one definition.
            let definition = if row.definition == before { "" } else { &row.definition };
            text += &line(&row.name, &row.cells, definition);
            before = &row.definition;
        }
        text
    }

    /// As a table of GitHub-flavoured Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let heads = self.heads.iter().map(String::as_str);
        let mut text = line(&mut [""].into_iter().chain(heads).chain([""]));
        text.extend([format!("|---|{}---|\n", "---:|".repeat(self.heads.len()))]);
        let mut before = "";
        for row in &self.rows {
            let shown = if row.definition == before { "" } else { &row.definition };
            let cells = row.cells.iter().map(String::as_str);
            text += &line(&mut [row.name.as_str()].into_iter().chain(cells).chain([shown]));
            before = &row.definition;
        }
        text
    }

    /// As a table of HTML.
    pub(crate) fn html(&self) -> String {
        let mut html = String::from("<table>\n<tr><th></th>");
        for head in &self.heads {
            let _ = write!(html, "<th>{}</th>", escape(head));
        }
        html += "<th></th></tr>\n";
        let mut before = "";
        for Row { name, cells, definition } in &self.rows {
            let _ = write!(html, "<tr><td>{}</td>", escape(name));
            for cell in cells {
                let _ = write!(html, "<td>{cell}</td>");
            }
            // The quantiles of a series have one definition.
            let shown = if definition == before { "" } else { definition };
            let _ = writeln!(html, "<td>{}</td></tr>", escape(shown));
            before = definition;
        }
        html + "</table>\n"
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
