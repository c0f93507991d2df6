//! What is said while it runs, and the lines at the end.

use std::process::ExitCode;
use std::time::Instant;

pub(crate) struct Report {
    full: bool,
    began: Instant,
    goals: Vec<Goal>,
}

struct Goal {
    name: String,
    value: f64,
    most: f64,
}

impl Report {
    pub(crate) fn new(full: bool) -> Self {
        Self { full, began: Instant::now(), goals: Vec::new() }
    }

    pub(crate) fn say(&self, text: impl AsRef<str>) {
        println!("[{:5.0} s] {}", self.began.elapsed().as_secs_f64(), text.as_ref());
    }

    /// A count that has to be right however busy the machine is.
    pub(crate) fn goal(&mut self, name: &str, value: f64, most: f64) {
        self.goals.push(Goal { name: name.into(), value, most });
    }

    /// A time, or something else that says little in a short run.
    pub(crate) fn measure(&mut self, name: &str, value: f64, most: f64) {
        if self.full {
            self.goal(name, value, most);
        } else {
            self.say(format!("{name}: {value:.3}, which isn't judged in a short run"));
        }
    }

    /// One line for each goal: the value is at most the target, or it falls short.
    pub(crate) fn end(self) -> ExitCode {
        let mut short = false;
        for Goal { name, value, most } in &self.goals {
            let reached = value <= most;
            short |= !reached;
            println!(
                "goal {name} {} {} {}",
                number(*value),
                number(*most),
                if reached { "ok" } else { "short" }
            );
        }
        if short { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// The value below which a share of all values lies.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    assert!(!values.is_empty(), "there is nothing to take a quantile of");
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
