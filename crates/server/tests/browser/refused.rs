//! A server that refuses, or says nothing: why, in words that differ.

use std::collections::HashSet;

use crate::support::{Browser, Network, Proxy, Server};

#[tokio::test]
async fn what_was_refused_is_told_apart_and_for_how_long() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let proxy = Proxy::start(&server.url).await;
    let mut notices = HashSet::new();
    for status in [404, 502, 503, 504] {
        proxy.set(Network::Whole);
        let page = browser.open(&proxy.url).await;
        page.choose().await;
        proxy.set(Network::Refuses(status));
        page.ask().await;
        page.until_phase("failed").await;
        let notice = page.text(".notice").await;
        assert_eq!(notice.contains("7초 뒤"), status == 503, "{status}: {notice}");
        notices.insert(notice);
    }
    assert_eq!(notices.len(), 4, "{notices:?}");
}

#[tokio::test]
async fn a_server_that_is_full_is_quoted() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::loading().await;
    let page = browser.open(&server.url).await;
    page.choose().await;
    page.ask().await;
    page.until_phase("failed").await;
    let notice = page.text(".notice").await;
    assert!(notice.contains("모델을 준비하고") && notice.contains("초 뒤"), "{notice}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let proxy = Proxy::start(&server.url).await;
    let page = browser.open(&proxy.url).await;
    page.choose().await;
    proxy.set(Network::Silent);
    page.within::<()>(
        "stream.js",
        "Object.assign(page.LIMITS, { hint: 100, connecting: 200 });
         const status = document.getElementById('status');
         const look = () => { window.hinted ||= status.textContent.includes('기다리고'); };
         new MutationObserver(look).observe(status, { childList: true })",
    )
    .await;
    page.ask().await;
    page.until_phase("failed").await;
    assert!(page.run::<bool>("return window.hinted === true").await);
    assert!(page.text(".notice").await.contains("너무 오래"));
    assert_eq!(page.text("#again").await, "다시 시도");
}
