//! The report as one page: no network, no scripts, plots as SVG.

use std::fmt::Write;

use super::clients::Record;
use super::load::concurrency;
use super::machine::Sample;
use super::outcome::Outcome;
use super::report::{Level, Report};
use crate::page::{AXIS, Frame, Page, Plot, TOP, course, distribution, largest};

/// More requests than this would make the timeline a solid block.
const TIMELINE_ROWS: usize = 400;

pub(super) fn page(report: &Report) -> anyhow::Result<String> {
    let ended = |level: &Level, value: &dyn Fn(&Record, usize) -> Option<f64>| -> Vec<f64> {
        let records = level.records.iter().zip(&level.lengths).filter(|(record, _)| record.ended());
        records.filter_map(|(record, length)| value(record, *length)).collect()
    };
    let share = |of: String, values: &dyn Fn(&Level) -> Vec<f64>| Plot {
        title: format!("{of}: share of answers within so many milliseconds"),
        about: String::new(),
        svg: distribution(&series(report, values)),
    };
    let mut plots = vec![
        share("Time to first token".into(), &|level| ended(level, &|record, _| record.ttft_ms())),
        share(format!("Time per output {}", report.unit.name()), &|level| {
            ended(level, &|record, length| record.tpot_ms(length))
        }),
    ];
    plots.extend(report.levels.iter().flat_map(courses));
    let warnings = report
        .levels
        .iter()
        .flat_map(|level| level.notes().into_iter().map(|note| format!("{}: {note}", level.load.label())));
    let page = Page {
        title: "leafresh bench",
        heading: &report.url,
        about: format!(
            "API: {}. Machine: {}. Lengths are counted in {}s.",
            report.api,
            report.machine,
            report.unit.name()
        ),
        command: &report.command,
        tables: vec![report.table()],
        warnings: warnings.collect(),
        plots,
        ..Page::default()
    };
    page.render()
}

/// What happened while a load was on the server.
fn courses(level: &Level) -> Vec<Plot> {
    let label = level.load.label();
    let plot = |what: &str, svg| Plot { title: format!("{label}: {what}"), about: String::new(), svg };
    let shown = level.records.len().min(TIMELINE_ROWS);
    let mut about =
        "Grey: waiting for the first text. Green: being written. Yellow: the answer was not valid. Red: it \
                     failed."
            .to_owned();
    if shown < level.records.len() {
        about.extend([format!(" The first {shown} of {} requests.", level.records.len())]);
    }
    let running: Vec<_> =
        concurrency(&level.records).into_iter().map(|(time, count)| (time, count as f64)).collect();
    let mut plots = vec![
        Plot { about, ..plot("requests over time", timeline(&level.records[..shown])) },
        plot("requests at once", course(&running, true)),
    ];
    let resident = |sample: &Sample| Some((sample.at, sample.server?.rss_bytes as f64 / (1024.0 * 1024.0)));
    let memory: Vec<_> = level.samples.iter().filter_map(resident).collect();
    if !memory.is_empty() {
        plots.push(plot("resident memory, MiB", course(&memory, false)));
    }
    plots
}

/// Each level's values with its name.
fn series(report: &Report, values: impl Fn(&Level) -> Vec<f64>) -> Vec<(String, Vec<f64>)> {
    report.levels.iter().map(|level| (level.load.label(), values(level))).collect()
}

/// A bar for each request.
fn timeline(shown: &[Record]) -> String {
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
    frame.draw(&drawn, false)
}
