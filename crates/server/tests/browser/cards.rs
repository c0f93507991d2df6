//! What can be done with a challenge: start, save, copy and share it.

use serde_json::{Value, json};

use crate::support::{Browser, Page, Server, until};

/// Instead of the clipboard and of the system's window for sharing.
const HANDS: &str = "
    window.copied = []; window.shared = [];
    Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => { copied.push(text); } } });
    navigator.share = async (what) => { shared.push(what); };";

async fn answered<'a>(browser: &'a Browser, server: &Server) -> Page<'a> {
    let page = browser.open(&server.url).await;
    page.resize(1280, 800).await;
    page.choose().await;
    page.ask().await;
    page.until_phase("done").await;
    page
}

async fn saved(page: &Page<'_>) -> Vec<String> {
    page.run("return JSON.parse(localStorage['leafresh.saved'] ?? '[]').map(({ title }) => title)").await
}

#[tokio::test]
async fn a_challenge_is_saved_in_this_browser_found_in_a_list_and_taken_out_of_it() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = answered(&browser, &server).await;
    let titles: Vec<String> = page.shown().await.cards.into_iter().map(|card| card.title).collect();
    assert!(!page.sees("#saved-open").await);
    page.click(".card:nth-child(1) .save").await;
    page.click(".card:nth-child(3) .save").await;
    assert_eq!(saved(&page).await, [titles[2].as_str(), titles[0].as_str()], "the newest first");
    assert_eq!(page.text("#saved-open").await, "저장함 2");

    page.reload().await;
    page.click("#saved-open").await;
    page.until_still().await;
    assert_eq!(page.text("#saved-list .card-title").await, titles[2]);
    page.click("#saved-list .save").await;
    assert_eq!(saved(&page).await, [titles[0].as_str()]);
    // What was taken out by mistake is there until the list is closed.
    page.click("#saved-list .save").await;
    assert_eq!(saved(&page).await.len(), 2);
    page.click("#saved form button:last-child").await;
    let pressed = "return [...document.querySelectorAll('#log .save')].map((one) => one.ariaPressed)";
    until("the conversation is back", async || page.run::<Vec<String>>(pressed).await.len() == 3).await;
    assert_eq!(page.run::<Vec<String>>(pressed).await, ["true", "false", "true"]);
}

#[tokio::test]
async fn the_list_of_saved_challenges_can_be_emptied_and_that_undone() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = answered(&browser, &server).await;
    for card in 1..=3 {
        page.click(&format!(".card:nth-child({card}) .save")).await;
    }
    page.click("#saved-open").await;
    page.click("#saved-empty").await;
    assert_eq!(saved(&page).await, [""; 0]);
    assert_eq!(page.text("#saved-status").await, "저장한 챌린지가 없어요.");
    assert_eq!(page.text("#saved-empty").await, "되돌리기");
    page.click("#saved-empty").await;
    assert_eq!(saved(&page).await.len(), 3);
    page.click("#saved-empty").await;
    page.click("#saved form button:last-child").await;
    assert!(!page.sees("#saved-open").await);
    assert_eq!(page.run::<String>("return document.activeElement.id").await, "settings-open");
}

#[tokio::test]
async fn a_challenge_is_copied_and_shared_as_its_title_and_text() {
    let Some(browser) = Browser::start().await else { return };
    browser.before_each_page(HANDS).await;
    let server = Server::start().await;
    let page = answered(&browser, &server).await;
    let card = page.shown().await.cards.remove(1);
    let text = format!("{}\n{}", card.title, card.description);
    page.click(".card:nth-child(2) .copy").await;
    until("it is said", async || page.text(".toast").await == "복사했어요.").await;
    page.click(".card:nth-child(2) .share").await;
    assert_eq!(page.run::<Vec<String>>("return copied").await, [text.as_str()]);
    let shared: Value = page.run("return shared").await;
    assert_eq!(shared, json!([{ "title": card.title, "text": text, "url": null }]));
}

/// Over plain HTTP in a local network there is no clipboard.
#[tokio::test]
async fn a_challenge_is_copied_without_a_clipboard_too() {
    let Some(browser) = Browser::start().await else { return };
    browser
        .before_each_page(
            "Object.defineProperty(navigator, 'clipboard', { value: undefined });
             document.addEventListener('copy', () => { window.copied = document.activeElement.value; })",
        )
        .await;
    let server = Server::start().await;
    let page = answered(&browser, &server).await;
    let card = page.shown().await.cards.remove(0);
    page.click(".card:nth-child(1) .copy").await;
    until("it is said", async || page.text(".toast").await == "복사했어요.").await;
    assert_eq!(page.run::<String>("return copied").await, format!("{}\n{}", card.title, card.description));
    assert!(page.run::<bool>("return document.querySelector('body > textarea') === null").await);
}

#[tokio::test]
async fn a_challenge_is_started_where_the_configuration_says_and_only_there() {
    let Some(browser) = Browser::start().await else { return };
    let link = "https://app.example/new?category={category}&title={title}&description={description}";
    let server = Server::started_with(|config| {
        config.page = serde_json::from_value(json!({ "challenge_url": link })).unwrap();
    })
    .await;
    let page = answered(&browser, &server).await;
    let card = page.shown().await.cards.remove(0);
    let start: Value = page
        .run(
            "const { href, target, rel } = document.querySelector('.card .start');
             return [...new URL(href).searchParams, ['', new URL(href).origin], [target, rel]]",
        )
        .await;
    let expected = json!([
        ["category", "ZERO_WASTE"],
        ["title", card.title],
        ["description", card.description],
        ["", "https://app.example"],
        ["_blank", "noopener"],
    ]);
    assert_eq!(start, expected);
    assert!(page.sees(".card .start").await);

    let page = answered(&browser, &Server::start().await).await;
    assert!(!page.sees(".card .start").await);
}

#[tokio::test]
async fn a_card_tells_how_long_its_challenge_takes_and_what_a_photo_of_it_shows() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::telling().await;
    let page = answered(&browser, &server).await;
    let events = page.events().await;
    let sources = &events.last().unwrap().data["data"]["sources"];
    let source = &sources.as_array().unwrap()[0];
    let more = page
        .run::<String>(&format!(
            "return [...document.querySelectorAll('.card')]
               .find((card) => card.querySelector('.card-title').textContent === {})
               .querySelector('.card-more').textContent",
            source["title"]
        ))
        .await;
    let (minutes, proof) = (source["minutes"].as_u64().unwrap(), source["proof"].as_str().unwrap());
    let time = match (minutes / 60, minutes % 60) {
        (0, rest) => format!("{rest}분"),
        (hours, 0) => format!("{hours}시간"),
        (hours, rest) => format!("{hours}시간 {rest}분"),
    };
    assert_eq!(more, format!("약 {time} · 인증: {proof}"));
}
