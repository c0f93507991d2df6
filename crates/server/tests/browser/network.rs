//! What a page shows when the network breaks in the middle of an answer, and what a server hears after a restart.

use std::time::Duration;

use serde_json::Value;

use crate::support::page::{Card, Page, Shown};
use crate::support::{Browser, Network, Proxy, Server, VALID, begin, until};

/// Seconds of the cuts: short ones, unless LEAFRESH_TEST_CUTS says `5,12`.
fn cuts() -> Vec<Duration> {
    let cuts = std::env::var("LEAFRESH_TEST_CUTS").unwrap_or_else(|_| "2,4".into());
    cuts.split(',').map(|seconds| Duration::from_secs(seconds.trim().parse().unwrap())).collect()
}

/// The page as it has to look, by the stream's `close`.
pub(crate) async fn rendered(page: &Page<'_>) -> Shown {
    let last = page.events().await.pop().unwrap();
    assert_eq!(last.name, "close");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let card = |challenge: &Value| Card {
        title: text(&challenge["title"]),
        description: text(&challenge["description"]),
        label: text(&challenge["label"]),
        finished: true,
    };
    let data = &last.data["data"];
    Shown {
        recommend: text(&data["recommend"]),
        cards: data["challenges"].as_array().unwrap().iter().map(card).collect(),
    }
}

#[tokio::test]
async fn a_network_that_is_cut_and_comes_back_leaves_no_trace_in_the_answer() {
    let Some(browser) = Browser::start().await else { return };
    for cut in cuts() {
        let mut server = Server::held().await;
        let proxy = Proxy::start(&server.url).await;
        let page = browser.open(&proxy.url).await;
        page.watch().await;
        begin(&page, &server).await;
        proxy.set(Network::Cut);
        until("the page says that it reconnects", async || page.phase().await == "reconnecting").await;
        assert_eq!(page.text("#status").await, "다시 연결하는 중…");
        tokio::time::sleep(cut).await;
        server.go_on();
        proxy.set(Network::Whole);
        page.until_phase("done").await;
        assert_eq!(page.shown().await, rendered(&page).await, "after {cut:?}");
        for pair in page.seen().await.windows(2) {
            assert!(pair[1].starts_with(&pair[0]), "taken back: {pair:?}");
        }
        assert_eq!(server.ended("close").await, 1, "one generation");
    }
}

#[tokio::test]
async fn a_proxy_whose_server_is_away_for_a_moment_ends_no_answer() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let proxy = Proxy::start(&server.url).await;
    let page = browser.open(&proxy.url).await;
    begin(&page, &server).await;
    // A refusal with a status ends an EventSource for good; the page has to begin another one.
    proxy.set(Network::Away);
    until("the page was refused", async || {
        proxy.exchanges("/health/live").iter().any(|exchange| exchange.status == 502)
    })
    .await;
    assert_eq!(page.phase().await, "reconnecting");
    server.go_on();
    proxy.set(Network::Whole);
    page.until_phase("done").await;
    assert_eq!(page.shown().await, rendered(&page).await);
    assert_eq!(server.ended("close").await, 1, "one generation");
}

#[tokio::test]
async fn case_20_a_page_asks_again_by_itself_when_the_server_was_restarted() {
    let Some(browser) = Browser::start().await else { return };
    let (server, restarted) = (Server::held().await, Server::start().await);
    let proxy = Proxy::start(&server.url).await;
    let page = browser.open(&proxy.url).await;
    begin(&page, &server).await;
    proxy.lead_to(&restarted.url);
    proxy.set(Network::Cut);
    page.until_phase("reconnecting").await;
    proxy.set(Network::Whole);
    page.until_phase("done").await;
    assert_eq!(page.shown().await, rendered(&page).await, "nothing of the lost answer is left");
    assert_eq!(page.turns().await, 1);
    restarted.until_ended("close").await;
}

#[tokio::test]
async fn case_8_a_restarted_server_hears_from_each_of_50_pages_twice_at_most_and_then_nothing() {
    const PROXIES: usize = 10;
    const EACH: usize = 5; // a browser opens six connections to one address
    let Some(browser) = Browser::start().await else { return };
    let (server, restarted) = (Server::held().await, Server::start().await);
    let mut proxies = Vec::new();
    for _ in 0..PROXIES {
        proxies.push(Proxy::start(&server.url).await);
    }
    let page = browser.open(&server.url).await;
    // With its place in the queue each has an event to go on from.
    let target = |number: usize| format!("{VALID}&progress=1&requestId={number}");
    for (index, proxy) in proxies.iter().enumerate() {
        for number in index * EACH..(index + 1) * EACH {
            let url = format!("{}{}", proxy.url, target(number));
            // Every second one never closes its source, whatever comes.
            let careful = number % 2 == 0;
            page.run::<()>(&format!(
                "window.sources ??= [];
                 window.heard ??= new Set();
                 const source = new EventSource('{url}');
                 window.sources.push(source);
                 source.addEventListener('progress', () => window.heard.add({number}));
                 if ({careful}) source.addEventListener('error', (event) => {{ if (event.data) source.close(); }});"
            ))
            .await;
        }
    }
    until("all are open", async || page.run::<usize>("return window.heard.size").await == PROXIES * EACH)
        .await;
    for proxy in &proxies {
        proxy.lead_to(&restarted.url);
        proxy.set(Network::Cut);
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for proxy in &proxies {
        proxy.set(Network::Whole);
    }
    let closed = "return window.sources.filter((source) => source.readyState === 2).length";
    until("all have stopped", async || page.run::<usize>(closed).await == PROXIES * EACH).await;
    // `retry: 1000` is how long they would wait. This can only miss a request, not imagine one.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for (index, proxy) in proxies.iter().enumerate() {
        for number in index * EACH..(index + 1) * EACH {
            let statuses: Vec<_> =
                proxy.exchanges(&target(number)).iter().map(|exchange| exchange.status).collect();
            // The first was before the restart; 200 is the event that says 410.
            let expected: &[u16] = if number % 2 == 0 { &[200, 200] } else { &[200, 200, 204] };
            assert_eq!(statuses, expected, "source {number}");
        }
    }
    assert_eq!(restarted.health().steps, 0, "nothing was generated");
}
