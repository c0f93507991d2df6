//! The report as one page: no network, no scripts, plots as SVG.

use std::fmt::Write;

use super::clients::{Outcome, Record};
use super::load::concurrency;
use super::report::{Level, Report};
use crate::page::{AXIS, Frame, TOP, course, distribution, document, escape, largest};

/// More requests than this would make the timeline a solid block.
const TIMELINE_ROWS: usize = 400;

pub(super) fn page(report: &Report) -> String {
    let mut body = format!(
        "<h1>{}</h1>\n<p>API: {}. Machine: {}. Lengths are counted in {}s.</p>\n<p><code>{}</code></p>\n",
        escape(&report.url),
        report.api,
        escape(&report.machine),
        report.unit.name(),
        escape(&report.command)
    );
    body += &report.table().html();
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
    body += &distribution(&series(report, |level| ended(level, &|record, _| record.ttft_ms())));
    let _ = writeln!(
        body,
        "<h2>Time per output {}: share of answers within so many milliseconds</h2>",
        report.unit.name()
    );
    body += &distribution(&series(report, |level| ended(level, &|record, length| record.tpot_ms(length))));
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
    document("leafresh bench", &body)
}

/// Each level's values with its name.
fn series(report: &Report, values: impl Fn(&Level) -> Vec<f64>) -> Vec<(String, Vec<f64>)> {
    report.levels.iter().map(|level| (level.load.label(), values(level))).collect()
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
