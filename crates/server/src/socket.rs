//! Connections that don't wait for ever: for a peer that vanished, for one that doesn't read, and for one that doesn't ask.
//!
//! Hand-written because no layer above the socket knows of bytes that the kernel didn't take over, and hyper's timer for a request's
//! head doesn't tell a connection without a request from one with a begun one.

mod exchange;

use exchange::Waiting;
pub(crate) use exchange::{Answering, Exchange};

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket as Socket2, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Silence after which the peer's machine is asked whether it is still there, and time between two questions. With
/// `TCP_USER_TIMEOUT` it is that time, not their number, after which the kernel gives up: of 30 s, two or three questions fit in,
/// so that one that got lost ends no connection.
const SILENCE: RangeInclusive<u64> = 15..=20;
const INTERVAL: Duration = Duration::from_secs(5);

/// At a time of its own for each connection: questions to thousands of readers at once would be more than queues hold, and be lost
/// together.
fn keep_alive() -> TcpKeepalive {
    let silence = Duration::from_secs(rand::random_range(SILENCE));
    TcpKeepalive::new().with_time(silence).with_interval(INTERVAL).with_retries(3)
}

/// How long a connection's peer may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To read what is written to it.
    pub(crate) write: Duration,
    /// To send the whole head of a request.
    pub(crate) head: Duration,
    /// To begin one.
    pub(crate) idle: Duration,
}

/// A connection whose peer has to ask, and to take what is written to it, in a given time.
///
/// Half of that is the kernel's: bytes that it has taken over and that the peer's machine doesn't acknowledge, or
/// doesn't let it send, end the connection (`TCP_USER_TIMEOUT`, RFC 5482). The other half is bytes that the kernel
/// doesn't take over: all that lies ready has to be gone in that time, a byte now and then isn't enough.
pub(crate) struct Socket {
    stream: TcpStream,
    patience: Patience,
    exchange: Exchange,
    /// What is waited for, and how long still.
    asking: Option<(Waiting, Pin<Box<Sleep>>)>,
    /// When what couldn't be written has to be gone. `None`: all was written.
    due: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, patience: Patience, exchange: Exchange) -> Self {
        if let Err(error) = tune(&SockRef::from(&stream), patience.write) {
            tracing::debug!(%error, "a socket option was refused");
        }
        Self { stream, patience, exchange, asking: None, due: None }
    }

    /// Fails when a request should have begun, or its head should have come.
    fn ask(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let waiting = self.exchange.waiting();
        if self.asking.as_ref().map(|(known, _)| *known) != waiting {
            self.asking = waiting.map(|waiting| {
                let limit = match waiting {
                    Waiting::Request => self.patience.idle,
                    Waiting::Head => self.patience.head,
                };
                (waiting, Box::pin(sleep(limit)))
            });
        }
        let late = self.asking.as_mut().is_some_and(|(_, due)| due.as_mut().poll(context).is_ready());
        if late { Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time")) } else { Ok(()) }
    }

    /// Notes how much of what was offered has been taken, and fails when that took too long.
    fn account(
        &mut self,
        context: &mut Context<'_>,
        offered: usize,
        taken: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match taken {
            Poll::Ready(Ok(taken)) if taken < offered => {
                self.due.get_or_insert_with(|| Box::pin(sleep(self.patience.write)));
            }
            Poll::Ready(_) => self.due = None,
            Poll::Pending => {
                let due = self.due.get_or_insert_with(|| Box::pin(sleep(self.patience.write)));
                if due.as_mut().poll(context).is_ready() {
                    let text = "the peer doesn't read what was sent to it";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
                }
            }
        }
        taken
    }
}

/// Gives the options of a connection to a socket that nobody uses.
///
/// # Errors
/// What the system says where it doesn't know one of them.
pub fn try_options() -> io::Result<()> {
    let socket = Socket2::new(Domain::IPV4, Type::STREAM, None)?;
    tune(&SockRef::from(&socket), Duration::from_secs(30))
}

