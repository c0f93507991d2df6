//! The recommender with a fake model.

// Helpers outside `#[test]` functions unwrap too: a failure there is a failed test.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leafresh_chat::{BaseInfo, Catalog, Event, Recommender, Settings};
use leafresh_engine::fake::{FakeEmbedder, FakeModel};
use leafresh_engine::{Embedder, EmbedderInfo, Embedding, Local, LocalSettings};
use leafresh_retrieval::Search;

const CATALOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../catalog");

fn recommender(model: FakeModel) -> Recommender {
    of_catalog(Path::new(CATALOG), model)
}

fn of_catalog(folder: &Path, model: FakeModel) -> Recommender {
    let catalog = Catalog::load(folder).unwrap();
    let engine = Local::start(Box::new(model), &LocalSettings::default()).unwrap();
    // With a seed the same request is written in the same number of batches.
    let mut settings = Settings::default();
    settings.sampling.seed = Some(1);
    Recommender::new(Arc::new(catalog), Arc::new(engine), settings).unwrap()
}

fn request() -> BaseInfo {
    BaseInfo {
        location: "제주도".into(),
        work_type: "학생".into(),
        category: "VEGAN".into(),
        ..BaseInfo::default()
    }
}

/// Batches that one answer took.
async fn steps(recommender: &Recommender) -> u64 {
    let before = recommender.backend().health().steps;
    let mut events = recommender.base_info(&request()).unwrap();
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Error(_)), "{event:?}");
    }
    recommender.backend().health().steps - before
}

#[tokio::test]
async fn a_warm_model_has_read_the_common_beginning() {
    let cold = recommender(FakeModel::new(1));
    let warm = recommender(FakeModel::new(1));
    warm.warm().await.unwrap();
    assert!(warm.backend().health().steps > 0);
    let (cold, warm) = (steps(&cold).await, steps(&warm).await);
    assert!(warm < cold, "{warm} batches after warming, {cold} without");
}

#[tokio::test]
async fn a_model_that_cannot_compute_says_so_when_it_is_warmed() {
    let error = recommender(FakeModel::new(1).with_logits(f32::NAN)).warm().await.unwrap_err();
    assert!(error.to_string().contains("not finite"), "{error}");
}

/// Counts the texts that it embeds.
struct Counting(FakeEmbedder, AtomicUsize);

impl Embedder for Counting {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Embedding>, leafresh_engine::Error> {
        self.1.fetch_add(texts.len(), Ordering::SeqCst);
        self.0.embed(texts)
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.0.count_tokens(text)
    }

    fn info(&self) -> &EmbedderInfo {
        self.0.info()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_learned_is_learned_once_for_a_model_and_a_catalogue() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, data) = (folder.path().join("catalog"), folder.path().join("data"));
    copy(Path::new(CATALOG), &catalog);
    // Some hundred examples are enough.
    std::fs::remove_file(catalog.join("gate/practice.jsonl")).unwrap();
    let embedded = async |dimension: usize| {
        let embedder = Arc::new(Counting(FakeEmbedder::new(dimension), AtomicUsize::default()));
        let search = Search::later(Some(embedder.clone())).0;
        let recommender =
            of_catalog(&catalog, FakeModel::new(1)).with_search(search.clone()).with_kept(data.clone());
        recommender.learn().await.unwrap();
        assert!(search.has_metric());
        recommender.learn().await.unwrap();
        embedder.1.load(Ordering::SeqCst)
    };
    let first = embedded(64).await;
    assert!(first > 500, "{first}");
    assert_eq!(embedded(64).await, 0, "kept");
    assert_eq!(embedded(48).await, first, "another model");

    let name = "documents/vegan.jsonl";
    let documents = std::fs::read_to_string(catalog.join(name)).unwrap();
    std::fs::write(catalog.join(name), documents.replacen("\"questions\": [\"", "\"questions\": [\"또 ", 1))
        .unwrap();
    let again = embedded(48).await;
    assert!(0 < again && again < first, "a question changed: the gate is kept, the order isn't");
    std::fs::write(data.join("topic.bin"), "broken").unwrap();
    assert!(embedded(48).await > 0, "what is broken is learned again");
    assert_eq!(embedded(48).await, 0);
}
