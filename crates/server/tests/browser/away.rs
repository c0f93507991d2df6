//! Pages that nobody sees: in the background, frozen, left and returned to, and more of them than there are connections.

use leafresh_server::config::Seconds;
use std::time::Duration;

use crate::network::rendered;
use crate::support::{Browser, Page, Server, begin, until};

/// What a browser does with a tab that is no longer the one in front; `true` is back again.
async fn show(page: &Page<'_>, shown: bool) {
    page.within::<()>(
        "stream.js",
        &format!(
            "page.AWAY.closes = 0;
             Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {} }});
             document.dispatchEvent(new Event('visibilitychange'))",
            !shown
        ),
    )
    .await;
}

async fn until_parked(server: &Server) {
    until("the answer is parked", async || server.health().parked == 1).await;
}

/// Field report 34: 40 s, while the server keeps the answer.
#[tokio::test]
async fn a_page_in_the_background_lets_its_connection_go_and_goes_on_exactly_when_it_is_back() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = browser.open(&server.url).await;
    page.watch().await;
    begin(&page, &server).await;
    show(&page, false).await;
    server.go_on();
    until_parked(&server).await;
    show(&page, true).await;
    page.until_phase("done").await;
    assert_eq!(page.shown().await, rendered(&page).await);
    for pair in page.seen().await.windows(2) {
        assert!(pair[1].starts_with(&pair[0]), "taken back: {pair:?}");
    }
    assert_eq!(server.ended("close").await, 1, "one generation");
}

/// Field report 34: 130 s, after the server gave the answer up.
#[tokio::test]
async fn a_page_that_comes_back_too_late_asks_again_by_itself() {
    let Some(browser) = Browser::start().await else { return };
    let no_grace = |config: &mut leafresh_server::config::Config| {
        config.stream.grace_seconds = Seconds(Duration::ZERO);
    };
    let mut server = Server::held_with(no_grace).await;
    let page = browser.open(&server.url).await;
    begin(&page, &server).await;
    show(&page, false).await;
    server.go_on();
    until("the answer was given up", async || server.health().running == 0).await;
    show(&page, true).await;
    page.until_phase("done").await;
    assert_eq!(page.turns().await, 1);
    assert_eq!(page.shown().await, rendered(&page).await, "nothing of the lost answer is left");
}

#[tokio::test]
async fn a_page_that_was_frozen_without_a_word_does_not_trust_its_connection() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = browser.open(&server.url).await;
    begin(&page, &server).await;
    page.within::<()>("conversation.js", "window.before = page.newest().stream.source").await;
    page.within::<()>(
        "stream.js",
        "Object.assign(page.AWAY, { distrusts: -1, since: Date.now() });
         document.dispatchEvent(new Event('visibilitychange'))",
    )
    .await;
    assert_eq!(page.run::<u8>("return window.before.readyState").await, 2, "closed");
    server.go_on();
    page.until_phase("done").await;
    assert_eq!(page.shown().await, rendered(&page).await);
    assert_eq!(server.ended("close").await, 1, "one generation");
}

#[tokio::test]
async fn a_page_that_is_left_and_returned_to_from_the_cache_goes_on() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = browser.open(&server.url).await;
    begin(&page, &server).await;
    page.run::<()>("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))").await;
    server.go_on();
    until_parked(&server).await;
    page.run::<()>("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))").await;
    page.until_phase("done").await;
    assert_eq!(page.shown().await, rendered(&page).await);
    assert_eq!(server.ended("close").await, 1, "one generation");
}

#[tokio::test]
async fn a_seventh_tab_loads_and_is_answered_though_six_others_wait() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let mut pages = Vec::new();
    for _ in 0..6 {
        let page = browser.tab(&server.url).await;
        page.choose().await;
        page.ask().await;
        until("it is connected", async || {
            page.within("conversation.js", "return page.newest().stream.opened").await
        })
        .await;
        show(&page, false).await;
        pages.push(page);
    }
    server.go_on();
    let seventh = browser.tab(&server.url).await;
    seventh.choose().await;
    seventh.ask().await;
    seventh.until_phase("done").await;
    let first = &pages[0];
    first.to_front().await;
    show(first, true).await;
    first.until_phase("done").await;
    assert_eq!(first.shown().await.cards.len(), 3);
}
