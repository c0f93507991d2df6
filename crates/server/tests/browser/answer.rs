//! An answer from its first letter to its last.

use serde_json::Value;

use crate::support::page::{Card, Page, Shown};
use crate::support::{Browser, Server, until};

async fn ask(page: &Page<'_>) {
    page.choose().await;
    page.ask().await;
}

/// The data of the stream's `close`.
async fn closed(page: &Page<'_>) -> Value {
    let mut events = page.events().await;
    let last = events.pop().unwrap();
    assert_eq!(last.name, "close");
    last.data["data"].clone()
}

#[tokio::test]
async fn the_first_letters_are_shown_while_the_model_still_writes() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = browser.open(&server.url).await;
    ask(&page).await;
    until("the page shows a letter", async || {
        server.step();
        !page.shown().await.recommend.is_empty()
    })
    .await;
    // The model takes no further step, so this can't be an answer that came as a whole.
    assert_eq!(page.phase().await, "writing");
    assert_eq!(server.health().running, 1);
    assert_eq!(page.shown().await.cards, []);
    server.go_on();
    page.until_phase("done").await;
    assert_eq!(page.shown().await.cards.len(), 3);
}

#[tokio::test]
async fn text_grows_token_by_token() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = browser.open(&server.url).await;
    page.watch().await;
    ask(&page).await;
    page.until_phase("done").await;

    let seen = page.seen().await;
    for pair in seen.windows(2) {
        assert!(pair[1].starts_with(&pair[0]), "taken back: {pair:?}");
    }
    // In the sentence above the cards every text of the stream can be counted; a space shows with the next one.
    let events = page.events().await;
    let texts = events.iter().filter_map(|event| event.data["data"].as_str());
    let texts: Vec<&str> =
        texts.take_while(|text| !text.contains('\n')).filter(|text| *text != " ").collect();
    let seen: Vec<&String> = seen.iter().filter(|text| !text.contains('\n')).collect();
    assert_eq!(seen.len(), texts.len(), "{seen:?} and {texts:?}");
    assert!(texts.len() > 20, "{texts:?}");
}

#[tokio::test]
async fn the_finished_page_shows_what_the_close_event_says() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = browser.open(&server.url).await;
    ask(&page).await;
    page.until_phase("done").await;

    let data = closed(&page).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let challenges = data["challenges"].as_array().unwrap().iter();
    let card = |challenge: &Value| Card {
        title: text(&challenge["title"]),
        description: text(&challenge["description"]),
        label: text(&challenge["label"]),
        finished: true,
    };
    let cards: Vec<Card> = challenges.map(card).collect();
    assert_eq!(cards.len(), 3);
    assert!(cards.iter().all(|card| card.label == "제로웨이스트"), "{cards:?}");
    assert_eq!(page.shown().await, Shown { recommend: text(&data["recommend"]), cards });
    assert_eq!(page.text("#status").await, "추천이 끝났어요.");
}

#[tokio::test]
async fn an_answer_leaves_no_complaint_in_the_console() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = browser.open(&server.url).await;
    ask(&page).await;
    page.until_phase("done").await;
    assert_eq!(page.complaints().await, [""; 0]);
}

#[tokio::test]
async fn another_servers_address_brings_that_servers_answer() {
    let Some(browser) = Browser::start().await else { return };
    let (home, other) = (Server::start().await, Server::start().await);
    let page = browser.open(&home.url).await;
    page.click("#settings-open").await;
    page.write("#server", &other.url).await;
    page.click("#server-form button").await;
    page.click("#settings-open").await;
    ask(&page).await;
    page.until_phase("done").await;
    assert_eq!(page.shown().await.cards.len(), 3);
    assert_eq!(page.complaints().await, [""; 0]);
    other.until_ended("close").await;
    assert_eq!(home.ended("close").await, 0);
}
