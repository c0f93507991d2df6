//! Connections: accepting them, and ending them in order.

mod connections;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use leafresh_chat::Catalog;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use self::connections::{Connections, Ticket, turn_away};
pub use self::connections::{DESCRIPTORS_KEPT, allow_many_descriptors};
use crate::config;
use crate::door::{Door, Peer};
use crate::http::app;
use crate::life::{Life, Lifecycle};
use crate::metrics::Metrics;
use crate::otlp::Otlp;
use crate::socket::{Answering, Exchange, Patience, Socket};
use crate::state::AppState;

/// Request line and headers. A thousand Korean characters encoded twice are 15 KB.
const MAX_HEAD: usize = 32 * 1024;

/// How long answers that were told to stop, and connections after them, may take to write their last bytes.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is left of connections that carry no answer.
const FAREWELL: Duration = Duration::from_millis(500);

/// Pause after a failed `accept`: out of descriptors, it fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const UPKEEP: Duration = Duration::from_secs(2);

/// Where the server listens.
pub struct Listeners {
    main: TcpListener,
    /// For what is administrative; without one the main address has that too, where it may.
    admin: Option<TcpListener>,
}

impl Listeners {
    pub fn new(main: TcpListener, admin: Option<TcpListener>) -> Self {
        Self { main, admin }
    }

    /// Where the main one listens.
    ///
    /// # Errors
    /// What the system says when it doesn't know.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.main.local_addr()
    }

    /// The next connection and what may be asked on it.
    async fn accept(&self, has_keys: bool) -> io::Result<(TcpStream, Peer)> {
        let admin = async {
            match &self.admin {
                Some(admin) => admin.accept().await,
                None => std::future::pending().await,
            }
        };
        let ((stream, address), apart) = tokio::select! {
            accepted = self.main.accept() => (accepted?, false),
            accepted = admin => (accepted?, true),
        };
        let listener = self.admin.as_ref().filter(|_| apart).unwrap_or(&self.main);
        let local = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        let admin = apart || main_has_admin(self.admin.is_some(), has_keys, local);
        Ok((stream, Peer { address, local, admin, apart }))
    }
}

/// Whether the main address answers what is administrative: not when that has its own, and beyond this machine only to
/// who has a key.
fn main_has_admin(has_own_address: bool, has_keys: bool, local: bool) -> bool {
    !has_own_address && (has_keys || local)
}

impl From<TcpListener> for Listeners {
    fn from(main: TcpListener) -> Self {
        Self::new(main, None)
    }
}

/// Serves until `shutdown`, then drains: no longer ready, new requests get 503, running answers go on until the
/// deadline of the configuration, the rest ends with an error event.
pub async fn run(listeners: impl Into<Listeners>, state: AppState, shutdown: impl Future<Output = ()>) {
    let listener = listeners.into();
    let (settings, life) = (state.part::<Arc<config::Server>>(), state.part::<Life>());
    let exporting = state.part::<Otlp>().start();
    let mut server = Server::new(state);
    tokio::select! {
        never = server.accept(&listener) => match never {},
        () = shutdown => {}
    }
    life.advance(Lifecycle::Draining);
    let deadline = Instant::now() + settings.drain_seconds.0;
    tracing::info!("draining: running answers go on, new requests get 503");
    tokio::select! {
        never = server.accept(&listener) => match never {},
        () = life.idle() => {}
        () = tokio::time::sleep_until(deadline) => {
            tracing::warn!("drain deadline reached; the answers still running end now");
        }
    }
    drop(listener);
    life.advance(Lifecycle::Stopping);
    let _ = timeout(LAST_WORDS, life.idle()).await;
    let _ = timeout(FAREWELL, async { while server.connections.join_next().await.is_some() {} }).await;
    server.connections.shutdown().await;
    if let Some(exporting) = exporting {
        exporting.finish().await;
    }
}

