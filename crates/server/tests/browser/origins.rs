//! A front end on another site, which opens its stream with credentials.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Browser, Page, Server, VALID, until};

/// A site of its own, by another name than the server's: every path is an empty page without a policy.
async fn front_end() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut browser, _)) = listener.accept().await {
            tokio::spawn(async move {
                let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                // A browser that opens a connection and asks nothing is no failure.
                let _ = browser.read(&mut [0; 4096]).await;
                let _ = browser.write_all(page.as_bytes()).await;
            });
        }
    });
    url
}

/// Opens the stream as the front end does, and waits until it has ended one way or the other.
async fn listen(page: &Page<'_>, server: &Server) -> Vec<String> {
    page.run::<()>(&format!(
        "window.heard = [];
         const source = new EventSource('{}{VALID}', {{ withCredentials: true }});
         source.addEventListener('challenge', () => heard.push('challenge'));
         source.addEventListener('close', () => {{ heard.push('close'); source.close(); }});
         source.addEventListener('error', () => {{ heard.push('error'); source.close(); }})",
        server.url
    ))
    .await;
    until("it has ended", async || page.run("return ['close', 'error'].includes(heard.at(-1))").await).await;
    page.run("return heard").await
}

#[tokio::test]
async fn a_listed_front_end_of_another_site_reads_its_stream_with_credentials_and_no_other_does() {
    let Some(browser) = Browser::start().await else { return };
    let front = front_end().await;
    let server = Server::started_with(|config| {
        config.cors.origins = serde_json::from_value(json!([front])).unwrap();
    })
    .await;
    let page = browser.open(&front).await;
    let heard = listen(&page, &server).await;
    assert_eq!((heard[0].as_str(), heard.last().unwrap().as_str()), ("challenge", "close"));

    let other = Server::started_with(|config| {
        config.cors.origins = serde_json::from_value(json!(["https://elsewhere.example"])).unwrap();
    })
    .await;
    assert_eq!(listen(&page, &other).await, ["error"]);
    assert_eq!(other.health().steps, 0, "it computed for a page that may not read it");
}
