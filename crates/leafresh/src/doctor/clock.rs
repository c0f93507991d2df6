//! The clocks: conversations expire by one, deadlines go by the other.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::finding::Finding;

const CHECK: &str = "clock";

/// Seconds since 1970: before this version was written, and longer than a clock is right by chance.
const EARLIEST: u64 = 1_767_225_600;
const LATEST: u64 = 4_102_444_800;

/// A year's mean length, in seconds.
const YEAR: u64 = 31_556_952;

/// How long both clocks are watched.
const WATCHED: Duration = Duration::from_millis(20);

/// By how much they may differ in that time: a machine that is busy sleeps longer, but by both clocks.
const APART: Duration = Duration::from_secs(1);

pub(super) fn finding() -> Finding {
    let (before, begin) = (SystemTime::now(), Instant::now());
    std::thread::sleep(WATCHED);
    let (after, passed) = (SystemTime::now(), begin.elapsed());
    let seconds = after.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    judge(seconds, passed, after.duration_since(before).ok())
}

/// `seconds` since 1970; what passed meanwhile by the monotonic clock and by that of the calendar, None where that went back.
fn judge(seconds: u64, passed: Duration, calendar: Option<Duration>) -> Finding {
    let year = 1970 + seconds / YEAR;
    let set =
        "set the clock, and let it be kept right (systemd-timesyncd, chrony, or the virtual machine's host)";
    if !(EARLIEST..LATEST).contains(&seconds) {
        let says = format!("the clock says that it is {year}: conversations would expire at a wrong time");
        return Finding::failure(CHECK, says, set).run("timedatectl set-ntp true");
    }
    if passed < WATCHED {
        let says = "the monotonic clock stands still: deadlines would never pass";
        return Finding::failure(
            CHECK,
            says,
            "take another clock source (/sys/devices/system/clocksource), or restart the machine",
        );
    }
    if calendar.is_none_or(|calendar| calendar.abs_diff(passed) > APART) {
        let says = "the clock jumped while it was looked at: something sets it back or forth";
        return Finding::warning(CHECK, says, set).run("timedatectl timesync-status");
    }
    Finding::ok(CHECK, format!("it is {year}, and time passes evenly"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_its_year_and_by_whether_time_passes() {
        let now = EARLIEST + YEAR / 2;
        let (tick, hour) = (WATCHED, Duration::from_hours(1));
        let cases = [
            (now, tick, Some(tick), Status::Ok),
            (now, 9 * tick, Some(9 * tick), Status::Ok),
            (0, tick, Some(tick), Status::Failure),
            (LATEST, tick, Some(tick), Status::Failure),
            (now, Duration::ZERO, Some(tick), Status::Failure),
            (now, tick, Some(hour), Status::Warning),
            (now, tick, None, Status::Warning),
        ];
        for (seconds, passed, calendar, status) in cases {
            let finding = judge(seconds, passed, calendar);
            assert_eq!(finding.status, status, "{finding:?}");
        }
        assert!(judge(now, tick, Some(tick)).says.contains("2026"));
        assert_eq!(finding().status, Status::Ok);
    }
}
