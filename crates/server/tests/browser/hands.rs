//! What hands do: two taps for one, an Enter that ends a syllable, more text than fits, a conversation deleted.

use crate::support::{Browser, Page, Server, until};

async fn type_enter(page: &Page<'_>, key_code: u16) {
    page.run::<()>(&format!(
        "const enter = {{ key: 'Enter', keyCode: {key_code}, isComposing: false, bubbles: true, cancelable: true }};
         document.getElementById('message').dispatchEvent(new KeyboardEvent('keydown', enter))"
    ))
    .await;
}

/// Puts text where the caret is, as pasting does.
async fn paste(page: &Page<'_>, css: &str, text: &str) {
    page.run::<()>(&format!(
        "document.querySelector('{css}').focus(); document.execCommand('insertText', false, '{text}')"
    ))
    .await;
}

async fn on_a_desk<'a>(browser: &'a Browser, server: &Server) -> Page<'a> {
    let page = browser.open(&server.url).await;
    page.resize(1280, 800).await;
    page
}

async fn on_a_phone<'a>(browser: &'a Browser, server: &Server) -> Page<'a> {
    let page = browser.open(&server.url).await;
    page.resize(320, 568).await;
    page
}

/// Field report 34.
#[tokio::test]
async fn the_enter_that_ends_a_composition_in_safari_sends_nothing() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = on_a_desk(&browser, &server).await;
    paste(&page, "#message", "메일함이 꽉 찼어").await;
    type_enter(&page, 229).await;
    assert_eq!((page.turns().await, page.phase().await.as_str()), (0, "idle"));
    type_enter(&page, 13).await;
    page.until_phase("done").await;
    assert_eq!(page.turns().await, 1);
}

#[tokio::test]
async fn a_double_click_asks_once_and_a_double_tap_on_send_stops_nothing() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = on_a_desk(&browser, &server).await;
    page.choose().await;
    page.run::<()>("const ask = document.getElementById('ask'); ask.click(); ask.click()").await;
    assert_eq!(page.turns().await, 1);
    assert_ne!(page.phase().await, "stopped");
    server.go_on();
    page.until_phase("done").await;

    // An answer may be whole before a second click counts for itself.
    page.until_calm().await;
    paste(&page, "#message", "메일함이 꽉 찼어").await;
    page.run::<()>("document.querySelector('#say button').click(); document.getElementById('stop').click()")
        .await;
    assert_eq!(page.turns().await, 2);
    page.until_phase("done").await;
}

#[tokio::test]
async fn text_over_the_limit_is_said_and_not_cut_and_characters_are_counted_not_units() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = on_a_desk(&browser, &server).await;
    paste(&page, "#message", &"가".repeat(1001)).await;
    assert_eq!(page.run::<usize>("return document.getElementById('message').value.length").await, 1001);
    assert!(page.text("#say-error").await.contains("1,001자"), "{}", page.text("#say-error").await);
    page.click("#say button").await;
    assert_eq!(page.turns().await, 0);

    page.run::<()>("document.getElementById('message').value = ''").await;
    paste(&page, "#message", &"🌱".repeat(600)).await;
    assert_eq!(page.text("#say-error").await, "");
    page.click("#say button").await;
    page.until_phase("done").await;
    let asked = page.text(".asked").await;
    assert_eq!(asked.matches('🌱').count(), 600);

    paste(&page, "#location .own", &"🏝".repeat(51)).await;
    page.click("#ask").await;
    assert!(page.text("#location-error").await.contains("51자"));
    assert_eq!(page.turns().await, 1);
}

/// Where an element is: left, top, width and height.
async fn place(page: &Page<'_>, css: &str) -> [f64; 4] {
    page.run(&format!(
        "const {{ left, top, width, height }} = document.querySelector('{css}').getBoundingClientRect();
         return [left, top, width, height]"
    ))
    .await
}

#[tokio::test]
async fn the_button_that_deletes_is_far_from_the_one_that_sends_and_takes_no_room_from_the_text() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = on_a_phone(&browser, &server).await;
    page.choose().await;
    page.ask().await;
    page.until_phase("done").await;
    page.run::<()>("scrollTo(0, 0)").await;
    let (delete, send) = (place(&page, "#forget").await, place(&page, "#say button").await);
    assert!(delete[2] >= 44.0 && delete[3] >= 44.0, "{delete:?}");
    assert!(send[1] - (delete[1] + delete[3]) > 100.0, "{delete:?} and {send:?}");
    assert!(place(&page, "#message").await[2] >= 150.0);
}