struct Server {
    state: AppState,
    router: Router,
    catalog: Arc<Catalog>,
    door: Arc<Door>,
    life: Life,
    metrics: Arc<Metrics>,
    patience: Patience,
    counted: Connections,
    connections: JoinSet<()>,
}

impl Server {
    fn new(state: AppState) -> Self {
        let server = state.part::<Arc<config::Server>>();
        let stream = state.part::<Arc<config::Stream>>();
        let patience = Patience {
            write: stream.write_seconds.0,
            head: server.request_seconds.0,
            idle: server.idle_seconds.0,
        };
        Self {
            router: app(&state),
            catalog: state.part(),
            door: state.part(),
            life: state.part(),
            metrics: state.part(),
            patience,
            counted: Connections::new(server.connections),
            connections: JoinSet::new(),
            state,
        }
    }

    async fn accept(&mut self, listener: &Listeners) -> Infallible {
        let mut upkeep = interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = listener.accept(self.door.has_keys()) => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = self.connections.join_next() => {}
                _ = upkeep.tick() => self.state.upkeep(),
            }
        }
    }

    fn take(&mut self, stream: TcpStream, peer: Peer) {
        let address = peer.address.ip().to_canonical();
        match self.counted.ticket(self.door.connections_of(address)) {
            Ok(ticket) => {
                let router = TowerToHyperService::new(self.router.clone());
                let service = Addressed { router, peer, exchange: Exchange::default() };
                let connected = Connected::new(&self.metrics, ticket);
                self.connections.spawn(connection(
                    stream,
                    service,
                    self.patience,
                    self.life.clone(),
                    connected,
                ));
            }
            Err(error) => {
                self.metrics.refused(error.status());
                let catalog = self.catalog.clone();
                self.connections.spawn(async move { turn_away(stream, &error, catalog.replies()).await });
            }
        }
    }
}

/// The paths, for one connection.
struct Addressed {
    router: TowerToHyperService<Router>,
    peer: Peer,
    exchange: Exchange,
}

impl Service<Request<Incoming>> for Addressed {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.exchange.clone());
        let answering = self.exchange.begin(!request.body().is_end_stream());
        let answer = self.router.call(request);
        Box::pin(
            async move { Ok(answer.await?.map(|body| Body::new(Answer { body, _answering: answering }))) },
        )
    }
}

/// A response's body, and the note that its request is being answered.
struct Answer {
    body: Body,
    _answering: Answering,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts a connection as long as it is served.
struct Connected {
    metrics: Arc<Metrics>,
    _ticket: Ticket,
}

impl Connected {
    fn new(metrics: &Arc<Metrics>, ticket: Ticket) -> Self {
        metrics.connections(1.0);
        Self { metrics: metrics.clone(), _ticket: ticket }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.metrics.connections(-1.0);
    }
}

async fn connection(
    stream: TcpStream,
    service: Addressed,
    patience: Patience,
    life: Life,
    _connected: Connected,
) {
    let stream = Socket::new(stream, patience, service.exchange.clone());
    let draining = life.draining();
    let connection = http1::Builder::new()
        // The socket has one of its own, which tells a connection without a request from one with a begun one.
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD)
        .keep_alive(!draining)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut lifecycle = life.lifecycle();
    let drain = async {
        // A connection that came later still gets its 503.
        if draining || lifecycle.wait_for(|now| *now >= Lifecycle::Draining).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::main_has_admin;

    #[test]
    fn beyond_this_machine_nothing_administrative_is_open_without_a_key() {
        let cases = [
            // its own address, keys, loopback
            (false, false, true, true),
            (false, false, false, false),
            (false, true, false, true),
            (false, true, true, true),
            (true, false, true, false),
            (true, true, false, false),
        ];
        for (own, keys, local, open) in cases {
            assert_eq!(main_has_admin(own, keys, local), open, "{own} {keys} {local}");
        }
    }
}
