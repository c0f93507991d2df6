//! How many connections there are, and the few words for one too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use leafresh_chat::Replies;

use crate::door::met;
use crate::http::Error;

/// Descriptors that aren't for connections: the model's file, the store's, logs, the engine's socket.
pub const DESCRIPTORS_KEPT: usize = 128;

/// How long a connection that is turned away may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Counts connections, in all and by address.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, u32>,
}

/// One connection, as long as it lives.
pub(super) struct Ticket {
    connections: Connections,
    address: Option<IpAddr>,
}

impl Connections {
    /// At most so many, or else as many as the process may have open files.
    pub(super) fn new(most: Option<usize>) -> Self {
        let most = most.unwrap_or_else(|| descriptors().saturating_sub(DESCRIPTORS_KEPT).max(1));
        Self(Arc::new(Shared { most, open: Mutex::default() }))
    }

    /// A ticket for a connection, counted as one of an address that may have so many.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when there are too many in all, [`Error::TooMuch`] when one address has too many.
    pub(super) fn ticket(&self, counted: Option<(IpAddr, u32)>) -> Result<Ticket, Error> {
        let mut open = self.open();
        if open.all >= self.0.most {
            met("server.connections");
            return Err(Error::Overloaded);
        }
        if let Some((address, limit)) = counted {
            let count = open.by_address.entry(address).or_default();
            if *count >= limit {
                met("limits.connections");
                return Err(Error::TooMuch(FAREWELL.as_secs()));
            }
            *count += 1;
        }
        open.all += 1;
        Ok(Ticket { connections: self.clone(), address: counted.map(|(address, _)| address) })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Counts only: a panic leaves them as they are.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.all -= 1;
        if let Some(address) = self.address
            && let Some(count) = open.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// Lets the process open as many files as its hard limit allows. Many systems start programs with 1,024, for the sake of
/// old ones that can't have more.
pub fn allow_many_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}

/// How many files the process may have open.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Tells a connection that was accepted why it isn't served, without reading what it asks.
pub(super) async fn turn_away(mut stream: TcpStream, error: &Error, replies: &Replies) {
    let response = error.response(replies);
    let body = error.envelope(replies).json();
    let mut text = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        text.extend([name.as_str(), ": ", value.to_str().unwrap_or_default(), "\r\n"]);
    }
    let length = body.len().to_string();
    text.extend(["content-length: ", &length, "\r\nconnection: close\r\n\r\n", &body]);
    let told = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with something unread, the connection would be reset before the words arrive.
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    if let Ok(Err(error)) = timeout(FAREWELL, told).await {
        tracing::debug!(%error, "a connection left before it was turned away");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(connections: &Connections, address: u32) -> Result<Ticket, Error> {
        connections.ticket(Some((IpAddr::V4(address.into()), 2)))
    }

    #[test]
    fn each_address_has_its_own_bound_and_all_have_one_together() {
        let connections = Connections::new(Some(5));
        let first = ticket(&connections, 1).unwrap();
        let _second = ticket(&connections, 1).unwrap();
        assert!(matches!(ticket(&connections, 1), Err(Error::TooMuch(_))));
        let _other = ticket(&connections, 2).unwrap();
        let _proxy = [connections.ticket(None).unwrap(), connections.ticket(None).unwrap()];
        assert!(matches!(ticket(&connections, 3), Err(Error::Overloaded)));
        drop(first);
        let again = ticket(&connections, 1).unwrap();
        drop(again);
    }

    #[test]
    fn nothing_is_left_of_an_address_that_has_gone() {
        let connections = Connections::new(None);
        drop(ticket(&connections, 1).unwrap());
        assert!(connections.open().by_address.is_empty());
        assert!(descriptors() > DESCRIPTORS_KEPT, "{}", descriptors());
    }
}
