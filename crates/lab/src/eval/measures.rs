//! Figures with what is known about them: how sure they are, which way is better, and what they should reach.

use serde_json::{Value, json};

use super::intervals;
use crate::figure::Figure;
use crate::table::number;

/// Which way a figure should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    More,
    Less,
}

/// What is wanted of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Aim {
    pub(super) better: Better,
    /// How much worse it may become from one run to another without being called worse, in its own unit.
    pub(super) slack: f64,
    pub(super) goal: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measure {
    pub(super) figure: Figure,
    /// A 95 % confidence interval, in the figure's unit.
    pub(super) interval: Option<(f64, f64)>,
    pub(super) aim: Option<Aim>,
}

const PERCENT: &str = "%";

impl Measure {
    /// Only a number.
    pub(super) fn plain(
        key: &str,
        unit: &'static str,
        value: impl Into<Option<f64>>,
        definition: impl Into<String>,
    ) -> Self {
        Self { figure: Figure::new(key, unit, value, definition), interval: None, aim: None }
    }

    /// How many of them are so, in per cent.
    pub(super) fn share(
        key: &str,
        outcomes: impl IntoIterator<Item = bool>,
        definition: impl Into<String>,
    ) -> Self {
        let (mut yes, mut all) = (0, 0);
        for outcome in outcomes {
            all += 1;
            yes += usize::from(outcome);
        }
        let value = (all > 0).then(|| yes as f64 * 100.0 / all as f64);
        let interval = intervals::wilson(yes, all).map(|(low, high)| (low * 100.0, high * 100.0));
        Self { interval, ..Self::plain(key, PERCENT, value, definition) }
    }

    /// The mean of values.
    pub(super) fn mean(key: &str, unit: &'static str, values: &[f64], definition: impl Into<String>) -> Self {
        Self {
            interval: intervals::bootstrap(values),
            ..Self::plain(key, unit, intervals::mean(values), definition)
        }
    }

    /// More is better; up to `slack` less is no regression.
    #[must_use]
    pub(super) fn more(self, slack: f64) -> Self {
        Self { aim: Some(Aim { better: Better::More, slack, goal: None }), ..self }
    }

    /// Less is better; up to `slack` more is no regression.
    #[must_use]
    pub(super) fn less(self, slack: f64) -> Self {
        Self { aim: Some(Aim { better: Better::Less, slack, goal: None }), ..self }
    }

    /// What it should reach.
    #[must_use]
    pub(super) fn goal(self, goal: f64) -> Self {
        Self { aim: self.aim.map(|aim| Aim { goal: Some(goal), ..aim }), ..self }
    }

    /// As a cell of a table.
    pub(super) fn cell(&self) -> String {
        let value = number(self.figure.value);
        match self.interval.filter(|_| self.figure.value.is_some()) {
            Some((low, high)) if low < high => {
                format!("{value} ({} to {})", number(Some(low)), number(Some(high)))
            }
            _ => value,
        }
    }

    /// `goal <name> <value> <target> ok|short`, where there is a goal. A figure that could not be measured is short.
    pub(super) fn goal_line(&self) -> Option<String> {
        let Aim { better, goal, .. } = self.aim?;
        let goal = goal?;
        let reached = self.figure.value.is_some_and(|value| match better {
            Better::More => value >= goal,
            Better::Less => value <= goal,
        });
        // As many digits as tell the value from the goal: 0.8996 is not 0.90.
        let value = self.figure.value.map_or("-".into(), |value| format!("{value:.4}"));
        Some(format!("goal {} {value} {goal} {}", self.figure.key, if reached { "ok" } else { "short" }))
    }

    pub(super) fn json(&self) -> Value {
        let mut json = json!({
            "value": self.figure.value,
            "unit": self.figure.unit,
            "definition": self.figure.definition,
        });
        if let Some((low, high)) = self.interval {
            json["interval"] = json!([low, high]);
        }
        if let Some(Aim { better, slack, goal }) = self.aim {
            json["better"] = json!(if better == Better::More { "more" } else { "less" });
            json["slack"] = json!(slack);
            json["goal"] = json!(goal);
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_or_short_and_says_so_exactly() {
        let line = |value: Option<f64>, goal: f64| {
            Measure::plain("mrr", "", value, "").more(0.0).goal(goal).goal_line()
        };
        assert_eq!(line(Some(0.9), 0.9).unwrap(), "goal mrr 0.9000 0.9 ok");
        assert_eq!(line(Some(0.8996), 0.9).unwrap(), "goal mrr 0.8996 0.9 short");
        assert_eq!(line(None, 0.9).unwrap(), "goal mrr - 0.9 short");
        let less = Measure::plain("p95", "ms", 39.0, "").less(0.0).goal(40.0);
        assert_eq!(less.goal_line().unwrap(), "goal p95 39.0000 40 ok");
        assert_eq!(Measure::plain("count", "", 3.0, "").more(0.0).goal_line(), None, "no goal, no line");
    }

    #[test]
    fn shares_have_intervals_and_nothing_asked_has_no_value() {
        let share = Measure::share("valid", [true, true, false, true], "");
        assert_eq!(share.figure.value, Some(75.0));
        let (low, high) = share.interval.unwrap();
        assert!(low < 75.0 && 75.0 < high && share.cell().starts_with("75 ("), "{}", share.cell());
        let none = Measure::share("valid", [], "");
        assert_eq!((none.figure.value, none.interval, none.cell().as_str()), (None, None, "-"));
    }
}
