//! Connections: accepting them, and ending them in order.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::http::app;
use crate::state::{AppState, Stage};

/// Request line and headers. A thousand Korean characters encoded twice are 15 KB.
const MAX_HEAD: usize = 32 * 1024;

/// How long answers that were told to stop, and connections after them, may take to write their last bytes.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is left of connections that carry no answer.
const FAREWELL: Duration = Duration::from_millis(500);

/// Pause after a failed `accept`: out of descriptors, it fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const UPKEEP: Duration = Duration::from_secs(10);

/// Serves until `shutdown`, then drains: no longer ready, new requests get 503, running answers go on until the
/// deadline of the configuration, the rest ends with an error event.
pub async fn run(listener: TcpListener, state: AppState, shutdown: impl Future<Output = ()>) {
    let mut server = Server { router: app(state.clone()), state, connections: JoinSet::new() };
    tokio::select! {
        never = server.accept(&listener) => match never {},
        () = shutdown => {}
    }
    let state = server.state.clone();
    state.advance(Stage::Draining);
    let deadline = Instant::now() + state.server().drain_seconds.0;
    tracing::info!("draining: running answers go on, new requests get 503");
    tokio::select! {
        never = server.accept(&listener) => match never {},
        () = state.idle() => {}
        () = tokio::time::sleep_until(deadline) => {
            tracing::warn!("drain deadline reached; the answers still running end now");
        }
    }
    drop(listener);
    state.advance(Stage::Stopping);
    let _ = timeout(LAST_WORDS, state.idle()).await;
    let _ = timeout(FAREWELL, async { while server.connections.join_next().await.is_some() {} }).await;
    server.connections.shutdown().await;
}

struct Server {
    router: Router,
    state: AppState,
    connections: JoinSet<()>,
}

impl Server {
    async fn accept(&mut self, listener: &TcpListener) -> Infallible {
        let mut upkeep = interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        self.connections.spawn(connection(stream, self.router.clone(), self.state.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = self.connections.join_next() => {}
                _ = upkeep.tick() => self.state.metrics().upkeep(),
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, state: AppState) {
    // Each token is its own small packet; waiting for more would hold it back.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY refused");
    }
    let draining = state.draining();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(state.server().request_seconds.0)
        .max_header_size(MAX_HEAD)
        .keep_alive(!draining)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let mut stages = state.stages();
    let drain = async {
        // A connection that came later still gets its 503.
        if draining || stages.wait_for(|stage| *stage >= Stage::Draining).await.is_err() {
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
