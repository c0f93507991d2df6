//! The page on a phone's home screen.

use serde_json::Value;

use crate::support::{Browser, Server};

#[tokio::test]
async fn a_browser_finds_nothing_that_keeps_the_page_from_being_installed() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    let page = browser.open(&server.url).await;
    let manifest: Value = page.ask_browser("Page.getAppManifest").await;
    assert_eq!(manifest["errors"], serde_json::json!([]), "{manifest}");
    let text: Value = serde_json::from_str(manifest["data"].as_str().unwrap()).unwrap();
    assert_eq!(text["display"], "standalone");
    let errors: Value = page.ask_browser("Page.getInstallabilityErrors").await;
    assert_eq!(errors["installabilityErrors"], serde_json::json!([]));
    assert_eq!(page.complaints().await, [""; 0]);
}
