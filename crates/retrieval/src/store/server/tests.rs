use std::sync::Arc;
use std::time::Duration;

use leafresh_engine::Embedder;
use leafresh_engine::fake::FakeEmbedder;

use super::double::{Double, VERSION};
use super::*;
use crate::{Corpus, Index, Location, Query, Search};

fn settings(address: std::net::SocketAddr) -> ServerSettings {
    ServerSettings {
        url: format!("http://{address}"),
        api_key: Some("secret".into()),
        collection: "leafresh".into(),
        timeout: Duration::from_secs(10),
    }
}

fn embedder() -> Arc<FakeEmbedder> {
    Arc::new(FakeEmbedder::new(32))
}

fn documents() -> Vec<Document> {
    let titles =
        ["텀블러 챙기기", "전등 끄기", "계단 오르기", "채식 한 끼", "걸어서 출근하기", "메일함 비우기"];
    let numbered = titles.into_iter().enumerate();
    numbered
        .map(|(number, title)| Document {
            id: format!("d{number}"),
            category: if number < 4 { "A" } else { "B" }.into(),
            places: if number == 0 { vec!["city".into()] } else { Vec::new() },
            work_types: if number == 1 { vec!["office".into()] } else { Vec::new() },
            title: title.into(),
            text: format!("{title}를 해 보세요."),
            short: format!("{title}."),
            source: "시험".into(),
            ..Document::default()
        })
        .collect()
}

fn queries() -> Vec<Query> {
    let asked = |text: &str| Query { text: text.into(), ..Query::default() };
    vec![
        asked("텀블러를 챙겨요"),
        Query { category: Some("B".into()), ..asked("비우기") },
        Query { place: Some("beach".into()), work_type: Some("sales".into()), ..asked("챙기기") },
        Query {
            leave_out: vec!["d2".into(), "채식 한 끼".into()], per_category: 9, ..asked("계단과 채식")
        },
        asked("!?"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_finds_what_a_folder_finds() {
    let (double, address) = Double::start().await;
    let folder = tempfile::tempdir().unwrap();
    let places = [Location::Server(settings(address)), Location::Folder(folder.path().join("index"))];
    let mut found = Vec::new();
    for place in &places {
        let index = Index::open(place, embedder()).await.unwrap();
        index.update(&Corpus::catalog(&documents())).await.unwrap();
        assert_eq!(index.search().count().await.unwrap(), 6);
        let mut hits = Vec::new();
        for query in queries() {
            hits.push(index.search().search(&query).await.unwrap());
        }
        assert_eq!(hits[0][0].document, documents()[0]);
        assert!(hits[3].iter().all(|hit| hit.document.id != "d2" && hit.document.id != "d3"));
        found.push(hits);
    }
    assert_eq!(found[0], found[1]);
    assert_eq!(*double.keys.lock().unwrap(), ["secret".to_owned()].into());
    assert_eq!(*double.indexed.lock().unwrap(), FILTERED.map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_what_is_there_and_only_changes_what_changed() {
    let (_double, address) = Double::start().await;
    let place = Location::Server(settings(address));
    let mut documents = documents();
    let index = Index::open(&place, embedder()).await.unwrap();
    index.update(&Corpus::catalog(&documents)).await.unwrap();
    let many: Vec<Document> = (0..20)
        .map(|number| Document {
            id: format!("m{number}"),
            text: format!("{number}번."),
            ..Document::default()
        })
        .collect();
    documents.extend(many);
    documents.remove(1);
    let again = Index::open(&place, embedder()).await.unwrap();
    let report = again.update(&Corpus::catalog(&documents)).await.unwrap();
    assert_eq!((report.embedded, report.removed), (20, 1), "more than a page of them");
    assert!(again.plan(&Corpus::catalog(&documents)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_server_tells_its_version_and_what_the_collection_lacks_and_makes_none() {
    let (_double, address) = Double::start().await;
    let place = Location::Server(settings(address));
    let embedder = embedder();
    let look = async |documents: &[Document]| {
        crate::examine(&place, Some(embedder.info()), documents).await.unwrap()
    };
    let without = look(&documents()).await;
    assert_eq!((without.version.as_deref(), without.contents), (Some(VERSION), None));
    let index = Index::open(&place, embedder.clone()).await.unwrap();
    index.update(&Corpus::catalog(&documents())).await.unwrap();
    let contents = crate::Contents { documents: 6, outdated: 0 };
    assert_eq!(look(&documents()).await.contents, Some(contents));
    assert_eq!(look(&documents()[1..]).await.contents, Some(crate::Contents { outdated: 1, ..contents }));
    let wider = FakeEmbedder::new(64);
    let error = crate::examine(&place, Some(wider.info()), &[]).await.unwrap_err().to_string();
    assert!(error.contains("32 dimensions") && error.contains("leafresh index --rebuild"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_another_dimension_is_an_error_with_the_command_that_helps() {
    let (_double, address) = Double::start().await;
    let place = Location::Server(settings(address));
    Index::open(&place, embedder()).await.unwrap();
    let wider: Arc<dyn Embedder> = Arc::new(FakeEmbedder::new(64));
    let error = Index::open(&place, wider.clone()).await.unwrap_err().to_string();
    assert!(error.contains("32 dimensions") && error.contains("leafresh index --rebuild"), "{error}");
    let index = Index::rebuild(&place, wider).await.unwrap();
    assert_eq!(index.search().count().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_server_that_is_down_or_slow_is_an_error_that_names_it() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Index::open(&Location::Server(settings(nobody)), embedder()).await.unwrap_err().to_string();
    assert!(error.contains(&nobody.to_string()) && error.contains("retrieval.url"), "{error}");

    let (double, address) = Double::start().await;
    let patient = settings(address);
    Index::open(&Location::Server(patient.clone()), embedder()).await.unwrap();
    *double.slow.lock().unwrap() = Duration::from_hours(1);
    let hasty = ServerSettings { timeout: Duration::from_millis(200), ..patient };
    let error = Index::open(&Location::Server(hasty), embedder()).await.unwrap_err();
    assert!(matches!(error, Error::Store(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_a_collection_is_searched_by_words() {
    let (_double, address) = Double::start().await;
    let place = Location::Server(settings(address));
    assert!(Search::by_words(&place).await.unwrap().is_none(), "there is none yet");
    let index = Index::open(&place, embedder()).await.unwrap();
    index.update(&Corpus::catalog(&documents())).await.unwrap();
    let search = Search::by_words(&place).await.unwrap().unwrap();
    let hits = search.search(&Query { text: "전등을 꺼요".into(), ..Query::default() }).await.unwrap();
    assert_eq!(hits[0].document.id, "d1");
    assert!((0.1..1.0).contains(&hits[0].score), "{}", hits[0].score);
    assert!(!search.can_embed() && matches!(search.embed("글").await, Err(Error::NoEmbedder)));
}

/// Field report 13.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_port_is_told_from_a_server_that_is_not_there() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let _ = stream.read(&mut [0; 64]).await;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
            });
        }
    });
    let open = async |settings: ServerSettings| {
        Search::by_words(&Location::Server(settings)).await.map(|_| ()).unwrap_err().to_string()
    };
    let error = open(settings(address)).await;
    assert!(error.contains("this is Qdrant's REST port; gRPC is 6334"), "{error}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = open(settings(free)).await;
    assert!(error.contains("check that it runs"), "{error}");
}
