use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use leafresh_chat::{Recommender, Sessions};
use leafresh_engine::{Backend, Health, Local, fake::FakeModel};
use leafresh_retrieval::Search;
use leafresh_server::config::{Config, Seconds};
use leafresh_server::{AppState, Listeners};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::catalog::catalog;
use super::{Connection, get, metric};

/// What a test wants to be different. The default answers at once, the same for the same request.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) model: FakeModel,
    pub(crate) gate: Option<Sender<()>>,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) search: Option<Search>,
}

impl Default for Setup {
    fn default() -> Self {
        let mut config = Config::default();
        config.chat.sampling.seed = Some(1);
        // The fake model minds no number of writers.
        config.engine.running = 16;
        Self { config, model: FakeModel::new(1), sessions: None, search: None, gate: None }
    }
}

impl Setup {
    /// A model that takes so many milliseconds for each step.
    pub(crate) fn slow(milliseconds: u64) -> Self {
        let model = FakeModel::new(1).with_step(Duration::from_millis(milliseconds));
        Self { model, ..Self::default() }
    }

    /// A model that takes no step before [`Server::step`] or [`Server::go_on`].
    pub(crate) fn held() -> Self {
        let (gate, steps) = channel();
        Self { model: FakeModel::new(1).with_gate(steps), gate: Some(gate), ..Self::default() }
    }

    /// A model that never gives a usable number, and nobody to answer in its place.
    pub(crate) fn broken() -> Self {
        let broken = Self { model: FakeModel::new(1).with_logits(f32::NAN), ..Self::default() };
        broken.with(|config| config.fallback.on.clear())
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Nobody is waited for: an answer whose reader has left is cancelled at once.
    pub(crate) fn no_grace(self) -> Self {
        self.grace(0)
    }

    pub(crate) fn grace(self, milliseconds: u64) -> Self {
        self.with(|config| config.stream.grace_seconds = Seconds(Duration::from_millis(milliseconds)))
    }

    pub(crate) fn keep_alive(self, milliseconds: u64) -> Self {
        self.with(|config| {
            config.stream.first_keep_alive_seconds = Seconds(Duration::from_millis(milliseconds));
            config.stream.keep_alive_seconds = Seconds(Duration::from_millis(milliseconds));
        })
    }

    pub(crate) async fn start(self) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.start_on(listener)
    }

    pub(crate) fn start_on(self, listeners: impl Into<Listeners>) -> Server {
        let Self { config, model, sessions, search, gate } = self;
        let server = Server::listening(listeners.into(), &config);
        let backend = Local::start(Box::new(model), &config.engine).unwrap();
        let recommender =
            leafresh_server::assemble::recommender(&config, catalog(), Arc::new(backend)).unwrap();
        let recommender = match sessions {
            Some(sessions) => {
                server.state.open_sessions(sessions.clone());
                recommender.with_sessions(sessions)
            }
            None => recommender,
        };
        let recommender = match search {
            Some(search) => recommender.with_search(search),
            None => recommender,
        };
        let recommender = Arc::new(recommender);
        server.state.install(recommender.clone());
        Server { recommender: Some(recommender), gate, ..server }
    }
}

/// The real server, through its real entry, on a port of its own.
pub(crate) struct Server {
    /// First, so that it is dropped first: the engine's end waits for a step that is held.
    gate: Option<Sender<()>>,
    pub(crate) address: SocketAddr,
    pub(crate) state: AppState,
    recommender: Option<Arc<Recommender>>,
    shutdown: Option<oneshot::Sender<()>>,
    pub(crate) ended: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    pub(crate) async fn without_model(config: &Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listening(Listeners::from(listener), config)
    }

    /// On listeners of the test's own.
    pub(crate) fn listening(listener: Listeners, config: &Config) -> Self {
        let address = listener.address().unwrap();
        let state = AppState::new(config, catalog());
        state.load_keys().unwrap();
        let (shutdown, signal) = oneshot::channel::<()>();
        let signal = async {
            // A test that ends without asking for a shutdown drops the sender: then the runtime ends the server.
            if signal.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::spawn(leafresh_server::run(listener, state.clone(), signal));
        Self { gate: None, address, state, recommender: None, shutdown: Some(shutdown), ended }
    }

    /// Lets a held model take one more step.
    pub(crate) fn step(&self) {
        self.gate.as_ref().unwrap().send(()).unwrap();
    }

    /// Lets a held model write as it likes.
    pub(crate) fn go_on(&mut self) {
        self.gate = None;
    }

    #[allow(dead_code, reason = "the tests of the program use it")]
    pub(crate) async fn install(
        mut self,
        backend: Arc<dyn Backend>,
        config: Config,
        sessions: Option<Sessions>,
    ) -> Self {
        // An engine in another process answers when it can: nothing to wait for where others are served.
        let make = move || leafresh_server::assemble::recommender(&config, catalog(), backend);
        let mut recommender = tokio::task::spawn_blocking(make).await.unwrap().unwrap();
        if let Some(sessions) = sessions {
            self.state.open_sessions(sessions.clone());
            recommender = recommender.with_sessions(sessions);
        }
        let recommender = Arc::new(recommender);
        self.state.install(recommender.clone());
        self.recommender = Some(recommender);
        self
    }

    /// What Ctrl-C does.
    pub(crate) fn shut_down(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics(Connection::ask(self.address, &get("/metrics", &[])).await.text())
    }

    pub(crate) fn health(&self) -> Health {
        self.recommender.as_ref().unwrap().backend().health()
    }
}

/// What `/metrics` says.
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    /// The value of a series, with its labels as Prometheus writes them.
    pub(crate) fn value(&self, series: &str) -> u64 {
        metric(&self.0, series)
    }

    pub(crate) fn ended(&self, outcome: &str, phase: &str) -> u64 {
        self.value(&format!(r#"leafresh_requests_ended_total{{outcome="{outcome}",phase="{phase}"}}"#))
    }

    /// All answers that ended, whatever the way.
    pub(crate) fn all_ended(&self) -> u64 {
        let lines = self.0.lines().filter(|line| line.starts_with("leafresh_requests_ended_total{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}
