//! `leafresh serve`.

mod reload;

use std::convert::Infallible;
use std::future::Future;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use leafresh_chat::{Catalog, Sessions};
use leafresh_retrieval::Search;
use leafresh_server::config::{Common, Config, Listen};
use leafresh_server::setup::{self, ABOUT_EMBEDDING, Logging};
use leafresh_server::{AppState, Listeners, Retrieval, assemble};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::reload::Reload;
use super::INTERRUPTED;

/// Conversations are kept for days, so that an hour more or less doesn't matter.
const BETWEEN_PURGES: Duration = Duration::from_hours(1);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Listen on ADDR, HOST:PORT; 0.0.0.0:8000 is every interface, port 0 any free port
    /// [setting: server.listen, default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(options));
    // A model that is still loading can't be interrupted; the process doesn't wait for it.
    runtime.shutdown_background();
    // The last lines of the log are written when it is dropped.
    drop(served?);
    leafresh_engine::end_process(0)
}

async fn serve(options: Options) -> anyhow::Result<Option<Logging>> {
    // First of all: as the first process of a container, one without a handler isn't ended by SIGTERM.
    let mut shutdown = Box::pin(signals()?);
    // It would be ended by SIGHUP, too. One that comes early is kept.
    let hangup = signal(SignalKind::hangup())?;
    // On a thread of its own, for it reads files.
    let mut prepared = tokio::spawn(Prepared::new(options, hangup));
    let prepared = tokio::select! {
        prepared = &mut prepared => prepared.context("the start failed")??,
        () = &mut shutdown => return Ok(None),
    };
    let Prepared { logging, config, catalog, state, sessions, listeners } = prepared;
    tokio::spawn(purge(sessions.clone()));
    let loading = load(config, catalog, sessions, state.clone());
    tokio::select! {
        () = leafresh_server::run(listeners, state, shutdown) => Ok(Some(logging)),
        Err(error) = loading => Err(error),
    }
}

/// What is there before the first request is taken.
struct Prepared {
    logging: Logging,
    config: Config,
    catalog: Arc<Catalog>,
    state: AppState,
    sessions: Sessions,
    listeners: Listeners,
}

impl Prepared {
    async fn new(options: Options, hangup: Signal) -> anyhow::Result<Self> {
        let listen = options.listen.map(|listen| ("--listen", "server.listen", listen));
        let sources = options.common.sources(listen);
        let config = Config::load(&sources)?;
        let logging = setup::start_logging(&config)?;
        let catalog = setup::load_catalog(&config)?;
        leafresh_server::allow_many_descriptors();
        let listener = bind(&config.server.listen, "--listen").await?;
        let admin = match &config.admin.listen {
            Some(admin) => Some(bind(admin, "admin.listen").await?),
            None => None,
        };
        setup::check_engine(&config)?;
        let state = AppState::new(&config, catalog.clone());
        state.load_keys()?;
        let sessions = assemble::sessions(&config)?;
        state.open_sessions(sessions.clone());
        announce(listener.local_addr()?);
        say_who_may(&config, &listener, admin.as_ref());
        Reload::new(sources, &config, catalog.clone(), state.clone()).on(hangup);
        let listeners = Listeners::new(listener, admin);
        Ok(Self { logging, config, catalog, state, sessions, listeners })
    }
}

/// Listens on an address; `name` is the flag or key that sets it.
async fn bind(listen: &Listen, name: &str) -> anyhow::Result<TcpListener> {
    let listen = listen.as_str();
    TcpListener::bind(listen).await.map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => {
                format!("another program listens there; stop it or name another port with {name}")
            }
            ErrorKind::PermissionDenied => {
                format!("ports below 1024 need privileges; name another one with {name}")
            }
            _ => format!("{name} HOST:PORT names another address"),
        };
        anyhow!("can't listen on {listen}: {error} ({hint})")
    })
}

/// Loads the embedding model and says what there is to find documents with.
async fn retrieval(config: &Config) -> anyhow::Result<Retrieval> {
    let loading = {
        let config = config.clone();
        tokio::task::spawn_blocking(move || assemble::embedder(&config, config.retrieval.threads))
    };
    let embedder =
        loading.await.map_err(|_| anyhow!("loading the embedding model failed"))?.context(ABOUT_EMBEDDING)?;
    let without = embedder.is_none();
    let retrieval = Retrieval::new(assemble::location(config)?, embedder).await?;
    if without && let Some(file) = config.retrieval.file()? {
        let instead = if retrieval.search.is_some() {
            "documents are found by their words alone"
        } else {
            "documents come from the catalogue by their words"
        };
        tracing::warn!(file = %file.display(), "there is no embedding model: {instead}; `make model` fetches one");
    }
    Ok(retrieval)
}

