//! Reports as one page: no network, no scripts, plots as SVG. Plots are drawn here, for in those that libraries draw, texts
//! don't follow the reader's light or dark colours.

use std::fmt::Write;

use serde::Serialize;

use crate::table::Table;

const COLOURS: [&str; 6] = ["#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2"];

const TEMPLATE: &str = include_str!("report.html");

/// What a page says, in the order in which it is shown.
#[derive(Default, Serialize)]
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    pub(crate) heading: &'a str,
    pub(crate) about: String,
    pub(crate) command: &'a str,
    pub(crate) tables: Vec<Table>,
    pub(crate) warnings: Vec<String>,
    pub(crate) plots: Vec<Plot>,
    pub(crate) notes: Vec<Note>,
}

#[derive(Serialize)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) about: String,
    /// SVG, as it stands.
    pub(crate) svg: String,
}

#[derive(Serialize)]
pub(crate) struct Note {
    pub(crate) title: String,
    pub(crate) lines: Vec<String>,
}

impl Page<'_> {
    /// # Errors
    /// None that data could cause: the template is the program's own.
    pub(crate) fn render(&self) -> anyhow::Result<String> {
        // The name's ending has it escape what isn't safe.
        let mut environment = minijinja::Environment::new();
        environment.add_template("report.html", TEMPLATE)?;
        Ok(environment.get_template("report.html")?.render(self)?)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A plot's area, and where values lie in it.
pub(crate) struct Frame {
    height: f64,
    most: (f64, f64),
}

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 980.0;
pub(crate) const TOP: f64 = 12.0;
pub(crate) const AXIS: f64 = 24.0;

impl Frame {
    /// `most`: the largest x and y.
    pub(crate) fn new(height: f64, most: (f64, f64)) -> Self {
        Self { height, most: (most.0.max(1e-9), most.1.max(1e-9)) }
    }

    pub(crate) fn x(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * value / self.most.0
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        let bottom = self.height - AXIS;
        bottom - (bottom - TOP) * value / self.most.1
    }

    /// The plot with its axes around what is drawn.
    pub(crate) fn draw(&self, drawn: &str, y_labels: bool) -> String {
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">\n", self.height);
        let bottom = self.y(0.0);
        for step in 0..=4 {
            let share = f64::from(step) / 4.0;
            let (x, y) = (self.x(self.most.0 * share), self.y(self.most.1 * share));
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {TOP}V{bottom:.1}\" stroke=\"#8883\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                tick(self.most.0 * share)
            );
            if y_labels {
                let _ = writeln!(
                    svg,
                    "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#8883\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 6.0,
                    y + 4.0,
                    tick(self.most.1 * share)
                );
            }
        }
        svg + drawn + "</svg>\n"
    }
}

fn tick(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn path(points: impl Iterator<Item = (f64, f64)>, colour: &str) -> String {
    let mut line = String::new();
    for (x, y) in points {
        let _ = write!(line, "{}{x:.1} {y:.1}", if line.is_empty() { "M" } else { "L" });
    }
    format!("<path d=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n")
}

pub(crate) fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

/// Empirical distributions: the share of each series' values up to every value, in its colour.
pub(crate) fn distribution(series: &[(String, Vec<f64>)]) -> String {
    let frame = Frame::new(260.0, (largest(series.iter().flat_map(|(_, values)| values).copied()), 1.0));
    let mut drawn = String::new();
    for (index, (label, values)) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut values = values.clone();
        values.sort_by(f64::total_cmp);
        let count = values.len() as f64;
        // A staircase: each value lifts the share by one.
        let steps = values
            .iter()
            .enumerate()
            .flat_map(|(rank, value)| [(*value, rank as f64 / count), (*value, (rank + 1) as f64 / count)]);
        let points = std::iter::once((0.0, 0.0)).chain(steps);
        drawn += &path(points.map(|(x, y)| (frame.x(x), frame.y(y))), colour);
        let _ = writeln!(
            drawn,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\" style=\"fill:{colour}\">{}</text>",
            RIGHT - 8.0,
            frame.y(0.0) - 8.0 - 16.0 * index as f64,
            escape(label)
        );
    }
    frame.draw(&drawn, true)
}

/// A value over the run's seconds; with `steps` it keeps its value until the next.
pub(crate) fn course(points: &[(f64, f64)], steps: bool) -> String {
    let most = (largest(points.iter().map(|point| point.0)), largest(points.iter().map(|point| point.1)));
    let frame = Frame::new(200.0, most);
    let mut line = Vec::new();
    for &(x, y) in points {
        if let Some(&(_, before)) = line.last().filter(|_| steps) {
            line.push((x, before));
        }
        line.push((x, y));
    }
    frame.draw(&path(line.into_iter().map(|(x, y)| (frame.x(x), frame.y(y))), COLOURS[0]), true)
}