fn tune(socket: &SockRef, limit: Duration) -> io::Result<()> {
    // Each token is its own small packet; waiting for more would hold it back.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keep_alive())?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limit))?;
    #[cfg(not(target_os = "linux"))]
    let _ = limit;
    Ok(())
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => self.exchange.arrived(),
            Poll::Ready(Ok(())) if buffer.remaining() > 0 && self.exchange.hides_end(context) => {
                return Poll::Pending;
            }
            // When it is answered the time for the next one begins.
            Poll::Pending => self.exchange.wakes(context),
            Poll::Ready(_) => {}
        }
        match self.ask(context) {
            Ok(()) => read,
            Err(late) => Poll::Ready(Err(late)),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.account(context, bytes.len(), taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = slices.iter().map(|slice| slice.len()).sum();
        let taken = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.account(context, offered, taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::{Instant, timeout};

    use super::*;

    async fn pair(limit: Duration) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        SockRef::from(&listener).set_send_buffer_size(4096).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        SockRef::from(&peer).set_recv_buffer_size(4096).unwrap();
        let patience = Patience { write: limit, head: limit, idle: limit };
        (Socket::new(listener.accept().await.unwrap().0, patience, Exchange::default()), peer)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn case_3_the_kernel_gives_up_on_a_peer_that_answers_no_more() {
        let (socket, _peer) = pair(Duration::from_secs(30)).await;
        let options = SockRef::from(&socket.stream);
        assert_eq!(options.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
        assert!(options.keepalive().unwrap() && options.tcp_nodelay().unwrap());
        let asked = options.tcp_keepalive_time().unwrap();
        assert!(SILENCE.contains(&asked.as_secs()));
        assert!(asked + 2 * INTERVAL <= Duration::from_secs(30), "a question may get lost");
    }

    #[tokio::test]
    async fn case_3_a_peer_that_takes_nothing_is_given_up() {
        let (mut socket, _peer) = pair(Duration::from_millis(100)).await;
        let all = vec![0; 10_000_000];
        let error = timeout(Duration::from_secs(30), socket.write_all(&all)).await.unwrap();
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn case_4_a_byte_now_and_then_is_not_enough() {
        let limit = Duration::from_millis(300);
        let (mut socket, mut peer) = pair(limit).await;
        let reading = tokio::spawn(async move {
            // A whole kernel buffer now and then, so that the writer makes progress all the time.
            let mut some = [0; 2048];
            while peer.read(&mut some).await.is_ok_and(|read| read > 0) {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let began = Instant::now();
        let all = vec![0; 100_000_000];
        let ended = timeout(Duration::from_secs(30), socket.write_all(&all)).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= limit);
        drop(socket);
        reading.await.unwrap();
    }

    /// Field report 14.
    #[tokio::test]
    async fn a_connection_without_a_request_is_waited_for_longer_than_one_with_a_begun_one() {
        let (mut socket, mut peer) = pair(Duration::from_secs(30)).await;
        socket.patience =
            Patience { idle: Duration::from_hours(1), head: Duration::from_millis(50), ..socket.patience };
        let mut bytes = [0; 16];
        assert!(timeout(Duration::from_millis(200), socket.read(&mut bytes)).await.is_err(), "it waits");
        peer.write_all(b"GET /").await.unwrap();
        assert_eq!(socket.read(&mut bytes).await.unwrap(), 5);
        let error = timeout(Duration::from_secs(30), socket.read(&mut bytes)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Field report 18.
    #[tokio::test]
    async fn the_end_of_what_a_peer_sends_is_told_when_its_short_answer_is_written() {
        let (mut socket, mut peer) = pair(Duration::from_secs(30)).await;
        let exchange = socket.exchange.clone();
        peer.write_all(b"GET").await.unwrap();
        peer.shutdown().await.unwrap();
        let mut bytes = [0; 16];
        assert_eq!(socket.read(&mut bytes).await.unwrap(), 3);
        let answer = exchange.begin(false);
        let mut read = std::pin::pin!(socket.read(&mut bytes));
        assert!(timeout(Duration::from_millis(50), read.as_mut()).await.is_err());
        drop(answer);
        assert_eq!(timeout(Duration::from_secs(30), read).await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn while_an_answer_is_being_written_by_the_model_the_end_is_leaving() {
        let (mut socket, mut peer) = pair(Duration::from_secs(30)).await;
        let exchange = socket.exchange.clone();
        peer.shutdown().await.unwrap();
        let _answer = exchange.begin(false);
        let mut bytes = [0; 16];
        let mut read = std::pin::pin!(socket.read(&mut bytes));
        assert!(timeout(Duration::from_millis(50), read.as_mut()).await.is_err());
        exchange.takes_long();
        assert_eq!(timeout(Duration::from_secs(30), read).await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn a_slow_peer_that_takes_all_of_it_in_time_is_waited_for() {
        let (mut socket, mut peer) = pair(Duration::from_secs(5)).await;
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            let mut some = [0; 4096];
            while let Ok(read @ 1..) = peer.read(&mut some).await {
                all.extend_from_slice(&some[..read]);
                sleep(Duration::from_millis(1)).await;
            }
            all.len()
        });
        for _ in 0..50 {
            socket.write_all(&[0; 10_000]).await.unwrap();
        }
        drop(socket);
        assert_eq!(reading.await.unwrap(), 500_000);
    }
}
