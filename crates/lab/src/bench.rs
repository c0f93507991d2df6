//! `leafresh bench`: what a server does under load, in the field's figures.

mod clients;
mod compare;
mod engine;
mod figures;
mod html;
mod load;
pub(crate) mod machine;
mod options;
mod outcome;
mod overhead;
mod questions;
pub(crate) mod reading;
mod report;
mod requests;
mod search;
pub(crate) mod target;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use leafresh_server::setup;

use crate::{INTERRUPTED, interrupt};
use clients::Asker;
use figures::{Slo, Unit};
use load::{Bench, Load, Run};
use machine::Watch;
pub use options::Options;
use options::{Command, LoadOptions};
use questions::Questions;
use report::{Level, Report};

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.command {
        Some(Command::Requests(options)) => return requests::run(options),
        Some(Command::Overhead(options)) => return overhead::run(options),
        Some(Command::Engine(options)) => return engine::run(options),
        Some(Command::Search(options)) => return search::run(options),
        None => {}
    }
    if let Some([first, second]) = options.output.compare.as_deref() {
        print!("{}", compare::compare(first, second)?);
        return Ok(ExitCode::SUCCESS);
    }
    measure(options)
}

fn measure(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { target, load, output, .. } = options;
    let watch = Watch { pid: output.pid };
    if let Some(pid) = output.pid.filter(|_| watch.sample(0.0, 0).server.is_none()) {
        bail!("--pid {pid}: there is no such process that can be watched here");
    }
    if let Some(model) = &output.model {
        setup::check_model(model)?;
    }
    let bench = Arc::new(Bench {
        asker: Asker::new(target)?,
        questions: Questions::new(target.requests.as_deref(), target.api, target.seed)?,
        adapters: target.adapters.clone(),
        next: AtomicUsize::new(0),
        watch,
    });
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // One thread: the client should take as little of the machine as it can.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let loads = load.loads(target.seed);
    let runs = runtime.block_on(drive(&bench, loads, load.warmup))?;
    let interrupted = runs.iter().any(|(_, run)| run.interrupted.is_some());
    let (unit, levels) = evaluate(runs, output.model.as_deref(), output.slo())?;
    let report = Report {
        url: bench.asker.url().to_owned(),
        api: target.api.name(),
        machine: machine::describe(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        started,
        unit,
        levels,
    };
    println!("{}", report.print().trim_end());
    if let Some(file) = &output.json {
        write(file, &(report.json().to_string() + "\n"))?;
    }
    if let Some(file) = &output.html {
        write(file, &html::page(&report)?)?;
    }
    if interrupted {
        return Ok(ExitCode::from(INTERRUPTED as u8));
    }
    if report.levels.iter().all(|level| level.records.iter().all(|record| !record.ended())) {
        bail!("no request was answered by {}", report.url);
    }
    Ok(ExitCode::SUCCESS)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))
}

impl LoadOptions {
    fn loads(&self, seed: u64) -> Vec<Load> {
        if !self.rate.is_empty() {
            let open = |rate: &f64| Load::Open { rate: *rate, seconds: self.seconds, seed };
            return self.rate.iter().map(open).collect();
        }
        let closed = |&clients: &usize| Load::Closed {
            clients,
            total: self.total.unwrap_or(clients * self.requests_each),
        };
        self.clients.iter().map(closed).collect()
    }
}

/// The warm-up and one run after the other, until Ctrl-C.
async fn drive(bench: &Arc<Bench>, loads: Vec<Load>, warmup: usize) -> anyhow::Result<Vec<(Load, Run)>> {
    let stopped = interrupt::on_ctrl_c();
    let stopped = || stopped.clone().wait();
    if warmup > 0 {
        let load = Load::Closed { clients: 1, total: warmup };
        let run = bench.run(&load, stopped(), |run, seconds| progress("warm-up", warmup, run, seconds)).await;
        end_progress();
        if run.interrupted.is_some() {
            bail!("stopped during the warm-up: nothing was measured");
        }
        let failed = figures::reasons(run.records.iter().map(|record| &record.outcome), true);
        if let Some((reason, count)) = failed.first().filter(|(_, count)| *count == warmup) {
            bail!("{}: all {count} requests of the warm-up failed: {reason}", bench.asker.url());
        }
    }
    let mut runs = Vec::new();
    for load in loads {
        let label = load.label();
        let expected = match load {
            Load::Closed { total, .. } => total,
            Load::Open { rate, seconds, .. } => (rate * seconds).round() as usize,
        };
        let run = bench.run(&load, stopped(), |run, seconds| progress(&label, expected, run, seconds)).await;
        end_progress();
        let interrupted = run.interrupted.is_some();
        runs.push((load, run));
        if interrupted {
            break;
        }
    }
    Ok(runs)
}

/// One line that is written over; only the last one where stderr is a file.
fn progress(label: &str, expected: usize, run: &Run, seconds: f64) {
    let failed = run.records.iter().filter(|record| !record.ended()).count();
    let done = run.records.len();
    let line = format!("{label}: {done} of {expected} requests, {failed} failed, {seconds:.0} s");
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{line}");
    } else if done >= expected {
        let _ = writeln!(stderr, "{line}");
    }
}

fn end_progress() {
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
}

/// Counts lengths, now that nothing is measured any more, and computes the figures.
fn evaluate(runs: Vec<(Load, Run)>, model: Option<&Path>, slo: Slo) -> anyhow::Result<(Unit, Vec<Level>)> {
    let tokenizer = model.map(leafresh_engine::load_tokenizer).transpose()?;
    let unit = if tokenizer.is_some() { Unit::Token } else { Unit::Character };
    let length = |text: &str| match &tokenizer {
        Some(tokenizer) => tokenizer.tokenize(text, false).len(),
        None => text.chars().count(),
    };
    let level = |(load, run): (Load, Run)| {
        let lengths: Vec<usize> = run.records.iter().map(|record| length(&record.text)).collect();
        let machine = machine::figures(&run.samples);
        let mut figures = figures::compute(&run.records, &lengths, unit, slo);
        let warnings = machine::warnings(&machine);
        figures.extend(machine);
        let reasons = |failed| figures::reasons(run.records.iter().map(|record| &record.outcome), failed);
        Level {
            load,
            figures,
            failed: reasons(true),
            invalid: reasons(false),
            warnings,
            interrupted: run.interrupted,
            records: run.records,
            lengths,
            samples: run.samples,
        }
    };
    Ok((unit, runs.into_iter().map(level).collect()))
}
