//! How the page looks on a phone and on a desk.

use std::path::{Path, PathBuf};

use crate::support::{Browser, Server};

/// Where somebody who changes the page can look at it.
fn screenshots() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Width and height of a PNG file, from its first chunk.
fn size(png: &Path) -> (u32, u32) {
    let bytes = std::fs::read(png).unwrap();
    assert_eq!(&bytes[12..16], b"IHDR", "{}", png.display());
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[tokio::test]
async fn screenshots_of_a_phone_and_a_desk_can_be_looked_at() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    for (name, width, height, density, dark) in [
        ("small-light", 320, 568, 2, false),
        ("small-dark", 320, 568, 2, true),
        ("phone-light", 390, 844, 2, false),
        ("phone-dark", 390, 844, 2, true),
        ("desktop-light", 1280, 800, 1, false),
        ("desktop-dark", 1280, 800, 1, true),
    ] {
        let page = browser.open(&server.url).await;
        page.resize(width, height).await;
        page.colours(dark).await;
        page.until_still().await;
        let choosing = screenshots().join(format!("{name}-choosing.png"));
        page.screenshot(&choosing).await;
        page.choose().await;
        page.ask().await;
        page.until_phase("done").await;
        page.until_still().await;
        let finished = screenshots().join(format!("{name}-finished.png"));
        page.screenshot(&finished).await;
        page.run::<()>("scrollTo(0, 0)").await;
        page.click("#forget").await;
        page.until_still().await;
        let deleting = screenshots().join(format!("{name}-deleting.png"));
        page.screenshot(&deleting).await;
        for file in [choosing, finished, deleting] {
            assert_eq!(size(&file), (width * density, height * density), "{}", file.display());
            println!("{}", file.display());
        }
    }
}

#[tokio::test]
async fn nothing_sticks_out_at_any_width() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start().await;
    for width in [320, 390, 1280] {
        let page = browser.open(&server.url).await;
        page.resize(width, 800).await;
        let fits = async |what: &str| {
            let [content, room]: [u32; 2] = page
                .run("const { scrollWidth, clientWidth } = document.documentElement; return [scrollWidth, clientWidth]")
                .await;
            assert!(content <= room && room <= width, "{what}: {content} in {room} of {width}");
        };
        page.choose().await;
        fits("the choices").await;
        // As long as it may be, and without a place to break it.
        page.write("#location .own", &"W".repeat(50)).await;
        fits("somebody's own words").await;
        page.click("#settings-open").await;
        fits("the settings").await;
        page.click("#raw-toggle").await;
        page.click("#settings-open").await;
        page.ask().await;
        page.until_phase("done").await;
        fits("the answer").await;
    }
}
