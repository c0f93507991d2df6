//! The recommender with a fake model.

// Helpers outside `#[test]` functions unwrap too: a failure there is a failed test.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leafresh_chat::{BaseInfo, Catalog, Event, FreeText, Recommender, Settings, understand};
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

/// The variants of a document, from the catalogue's own files: whom they are for, and their texts.
fn variants(id: &str) -> Vec<(Vec<String>, String)> {
    let texts = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect()
    };
    for file in std::fs::read_dir(Path::new(CATALOG).join("tellings")).unwrap().map(Result::unwrap) {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let told = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        if let Some(telling) = told.into_iter().find(|telling| telling["id"] == id) {
            let all = telling["variants"].as_array().unwrap();
            return all
                .iter()
                .map(|one| (texts(&one["for"]), one["text"].as_str().unwrap().to_owned()))
                .collect();
        }
    }
    panic!("{id} is told");
}

async fn closed(mut events: leafresh_chat::Events) -> leafresh_chat::Answer {
    loop {
        match events.next().await.unwrap() {
            Event::Close(answer) => return answer,
            Event::Error(failure) => panic!("{failure:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn challenges_are_told_for_where_somebody_lives_and_works_and_first_for_who_they_are() {
    let recommender = recommender(FakeModel::new(1));
    for (message, location, people) in [
        (None, "beach", &["beach", "field"][..]),
        (Some("아이랑 할 만한 제로 웨이스트"), "beach", &["children"]),
    ] {
        let (location, work_type) = (location.to_owned(), "field".to_owned());
        let events = match message {
            None => recommender.base_info(&BaseInfo {
                location,
                work_type,
                category: "ZERO_WASTE".into(),
                ..BaseInfo::default()
            }),
            Some(message) => recommender.free_text(&FreeText {
                message: message.into(),
                location: Some(location),
                work_type: Some(work_type),
                ..FreeText::default()
            }),
        };
        let answer = closed(events.unwrap()).await;
        let mut told = 0;
        for challenge in &answer.challenges {
            let source = answer.sources.iter().find(|source| source.title == challenge.title).unwrap();
            let demands = (source.minutes.unwrap(), source.proof.as_deref().unwrap());
            assert!((1..=180).contains(&demands.0) && demands.1.chars().count() >= 8, "{demands:?}");
            let variants = variants(&source.id);
            let is_for = |audience: &[String]| audience.iter().any(|code| people.contains(&code.as_str()));
            let could = variants.iter().filter(|(audience, _)| is_for(audience)).count();
            let of_text = variants.iter().find(|(_, text)| *text == challenge.description);
            let theirs = of_text.is_some_and(|(audience, _)| is_for(audience));
            // Of two variants for them the model takes one; where there is one only, or none, it may take another text.
            assert!(theirs || could < 2, "{people:?}: {}", challenge.description);
            told += usize::from(theirs);
        }
        assert!(told > 0, "{people:?}: {answer:?}");
    }
}

/// Field report 33: what is learned from the examples decides, once there is a model to compare messages.
#[tokio::test]
async fn distress_that_no_list_names_is_recognised_by_examples() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("catalog");
    copy(Path::new(CATALOG), &catalog);
    std::fs::remove_file(catalog.join("gate/practice.jsonl")).unwrap();
    // Some hundred examples are enough.
    let mut distressed = Vec::new();
    for file in std::fs::read_dir(catalog.join("gate/alarm")).unwrap().map(Result::unwrap) {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let few: Vec<&str> = text.lines().take(120).collect();
        std::fs::write(file.path(), few.join("\n")).unwrap();
        let examples = few.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of_kind = examples.filter(|example| example["kind"] == "distress");
        distressed.extend(of_kind.map(|example| example["text"].as_str().unwrap().to_owned()));
    }
    let search = Search::later(Some(Arc::new(FakeEmbedder::new(64)))).0;
    let recommender = of_catalog(&catalog, FakeModel::new(1)).with_search(search);
    let unlisted =
        |message: &&String| understand(recommender.catalog(), None, &[message.as_str()]).refusal.is_none();
    let message = distressed.iter().find(unlisted).unwrap();
    let say = async || {
        let request = FreeText { message: message.clone(), ..FreeText::default() };
        closed(recommender.free_text(&request).unwrap()).await
    };
    assert_eq!(say().await.challenges.len(), 3, "not learned yet: {message}");
    recommender.learn().await.unwrap();
    let answer = say().await;
    assert_eq!(
        (&answer.recommend, answer.challenges.len()),
        (&recommender.catalog().replies().fixed.distress, 0)
    );
}
