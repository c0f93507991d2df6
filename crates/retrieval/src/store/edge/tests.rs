use std::collections::HashMap;

use leafresh_engine::fake::FakeEmbedder;
use leafresh_engine::{Embedder, EmbedderInfo};

use super::*;
use crate::Document;
use crate::vector::{PASSAGE, embed_as, indexed_text};

/// Folders in which a step fails, and where.
static FAILING: Mutex<Option<HashMap<PathBuf, &'static str>>> = Mutex::new(None);

pub(super) fn fail_point(folder: &Path, place: &str) -> Result<(), Error> {
    let failing = FAILING.lock().unwrap();
    match failing.as_ref().and_then(|failing| failing.get(folder)) {
        Some(&at) if at == place => Err(Error::Store(format!("the test lets it fail at {place}"))),
        _ => Ok(()),
    }
}

fn fail_at(folder: &Path, place: Option<&'static str>) {
    let mut failing = FAILING.lock().unwrap();
    let failing = failing.get_or_insert_default();
    match place {
        Some(place) => failing.insert(folder.to_owned(), place),
        None => failing.remove(folder),
    };
}

fn embedder() -> FakeEmbedder {
    FakeEmbedder::new(32)
}

fn point(number: usize, title: &str) -> Point {
    let document = Document {
        id: format!("d{number}"),
        category: if number.is_multiple_of(2) { "A" } else { "B" }.into(),
        places: if number.is_multiple_of(3) { vec!["city".into()] } else { Vec::new() },
        title: title.into(),
        text: format!("{title} {number}"),
        ..Document::default()
    };
    let text = indexed_text(&document);
    let dense = embed_as(&embedder(), PASSAGE, [text.as_str()].into_iter()).unwrap().remove(0);
    Point {
        id: PointId::of(&document),
        dense: dense.meaning,
        sparse: Sparse::of_document(&text, &[]),
        payload: Payload::new(document, ["here".to_owned()].into()),
    }
}

async fn open(folder: &Path) -> Edge {
    Edge::open(folder.to_owned(), Mode::For(embedder().info())).await.unwrap().unwrap()
}

fn question(text: &str, filter: Filter) -> Request {
    let dense = embed_as(&embedder(), "query: ", [text].into_iter()).unwrap().remove(0);
    Request { dense: Some(dense.meaning), sparse: Sparse::of_query(text), filter, limit: 10 }
}

async fn found(store: &Edge, request: Request) -> (Vec<String>, Vec<String>) {
    let candidates = store.candidates(request).await.unwrap();
    let ids = |list: Vec<Candidate>| list.into_iter().map(|candidate| candidate.document.id).collect();
    (ids(candidates.by_meaning), ids(candidates.by_words))
}

#[tokio::test]
async fn what_was_put_in_is_found_by_meaning_and_by_words_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let points = vec![point(0, "텀블러 챙기기"), point(1, "전등 끄기"), point(2, "걸어서 출근하기")];
    let store = open(folder.path()).await;
    store.apply(Batch { upsert: points, ..Batch::default() }).await.unwrap();
    drop(store);
    let store = open(folder.path()).await;
    let (by_meaning, by_words) = found(&store, question("텀블러를 챙겨요", Filter::default())).await;
    assert_eq!(by_meaning[0], "d0");
    assert_eq!(by_words, ["d0"], "only what shares a pair of characters");
    let (by_meaning, _) =
        found(&store, question("텀블러", Filter { category: Some("B".into()), ..Filter::default() })).await;
    assert_eq!(by_meaning, ["d1"]);
}

#[tokio::test]
async fn a_place_finds_what_names_it_and_what_names_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let upsert = (0..6).map(|number| point(number, "계단 오르기")).collect();
    store.apply(Batch { upsert, ..Batch::default() }).await.unwrap();
    let at = |place: &str| Filter { place: Some(place.into()), ..Filter::default() };
    let (mut beach, _) = found(&store, question("계단", at("beach"))).await;
    beach.sort();
    assert_eq!(beach, ["d1", "d2", "d4", "d5"]);
    assert_eq!(found(&store, question("계단", at("city"))).await.0.len(), 6);
    let without = Filter { leave_out: vec!["d1".into(), "d2".into()], ..Filter::default() };
    let (mut rest, _) = found(&store, question("계단", without)).await;
    rest.sort();
    assert_eq!(rest, ["d0", "d3", "d4", "d5"]);
    let titles = Filter { leave_out: vec!["계단 오르기".into()], ..Filter::default() };
    assert_eq!(found(&store, question("계단", titles)).await.0, [""; 0]);
}

