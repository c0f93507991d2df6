//! How long a generation waits for its place and reads its prompt.

use tokio::time::Instant;

use crate::event::Control;

/// What a generation spends time on, as far as that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Queue,
    Prefill,
    /// It writes, or nobody reads.
    Other,
}

/// Notes how long each part took, the last one too when it is dropped.
pub(super) struct Clock<'a> {
    control: &'a Control,
    part: Part,
    since: Instant,
    /// Its prompt has been read.
    writes: bool,
}

impl<'a> Clock<'a> {
    /// Where there was a place at once, it has waited for no time.
    pub(super) fn start(control: &'a Control, waiting: bool) -> Self {
        let mut clock = Self { control, part: Part::Queue, since: Instant::now(), writes: false };
        if !waiting {
            clock.placed();
        }
        clock
    }

    pub(super) fn is_queued(&self) -> bool {
        self.part == Part::Queue
    }

    /// It has a place in the batch.
    pub(super) fn placed(&mut self) {
        if self.part == Part::Queue {
            self.enter(Part::Prefill);
        }
    }

    /// It wrote in its place. What is certain before anything is computed comes without one, and says nothing here.
    pub(super) fn text(&mut self) {
        self.placed();
        self.writes = true;
        self.enter(Part::Other);
    }

    /// Nobody reads.
    pub(super) fn pause(&mut self) {
        self.enter(Part::Other);
    }

    /// Somebody does again.
    pub(super) fn go_on(&mut self, waiting: bool) {
        self.enter(match (self.writes, waiting) {
            (true, _) => Part::Other,
            (false, true) => Part::Queue,
            (false, false) => Part::Prefill,
        });
    }

    fn enter(&mut self, next: Part) {
        let time = self.since.elapsed();
        match self.part {
            Part::Queue => self.control.note(|record| record.add_queue(time)),
            Part::Prefill => self.control.note(|record| record.add_prefill(time)),
            Part::Other => {}
        }
        (self.part, self.since) = (next, Instant::now());
    }
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        self.enter(Part::Other);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Record;

    /// So long that what the test itself takes doesn't matter.
    const LONG: Duration = Duration::from_secs(100);

    fn record(control: &Control) -> (Option<u64>, Option<u64>) {
        let mut record = Record::default();
        control.note(|noted| record = *noted);
        let longs = |time: Duration| time.as_secs() / LONG.as_secs();
        (record.queue.map(longs), record.prefill.map(longs))
    }

    #[test]
    fn waiting_ends_with_the_place_and_reading_with_the_text_that_follows_and_time_without_a_reader_is_neither()
     {
        let control = Control::default();
        let mut clock = Clock::start(&control, true);
        clock.since -= LONG;
        clock.pause();
        clock.since -= 10 * LONG;
        clock.go_on(true);
        clock.since -= LONG;
        assert!(clock.is_queued());
        clock.placed();
        clock.since -= 3 * LONG;
        clock.text();
        clock.since -= 5 * LONG;
        clock.pause();
        clock.go_on(true);
        clock.since -= LONG;
        drop(clock);
        assert_eq!(record(&control), (Some(2), Some(3)));
    }

    #[test]
    fn who_gets_no_place_has_waited_only() {
        let control = Control::default();
        let mut clock = Clock::start(&control, true);
        clock.since -= LONG;
        drop(clock);
        assert_eq!(record(&control), (Some(1), None));
    }

    #[test]
    fn who_has_a_place_at_once_has_waited_for_no_time() {
        let control = Control::default();
        let mut clock = Clock::start(&control, false);
        clock.since -= LONG;
        clock.text();
        drop(clock);
        assert_eq!(record(&control), (Some(0), Some(1)));
    }
}
