//! The task that runs one answer: from its source into its log, with or without readers, to its one end.

use std::time::Duration;

use leafresh_chat::{Event, Failure};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::account::Account;
use super::log::Attendance;
use super::{Ending, Source};
use crate::life::Lifecycle;
use crate::metrics::Outcome;
use crate::phase::Phase;

/// Longer texts are sent as several events. Six bytes of JSON are the most that one byte becomes, so an event stays
/// below 32 KiB.
pub(super) const MAX_TEXT: usize = 4096;

/// The most that one stream's log may hold. Answers are a hundredth of that.
const MAX_LOG: usize = 1 << 20;

/// How often the phase is looked at before the first text.
const LOOK: Duration = Duration::from_millis(100);

/// What happens next to a stream.
enum Step {
    Event(Event),
    /// Readers came or left, or somebody stopped it.
    Attendance,
    /// The time to return is over.
    Abandoned,
    Stopping,
    Look,
}

/// Runs a source until its terminal event, until nobody can return, or until the server stops.
pub(super) async fn drive<S: Source>(mut source: S, ending: Ending, mut account: Account) {
    let live = ending.live.clone();
    let mut attendance = live.attendance();
    let mut lifecycle = ending.streams.0.life.lifecycle();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut parked = false;
    ending.streams.clear_way(&live);
    let last = loop {
        // A parked source stands nowhere in a queue; what counts is where it was.
        if !parked && live.phase() != Phase::Writing {
            live.set_phase(source.phase());
        }
        let present = *attendance.borrow_and_update();
        if present.stopped {
            account.outcome = Outcome::Stopped;
            break Event::Error(Failure::Cancelled);
        }
        let deadline = match waiting_until(&present) {
            Waiting::No => None,
            Waiting::Until(deadline) => Some(deadline),
            Waiting::Over => {
                account.outcome = Outcome::Left;
                break Event::Error(Failure::Cancelled);
            }
        };
        if deadline.is_some() != parked {
            parked = !parked;
            if parked {
                account.parked();
                source.presence().park();
            } else {
                account.returned();
                source.presence().resume();
            }
            live.set_parked(parked.then(Instant::now));
            if !parked {
                ending.streams.clear_way(&live);
            }
        }
        // Looked at each time: who waits may have come just now.
        if parked && ending.streams.is_waited_for(&live) {
            account.outcome = Outcome::Left;
            break Event::Error(Failure::Cancelled);
        }
        let step = tokio::select! {
            biased;
            // The sender lives as long as the server's life, of which `streams` has a share.
            _ = lifecycle.wait_for(|now| *now == Lifecycle::Stopping) => Step::Stopping,
            // And this one in `live`.
            _ = attendance.changed() => Step::Attendance,
            () = until(deadline) => Step::Abandoned,
            event = source.next() => Step::Event(event.unwrap_or(Event::Error(Failure::Internal))),
            _ = look.tick(), if live.phase() != Phase::Writing => Step::Look,
        };
        match step {
            Step::Attendance | Step::Abandoned | Step::Look => {}
            Step::Stopping => break Event::Error(Failure::Unavailable),
            Step::Event(Event::Text(text)) => {
                live.set_phase(Phase::Writing);
                account.text(&text);
                for part in parts(text) {
                    ending.push(Event::Text(part));
                }
            }
            Step::Event(event @ Event::Challenge { .. }) => ending.push(event),
            Step::Event(last @ (Event::Close(_) | Event::Error(_))) => break last,
        }
        if live.bytes() > MAX_LOG {
            tracing::error!(bytes = live.bytes(), "an answer without end was ended");
            break Event::Error(Failure::Internal);
        }
    };
    account.record = source.record();
    // What it computed with is free again before its readers hear of the end.
    drop(source);
    live.set_parked(None);
    account.end(&last, live.phase());
    // Counted, too, so that the figures hold it when somebody has read the end.
    drop(account);
    ending.push(last);
}

/// Whether a stream waits for a reader to return.
enum Waiting {
    No,
    Until(Instant),
    Over,
}

fn waiting_until(present: &Attendance) -> Waiting {
    match present.keep_until {
        _ if present.readers > 0 => Waiting::No,
        Some(until) if until > Instant::now() => Waiting::Until(until),
        _ => Waiting::Over,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A text in pieces of at most [`MAX_TEXT`] bytes, whole characters only; none of an empty one.
fn parts(mut text: String) -> Vec<String> {
    let mut parts = Vec::with_capacity(1);
    while !text.is_empty() {
        let rest = text.split_off(text.floor_char_boundary(MAX_TEXT));
        parts.push(std::mem::replace(&mut text, rest));
    }
    parts
}
