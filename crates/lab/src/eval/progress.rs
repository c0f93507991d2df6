//! How far a run is.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const BAR: &str = "{prefix} {wide_bar} {pos} of {len}{msg}, {eta} left";

/// A bar on a terminal; elsewhere one line when it is done.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    label: String,
}

impl Progress {
    pub(super) fn new(label: impl Into<String>, all: usize) -> Self {
        let label = label.into();
        let bar = ProgressBar::new(all as u64).with_prefix(label.clone());
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_secs(1));
        Self { bar, label }
    }

    pub(super) fn set(&self, done: usize, all: usize) {
        self.bar.set_length(all as u64);
        self.bar.set_position(done as u64);
    }

    pub(super) fn step(&self) {
        self.bar.inc(1);
    }

    pub(super) fn say(&self, text: String) {
        self.bar.set_message(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let seconds = self.bar.elapsed().as_secs_f64();
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let said = self.bar.message();
        self.bar.finish_and_clear();
        if std::io::stderr().is_terminal() || all > 0 {
            eprintln!("{}: {done} of {all}{said} in {seconds:.0} s", self.label);
        }
    }
}
