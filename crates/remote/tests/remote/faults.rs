//! Servers that fail, in every way and at every moment: what a reader has stays, and the rest comes.

use std::time::{Duration, Instant};

use leafresh_engine::{Arrival, Backend, Delta, Error, Progress};
use leafresh_remote::Upstream;

use crate::double::{Double, Options, Trick};
use crate::support::{
    assert_valid, connect, connect_for, finish, free, remote, request, rest, select, short, until, upstream,
};

fn all() -> Vec<Trick> {
    let when: [fn(usize) -> Trick; 5] = [Trick::Break, Trick::Hang, Trick::End, Trick::Garbage, Trick::Error];
    let mut all: Vec<Trick> = when.iter().flat_map(|trick| [0, 1, 4].map(trick)).collect();
    all.extend([500, 502, 429, 503].map(|status| Trick::Status(status, None)));
    all.push(Trick::Status(429, Some("0")));
    all
}

#[tokio::test]
async fn case_22_a_server_that_fails_is_asked_again_from_what_was_written() {
    let double = Double::new(Options::default()).await;
    let upstream = |first, idle| Upstream { first, idle, ..upstream(&double) };
    let remote = connect(vec![upstream(Duration::from_secs(2), Duration::from_millis(500))]).await.unwrap();
    for trick in all() {
        // In the second slot: something is written already.
        double.plays([Trick::Fine, trick.clone()]);
        let written =
            finish(&remote, request(free())).await.unwrap_or_else(|error| panic!("{trick:?}: {error}"));
        assert!(written.slots.len() == 5, "{trick:?}");
    }
    // A place to write at is left behind by nobody.
    until("all is quiet", || remote.health().running == 0 && remote.health().queued == 0).await;
}

#[tokio::test]
async fn case_22_another_server_goes_on_before_and_after_the_first_token() {
    let first = Double::new(Options::default()).await;
    let second = Double::new(Options { seed: 2, ..Options::default() }).await;
    let impatient = |double| Upstream { idle: Duration::from_millis(500), ..upstream(double) };
    let remote = connect(vec![impatient(&first), impatient(&second)]).await.unwrap();
    until("both are met", || remote.health().upstreams.iter().all(|upstream| upstream.ready)).await;
    for trick in [Trick::Break(0), Trick::Break(3), Trick::Hang(2), Trick::Status(503, Some("20"))] {
        let (before, full) = (second.asked().len(), matches!(trick, Trick::Status(..)));
        first.plays([trick.clone()]);
        let started = Instant::now();
        finish(&remote, request(select())).await.unwrap();
        assert!(second.asked().len() > before, "{trick:?}: the other one has gone on");
        assert!(
            !full || started.elapsed() < Duration::from_secs(10),
            "nobody waited for the one that is full"
        );
    }
}

#[tokio::test]
async fn case_22_a_server_that_dies_and_comes_back_goes_on_where_it_was() {
    let mut double = Double::new(Options { pause: Duration::from_millis(2), ..Options::default() }).await;
    let remote = remote(&[&double]).await;
    let program = free();
    let mut generation = remote.generate(request(program.clone())).unwrap();
    let mut heard = Progress::default();
    while heard.done.len() < 2 || heard.partial.is_empty() {
        heard.note(&generation.next().await.unwrap());
    }
    double.die().await;
    until("it is lost", || !remote.health().ready).await;
    double.rise().await;
    let written = rest(&mut generation, heard.clone()).await.unwrap();
    assert_valid(&program, &written.slots);
    assert_eq!(written.slots[..2], heard.done);
    assert!(written.slots[2].starts_with(&heard.partial));
    let health = remote.health();
    assert!(health.ready && health.restarts == 1 && health.upstreams[0].faults >= 1);
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_not_asked_before_it_was_met_anew() {
    let first = Double::new(Options::default()).await;
    let second = Double::new(Options { seed: 2, ..Options::default() }).await;
    let remote = remote(&[&first, &second]).await;
    first.plays(std::iter::repeat_n(Trick::Break(0), 3));
    for _ in 0..3 {
        finish(&remote, request(short())).await.unwrap();
        // It rests for a moment after each.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let asked = first.asked().len();
    assert_eq!(asked, 3);
    until("it has been met again", || remote.health().upstreams[0].reconnects == 1).await;
    until("and is asked again", || remote.health().upstreams[0].ready).await;
    finish(&remote, request(short())).await.unwrap();
    assert_eq!(first.asked().len(), 4);
}

#[tokio::test]
async fn what_fails_everywhere_ends_with_the_reason() {
    let double = Double::new(Options::default()).await;
    let remote = remote(&[&double]).await;
    double.plays(std::iter::repeat_n(Trick::Error(0), 20));
    let error = finish(&remote, request(short())).await.unwrap_err();
    let Error::Upstream { reason, late: false } = &error else { panic!("{error}") };
    assert!(reason.contains("EngineCore died"), "{reason}");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_as_a_whole_ends() {
    let double = Double::new(Options { pause: Duration::from_millis(40), ..Options::default() }).await;
    let remote = connect_for(vec![upstream(&double)], Duration::from_millis(300)).await.unwrap();
    let error = finish(&remote, request(free())).await.unwrap_err();
    assert!(matches!(&error, Error::Upstream { late: true, .. }), "{error}");
    until("nothing is written for nobody", || double.live() == 0).await;
}

#[tokio::test]
async fn who_is_full_is_asked_later_and_who_waits_too_long_is_told_so() {
    let double = Double::new(Options::default()).await;
    let remote = remote(&[&double]).await;
    double.plays([Trick::Status(429, Some("1")), Trick::Status(503, Some("1"))]);
    let started = Instant::now();
    finish(&remote, request(short())).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2), "as long as it was told");
    assert_eq!(remote.health().upstreams[0].faults, 0);
}

#[tokio::test]
async fn without_a_server_new_requests_are_refused_soon_and_those_that_wait_are_told_at_their_deadline() {
    let mut double = Double::new(Options::default()).await;
    let remote = remote(&[&double]).await;
    double.die().await;
    let deadline = Some(Instant::now() + Duration::from_millis(700));
    let place = remote.reserve(&Arrival { deadline, ..Arrival::default() }).unwrap();
    let mut waiting = remote.start(place, request(short())).unwrap();
    assert_eq!(waiting.next().await, Some(Delta::Failed(Error::WaitedTooLong)));
    until("it is hopeless", || remote.reserve(&Arrival::default()).is_err()).await;
    assert_eq!(remote.reserve(&Arrival::default()).unwrap_err(), Error::Stopped);
    double.rise().await;
    until("there is hope", || remote.reserve(&Arrival::default()).is_ok()).await;
    finish(&remote, request(short())).await.unwrap();
}
