//! A server that wants a key, and a page that doesn't have one.

use crate::support::{Browser, Server, until};

#[tokio::test]
async fn a_page_asks_for_the_key_when_the_server_wants_one_and_keeps_it_for_its_tab() {
    const KEY: &str = "0123456789abcdef";
    let Some(browser) = Browser::start().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.toml");
    std::fs::write(&file, format!("[[key]]\nname = \"page\"\nkey = \"{KEY}\"\n")).unwrap();
    let server = Server::with_keys(&file).await;
    let page = browser.open(&server.url).await;
    assert!(page.run::<bool>("return document.getElementById('key-form').hidden").await);
    page.choose().await;
    page.ask().await;
    page.until_phase("failed").await;
    until("the field is there", async || {
        page.run::<String>("return document.activeElement.id").await == "key"
    })
    .await;
    assert_eq!(page.text(".notice").await, "API 키가 있어야 쓸 수 있는 서버예요. 설정에 키를 적어 주세요.");

    page.write("#key", "a-key-that-fits-nowhere").await;
    page.click("#key-form button").await;
    until("it is told", async || page.text("#key-message").await == "맞지 않는 키예요. 다시 확인해 주세요.")
        .await;
    page.run::<()>("document.getElementById('key').value = ''").await;
    page.write("#key", KEY).await;
    page.click("#key-form button").await;
    // What was refused is asked again.
    page.until_phase("done").await;
    assert_eq!(page.run::<usize>("return document.querySelectorAll('.card.finished').length").await, 3);
    assert_eq!(page.run::<String>("return sessionStorage['leafresh.key@' + location.origin]").await, KEY);
    assert!(!page.run::<String>("return JSON.stringify(localStorage)").await.contains(KEY));

    // A cookie lasts for hours, a tab for days.
    browser.forget_cookies().await;
    page.click("#again").await;
    until("it was asked again", async || {
        page.run::<usize>("return document.querySelectorAll('.turn').length").await == 2
    })
    .await;
    page.until_phase("done").await;
}
