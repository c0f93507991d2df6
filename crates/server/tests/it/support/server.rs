use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use leafresh::AppState;
use leafresh::config::{Config, Seconds};
use leafresh_chat::{Catalog, Recommender, Sessions};
use leafresh_engine::{Backend, Health, Local, fake::FakeModel};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The shipped catalogue.
pub(crate) fn catalog() -> Arc<Catalog> {
    static CATALOG: OnceLock<Arc<Catalog>> = OnceLock::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog");
    CATALOG.get_or_init(|| Arc::new(Catalog::load(&dir).unwrap())).clone()
}

/// What a test wants to be different. The default answers at once, the same for the same request.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) model: FakeModel,
    pub(crate) sessions: Option<Sessions>,
}

impl Default for Setup {
    fn default() -> Self {
        let mut config = Config::default();
        config.chat.sampling.seed = Some(1);
        Self { config, model: FakeModel::new(1), sessions: None }
    }
}

impl Setup {
    /// A model that takes so many milliseconds for each step.
    pub(crate) fn slow(milliseconds: u64) -> Self {
        let model = FakeModel::new(1).with_step(Duration::from_millis(milliseconds));
        Self { model, ..Self::default() }
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

    pub(crate) fn keep_alive(self, milliseconds: u64) -> Self {
        self.with(|config| config.stream.keep_alive_seconds = Seconds(Duration::from_millis(milliseconds)))
    }

    pub(crate) async fn start(self) -> Server {
        let Self { config, model, sessions } = self;
        let server = Server::without_model(&config).await;
        let backend = Arc::new(Local::start(Box::new(model), &config.engine).unwrap());
        server.install(backend, config, sessions).await
    }
}

/// The real server, through its real entry, on a port of its own.
pub(crate) struct Server {
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
        let address = listener.local_addr().unwrap();
        let state = AppState::new(config, catalog());
        let (shutdown, signal) = oneshot::channel::<()>();
        let signal = async {
            // A test that ends without asking for a shutdown drops the sender: then the runtime ends the server.
            if signal.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::spawn(leafresh::run(listener, state.clone(), signal));
        Self { address, state, recommender: None, shutdown: Some(shutdown), ended }
    }

    pub(crate) async fn install(
        mut self,
        backend: Arc<dyn Backend>,
        config: Config,
        sessions: Option<Sessions>,
    ) -> Self {
        // An engine in another process answers when it can: nothing to wait for where others are served.
        let make = move || leafresh::assemble::recommender(&config, catalog(), backend);
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

    pub(crate) fn health(&self) -> Health {
        self.recommender.as_ref().unwrap().backend().health()
    }
}
