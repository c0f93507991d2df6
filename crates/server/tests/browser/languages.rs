//! The page in English, around answers in Korean.

use serde_json::Value;

use crate::support::{Browser, Server};

/// What two languages have in common: the names of all texts.
const NAMES: &str = "
    const names = (value, path = '') => typeof value === 'string' ? [path]
      : Object.entries(value).flatMap(([name, part]) => names(part, path + '/' + name));
    const load = (file) => import(new URL(file, document.baseURI)).then(({ TEXT }) => names(TEXT));
    return Promise.all(['texts.ko.js', 'texts.en.js'].map(load))";

#[tokio::test]
async fn every_text_of_the_page_is_there_in_both_languages() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = browser.open(&server.url).await;
    let [korean, english]: [Vec<String>; 2] = page.run(NAMES).await;
    let missing: Vec<_> = korean.iter().filter(|name| !english.contains(name)).collect();
    assert!(missing.is_empty() && korean.len() > 50, "{missing:?}");
    // What English has beyond that is in the page itself or comes from the server.
    let more = english.iter().filter(|name| !korean.contains(name));
    let own = ["/page/", "/labels/", "/hints/", "/terms/", "/stage/", "/refusedWith/"];
    let stray: Vec<_> = more.filter(|name| !own.iter().any(|own| name.starts_with(own))).collect();
    assert!(stray.is_empty(), "{stray:?}");
}

#[tokio::test]
async fn the_switch_turns_the_page_into_english_and_leaves_answers_korean() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = browser.open(&server.url).await;
    page.resize(1280, 800).await;
    assert_eq!(page.run::<String>("return document.documentElement.lang").await, "ko");
    page.click("#settings-open").await;
    page.write("#language", "English").await;
    page.until_language("en").await;
    assert_eq!(page.text("#ask").await, "Get challenges");
    page.choose().await;
    page.ask().await;
    page.until_phase("done").await;
    assert_eq!(page.text(".asked").await, "City · Office · Zero waste\nRecommend challenges for these.");
    assert_eq!(page.text(".card-label").await, "Zero waste");
    assert_eq!(page.text(".card .save").await, "Save");
    let shown: Value = page
        .run(
            "const title = document.querySelector('.card-title');
             return [title.lang, /[가-힣]/.test(title.textContent)]",
        )
        .await;
    assert_eq!(shown, serde_json::json!(["ko", true]));
    // Nothing that people read or hear is left in Korean but answers and what is written for people without scripts.
    let left: Vec<String> = page
        .run(
            "const templates = [...document.querySelectorAll('template')].map(({ content }) => content);
             const all = [document.body, ...templates].flatMap((part) => [...part.querySelectorAll('*')]);
             const ours = all.filter((one) => !one.closest('#log, #raw, [lang=ko], script, .noscript, noscript'));
             const texts = (one) => [...one.childNodes].filter(({ nodeType }) => nodeType === 3).map(({ data }) => data);
             const read = (one) => [...texts(one), one.ariaLabel, one.placeholder].join();
             return ours.filter((one) => /[가-힣]/.test(read(one))).map((one) => one.outerHTML.slice(0, 120))",
        )
        .await;
    assert_eq!(left, [""; 0]);
    page.click("#settings-open").await;
    page.write("#language", "한국어").await;
    page.until_language("ko").await;
    assert_eq!(page.text("#ask").await, "추천받기");
}