#[tokio::test]
async fn a_conversation_is_deleted_when_somebody_says_so_twice() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = on_a_desk(&browser, &server).await;
    page.choose().await;
    page.ask().await;
    page.until_phase("done").await;
    page.click("#forget").await;
    page.click("#forget-keep").await;
    assert_eq!(page.turns().await, 1);
    assert_eq!(page.run::<String>("return document.activeElement.id").await, "forget");
    page.click("#forget").await;
    page.click("#forget-yes").await;
    until("it is gone", async || page.turns().await == 0).await;
    assert_eq!(page.text("#status").await, "대화를 지웠어요.");
    assert_eq!(page.run::<String>("return document.activeElement.id").await, "message");
    assert!(!page.run::<bool>("return 'leafresh.session' in localStorage").await);
}

#[tokio::test]
async fn a_long_question_leaves_its_answer_in_view_and_a_finished_answer_is_read_from_its_beginning() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::held().await;
    let page = on_a_phone(&browser, &server).await;
    page.run::<()>("location.hash = '#chat'").await;
    until("the conversation is shown", async || {
        page.run("return document.body.dataset.view === 'chat'").await
    })
    .await;
    paste(&page, "#message", &"메일함이 꽉 찼어 ".repeat(40)).await;
    page.click("#say button").await;
    until("the page shows a letter", async || {
        server.step();
        !page.shown().await.recommend.is_empty()
    })
    .await;
    let (bubble, dock) = (place(&page, "#log .bubble").await, place(&page, "#dock").await);
    assert!(bubble[1] >= 0.0 && bubble[1] + bubble[3] <= dock[1] + 1.0, "{bubble:?} and {dock:?}");
    server.go_on();
    page.until_phase("done").await;
    page.until_still().await;
    let (bubble, card) = (place(&page, "#log .bubble").await, place(&page, ".card").await);
    assert!(bubble[1] >= 0.0 && card[1] < dock[1], "{bubble:?}, {card:?} and {dock:?}");
}

/// Field report 34.
#[tokio::test]
async fn a_browser_without_popovers_shows_the_settings_only_when_they_are_asked_for() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    browser
        .before_each_page(
            "delete HTMLElement.prototype.popover;
             delete HTMLElement.prototype.showPopover;
             delete HTMLElement.prototype.hidePopover;
             new MutationObserver(() => document.getElementById('settings')?.removeAttribute('popover'))
               .observe(document, { childList: true, subtree: true })",
        )
        .await;
    let page = browser.open(&server.url).await;
    let shown = "return document.getElementById('settings').checkVisibility()";
    for expected in [true, false, true] {
        assert_eq!(page.run::<bool>(shown).await, !expected);
        page.click("#settings-open").await;
        assert_eq!(page.run::<bool>(shown).await, expected);
    }
}

/// Field report 44.
#[tokio::test]
async fn a_key_is_sent_to_the_server_that_it_was_given_for_and_to_no_other() {
    let Some(browser) = Browser::start().await else { return };
    let (home, other) = (Server::start().await, Server::loading().await);
    let page = browser.open(&home.url).await;
    page.run::<()>("sessionStorage['leafresh.key@' + location.origin] = 'a-key-for-home-only'").await;
    // An older page kept it so.
    page.run::<()>("sessionStorage['leafresh.key'] = 'a-key-for-home-only'").await;
    page.run::<()>(
        "window.sent = [];
         const send = window.fetch;
         window.fetch = (url, options = {}) => {
           sent.push(String(url) + JSON.stringify(options.headers ?? {}));
           return send(url, options);
         }",
    )
    .await;
    page.run::<()>(&format!("localStorage['leafresh.server'] = '{}/'", other.url)).await;
    assert!(page.within::<bool>("settings.js", "return page.unlock().then(() => sent.length > 0)").await);
    let sent: Vec<String> = page.run("return window.sent").await;
    assert!(sent.iter().all(|sent| sent.starts_with(&other.url) && !sent.contains("home-only")), "{sent:?}");
    page.run::<()>("delete localStorage['leafresh.server']").await;
    assert!(
        page.within::<bool>(
            "settings.js",
            "return page.unlock().then(() => sent.at(-1).includes('home-only'))"
        )
        .await
    );
}
