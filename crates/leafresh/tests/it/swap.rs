//! A model takes the place of another while answers are being written.

use std::sync::Arc;
use std::time::Duration;

use leafresh_chat::Recommender;
use leafresh_engine::fake::Recipe;
use leafresh_engine::{Backend, Process};
use leafresh_server::config::Config;

use crate::engine::{assert_whole, launch, reader};
use crate::support::catalog::catalog;
use crate::support::{Server, VALID, until, until_async};

async fn process(seed: u64, milliseconds: u64, config: &Config) -> Arc<Process> {
    let recipe = Recipe { seed, step: Duration::from_millis(milliseconds), ..Recipe::default() };
    let launch = launch(recipe, config);
    Arc::new(tokio::task::spawn_blocking(move || Process::load(&launch)).await.unwrap().unwrap())
}

fn recommender(config: &Config, backend: Arc<Process>) -> Recommender {
    leafresh_server::assemble::recommender(config, catalog(), backend).unwrap()
}

fn config() -> Config {
    let mut config = Config::default();
    config.chat.sampling.seed = Some(1);
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_35_a_new_model_takes_new_requests_and_the_old_one_finishes_what_it_began() {
    let config = config();
    let server = Server::without_model(&config).await;
    let old = process(1, 5, &config).await;
    let pid = old.pid().unwrap();
    let (weak, backend) = (Arc::downgrade(&old), old.clone());
    let settings = config.clone();
    let first = tokio::task::spawn_blocking(move || recommender(&settings, old)).await.unwrap();
    server.state.install(Arc::new(first.clone()));
    let expected = reader(server.address, VALID).await.0;

    let running: Vec<_> = (0..4).map(|_| tokio::spawn(reader(server.address, VALID))).collect();
    until("they are being written", || backend.health().running == 4).await;
    drop(backend);
    let new = process(2, 1, &config).await;
    let (watched, settings) = (new.clone(), config.clone());
    let second = tokio::task::spawn_blocking(move || recommender(&settings, new)).await.unwrap();
    server.state.install(Arc::new(second.in_place_of(&first)));
    drop(first);
    let steps = server.metrics().await.value("leafresh_engine_steps_total");
    let other = reader(server.address, VALID).await.0;
    assert_whole(&other);
    assert_ne!(texts(&other), texts(&expected), "the new model writes otherwise");
    // A process tells its figures now and again.
    until("its steps are told", || watched.health().steps > 0).await;
    for reader in running {
        let events = reader.await.unwrap().0;
        assert_whole(&events);
        assert_eq!(texts(&events), texts(&expected), "the old one goes on as if nothing had happened");
    }
    until("the old one is let go of", || weak.strong_count() == 0).await;
    until("and its process ends", || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_err()).await;
    until_async("what it counted isn't lost", async || {
        server.metrics().await.value("leafresh_engine_steps_total") > steps
    })
    .await;
    until_async("nothing runs", async || server.metrics().await.value("leafresh_requests_running") == 0)
        .await;
}

fn texts(events: &[crate::support::Event]) -> String {
    events.iter().filter_map(crate::support::Event::text).collect()
}
