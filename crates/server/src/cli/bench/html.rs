//! The report as one page: no network, no scripts, plots as SVG.

use std::fmt::Write;

use super::clients::{Outcome, Record};
use super::load::concurrency;
use super::report::{Level, Report, Row};

const COLOURS: [&str; 6] = ["#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2"];

/// More requests than this would make the timeline a solid block.
const TIMELINE_ROWS: usize = 400;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}\
th,td{padding:.2rem .6rem;border-bottom:1px solid #8884;text-align:right;vertical-align:top}\
th:first-child,td:first-child,td:last-child{text-align:left}td:last-child{opacity:.75}\
code{overflow-wrap:anywhere}svg{width:100%;height:auto;margin:.5rem 0 1.5rem}\
svg text{font:12px system-ui,sans-serif;fill:currentColor}.warning{color:#dc2626}";

pub(super) fn page(report: &Report) -> String {
    let mut body = format!(
        "<h1>{}</h1>\n<p>API: {}. Machine: {}. Lengths are counted in {}s.</p>\n<p><code>{}</code></p>\n",
        escape(&report.url),
        report.api,
        escape(&report.machine),
        report.unit.name(),
        escape(&report.command)
    );
    body += &table(report);
    for level in &report.levels {
        for note in level.notes() {
            let _ =
                writeln!(body, "<p class=\"warning\">{}: {}</p>", escape(&level.load.label()), escape(&note));
        }
    }
    let ended = |level: &Level, value: &dyn Fn(&Record, usize) -> Option<f64>| -> Vec<f64> {
        let records = level.records.iter().zip(&level.lengths).filter(|(record, _)| record.ended());
        records.filter_map(|(record, length)| value(record, *length)).collect()
    };
    body += "<h2>Time to first token: share of answers within so many milliseconds</h2>\n";
    body += &distribution(report, |level| ended(level, &|record, _| record.ttft_ms()));
    let _ = writeln!(
        body,
        "<h2>Time per output {}: share of answers within so many milliseconds</h2>",
        report.unit.name()
    );
    body += &distribution(report, |level| ended(level, &|record, length| record.tpot_ms(length)));
    for level in &report.levels {
        let label = escape(&level.load.label());
        let _ = writeln!(
            body,
            "<h2>{label}: requests over time</h2>\n<p>Grey: waiting for the first text. Green: being written. Yellow: \
             the answer was not valid. Red: it failed.</p>"
        );
        body += &timeline(level);
        let running = concurrency(&level.records).into_iter().map(|(time, count)| (time, count as f64));
        let _ = writeln!(
            body,
            "<h2>{label}: requests at once</h2>\n{}",
            course(&running.collect::<Vec<_>>(), true)
        );
        let memory = level
            .samples
            .iter()
            .filter_map(|sample| Some((sample.at, sample.server?.rss_bytes as f64 / (1024.0 * 1024.0))));
        let memory: Vec<_> = memory.collect();
        if !memory.is_empty() {
            let _ = writeln!(body, "<h2>{label}: resident memory, MiB</h2>\n{}", course(&memory, false));
        }
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>leafresh bench</title>\n<style>{STYLE}</style>\n{body}</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn table(report: &Report) -> String {
    let table = report.table();
    let mut html = String::from("<table>\n<tr><th></th>");
    for head in &table.heads {
        let _ = write!(html, "<th>{}</th>", escape(head));
    }
    html += "<th></th></tr>\n";
    let mut before = "";
    for Row { name, cells, definition } in &table.rows {
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

/// A plot's area, and where values lie in it.
struct Frame {
    height: f64,
    most: (f64, f64),
}

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 980.0;
const TOP: f64 = 12.0;
const AXIS: f64 = 24.0;

impl Frame {
    /// `most`: the largest x and y.
    fn new(height: f64, most: (f64, f64)) -> Self {
        Self { height, most: (most.0.max(1e-9), most.1.max(1e-9)) }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * value / self.most.0
    }

    fn y(&self, value: f64) -> f64 {
        let bottom = self.height - AXIS;
        bottom - (bottom - TOP) * value / self.most.1
    }

    /// The plot with its axes around what is drawn.
    fn draw(&self, drawn: &str, y_labels: bool) -> String {
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

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

/// Empirical distributions, one for each level.
fn distribution(report: &Report, values: impl Fn(&Level) -> Vec<f64>) -> String {
    let series: Vec<Vec<f64>> = report
        .levels
        .iter()
        .map(|level| {
            let mut values = values(level);
            values.sort_by(f64::total_cmp);
            values
        })
        .collect();
    let frame = Frame::new(260.0, (largest(series.iter().flatten().copied()), 1.0));
    let mut drawn = String::new();
    for (index, (values, level)) in series.iter().zip(&report.levels).enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
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
            escape(&level.load.label())
        );
    }
    frame.draw(&drawn, true)
}

/// A bar for each request.
fn timeline(level: &Level) -> String {
    let shown = &level.records[..level.records.len().min(TIMELINE_ROWS)];
    let row = if shown.len() > 100 { 3.0 } else { 8.0 };
    let height = TOP + AXIS + row * shown.len() as f64;
    let frame = Frame::new(height, (largest(shown.iter().map(|record| record.end)), 1.0));
    let mut drawn = String::new();
    for (index, record) in shown.iter().enumerate() {
        let y = TOP + row * index as f64;
        let first = record.arrivals.first().copied().unwrap_or(record.end);
        let colour = match record.outcome {
            Outcome::Valid => "#059669",
            Outcome::Invalid(_) => "#d97706",
            Outcome::Failed(_) => "#dc2626",
        };
        for (from, to, colour) in [(record.due, first, "#8886"), (first, record.end, colour)] {
            // A failure without a text still shows.
            let width = (frame.x(to) - frame.x(from)).max(if colour == "#8886" { 0.0 } else { 1.0 });
            let _ = writeln!(
                drawn,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                frame.x(from),
                row - 1.0
            );
        }
    }
    let mut svg = frame.draw(&drawn, false);
    if shown.len() < level.records.len() {
        let _ = writeln!(svg, "<p>The first {} of {} requests.</p>", shown.len(), level.records.len());
    }
    svg
}

/// A value over the run's seconds; with `steps` it keeps its value until the next.
fn course(points: &[(f64, f64)], steps: bool) -> String {
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
