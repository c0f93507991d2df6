//! A page that is loaded again: what was said is there, and what was being answered goes on.

use std::time::Duration;

use leafresh_server::config::Seconds;
use serde_json::Value;

use crate::network::rendered;
use crate::support::{Browser, Page, Server, begin, until};

async fn said(page: &Page<'_>) -> String {
    page.run("return document.getElementById('log').innerText").await
}

async fn until_said(page: &Page<'_>, text: &str) {
    until("what was said is back", async || said(page).await == text).await;
}

/// Three choices and a nod after them.
async fn talked<'a>(browser: &'a Browser, server: &Server) -> (Page<'a>, String) {
    let page = browser.open(&server.url).await;
    page.resize(390, 844).await;
    page.choose().await;
    page.ask().await;
    page.until_phase("done").await;
    page.write("#message", "👍").await;
    page.click("#say button").await;
    until("it is answered", async || page.turns().await == 2 && page.phase().await == "done").await;
    let text = said(&page).await;
    (page, text)
}

#[tokio::test]
async fn a_reload_loses_nothing_of_a_conversation_and_it_goes_on() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let (page, text) = talked(&browser, &server).await;
    page.reload().await;
    until_said(&page, &text).await;
    assert!(page.sees("#forget").await && page.sees("#replies").await);
    page.click("#replies button").await;
    until("it is answered", async || page.turns().await == 3 && page.phase().await == "done").await;
    page.click("#forget").await;
    page.click("#forget-yes").await;
    until("it is gone", async || page.turns().await == 0).await;
    page.reload().await;
    assert!(page.sees("#welcome").await);
    let kept: Vec<String> = page.run("return Object.keys(localStorage)").await;
    assert_eq!(kept, [""; 0]);
}

/// Another browser of the same person knows the name only.
#[tokio::test]
async fn the_servers_words_are_enough_to_show_a_conversation() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let (page, _) = talked(&browser, &server).await;
    let first = page.shown().await;
    page.run::<()>("delete localStorage['leafresh.conversation']").await;
    page.reload().await;
    until("what was said is back", async || page.turns().await == 2).await;
    let again = page.shown().await;
    assert_eq!(again.recommend, first.recommend);
    let titles = |cards: &[crate::support::page::Card]| -> Vec<_> {
        cards.iter().map(|card| (card.title.clone(), card.description.clone())).collect()
    };
    assert_eq!(titles(&again.cards), titles(&first.cards));
    assert_eq!(page.text(".asked").await, "도시 · 사무직 · 제로웨이스트");
}

/// Beyond this machine and without keys nobody reads conversations.
#[tokio::test]
async fn where_conversations_cannot_be_read_the_browsers_copy_is_shown() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::closed().await;
    let (page, text) = talked(&browser, &server).await;
    page.reload().await;
    until_said(&page, &text).await;
}

#[tokio::test]
async fn a_conversation_that_was_deleted_elsewhere_is_not_shown_from_a_copy() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let (page, text) = talked(&browser, &server).await;
    page.reload().await;
    until_said(&page, &text).await;
    let session: String = page.run("return localStorage['leafresh.session']").await;
    let url = format!("{}/ai/chatbot/sessions/{session}", server.url);
    reqwest::Client::new().delete(url).send().await.unwrap().error_for_status().unwrap();
    page.reload().await;
    until("the copy is gone", async || page.run("return !('leafresh.conversation' in localStorage)").await)
        .await;
    assert_eq!(page.turns().await, 0);
}

#[tokio::test]
async fn an_answer_that_is_being_written_goes_on_after_a_reload_from_its_first_word() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = browser.open(&server.url).await;
    begin(&page, &server).await;
    let before = page.shown().await.recommend;
    page.reload().await;
    until("its words are back", async || page.shown().await.recommend.starts_with(&before)).await;
    assert_eq!((page.turns().await, page.phase().await.as_str()), (1, "writing"));
    server.go_on();
    page.until_phase("done").await;
    assert_eq!(page.shown().await, rendered(&page).await);
    assert_eq!(server.ended("close").await, 1, "one generation");
    page.reload().await;
    until("it is there once", async || page.turns().await == 1).await;
    assert_eq!(page.phase().await, "done");
}

/// The server knows it, in the conversation and in the stream.
#[tokio::test]
async fn an_answer_that_came_to_its_end_while_the_page_was_loaded_again_is_there_once() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = browser.open(&server.url).await;
    begin(&page, &server).await;
    // A page that is gone: its answer would be parked, so somebody else reads on.
    let trace: Value = page.run("return JSON.parse(sessionStorage['leafresh.running'])").await;
    let url = trace["url"].as_str().unwrap().to_owned();
    let reader = tokio::spawn(async move { reqwest::get(url).await.unwrap().text().await });
    page.run::<()>("location.href = 'about:blank'").await;
    server.go_on();
    reader.await.unwrap().unwrap();
    server.until_ended("close").await;
    page.back().await;
    page.until_phase("done").await;
    until("it is there once", async || page.turns().await == 1).await;
    assert_eq!(page.shown().await.cards.len(), 3);
    assert_eq!(server.ended("close").await, 1, "one generation");
}

#[tokio::test]
async fn a_question_whose_answer_was_given_up_is_asked_again_after_a_reload() {
    let Some(browser) = Browser::start().await else { return };
    let no_grace = |config: &mut leafresh_server::config::Config| {
        config.stream.grace_seconds = Seconds(Duration::ZERO);
    };
    let mut server = Server::held_with(no_grace).await;
    let page = browser.open(&server.url).await;
    begin(&page, &server).await;
    page.run::<()>("location.href = 'about:blank'").await;
    server.go_on();
    until("the answer was given up", async || server.health().running == 0).await;
    page.back().await;
    page.until_phase("done").await;
    until("it is there once", async || page.turns().await == 1).await;
    assert_eq!(page.shown().await, rendered(&page).await);
}

#[tokio::test]
async fn what_somebody_thinks_of_an_answer_is_kept_and_shown_and_can_be_taken_back() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let (page, _) = talked(&browser, &server).await;
    // A nod's answer asks for no opinion.
    assert!(!page.sees(".turn:nth-child(2) .rating").await);
    let pressed = "return document.querySelector('.rating [value=down]').ariaPressed";
    page.click(".rating [value=down]").await;
    until("it is kept", async || page.run::<String>(pressed).await == "true").await;
    assert_eq!(server.ratings().await, ["down"]);
    page.reload().await;
    until("what was said is back", async || page.turns().await == 2).await;
    assert_eq!(page.run::<String>(pressed).await, "true");
    page.click(".rating [value=down]").await;
    until("it is taken back", async || page.run::<String>(pressed).await == "false").await;
    assert_eq!(server.ratings().await, [""; 0]);
}

#[tokio::test]
async fn a_question_without_an_answer_says_so_and_can_be_asked_again() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = browser.open(&server.url).await;
    begin(&page, &server).await;
    page.click("#stop").await;
    server.until_ended("stopped").await;
    server.go_on();
    let session: String = page.run("return localStorage['leafresh.session']").await;
    let url = format!("{}/ai/chatbot/sessions/{session}", server.url);
    until("the question is kept", async || reqwest::get(&url).await.unwrap().status() == 200).await;
    page.reload().await;
    until("the question is back", async || page.turns().await == 1).await;
    assert_eq!(page.text(".notice").await, "답을 다 받지 못한 질문이에요.");
    page.click("#again").await;
    page.until_phase("done").await;
    assert_eq!((page.turns().await, page.shown().await.cards.len()), (1, 3));
}