#[tokio::test]
async fn a_step_that_fails_anywhere_counts_as_a_whole_or_not_at_all() {
    for (place, counts) in [("update", false), ("flush", false), ("commit", true)] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        store
            .apply(Batch { upsert: vec![point(0, "가나"), point(1, "다라")], ..Batch::default() })
            .await
            .unwrap();
        fail_at(folder.path(), Some(place));
        let remove = vec![point(0, "가나").id];
        let step = Batch { upsert: vec![point(2, "마바")], remove, ..Batch::default() };
        assert!(store.apply(step).await.is_err(), "{place}");
        fail_at(folder.path(), None);
        drop(store);

        let store = open(folder.path()).await;
        let mut records: Vec<PointId> =
            store.records().await.unwrap().into_iter().map(|record| record.id).collect();
        let mut present = store.run(|inner| inner.with_shard(all_ids)).await.unwrap();
        records.sort();
        present.sort();
        assert_eq!(records, present, "{place}: what counts is what is there");
        assert_eq!(present.contains(&point(2, "마바").id), counts, "{place}");
        assert!(present.contains(&point(1, "다라").id), "{place}: what counted before is still there");
        // And the same step again brings it to its end.
        let remove = vec![point(0, "가나").id];
        store.apply(Batch { upsert: vec![point(2, "마바")], remove, ..Batch::default() }).await.unwrap();
        assert_eq!(store.count().await.unwrap(), 2, "{place}");
    }
}

#[tokio::test]
async fn the_log_of_a_long_run_stays_small_and_nothing_is_lost_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    // Long texts fill a file of the log every few steps.
    let long = "긴 글 ".repeat(20_000);
    let steps = 2 * STEPS_PER_LOG;
    for number in 0..steps {
        let mut point = point(number, "가나");
        point.payload.document.text.push_str(&long);
        store.apply(Batch { upsert: vec![point], ..Batch::default() }).await.unwrap();
    }
    let log = folder.path().join(SHARD).join("wal");
    let files = std::fs::read_dir(log).unwrap().count();
    assert!(files <= 4, "{files} files");
    assert_eq!(store.count().await.unwrap(), steps);
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.count().await.unwrap(), steps);
    store.apply(Batch { upsert: vec![point(steps, "다라")], ..Batch::default() }).await.unwrap();
    let (by_meaning, _) = found(&store, question("다라", Filter::default())).await;
    assert_eq!(by_meaning[0], format!("d{steps}"), "an operation behind the pruned log is applied");
}

#[tokio::test]
async fn another_model_is_refused_with_the_command_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).await);
    let wider = FakeEmbedder::new(64);
    let error =
        Edge::open(folder.path().to_owned(), Mode::For(wider.info())).await.err().unwrap().to_string();
    assert!(error.contains("32 dimensions") && error.contains("leafresh index --rebuild"), "{error}");
    let other = EmbedderInfo { fingerprint: "other".into(), ..embedder().info().clone() };
    let error = Edge::open(folder.path().to_owned(), Mode::For(&other)).await.err().unwrap();
    assert!(matches!(error, Error::Mismatch(_)), "{error}");
    let rebuilt = Edge::open(folder.path().to_owned(), Mode::Rebuild(wider.info())).await.unwrap().unwrap();
    assert_eq!(rebuilt.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_folder_belongs_to_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let second = Edge::open(folder.path().to_owned(), Mode::For(embedder().info())).await;
    assert!(matches!(second.err(), Some(Error::Locked(_))));
    drop(store);
    open(folder.path()).await;
}

#[tokio::test]
async fn without_an_index_searching_by_words_finds_none_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("index");
    assert!(Edge::open(place.clone(), Mode::Existing).await.unwrap().is_none());
    assert!(Edge::open(place.clone(), Mode::Found(embedder().info())).await.unwrap().is_none());
    assert!(!place.exists());
}

#[tokio::test]
async fn case_20_a_shard_with_bytes_missing_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.apply(Batch { upsert: vec![point(0, "가나")], ..Batch::default() }).await.unwrap();
    drop(store);
    let segments = folder.path().join(SHARD).join("segments");
    for segment in std::fs::read_dir(segments).unwrap() {
        std::fs::write(segment.unwrap().path().join("segment.json"), b"{").unwrap();
    }
    let error = Edge::open(folder.path().to_owned(), Mode::For(embedder().info())).await.err().unwrap();
    assert!(error.to_string().contains("leafresh index --rebuild"), "{error}");
}

/// Field report 9.
#[test]
fn a_file_system_without_locks_is_not_taken_for_another_process() {
    let folder = Path::new("/data/index");
    for errno in [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP] {
        let error = not_locked(folder, errno);
        assert!(matches!(error, Error::NoLocks(_)), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("/data/index") && text.contains("data.dir") && !text.contains("process"),
            "{text}"
        );
    }
    assert!(matches!(not_locked(folder, Errno::WOULDBLOCK), Error::Locked(_)));
    assert!(matches!(not_locked(folder, Errno::IO), Error::Io { .. }));
}