/// Says in the log what is open to whom, where that may surprise.
fn say_who_may(config: &Config, listener: &TcpListener, admin: Option<&TcpListener>) {
    let local =
        |listener: &TcpListener| listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let keys = config.keys.file.is_some();
    match admin {
        Some(admin) if !keys && !local(admin) => {
            tracing::warn!("admin.listen is reached from other machines and needs no key: see keys.file");
        }
        None if !keys && !local(listener) => {
            tracing::info!("/metrics, /v1 and conversations are closed: see admin.listen and keys.file");
        }
        _ => {}
    }
}

/// Loads the models and opens the index beside the server, which says 503 until there is a model. Ends with an error or not
/// at all.
async fn load(
    config: Config,
    catalog: Arc<Catalog>,
    sessions: Sessions,
    state: AppState,
) -> anyhow::Result<Infallible> {
    let retrieval = retrieval(&config).await?;
    let search = retrieval.search.clone();
    let index = retrieval.keep(catalog.clone(), state.clone());
    let model = load_model(config, catalog, (sessions, search), state);
    tokio::select! {
        Err(error) = model => Err(error),
        Err(error) = index => Err(error.into()),
        else => Err(anyhow!("nothing is left to serve with")),
    }
}

/// Ends with an error or not at all.
async fn load_model(
    config: Config,
    catalog: Arc<Catalog>,
    (sessions, search): (Sessions, Option<Search>),
    state: AppState,
) -> anyhow::Result<Infallible> {
    let loaded = tokio::task::spawn_blocking(move || setup::load_recommender(&config, catalog)).await;
    let mut recommender = loaded.map_err(|_| anyhow!("loading the model failed"))??.with_sessions(sessions);
    if let Some(search) = search {
        recommender = recommender.with_search(search);
    }
    recommender.warm().await.context("the model was loaded, but can't compute")?;
    let model = recommender.backend().model().name.clone();
    let learning = recommender.clone();
    tokio::spawn(async move {
        // Keywords do meanwhile.
        if let Err(error) = learning.learn().await {
            tracing::warn!(%error, "the gate could not learn; keywords have to do");
        }
    });
    state.install(Arc::new(recommender));
    tracing::info!(model, "ready");
    std::future::pending().await
}

/// Forgets conversations that have expired, now and again.
async fn purge(sessions: Sessions) {
    let mut due = tokio::time::interval(BETWEEN_PURGES);
    loop {
        due.tick().await;
        sessions.purge().await;
    }
}

/// Completes at the first Ctrl-C or SIGTERM; the second one ends the process at once.
fn signals() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let mut either = async move || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        either().await;
        tokio::spawn(async move {
            either().await;
            std::process::exit(INTERRUPTED);
        });
    })
}

/// Prints every URL under which the server can be reached.
fn announce(address: SocketAddr) {
    let mut lines = vec!["Leafresh answers at".to_owned()];
    lines.extend(
        hosts(address.ip())
            .into_iter()
            .map(|host| format!("  http://{}/", SocketAddr::new(host, address.port()))),
    );
    if address.ip().is_loopback() {
        let port = address.port();
        lines.push(format!("from this machine only; `--listen 0.0.0.0:{port}` opens it to the network"));
    }
    lines
        .push("The model is loading; until it is ready, requests get 503. Ctrl-C stops the server.\n".into());
    // A closed stdout is no reason not to serve.
    let _ = std::io::stdout().write_all(lines.join("\n").as_bytes());
}

/// The addresses that `listening` stands for, this machine's own last.
fn hosts(listening: IpAddr) -> Vec<IpAddr> {
    if !listening.is_unspecified() {
        return vec![listening];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut hosts: Vec<_> = interfaces
        .iter()
        .map(if_addrs::Interface::ip)
        // `::` takes IPv4 too. Link-local addresses need a zone, which browsers don't take.
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => listening.is_ipv6() && !ip.is_unicast_link_local(),
        })
        .collect();
    hosts.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    if hosts.is_empty() { vec![listening] } else { hosts }
}
