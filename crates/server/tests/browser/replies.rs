//! What can be said with a tap: examples at the beginning, and how to go on.

use crate::support::{Browser, Page, Server, until};

async fn on_a_phone<'a>(browser: &'a Browser, server: &Server) -> Page<'a> {
    let page = browser.open(&format!("{}/#chat", server.url)).await;
    page.resize(390, 844).await;
    page
}

async fn asked(page: &Page<'_>, number: usize) -> String {
    page.text(&format!(".turn:nth-child({number}) .asked")).await
}

async fn until_answered(page: &Page<'_>, turns: usize) {
    until("it is answered", async || page.turns().await == turns && page.phase().await == "done").await;
}

#[tokio::test]
async fn an_example_is_asked_with_one_tap_and_examples_make_room_for_what_follows() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = on_a_phone(&browser, &server).await;
    assert!(page.sees("#examples").await && page.sees("#welcome").await && !page.sees("#replies").await);
    page.click("#examples button").await;
    until_answered(&page, 1).await;
    assert_eq!(asked(&page, 1).await, "메일함이 꽉 찼어요");
    assert_eq!(page.shown().await.cards.len(), 3);
    assert!(!page.sees("#examples").await && !page.sees("#welcome").await && page.sees("#replies").await);
}

#[tokio::test]
async fn back_to_the_first_category_is_offered_where_the_conversation_has_left_it() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = on_a_phone(&browser, &server).await;
    page.run::<()>("location.hash = '#choose'").await;
    page.choose().await;
    page.ask().await;
    until_answered(&page, 1).await;
    assert!(!page.sees("#back").await);
    page.click("#replies button:nth-child(2)").await;
    until_answered(&page, 2).await;
    assert_eq!(asked(&page, 2).await, "다른 거");
    let category = "return [...document.querySelectorAll('.card')].at(-1).dataset.category";
    assert_ne!(page.run::<String>(category).await, "ZERO_WASTE");
    assert!(page.sees("#back").await);
    page.click("#back").await;
    until_answered(&page, 3).await;
    assert_eq!(page.run::<String>(category).await, "ZERO_WASTE");
    assert!(!page.sees("#back").await);
}

#[tokio::test]
async fn what_is_no_question_gets_a_reply_that_nobody_can_ask_for_once_more() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = on_a_phone(&browser, &server).await;
    page.write("#message", "👍").await;
    page.click("#say button").await;
    until_answered(&page, 1).await;
    let shown = page.shown().await;
    assert!(shown.recommend.contains("반가워요") && shown.cards.is_empty(), "{shown:?}");
    assert_eq!(
        page.run::<String>("return document.getElementById('status').textContent").await,
        "대답이 끝났어요."
    );
    assert!(!page.sees("#again").await && !page.sees(".facts").await);
    // Nothing was offered yet: there is nothing to go on from.
    assert!(page.sees("#examples").await && !page.sees("#replies").await);
}
