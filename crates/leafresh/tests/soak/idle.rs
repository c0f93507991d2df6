//! Connections that ask once and then only stay, in a process of their own: descriptors are counted by process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) const ORDERS: &str = "LEAFRESH_SOAK_IDLE";

/// Connections that are opened at the same time.
const AT_ONCE: usize = 100;

/// Holds connections until standard input closes.
pub(crate) fn hold(orders: &str) {
    let (address, count): (SocketAddr, usize) = serde_json::from_str(orders).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connections = runtime.block_on(async {
        let mut connections = Vec::new();
        while connections.len() < count {
            let some = AT_ONCE.min(count - connections.len());
            let opening: Vec<_> = (0..some).map(|_| tokio::spawn(open(address))).collect();
            for connection in opening {
                connections.push(connection.await.unwrap());
            }
        }
        connections
    });
    println!("{}", connections.len());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A connection that has been used, from an address of its own: ports are counted by address.
async fn open(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
    stream
}

/// The process with the connections.
pub(crate) struct Idle(Child);

impl Idle {
    pub(crate) fn open(address: SocketAddr, count: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(ORDERS, serde_json::to_string(&(address, count)).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim().parse::<usize>().ok(), Some(count), "all connections are open");
        Self(process)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
