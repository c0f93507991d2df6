//! What is computed from a run's timelines, each figure with its definition.

use std::collections::BTreeMap;

use super::clients::Record;
use super::outcome::Outcome;
use crate::figure::{Figure, quantile};

/// What an answer's length is counted in. The same for every server that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Token,
    Character,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Character => "character",
        }
    }

    fn definition(self) -> &'static str {
        match self {
            Self::Token => {
                "what --model's tokenizer makes of the answer's text, however the server made it (forced text too)"
            }
            Self::Character => {
                "Unicode characters of the answer's text, because no --model was named to count tokens"
            }
        }
    }
}

/// What an answer must keep to count for goodput, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Slo {
    pub(super) ttft_ms: Option<f64>,
    pub(super) tpot_ms: Option<f64>,
}

impl Record {
    /// Milliseconds from when the request was due to the first text.
    pub(super) fn ttft_ms(&self) -> Option<f64> {
        self.arrivals.first().map(|first| (first - self.due) * 1e3)
    }

    /// Milliseconds from when the request was due to the end of the stream.
    pub(super) fn latency_ms(&self) -> f64 {
        (self.end - self.due) * 1e3
    }

    /// Milliseconds for each unit of text after the first: (latency − TTFT) / (length − 1).
    pub(super) fn tpot_ms(&self, length: usize) -> Option<f64> {
        let first = self.ttft_ms()?;
        (length > 1).then(|| (self.latency_ms() - first) / (length - 1) as f64)
    }

    /// Milliseconds between neighbouring arrivals.
    fn gaps_ms(&self) -> impl Iterator<Item = f64> {
        self.arrivals.windows(2).map(|pair| (pair[1] - pair[0]) * 1e3)
    }

    /// Whether the stream came to its end mark.
    pub(super) fn ended(&self) -> bool {
        !matches!(self.outcome, Outcome::Failed(_))
    }

    fn keeps(&self, slo: Slo, length: usize) -> bool {
        let within = |value: Option<f64>, limit: Option<f64>| match (value, limit) {
            (_, None) => true,
            (Some(value), Some(limit)) => value <= limit,
            (None, Some(_)) => false,
        };
        // An answer of one unit has no time per output unit: nothing that it could exceed.
        let tpot = if length > 1 { self.tpot_ms(length) } else { Some(0.0) };
        self.outcome == Outcome::Valid && within(self.ttft_ms(), slo.ttft_ms) && within(tpot, slo.tpot_ms)
    }
}

/// How often each reason came, the most frequent first.
pub(super) fn reasons<'a>(outcomes: impl Iterator<Item = &'a Outcome>, failed: bool) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Failed(reason) if failed => *counts.entry(reason).or_default() += 1,
            Outcome::Invalid(reason) if !failed => *counts.entry(reason).or_default() += 1,
            _ => {}
        }
    }
    let mut counts: Vec<_> = counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// The figures of one level. `lengths[i]` is the length of the text of `records[i]` in `unit`s.
pub(super) fn compute(records: &[Record], lengths: &[usize], unit: Unit, slo: Slo) -> Vec<Figure> {
    let all = || records.iter().zip(lengths.iter().copied());
    let ended = || all().filter(|(record, _)| record.ended());
    let count = |outcome: fn(&Outcome) -> bool| {
        records.iter().filter(|record| outcome(&record.outcome)).count() as f64
    };
    let valid = count(|outcome| *outcome == Outcome::Valid);
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let seconds = window(records);
    let rate = |count: f64| seconds.map(|seconds| count / seconds);
    let name = unit.name();
    let total_length: usize = all().map(|(_, length)| length).sum();
    let mut figures = vec![
        Figure::new("requests", "", records.len() as f64, "requests sent and ended, warm-up left out"),
        Figure::new(
            "errors",
            "",
            failed,
            "of these, answers that did not come to their end mark: refused, broken, too slow",
        ),
        Figure::new(
            "valid",
            "%",
            (!records.is_empty()).then(|| 100.0 * valid / records.len() as f64),
            "requests answered whole: text and data agree, three challenges with different titles",
        ),
        Figure::new("seconds", "s", seconds, "from the first request to the last end"),
        Figure::new("answers_per_s", "/s", rate(valid), "valid answers / seconds"),
        Figure::new(
            "requests_per_s",
            "/s",
            rate(records.len() as f64 - failed),
            "answers that ended, valid or not / seconds",
        ),
    ];
    if slo != Slo::default() {
        let kept = all().filter(|(record, length)| record.keeps(slo, *length)).count() as f64;
        figures.push(Figure::new("goodput", "/s", rate(kept), slo.definition()));
    }
    figures.push(Figure::new(
        format!("{name}s_per_s"),
        "/s",
        rate(total_length as f64),
        format!("{name}s of all answers / seconds; {name}s are {}", unit.definition()),
    ));
    let lengths = ended().map(|(_, length)| length as f64).collect();
    series(&mut figures, ("length", ""), lengths, &format!("{name}s of an answer that ended"), &[0.5]);
    let shares = [0.5, 0.95, 0.99];
    series(
        &mut figures,
        ("ttft", "ms"),
        ended().filter_map(|(record, _)| record.ttft_ms()).collect(),
        "time to first token: from the request (open loop: from when it was due) to the first non-empty text",
        &shares,
    );
    series(
        &mut figures,
        ("tpot", "ms"),
        ended().filter_map(|(record, length)| record.tpot_ms(length)).collect(),
        &format!("time per output {name}, of each answer: (latency - TTFT) / ({name}s - 1)"),
        &shares,
    );
    series(
        &mut figures,
        ("gap", "ms"),
        ended().flat_map(|(record, _)| record.gaps_ms()).collect(),
        "between two arrivals of text of one answer, however much came in each",
        &shares,
    );
    series(
        &mut figures,
        ("latency", "ms"),
        ended().map(|(record, _)| record.latency_ms()).collect(),
        "from the request to the stream's end mark",
        &shares,
    );
    // In a closed loop nothing is ever late.
    if records.iter().any(|record| record.sent > record.due) {
        let late = records.iter().map(|record| (record.sent - record.due) * 1e3).collect();
        let definition =
            "from when a request was due to when it was sent: how far the client itself fell behind";
        series(&mut figures, ("late", "ms"), late, definition, &[0.99]);
    }
    figures
}

impl Slo {
    fn definition(self) -> String {
        let limit = |name: &str, limit: Option<f64>| limit.map(|limit| format!("{name} <= {limit} ms"));
        let limits: Vec<_> =
            [limit("TTFT", self.ttft_ms), limit("TPOT", self.tpot_ms)].into_iter().flatten().collect();
        format!("valid answers with {} / seconds", limits.join(" and "))
    }
}

/// Seconds from the first request to the last end.
fn window(records: &[Record]) -> Option<f64> {
    let first = records.iter().map(|record| record.due).min_by(f64::total_cmp)?;
    let last = records.iter().map(|record| record.end).max_by(f64::total_cmp)?;
    (last > first).then_some(last - first)
}

/// Adds quantiles of a series.
fn series(
    figures: &mut Vec<Figure>,
    (key, unit): (&str, &'static str),
    mut values: Vec<f64>,
    definition: &str,
    shares: &[f64],
) {
    values.sort_by(f64::total_cmp);
    for share in shares {
        let key = format!("{key}_p{:.0}", share * 100.0);
        figures.push(Figure::new(key, unit, quantile(&values, *share), definition));
    }
}

#[cfg(test)]
mod tests;
