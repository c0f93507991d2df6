//! axe-core's rules on every state of the page.

use std::path::Path;

use serde_json::Value;

use crate::support::{Browser, Network, Page, Proxy, Server, begin, until};

/// axe itself, as `scripts/setup.sh --test` has put it there.
fn axe() -> Option<String> {
    let Some(folder) = std::env::var_os("LEAFRESH_TEST_CLIENTS") else {
        eprintln!("skipped: LEAFRESH_TEST_CLIENTS names no folder with axe-core (`make test` sets it)");
        return None;
    };
    let file = Path::new(&folder).join("npm/node_modules/axe-core/axe.min.js");
    Some(
        std::fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!("{}: {error}; `scripts/setup.sh --test` installs it", file.display())
        }),
    )
}

async fn violations(page: &Page<'_>) -> Vec<String> {
    page.until_still().await;
    let found: Value = page
        .run(
            "return axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
               violations.map(({ id, nodes }) =>
                 id + ': ' + nodes.map(({ html, failureSummary }) => html.slice(0, 120) + ' ' + failureSummary).join(' | ')))",
        )
        .await;
    serde_json::from_value(found).unwrap()
}

#[tokio::test]
async fn axe_finds_nothing_in_any_state_of_the_page_on_phones_and_desks_light_and_dark() {
    let (Some(axe), Some(browser)) = (axe(), Browser::start().await) else { return };
    for (width, height, dark) in [(320, 568, false), (390, 844, true), (1280, 800, false), (1280, 800, true)]
    {
        let mut server = Server::held().await;
        let proxy = Proxy::start(&server.url).await;
        let page = browser.open(&proxy.url).await;
        page.resize(width, height).await;
        page.colours(dark).await;
        page.run::<()>(&axe).await;
        let look = async |state: &str| {
            let found = violations(&page).await;
            assert!(found.is_empty(), "{state}, {width} wide, dark {dark}: {found:#?}");
        };
        page.run::<()>("document.querySelector('main').append(new Image())").await;
        assert!(violations(&page).await.concat().contains("image-alt"), "axe doesn't look at the page");
        page.run::<()>("document.querySelector('main').lastElementChild.remove()").await;
        look("choosing").await;
        page.click("#ask").await;
        look("something is missing").await;
        page.click("#settings-open").await;
        look("settings").await;
        page.click("#settings-open").await;
        page.click("#categories-open").await;
        look("categories").await;
        page.click("#categories button").await;
        begin(&page, &server).await;
        look("writing").await;
        server.go_on();
        page.until_phase("done").await;
        look("done").await;
        page.click(".save").await;
        page.click("#saved-open").await;
        look("saved challenges").await;
        page.click("#saved-empty").await;
        look("no saved challenges").await;
        page.click("#saved form button:last-child").await;
        page.click("#forget").await;
        look("asked whether to delete").await;
        page.click("#forget-keep").await;
        page.within::<()>(
            "choices.js",
            "document.getElementById('message').value = '가'.repeat(1001); page.checkMessage()",
        )
        .await;
        look("too long").await;
        proxy.set(Network::Refuses(503));
        page.click("#again").await;
        page.until_phase("failed").await;
        look("failed").await;
        proxy.set(Network::Whole);
        page.reload().await;
        until("what was said is back", async || page.turns().await > 0).await;
        page.run::<()>(&axe).await;
        look("after a reload").await;
        page.run::<()>("localStorage['leafresh.language'] = 'en'").await;
        page.reload().await;
        until("what was said is back", async || page.turns().await > 0).await;
        page.run::<()>(&axe).await;
        look("in English").await;
    }
}
