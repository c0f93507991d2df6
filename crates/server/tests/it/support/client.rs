use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer of a test takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A request as bytes.
pub(crate) fn get(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    request("GET", target, headers, b"")
}

pub(crate) fn post(target: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len().to_string();
    let mut all = vec![("Content-Length", length.as_str())];
    if !headers.iter().any(|(name, _)| *name == "Content-Type") {
        all.push(("Content-Type", "application/json"));
    }
    all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
    request("POST", target, &all, body)
}

pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// One connection that carries one request, and nothing between the test and the bytes.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: Head,
    /// The body as it was cut by the server: every chunk that it wrote.
    pub(crate) chunks: Vec<Vec<u8>>,
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body()).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends a request and reads all of its response.
    pub(crate) async fn ask(address: SocketAddr, request: &[u8]) -> Response {
        let mut connection = Self::open(address).await;
        connection.send(request).await;
        connection.response().await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn response(&mut self) -> Response {
        let head = self.head().await;
        let chunks = self.body(&head).await;
        Response { head, chunks }
    }

    /// The status line and headers of the response.
    pub(crate) async fn head(&mut self) -> Head {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            assert!(self.fill().await, "the connection ended before the headers did");
        };
        let text = String::from_utf8(self.take(end + 4)).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(':').unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        Head { status, headers }
    }

    /// All of the body that follows a head.
    pub(crate) async fn body(&mut self, head: &Head) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        if head.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                chunks.push(chunk);
            }
        } else if let Some(length) = head.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                assert!(self.fill().await, "the body is shorter than announced");
            }
            chunks.push(self.take(length));
        } else if ![204, 304].contains(&head.status) {
            while self.fill().await {}
            chunks.push(std::mem::take(&mut self.buffer));
        }
        chunks
    }

    /// The next chunk of a chunked body; `None` after the last one.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                break end;
            }
            assert!(self.fill().await, "the connection ended inside a body");
        };
        let line = String::from_utf8(self.take(end + 2)).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        while self.buffer.len() < length + 2 {
            assert!(self.fill().await, "the connection ended inside a chunk");
        }
        let chunk = self.take(length);
        self.take(2);
        (length > 0).then_some(chunk)
    }

    /// Whether the server has closed the connection, and sent nothing before.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }

    /// Reads what has come; false at the end of the connection.
    async fn fill(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("an answer in time");
        // A reset is an end too, and worth knowing where an end is wrong.
        let read = read.unwrap_or_else(|error| {
            eprintln!("the connection broke off: {error}");
            0
        });
        self.buffer.extend_from_slice(&bytes[..read]);
        read > 0
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
