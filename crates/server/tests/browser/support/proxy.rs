use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the browser asked, and what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The request's first line and headers.
    head: String,
    pub(crate) status: u16,
}

impl Exchange {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next_back()
    }
}

/// Stands between browser and server and writes down every request. It carries requests without a body, one on each
/// connection, and passes answers on as they come.
pub(crate) struct Proxy {
    pub(crate) url: String,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    network: watch::Sender<Network>,
    server: watch::Sender<SocketAddr>,
}

/// What is between the browser and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Whole,
    /// Connections are reset, those that are there and new ones.
    Cut,
    /// There is a proxy, but no server behind it.
    Away,
    /// Every request gets this status; a 503 with the time after which one may come again.
    Refuses(u16),
    /// Connections are taken, and nothing is said.
    Silent,
}

impl Proxy {
    pub(crate) async fn start(server: &str) -> Self {
        let server = watch::Sender::new(address(server));
        let to = server.subscribe();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let exchanges = Arc::new(Mutex::new(Vec::new()));
        let log = exchanges.clone();
        let network = watch::Sender::new(Network::Whole);
        let mut state = network.subscribe();
        tokio::spawn(async move {
            while let Ok((mut browser, _)) = listener.accept().await {
                let log = log.clone();
                let now = *state.borrow_and_update();
                let server = *to.borrow();
                let mut changes = state.clone();
                // Whoever leaves first ends the exchange; neither is a failure here.
                tokio::spawn(async move {
                    match now {
                        Network::Cut => reset(&browser),
                        Network::Away => drop(turn_away(&mut browser, &log, 502).await),
                        Network::Refuses(status) => drop(turn_away(&mut browser, &log, status).await),
                        Network::Silent => drop(changes.wait_for(|now| *now != Network::Silent).await),
                        Network::Whole => tokio::select! {
                            _ = carry(&mut browser, server, &log) => {}
                            _ = changes.wait_for(|now| *now != Network::Whole) => reset(&browser),
                        },
                    }
                });
            }
        });
        Self { url, exchanges, network, server }
    }

    /// New connections go to another server.
    pub(crate) fn lead_to(&self, server: &str) {
        self.server.send_replace(address(server));
    }

    /// From now on, also for connections that are there.
    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// The answered requests for this path and query, in order.
    pub(crate) fn exchanges(&self, target: &str) -> Vec<Exchange> {
        let start = format!("GET {target} ");
        self.exchanges.lock().unwrap().iter().filter(|one| one.head.starts_with(&start)).cloned().collect()
    }
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Ends a connection as a network does that breaks: without a word.
fn reset(browser: &TcpStream) {
    // Lost bytes are what is wanted; nothing else can fail here.
    let _ = browser.set_zero_linger();
}

/// What a proxy says of its own: a page, not an object.
async fn turn_away(browser: &mut TcpStream, log: &Mutex<Vec<Exchange>>, status: u16) -> std::io::Result<()> {
    let Some(head) = read_head(browser).await? else { return Ok(()) };
    log.lock().unwrap().push(Exchange { head, status });
    let wait = if status == 503 { "Retry-After: 7\r\n" } else { "" };
    let page = "<p>refused</p>";
    let length = page.len();
    let answer = format!(
        "HTTP/1.1 {status} Refused\r\n{wait}Content-Length: {length}\r\nConnection: close\r\n\r\n{page}"
    );
    browser.write_all(answer.as_bytes()).await
}

async fn carry(
    browser: &mut TcpStream,
    server: SocketAddr,
    log: &Mutex<Vec<Exchange>>,
) -> std::io::Result<()> {
    let Some(head) = read_head(browser).await? else { return Ok(()) };
    let mut server = TcpStream::connect(server).await?;
    // The answer's end is then the connection's, and nothing in it must be understood.
    let lines = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let request = lines.chain(["Connection: close", "", ""]).collect::<Vec<_>>().join("\r\n");
    server.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 4096];
    let mut read = server.read(&mut answer).await?;
    let status = String::from_utf8_lossy(&answer[..read]).split(' ').nth(1).unwrap().parse().unwrap();
    log.lock().unwrap().push(Exchange { head, status });
    while read > 0 {
        browser.write_all(&answer[..read]).await?;
        read = server.read(&mut answer).await?;
    }
    Ok(())
}

/// A request's first line and headers without the empty line behind them; `None` when nothing comes.
async fn read_head(browser: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match browser.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).trim_end().to_owned()))
}
