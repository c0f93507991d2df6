use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thirtyfour::{By, WebDriver, WindowHandle};

use super::until;

/// The chat page, as somebody who uses it sees it.
pub(crate) struct Page<'a> {
    driver: &'a WebDriver,
    tab: WindowHandle,
}

/// An answer as it stands on the page.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Shown {
    pub(crate) recommend: String,
    pub(crate) cards: Vec<Card>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Card {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) label: String,
    pub(crate) finished: bool,
}

/// An event as the page's own list of them has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl<'a> Page<'a> {
    pub(crate) fn new(driver: &'a WebDriver, tab: WindowHandle) -> Self {
        Self { driver, tab }
    }

    /// What is asked of the page needs its tab in front.
    pub(crate) async fn to_front(&self) {
        self.driver.switch_to_window(self.tab.clone()).await.unwrap();
    }

    /// What the body of a function returns in the page.
    pub(crate) async fn run<T: DeserializeOwned>(&self, script: &str) -> T {
        let result = self.driver.execute(script, Vec::new()).await;
        result.and_then(|value| value.convert()).unwrap_or_else(|error| panic!("{error}\nin {script}"))
    }

    /// The same of a function that has a module of the page as `page`.
    pub(crate) async fn within<T: DeserializeOwned>(&self, module: &str, script: &str) -> T {
        self.run(&format!(
            "return import(new URL('{module}', document.baseURI)).then((page) => {{ {script} }})"
        ))
        .await
    }

    /// Waits while the page takes a click for the second of two.
    pub(crate) async fn until_calm(&self) {
        until("the page takes clicks", async || self.within("conversation.js", "return page.isCalm()").await)
            .await;
    }

    /// Clicks where a person would, once the page takes a click. What may lie under the dock is scrolled away from it.
    pub(crate) async fn click(&self, css: &str) {
        self.until_calm().await;
        self.run::<()>(&format!(
            "const wanted = document.querySelector('{css}');
             if (wanted?.closest('#log, .replies, fieldset')) wanted.scrollIntoView({{ block: 'center' }})"
        ))
        .await;
        let element = self.driver.find(By::Css(css)).await.unwrap();
        element.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    pub(crate) async fn write(&self, css: &str, text: &str) {
        self.driver.find(By::Css(css)).await.unwrap().send_keys(text).await.unwrap();
    }

    /// Chooses 도시, 사무직 and 제로웨이스트.
    pub(crate) async fn choose(&self) {
        for value in ["city", "office", "ZERO_WASTE"] {
            // By script: on a phone the button at the bottom may lie over a choice until one scrolls.
            self.run::<()>(&format!("document.querySelector('input[value={value}]').click()")).await;
        }
    }

    pub(crate) async fn ask(&self) {
        self.click("#ask").await;
    }

    pub(crate) async fn phase(&self) -> String {
        self.run("return document.body.dataset.phase").await
    }

    pub(crate) async fn until_phase(&self, phase: &str) {
        until(&format!("the page is {phase}"), async || self.phase().await == phase).await;
    }

    pub(crate) async fn reload(&self) {
        self.driver.refresh().await.unwrap();
        self.until_alive().await;
    }

    /// The browser's own button.
    pub(crate) async fn back(&self) {
        self.driver.back().await.unwrap();
        self.until_alive().await;
    }

    /// Waits until it has been loaded in this language.
    pub(crate) async fn until_language(&self, language: &str) {
        let known = "return document.documentElement.lang + document.body?.dataset.phase";
        let expected = format!("{language}idle");
        until("the page speaks it", async || self.run::<String>(known).await == expected).await;
    }

    /// A command of its protocol without parameters.
    pub(crate) async fn ask_browser(&self, command: &str) -> Value {
        self.driver.cdp().send_raw(command, json!({})).await.unwrap()
    }

    /// Waits until its scripts run: modules may come after the page has been loaded.
    pub(crate) async fn until_alive(&self) {
        let alive = "return document.body?.dataset.phase !== 'loading'";
        until("the page has come to life", async || self.run(alive).await).await;
    }

    /// Whether somebody can see it.
    pub(crate) async fn sees(&self, css: &str) -> bool {
        self.run(&format!("return document.querySelector('{css}').checkVisibility()")).await
    }

    /// How many questions are on the page.
    pub(crate) async fn turns(&self) -> usize {
        self.run("return document.querySelectorAll('.turn').length").await
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.driver.find(By::Css(css)).await.unwrap().text().await.unwrap()
    }

    pub(crate) async fn shown(&self) -> Shown {
        self.run(
            "const text = (from, css) => from.querySelector(css).textContent;
             const cards = [...document.querySelectorAll('.card')];
             return {
               recommend: text(document, '#log .bubble'),
               cards: cards.map((card) => ({
                 title: text(card, '.card-title'),
                 description: text(card, '.card-description'),
                 label: text(card, '.card-label'),
                 finished: card.classList.contains('finished'),
               })),
             }",
        )
        .await
    }

    /// Keeps every text that the answer shows from now on.
    pub(crate) async fn watch(&self) {
        self.run::<()>(
            "window.seen = [];
             const parts = '.bubble, .card-title, .card-description';
             const look = () => {
               const shown = [...document.querySelectorAll('#log :is(' + parts + ')')];
               const text = shown.map((part) => part.textContent).join('\\n').trimEnd();
               if (text !== (seen.at(-1) ?? '')) seen.push(text);
             };
             const changes = { childList: true, subtree: true, characterData: true };
             new MutationObserver(look).observe(document.getElementById('log'), changes)",
        )
        .await;
    }

    /// The texts since [`Page::watch`].
    pub(crate) async fn seen(&self) -> Vec<String> {
        self.run("return window.seen").await
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        self.run(
            "const rows = [...document.querySelectorAll('#raw-events li')].filter((row) => row.querySelector('.raw-data'));
             return rows.map((row) => ({
               name: row.querySelector('.raw-name').textContent,
               data: JSON.parse(row.querySelector('.raw-data').textContent),
             }))",
        )
        .await
    }

    /// Errors and warnings of the console, those for requests that failed included.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.driver.browser_log().await.unwrap().into_iter();
        let log = log.filter(|entry| matches!(entry.level.as_str(), "SEVERE" | "WARNING"));
        log.map(|entry| entry.message).collect()
    }

    /// Makes the page as large as a screen: width and height in its own pixels, with a phone's rules when it is narrow.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let phone = width < 600;
        let density = if phone { 2.0 } else { 1.0 };
        let emulation = self.driver.cdp();
        emulation.emulation().set_device_metrics_override(width, height, density, phone).await.unwrap();
    }

    pub(crate) async fn colours(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.driver.cdp().send_raw("Emulation.setEmulatedMedia", features).await.unwrap();
    }

    /// Waits for the end of everything that moves.
    pub(crate) async fn until_still(&self) {
        until("nothing moves", async || self.run("return document.getAnimations().every((one) => one.effect.getTiming().iterations === Infinity)").await).await;
    }

    pub(crate) async fn screenshot(&self, path: &Path) {
        self.driver.screenshot(path).await.unwrap();
    }
}
