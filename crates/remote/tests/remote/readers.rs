//! Readers that go away and come back.

use std::time::Duration;

use leafresh_engine::{Arrival, Backend, Delta, Progress};
use leafresh_remote::Upstream;

use crate::double::{Double, Options};
use crate::support::{assert_valid, connect, free, request, rest, short, until, upstream};

async fn slow() -> (Double, leafresh_remote::Remote) {
    let double = Double::new(Options { pause: Duration::from_millis(20), ..Options::default() }).await;
    let remote = connect(vec![Upstream { running: 1, ..upstream(&double) }]).await.unwrap();
    (double, remote)
}

#[tokio::test]
async fn case_1_a_reader_that_leaves_ends_the_work_on_the_other_side() {
    let (double, remote) = slow().await;
    let mut generation = remote.generate(request(free())).unwrap();
    generation.next().await.unwrap();
    assert_eq!(double.live(), 1);
    let waiting = remote.generate(request(short())).unwrap();
    until("one waits", || waiting.position() == Some(1)).await;
    drop(waiting);
    until("nobody waits", || remote.health().queued == 0).await;
    drop(generation);
    until("nothing is written for nobody", || double.live() == 0 && remote.health().running == 0).await;
}

#[tokio::test]
async fn case_2_a_parked_generation_holds_no_connection_and_no_place_and_goes_on_with_its_text() {
    let (double, remote) = slow().await;
    let program = free();
    let mut generation = remote.generate(request(program.clone())).unwrap();
    let mut heard = Progress::default();
    while heard.done.is_empty() || heard.partial.is_empty() {
        heard.note(&generation.next().await.unwrap());
    }
    generation.presence().park();
    until("its connection is closed", || double.live() == 0).await;
    until("it is parked", || remote.health().parked == 1).await;
    assert_eq!((remote.health().running, generation.position()), (0, None));
    // There is one place in all.
    rest(&mut remote.generate(request(short())).unwrap(), Progress::default()).await.unwrap();
    let asked = double.asked().len();
    generation.presence().resume();
    let written = rest(&mut generation, heard.clone()).await.unwrap();
    assert_valid(&program, &written.slots);
    assert!(written.slots[1].starts_with(&heard.partial) && written.slots[0] == heard.done[0]);
    assert!(double.asked().len() > asked);
    until("all is quiet", || remote.health().parked + remote.health().running == 0).await;
}

#[tokio::test]
async fn case_2_one_that_is_parked_before_it_has_run_waits_for_its_reader() {
    let (double, remote) = slow().await;
    let arrival = Arrival::default();
    arrival.presence.park();
    let place = remote.reserve(&arrival).unwrap();
    let mut generation = remote.start(place, request(short())).unwrap();
    until("it is parked", || remote.health().parked == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(double.asked().is_empty());
    arrival.presence.resume();
    rest(&mut generation, Progress::default()).await.unwrap();
}

#[tokio::test]
async fn a_generation_that_nobody_wants_is_nobodys() {
    let (double, remote) = slow().await;
    let mut generation = remote.generate(request(short())).unwrap();
    let Some(Delta::Text { .. }) = generation.next().await else { panic!("no text") };
    generation.presence().park();
    until("it is parked", || remote.health().parked == 1).await;
    drop(generation);
    until("and gone", || remote.health().parked == 0 && double.live() == 0).await;
}
