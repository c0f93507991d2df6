use std::path::Path;

use leafresh_engine::fake::FakeEmbedder;

use super::*;
use crate::Query;
use crate::corpus::Codes;

fn document(number: usize) -> Document {
    Document {
        id: format!("d{number}"),
        category: "A".into(),
        title: format!("제목 {number}"),
        text: format!("{number}번째 챌린지를 해요."),
        short: "해요.".into(),
        ..Document::default()
    }
}

async fn open(folder: &Path) -> Index {
    Index::open(&Location::Folder(folder.join("index")), Arc::new(FakeEmbedder::new(32))).await.unwrap()
}

fn files(folder: &Path) -> Corpus {
    Corpus::files(&[folder.to_owned()], Codes::default()).unwrap()
}

async fn ids(index: &Index) -> Vec<String> {
    let query = Query { text: "챌린지".into(), limit: 1000, per_category: 1000, ..Query::default() };
    let hits = index.search().search(&query).await.unwrap();
    let mut ids: Vec<String> = hits.into_iter().map(|hit| hit.document.id).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn the_same_again_embeds_nothing_and_a_change_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path()).await;
    let mut documents: Vec<Document> = (0..10).map(document).collect();
    let first = index.update(&Corpus::catalog(&documents)).await.unwrap();
    assert_eq!((first.embedded, first.removed), (10, 0));
    let again = index.plan(&Corpus::catalog(&documents)).await.unwrap();
    assert!(again.is_empty() && again.unchanged == 10);

    documents[3].text = "다른 글이에요.".into();
    documents.remove(7);
    let changed = index.update(&Corpus::catalog(&documents)).await.unwrap();
    assert_eq!((changed.embedded, changed.removed), (1, 2), "the old text of one, and the one that is gone");
    assert_eq!(index.search().count().await.unwrap(), 9);

    documents[3].source = "다른 곳".into();
    let named = index.update(&Corpus::catalog(&documents)).await.unwrap();
    assert_eq!((named.embedded, named.removed), (1, 0), "another source, the same text");
}

#[tokio::test]
async fn the_same_text_from_two_files_is_one_document_until_both_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path()).await;
    let texts = folder.path().join("texts");
    std::fs::create_dir(&texts).unwrap();
    let line = r#"{"title": "같은 것", "text": "같은 글이에요."}"#;
    for name in ["a.jsonl", "b.jsonl"] {
        std::fs::write(texts.join(name), format!("{line}\n{{\"text\": \"{name}만의 글.\"}}\n")).unwrap();
    }
    let plan = index.plan(&files(&texts)).await.unwrap();
    assert_eq!((plan.documents, plan.duplicates, plan.new_documents()), (4, 1, 3));
    index.update(&files(&texts)).await.unwrap();
    assert_eq!(ids(&index).await, ["a.jsonl:1", "a.jsonl:2", "b.jsonl:2"]);

    std::fs::remove_file(texts.join("a.jsonl")).unwrap();
    let report = index.update(&files(&texts)).await.unwrap();
    assert_eq!(report.removed, 1, "what only the file that is gone had");
    assert_eq!(index.search().count().await.unwrap(), 2);
    let none = Corpus::nothing_at(std::slice::from_ref(&texts)).unwrap();
    index.update(&none).await.unwrap();
    assert_eq!(index.search().count().await.unwrap(), 0);
}

#[tokio::test]
async fn what_other_origins_hold_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path()).await;
    index.update(&Corpus::catalog(&[document(1)])).await.unwrap();
    let texts = folder.path().join("texts");
    std::fs::create_dir(&texts).unwrap();
    std::fs::write(texts.join("a.txt"), "글이에요. 또 하나.").unwrap();
    index.update(&files(&texts)).await.unwrap();
    index.update(&Corpus::catalog(&[document(2)])).await.unwrap();
    assert_eq!(ids(&index).await, ["a.txt", "d2"]);
}

#[tokio::test]
async fn an_index_that_was_stopped_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path()).await;
    let documents: Vec<Document> = (0..1000).map(document).collect();
    let corpus = Corpus::catalog(&documents);
    let stop = Arc::new(AtomicBool::new(false));
    let plan = index.plan(&corpus).await.unwrap();
    let seen = stop.clone();
    let report = index
        .run(&corpus, plan, &stop, move |progress| {
            assert_eq!(progress.total, 1000);
            seen.store(progress.done > 0, Ordering::Relaxed);
        })
        .await
        .unwrap();
    assert!(report.stopped && (STEP..1000).contains(&report.embedded), "{report:?}");
    assert_eq!(index.search().count().await.unwrap(), report.embedded, "all that was embedded counts");
    let plan = index.plan(&corpus).await.unwrap();
    assert_eq!(plan.new_documents(), 1000 - report.embedded);
    let rest = index.update(&corpus).await.unwrap();
    assert_eq!(rest.embedded + report.embedded, 1000);
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path()).await;
    let texts = folder.path().join("texts");
    std::fs::create_dir(&texts).unwrap();
    std::fs::write(texts.join("a.jsonl"), "{\"text\": \"글.\"}\n{\"txt\": \"글.\"}\n").unwrap();
    let error = index.update(&files(&texts)).await.unwrap_err().to_string();
    assert!(error.contains("a.jsonl:2: ") && error.contains("unknown field `txt`"), "{error}");
    assert_eq!(index.search().count().await.unwrap(), 0);
}
