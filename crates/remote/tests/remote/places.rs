//! Who gets a place where, and who waits.

use std::time::Duration;

use leafresh_engine::{Arrival, Backend, Delta, Error, Generation, Progress};
use leafresh_remote::Upstream;

use crate::double::{Double, Options, Trick};
use crate::support::{connect, request, rest, short, until, upstream};

fn slow() -> Options {
    Options { pause: Duration::from_millis(30), ..Options::default() }
}

#[tokio::test]
async fn the_server_with_the_least_to_do_is_asked() {
    let doubles = [Double::new(slow()).await, Double::new(slow()).await];
    let remote = connect(doubles.iter().map(upstream).collect()).await.unwrap();
    until("both are met", || remote.health().upstreams.iter().all(|upstream| upstream.ready)).await;
    let mut generations: Vec<Generation> =
        (0..4).map(|_| remote.generate(request(short())).unwrap()).collect();
    let running = || remote.health().upstreams.iter().map(|upstream| upstream.running).collect::<Vec<_>>();
    until("all run", || running() == [2, 2]).await;
    for generation in &mut generations {
        rest(generation, Progress::default()).await.unwrap();
    }
    until("all are done", || running() == [0, 0]).await;
}

#[tokio::test]
async fn there_are_so_many_places_and_clients_take_turns_for_them() {
    let double = Double::new(slow()).await;
    let remote = connect(vec![Upstream { running: 1, ..upstream(&double) }]).await.unwrap();
    double.plays([Trick::Hang(1)]);
    let start = |client: &str| {
        let arrival = Arrival { client: Some(client.into()), ..Arrival::default() };
        let place = remote.reserve(&arrival).unwrap();
        remote.start(place, request(short())).unwrap()
    };
    let first = start("바쁜 사람");
    until("it runs", || first.position().is_none() && double.live() == 1).await;
    let greedy = [start("바쁜 사람"), start("바쁜 사람")];
    until("they wait", || greedy.each_ref().map(Generation::position) == [Some(1), Some(2)]).await;
    let modest = start("한 사람");
    until("one of each client", || {
        (greedy.each_ref().map(Generation::position), modest.position()) == ([Some(1), Some(3)], Some(2))
    })
    .await;
    assert_eq!(remote.health().queued, 3);
    let mut others: Vec<Generation> = (0..5).map(|_| start("여럿")).collect();
    assert_eq!(remote.reserve(&Arrival::default()).unwrap_err(), Error::Overloaded { queued: 8 });
    drop(first);
    drop(others.pop());
    for mut generation in greedy.into_iter().chain([modest]).chain(others) {
        rest(&mut generation, Progress::default()).await.unwrap();
    }
    until("all is quiet", || remote.health().running + remote.health().queued == 0).await;
}

#[tokio::test]
async fn an_adapter_is_looked_for_where_it_is() {
    let with = Double::new(Options { adapters: &["polite"], ..Options::default() }).await;
    let without = Double::new(Options::default()).await;
    let remote = connect(vec![upstream(&with), upstream(&without)]).await.unwrap();
    until("both are met", || remote.health().upstreams.iter().all(|upstream| upstream.ready)).await;
    for _ in 0..3 {
        let mut request = request(short());
        request.adapter = remote.model().adapters.first().cloned();
        if request.adapter.is_none() {
            return; // The other one was met first, and what it knows counts.
        }
        rest(&mut remote.generate(request).unwrap(), Progress::default()).await.unwrap();
    }
    assert_eq!((with.asked().len(), without.asked().len()), (3, 0));
}

#[tokio::test]
async fn an_engine_that_is_dropped_lets_what_runs_end() {
    let double = Double::new(slow()).await;
    let remote = connect(vec![upstream(&double)]).await.unwrap();
    let mut generation = remote.generate(request(short())).unwrap();
    let Some(delta @ Delta::Text { .. }) = generation.next().await else { panic!("no text") };
    let mut heard = Progress::default();
    heard.note(&delta);
    drop(remote);
    rest(&mut generation, heard).await.unwrap();
}
