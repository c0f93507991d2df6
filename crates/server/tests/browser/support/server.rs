use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use leafresh_chat::{Catalog, Files, Recommender, Sessions};
use leafresh_engine::fake::FakeModel;
use leafresh_engine::{Health, Local};
use leafresh_server::config::Config;
use leafresh_server::{AppState, Listeners};
use leafresh_store::{Options, Sqlite};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::catalog::catalog;
use super::until;

/// The real server, through its real entry, on a port of its own. Pages of every origin may use it.
pub(crate) struct Server {
    /// First, so that it is dropped first: the engine's end waits for a step that is held.
    gate: Option<Sender<()>>,
    pub(crate) url: String,
    state: AppState,
    config: Config,
    catalog: Arc<Catalog>,
    recommender: Option<Arc<Recommender>>,
    sessions: Sessions,
    _folder: TempDir,
}

impl Server {
    /// With a model that writes as fast as it is read.
    pub(crate) async fn start() -> Self {
        let mut server = Self::loading().await;
        server.load();
        server
    }

    /// The same with other settings.
    pub(crate) async fn started_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut server = Self::listening(change).await;
        server.load();
        server
    }

    /// With the shipped catalogue, all of it.
    pub(crate) async fn telling() -> Self {
        let shipped = Arc::new(Catalog::of(&Files::built_in()).unwrap());
        let mut server = Self::serving(shipped, None, |_| ()).await;
        server.load();
        server
    }

    /// Whose conversations can be read at another address only, as beyond this machine.
    pub(crate) async fn closed() -> Self {
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Self::serving(catalog(), Some(admin), |_| ()).await;
        server.load();
        server
    }

    /// With a model that takes no step before [`Server::step`] or [`Server::go_on`].
    pub(crate) async fn held() -> Self {
        Self::held_with(|_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn held_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut server = Self::listening(change).await;
        let (gate, steps) = channel();
        server.gate = Some(gate);
        server.install(model().with_gate(steps));
        server
    }

    /// Whoever asks needs a key of this file.
    pub(crate) async fn with_keys(file: &Path) -> Self {
        let mut server = Self::listening(|config| config.keys.file = Some(file.into())).await;
        server.state.load_keys().unwrap();
        server.load();
        server
    }

    /// Without a model yet.
    pub(crate) async fn loading() -> Self {
        Self::listening(|_| ()).await
    }

    async fn listening(change: impl FnOnce(&mut Config)) -> Self {
        Self::serving(catalog(), None, change).await
    }

    async fn serving(
        catalog: Arc<Catalog>,
        admin: Option<TcpListener>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        config.cors.origins = serde_json::from_value(json!(["*"])).unwrap();
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = AppState::new(&config, catalog.clone());
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("sessions.db"), Options::default()).unwrap();
        let sessions = Sessions::new(Arc::new(store));
        state.open_sessions(sessions.clone());
        let listeners = Listeners::new(listener, admin);
        tokio::spawn(leafresh_server::run(listeners, state.clone(), std::future::pending()));
        Self { gate: None, url, state, config, catalog, recommender: None, sessions, _folder: folder }
    }

    pub(crate) fn load(&mut self) {
        self.install(model());
    }

    fn install(&mut self, model: FakeModel) {
        let backend = Local::start(Box::new(model), &self.config.engine).unwrap();
        let chat = self.config.chat.clone();
        let recommender = Recommender::new(self.catalog.clone(), Arc::new(backend), chat).unwrap();
        let recommender = Arc::new(recommender.with_sessions(self.sessions.clone()));
        self.state.install(recommender.clone());
        self.recommender = Some(recommender);
    }

    /// Lets the model take one more step.
    pub(crate) fn step(&self) {
        self.gate.as_ref().unwrap().send(()).unwrap();
    }

    /// Lets the model write as it likes.
    pub(crate) fn go_on(&mut self) {
        self.gate = None;
    }

    pub(crate) fn health(&self) -> Health {
        self.recommender.as_ref().unwrap().backend().health()
    }

    /// What people think of answers.
    pub(crate) async fn ratings(&self) -> Vec<&'static str> {
        self.sessions.rated().await.unwrap().iter().map(|rated| rated.rating.as_str()).collect()
    }

    /// The value of a series of `/metrics`, with its labels as Prometheus writes them.
    async fn figure(&self, series: &str) -> u64 {
        let text = reqwest::get(format!("{}/metrics", self.url)).await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }

    /// How many answers ended like this while they were being written.
    pub(crate) async fn ended(&self, outcome: &str) -> u64 {
        self.figure(&format!(r#"leafresh_requests_ended_total{{outcome="{outcome}",phase="writing"}}"#)).await
    }

    pub(crate) async fn until_ended(&self, outcome: &str) {
        until(&format!("an answer ended in {outcome}"), async || self.ended(outcome).await > 0).await;
    }
}

/// Slow enough that its letters come one by one, quick enough for a test.
fn model() -> FakeModel {
    FakeModel::new(1).with_step(Duration::from_millis(2))
}
