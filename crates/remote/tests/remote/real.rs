//! Real servers that run already: `LEAFRESH_TEST_UPSTREAMS` has their addresses, with commas between them.

use std::time::Duration;

use leafresh_engine::{Backend, Piece, Progress, Prompt, Request};
use leafresh_remote::{Remote, Upstream};

use crate::support::{connect, finish, free, request, select};

async fn real() -> Vec<Remote> {
    let addresses = std::env::var("LEAFRESH_TEST_UPSTREAMS").unwrap_or_default();
    let mut servers = Vec::new();
    for url in addresses.split(',').filter(|url| !url.is_empty()) {
        // On a busy machine a token may take seconds.
        let patient = Upstream {
            first: Duration::from_mins(5),
            idle: Duration::from_mins(2),
            steer: false,
            ..Upstream::new(url)
        };
        let remote = connect(vec![patient]).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        eprintln!(
            "{url}: {:?}",
            leafresh_engine::ModelInfo { chat_template: None, ..remote.model().clone() }
        );
        servers.push(remote);
    }
    servers
}

fn ask(program: leafresh_engine::Program) -> Request {
    let text = "친환경 챌린지를 추천하는 글입니다.\n\n추천: 걷기를 좋아하는 분께 좋습니다.\n\n1. 계단 오르기\n계단을 올라 봅니다.\n\n추천: ";
    Request { prompt: Prompt { pieces: vec![Piece::Text(text.into())] }, ..request(program) }
}

#[tokio::test]
async fn real_servers_keep_to_their_grammars_and_go_on_from_any_progress() {
    for remote in real().await {
        for program in [select(), free()] {
            let whole = finish(&remote, ask(program.clone())).await.unwrap();
            eprintln!("{} {:?}", whole.slots.join(" | "), whole.usage);
            let cut = whole.slots[2].char_indices().nth(3).map_or(0, |(at, _)| at);
            let progress =
                Progress { done: whole.slots[..2].to_vec(), partial: whole.slots[2][..cut].into() };
            let again = finish(&remote, Request { progress, ..ask(program) }).await.unwrap();
            assert!(
                again.slots[..2] == whole.slots[..2] && again.slots[2].starts_with(&whole.slots[2][..cut])
            );
        }
        let health = remote.health();
        assert_eq!((health.upstreams[0].faults, health.upstreams[0].misfits), (0, 0), "{health:?}");
    }
}

#[tokio::test]
async fn special_tokens_that_people_type_are_text_for_real_servers() {
    for remote in real().await {
        let tokens = async |piece: Piece| {
            let prompt =
                Prompt { pieces: vec![Piece::Text("질문".into()), piece, Piece::Text("답".into())] };
            let written =
                finish(&remote, Request { prompt, ..request(crate::support::short()) }).await.unwrap();
            written.usage.prompt_tokens
        };
        let bos = remote.model().bos.clone();
        let special = tokens(Piece::Template(bos.clone())).await;
        let typed = tokens(Piece::Text(bos.clone())).await;
        assert!(
            bos.is_empty() || typed > special,
            "{bos}: {typed} tokens, and {special} where it is special"
        );
    }
}
