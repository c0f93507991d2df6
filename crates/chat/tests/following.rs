//! What is answered to messages about challenges that were offered, with the real embedding model; the model that chooses is a fake.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test's helper fails the test")]

#[path = "../../engine/tests/it/model_files.rs"]
mod model_files;

mod asking;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use leafresh_chat::{Answer, Catalog, FreeText, Grounding, Recommender, Sessions, Settings};
use leafresh_engine::fake::FakeModel;
use leafresh_engine::{EmbeddingSettings, LlamaEmbedder, Local, LocalSettings};
use leafresh_retrieval::Search;
use leafresh_store::{Options, Sqlite};
use tempfile::TempDir;

struct Conversation {
    recommender: Recommender,
    folder: TempDir,
}

/// With the shipped catalogue, less what takes long to learn from and isn't tried here.
async fn conversation() -> Option<Conversation> {
    let path = model_files::model("multilingual-e5-small-Q4_0.gguf")?;
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("sessions.db"), Options::default()).unwrap();
    let catalog = Catalog::load(&smaller(folder.path())).unwrap();
    let engine = Local::start(Box::new(FakeModel::new(1)), &LocalSettings::default()).unwrap();
    let embedder = LlamaEmbedder::load(&path, &EmbeddingSettings::default()).unwrap();
    let recommender = Recommender::new(Arc::new(catalog), Arc::new(engine), Settings::default())
        .unwrap()
        .with_search(Search::later(Some(Arc::new(embedder))).0)
        .with_sessions(Sessions::new(Arc::new(store)));
    recommender.learn().await.unwrap();
    Some(Conversation { recommender, folder })
}

fn smaller(folder: &Path) -> std::path::PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog/.");
    let catalog = folder.join("catalog");
    let copied = std::process::Command::new("cp").arg("-r").arg(shipped).arg(&catalog).status().unwrap();
    assert!(copied.success());
    std::fs::remove_file(catalog.join("gate/practice.jsonl")).unwrap();
    std::fs::remove_dir_all(catalog.join("gate/alarm")).unwrap();
    for file in std::fs::read_dir(catalog.join("documents")).unwrap() {
        let path = file.unwrap().path();
        let without_questions = |line: &str| {
            let mut document: serde_json::Value = serde_json::from_str(line).unwrap();
            document.as_object_mut().unwrap().remove("questions");
            format!("{document}\n")
        };
        let lines: String = std::fs::read_to_string(&path).unwrap().lines().map(without_questions).collect();
        std::fs::write(&path, lines).unwrap();
    }
    catalog
}

impl Conversation {
    async fn say(&self, session: &str, message: &str) -> Answer {
        let session_id = Some(session.to_owned());
        let request = FreeText { message: message.into(), session_id, ..FreeText::default() };
        asking::ask(&self.recommender, request).await
    }
}

#[tokio::test]
async fn what_is_said_of_an_offer_gets_what_a_person_would_expect() {
    let Some(conversation) = conversation().await else { return };
    questions(&conversation).await;
    wishes(&conversation).await;
    a_word(&conversation).await;
    what_is_left(&conversation).await;
    assert!(conversation.folder.path().exists());
}

async fn questions(conversation: &Conversation) {
    let offered = conversation.say("q", "집에서 비건 간식을 만들어 보고 싶어요").await;
    assert_eq!(offered.challenges.len(), 3);
    let first = conversation.recommender.catalog().documents().iter();
    let first = first.clone().find(|document| document.title == offered.challenges[0].title).unwrap();
    let openings = conversation.recommender.catalog().openings_of(first);
    assert!(openings.contains(&offered.recommend), "true of what follows: {offered:?}");
    for (question, number) in [
        ("며칠 동안 하면 돼?", None),
        ("2번은 왜 좋은 거야?", Some(2)),
        ("1번 더 자세히 알려 줘", Some(1)),
        ("인증 사진은 뭘 찍으면 돼요?", None),
    ] {
        let answer = conversation.say("q", question).await;
        assert_eq!(
            (answer.challenges.len(), answer.grounding),
            (0, Grounding::Select),
            "{question}: {answer:?}"
        );
        let asked: Vec<usize> = number.map_or(vec![1, 2, 3], |number| vec![number]);
        assert_eq!(answer.sources.len(), asked.len(), "{question}: {answer:?}");
        for n in 1..=3 {
            let about = format!("{n}번 {}: ", offered.challenges[n - 1].title);
            assert_eq!(
                answer.recommend.contains(&about),
                asked.contains(&n),
                "{question}: {}",
                answer.recommend
            );
        }
    }
}

async fn wishes(conversation: &Conversation) {
    let before = conversation.say("w", "메일함이 꽉 차서 정리하고 싶어요").await;
    let mut seen: BTreeSet<String> =
        before.challenges.iter().map(|challenge| challenge.title.clone()).collect();
    let mut openings = BTreeSet::from([before.recommend.clone()]);
    for wish in ["더 쉬운 거", "아이랑 할 수 있는 거", "오늘 10분이면 되는 거", "싫어요"]
    {
        let answer = conversation.say("w", wish).await;
        assert_eq!(answer.challenges.len(), 3, "{wish}: {answer:?}");
        for challenge in &answer.challenges {
            assert_eq!(challenge.category, before.challenges[0].category, "{wish}");
            assert!(seen.insert(challenge.title.clone()), "{wish}: {} was offered before", challenge.title);
        }
        assert!(openings.insert(answer.recommend.clone()), "said before: {}", answer.recommend);
    }
}

async fn a_word(conversation: &Conversation) {
    let hello = conversation.say("a", "안녕").await;
    assert_eq!((hello.challenges.len(), hello.sources.len(), hello.grounding), (0, 0, Grounding::None));
    conversation.say("a", "동네에서 쓰레기를 주우며 걷고 싶어요").await;
    for word in ["했어요!", "고마워요", "오 그 정도면 해 봐야지"] {
        let answer = conversation.say("a", word).await;
        assert_eq!((answer.challenges.len(), answer.grounding), (0, Grounding::None), "{word}: {answer:?}");
    }
    let new = conversation.say("a", "고마워요 근데 전기세도 줄이고 싶어요").await;
    assert_eq!(new.challenges.len(), 3, "something new counts, whatever is said with it: {new:?}");
}

/// Nothing is offered twice, and when nothing is left the answer says so and goes on elsewhere.
async fn what_is_left(conversation: &Conversation) {
    let mut answer = conversation.say("l", "업사이클 추천해 줘").await;
    let category = answer.challenges[0].category.clone();
    let mut seen = BTreeSet::new();
    let documents = conversation.recommender.catalog().documents().len();
    for _ in 0..documents {
        if answer.challenges[0].category != category {
            assert!(answer.recommend.contains("업사이클 챌린지는 이제 모두"), "{}", answer.recommend);
            assert!(seen.len() > 30, "{seen:?}");
            return;
        }
        for challenge in &answer.challenges {
            assert!(seen.insert(challenge.title.clone()), "{} was offered before", challenge.title);
        }
        answer = conversation.say("l", "별로").await;
    }
    panic!("it never ended: {seen:?}");
}
