//! Reports as one page: no network, no scripts, plots as SVG.

use std::fmt::Write;

const COLOURS: [&str; 6] = ["#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2"];

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}\
th,td{padding:.2rem .6rem;border-bottom:1px solid #8884;text-align:right;vertical-align:top}\
th:first-child,td:first-child,td:last-child{text-align:left}td:last-child{opacity:.75}\
code{overflow-wrap:anywhere}svg{width:100%;height:auto;margin:.5rem 0 1.5rem}\
svg text{font:12px system-ui,sans-serif;fill:currentColor}.warning{color:#dc2626}";

/// A whole page around its body.
pub(crate) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n{body}</html>\n",
        escape(title)
    )
}

pub(crate) fn escape(text: &str) -> String {
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
