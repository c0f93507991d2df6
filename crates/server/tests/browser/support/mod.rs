//! A browser, a server whose model can be held, and something between them that counts.

mod browser;
#[path = "../../it/support/catalog.rs"]
mod catalog;
pub(crate) mod page;
mod proxy;
mod server;

use std::time::Duration;

pub(crate) use browser::Browser;
pub(crate) use page::Page;
pub(crate) use proxy::{Network, Proxy};
pub(crate) use server::Server;

pub(crate) const VALID: &str =
    "/ai/chatbot/recommendation/base-info?location=city&workType=office&category=ZERO_WASTE";

/// Far more than anything here takes on a quiet machine: no test may depend on how busy it is.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks again and again until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, asking).await.is_ok();
    assert!(came, "it never came to this: {what}");
}

/// Asks, and waits until the first letters are there. The server's model is held.
pub(crate) async fn begin(page: &Page<'_>, server: &Server) {
    page.choose().await;
    page.ask().await;
    until("the page shows a letter", async || {
        server.step();
        !page.shown().await.recommend.is_empty()
    })
    .await;
}
