//! Whether an engine's process still computes.

use std::time::{Duration, Instant};

use crate::Health;

/// A process that computes nothing for so long while it should is ended. The slowest machines take most of a minute for
/// one batch, and a long prompt is many batches: each of them is progress.
const LONGEST_BATCH: Duration = Duration::from_mins(2);

/// How often the clock is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(30);

/// Runs while something is to be computed, and begins anew with each batch and whenever there was nothing to do.
#[derive(Debug)]
pub(super) struct StallClock {
    longest_batch: Duration,
    steps: u64,
    /// Since when the batch that is awaited is awaited; `None` while there is nothing to compute.
    since: Option<Instant>,
}

impl Default for StallClock {
    fn default() -> Self {
        Self { longest_batch: LONGEST_BATCH, steps: 0, since: None }
    }
}

impl StallClock {
    /// What the process says of itself.
    pub(super) fn note(&mut self, health: &Health, now: Instant) {
        let progress = std::mem::replace(&mut self.steps, health.steps) != health.steps;
        if health.running == 0 {
            self.since = None;
        } else if progress || self.since.is_none() {
            self.since = Some(now);
        }
    }

    pub(super) fn has_stalled(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) > self.longest_batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What was said and when, in seconds, to a clock that allows a batch ten; whether it has stalled after each.
    fn check(said: &[(u32, usize, u64)], looks: &[(u32, bool)]) {
        let began = Instant::now();
        let mut clock = StallClock { longest_batch: 10 * SECOND, ..StallClock::default() };
        let mut said = said.iter().peekable();
        for &(at, expected) in looks {
            while let Some(&(when, running, steps)) = said.next_if(|(when, ..)| *when <= at) {
                clock.note(&Health { running, steps, ..Health::default() }, began + when * SECOND);
            }
            assert_eq!(clock.has_stalled(began + at * SECOND), expected, "after {at} s");
        }
    }

    /// Field report 36.
    #[test]
    fn the_first_batch_after_a_long_pause_has_all_its_time() {
        check(&[(0, 0, 7), (1000, 1, 7)], &[(999, false), (1000, false), (1010, false), (1011, true)]);
        check(
            &[(0, 1, 7), (5, 0, 8), (1000, 1, 8), (1009, 1, 9)],
            &[(1000, false), (1019, false), (1020, true)],
        );
    }

    /// Field report 36.
    #[test]
    fn a_long_prompt_makes_progress_batch_by_batch() {
        let batches: Vec<_> = (0..8).map(|batch| (9 * batch, 1, u64::from(batch))).collect();
        check(&batches, &[(30, false), (60, false), (73, false), (74, true)]);
    }

    #[test]
    fn one_that_computes_nothing_more_has_stalled_and_one_with_nothing_to_do_never() {
        check(&[(0, 3, 5)], &[(10, false), (11, true)]);
        check(&[(0, 3, 5), (20, 3, 6)], &[(19, true), (20, false)]);
        check(&[(0, 0, 5)], &[(100_000, false)]);
        check(&[], &[(100_000, false)]);
    }
}
