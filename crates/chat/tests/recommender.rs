//! The recommender with a fake model.

// Helpers outside `#[test]` functions unwrap too: a failure there is a failed test.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use leafresh_chat::{BaseInfo, Catalog, Event, Recommender, Settings};
use leafresh_engine::fake::FakeModel;
use leafresh_engine::{Local, LocalSettings};

fn recommender(model: FakeModel) -> Recommender {
    let catalog = Catalog::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../catalog"))).unwrap();
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
