//! What happens when an answer does not begin, is stopped, or is over.

use std::time::Duration;

use crate::support::{Browser, Proxy, Server, VALID, begin, until};

#[tokio::test]
async fn a_page_that_never_closes_its_source_asks_once_more_and_is_told_to_stop() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let proxy = Proxy::start(&server.url).await;
    let page = browser.open(&proxy.url).await;
    page.run::<()>(&format!("window.source = new EventSource('{VALID}')")).await;
    // Only a 204 brings it to this state: after an end of any other kind it connects again.
    until("the source is closed", async || page.run::<u8>("return source.readyState").await == 2).await;
    // `retry: 1000` is how long it would wait. This can only miss a third request, not imagine one.
    tokio::time::sleep(Duration::from_millis(2500)).await;

    let exchanges = proxy.exchanges(VALID);
    assert_eq!(exchanges.iter().map(|exchange| exchange.status).collect::<Vec<_>>(), [200, 204]);
    assert_eq!(exchanges[0].header("Last-Event-ID"), None);
    assert!(exchanges[1].header("Last-Event-ID").unwrap().ends_with(":end"), "{:?}", exchanges[1]);
}

#[tokio::test]
async fn a_server_that_is_still_loading_is_named_and_can_be_tried_again() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::loading().await;
    let page = browser.open(&server.url).await;
    page.choose().await;
    page.ask().await;
    page.until_phase("failed").await;
    until("the reason is shown", async || page.text(".notice").await.contains("모델을 준비하고")).await;
    assert_eq!(page.text("#again").await, "다시 시도");

    server.load();
    page.click("#again").await;
    page.until_phase("done").await;
    assert_eq!(page.shown().await.cards.len(), 3);
}

#[tokio::test]
async fn the_stop_button_ends_the_generation_and_keeps_what_was_written() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = browser.open(&server.url).await;
    begin(&page, &server).await;
    page.click("#stop").await;
    assert_eq!((page.phase().await.as_str(), page.text("#status").await.as_str()), ("stopped", "멈췄어요."));
    // The model is held, so that it can't have come to the end by itself; and nobody waits for the reader to return.
    server.until_ended("stopped").await;
    let steps = server.health().steps;
    server.go_on();
    until("the slot is free", async || server.health().running == 0).await;
    assert!(server.health().steps <= steps + 1, "it computes on for nobody");
    assert!(!page.shown().await.recommend.is_empty());
}
