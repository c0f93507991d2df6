use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver};

use super::{PATIENCE, Page};

const MISSING: &str = "The browser tests need Chromium and its driver: run `scripts/setup.sh --test`, or install them \
    (Debian: apt-get install chromium chromium-driver). LEAFRESH_SKIP_BROWSER=1 leaves these tests out.";

/// No window, no GPU, and no talking to anybody but the page's server.
const ARGUMENTS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=ko",
];

/// A browser of the test's own, which ends with it, also when it fails. The profile goes last.
pub(crate) struct Browser {
    driver: WebDriver,
    _process: Driver,
    _profile: TempDir,
}

impl Browser {
    /// `None` when the environment says that there shall be no browser.
    pub(crate) async fn start() -> Option<Self> {
        if std::env::var_os("LEAFRESH_SKIP_BROWSER").is_some_and(|value| value == "1") {
            eprintln!("skipped: LEAFRESH_SKIP_BROWSER is set");
            return None;
        }
        let process = Driver::start();
        let profile = tempfile::tempdir().unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            capabilities.add_arg(argument).unwrap();
        }
        // `--lang` alone leaves pages in English where the machine is.
        let preferences = json!({ "intl.accept_languages": "ko" });
        capabilities.add_experimental_option("prefs", preferences).unwrap();
        capabilities.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        capabilities.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let url = format!("http://127.0.0.1:{}", process.port);
        let driver = WebDriver::builder(url, capabilities).request_timeout(PATIENCE).await;
        let driver = driver.unwrap_or_else(|error| panic!("no browser: {error}\n{MISSING}"));
        Some(Self { driver, _process: process, _profile: profile })
    }

    pub(crate) async fn forget_cookies(&self) {
        self.driver.delete_all_cookies().await.unwrap();
    }

    pub(crate) async fn open(&self, url: &str) -> Page<'_> {
        self.driver.goto(url).await.unwrap();
        let page = Page::new(&self.driver, self.driver.window().await.unwrap());
        page.until_alive().await;
        page
    }

    /// In a tab of its own, which is then the one in front.
    pub(crate) async fn tab(&self, url: &str) -> Page<'_> {
        let tab = self.driver.new_tab().await.unwrap();
        self.driver.switch_to_window(tab).await.unwrap();
        self.open(url).await
    }

    /// Runs in every page from now on, before its own scripts.
    pub(crate) async fn before_each_page(&self, script: &str) {
        self.driver.cdp().page().add_script_to_evaluate_on_new_document(script).await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closing the session in order takes the driver's patience when nothing drives the test's runtime any more;
        // the browser is ended with its process group instead. Only a session that is over already can't be left.
        let _ = self.driver.clone().leak();
    }
}

/// chromedriver on a free port of 127.0.0.1, its default address.
struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    fn start() -> Self {
        let mut command = Command::new("chromedriver");
        // A process group of its own: the browser outlives a driver that is killed, but not the group.
        command.arg("--port=0").process_group(0).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("chromedriver: {error}\n{MISSING}"));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut driver = Self { process, port: 0 };
        for line in lines.map_while(Result::ok) {
            let port = line.split_once("started successfully on port ");
            if let Some((_, port)) = port {
                driver.port = port.trim_end_matches('.').parse().unwrap();
                return driver;
            }
        }
        panic!("chromedriver did not say on which port it listens");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        // What has ended already needs no end; there is nobody to tell of other failures.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}
