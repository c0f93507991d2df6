use std::collections::BTreeMap;
use std::time::Duration;

use leafresh_engine::{
    Backend, Delta, Error, Generation, Grammar, Piece, Program, Progress, Prompt, Request, Sampling, Segment,
    Slot, Usage,
};
use leafresh_remote::{Remote, Settings, Upstream};

use crate::double::Double;

pub(crate) const SENTENCE: &str = "[가-힣](?: ?[가-힣]){4,20}(?:니다|요)\\.";
pub(crate) const TITLES: [&str; 4] = ["텀블러 쓰기", "텀블러 쓰기 알리기", "계단 오르기", "장바구니 챙기기"];

fn slot(name: &str, grammar: Grammar, max_tokens: usize, distinct_from: &[usize]) -> Segment {
    Segment::Slot(Slot { name: name.into(), grammar, max_tokens, distinct_from: distinct_from.to_vec() })
}

fn fixed(text: &str) -> Segment {
    Segment::Fixed(text.into())
}

fn sentence() -> Grammar {
    Grammar::Regex(SENTENCE.into())
}

/// A sentence and two titled texts, all written freely.
pub(crate) fn free() -> Program {
    let title = || Grammar::Regex("[가-힣](?: ?[가-힣]){2,10}".into());
    Program::new(vec![
        slot("opening", sentence(), 60, &[]),
        fixed("\n\n1. "),
        slot("title_1", title(), 60, &[]),
        fixed("\n"),
        slot("text_1", sentence(), 60, &[]),
        fixed("\n\n2. "),
        slot("title_2", title(), 60, &[1]),
        fixed("\n"),
        slot("text_2", sentence(), 60, &[]),
    ])
    .unwrap()
}

/// An opening written freely, and two titles and texts chosen.
pub(crate) fn select() -> Program {
    let titles = || Grammar::Choices(TITLES.map(String::from).to_vec());
    let texts = |of| {
        let text = |title: &&str| {
            ((*title).to_owned(), vec![format!("{title}를 해 보세요."), format!("{title}가 좋습니다.")])
        };
        Grammar::Lookup { of, table: TITLES.iter().map(text).collect::<BTreeMap<_, _>>() }
    };
    Program::new(vec![
        slot("opening", sentence(), 60, &[]),
        fixed("\n\n1. "),
        slot("title_1", titles(), 60, &[]),
        fixed("\n"),
        slot("text_1", texts(1), 120, &[]),
        fixed("\n\n2. "),
        slot("title_2", titles(), 60, &[1]),
        fixed("\n"),
        slot("text_2", texts(3), 120, &[]),
    ])
    .unwrap()
}

/// One sentence.
pub(crate) fn short() -> Program {
    Program::new(vec![slot("opening", sentence(), 60, &[])]).unwrap()
}

pub(crate) fn request(program: Program) -> Request {
    Request {
        adapter: None,
        prompt: Prompt { pieces: vec![Piece::Text("질문: ".into())] },
        program,
        progress: Progress::default(),
        sampling: Sampling { seed: Some(7), ..Sampling::default() },
    }
}

pub(crate) fn upstream(double: &Double) -> Upstream {
    // The machine may be busy; who tests that a server is silent says less.
    Upstream { first: Duration::from_secs(30), idle: Duration::from_secs(30), ..Upstream::new(&double.url()) }
}

pub(crate) async fn connect(upstreams: Vec<Upstream>) -> Result<Remote, Error> {
    connect_for(upstreams, Duration::from_mins(5)).await
}

/// With so much time for each answer.
pub(crate) async fn connect_for(upstreams: Vec<Upstream>, total: Duration) -> Result<Remote, Error> {
    let settings = Settings { upstreams, queue: 8, queue_bytes: 1 << 20, total };
    tokio::task::spawn_blocking(move || Remote::connect(settings)).await.unwrap()
}

pub(crate) async fn remote(doubles: &[&Double]) -> Remote {
    let remote = connect(doubles.iter().map(|double| upstream(double)).collect()).await.unwrap();
    until("all are met", || remote.health().upstreams.iter().all(|upstream| upstream.ready)).await;
    remote
}

/// A finished generation.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub slots: Vec<String>,
    pub usage: Usage,
}

/// The rest of a generation, which holds what was heard of it to what it says.
pub(crate) async fn rest(generation: &mut Generation, mut heard: Progress) -> Result<Written, Error> {
    while let Some(delta) = generation.next().await {
        match &delta {
            Delta::Text { slot, text } => {
                assert_eq!(*slot, heard.done.len(), "text belongs to the slot in progress");
                assert!(!text.is_empty() && !text.contains('\u{FFFD}'), "whole characters only: {text:?}");
            }
            Delta::SlotDone { slot, text } => {
                assert_eq!(*slot, heard.done.len());
                assert_eq!(*text, heard.partial, "a slot is exactly its deltas");
            }
            Delta::Done(usage) => {
                assert!(generation.next().await.is_none(), "nothing follows the end");
                return Ok(Written { slots: heard.done, usage: *usage });
            }
            Delta::Failed(error) => {
                assert!(generation.next().await.is_none(), "nothing follows the end");
                return Err(error.clone());
            }
        }
        heard.note(&delta);
    }
    panic!("the generation ended without a word");
}

pub(crate) async fn finish(remote: &Remote, request: Request) -> Result<Written, Error> {
    let program = request.program.clone();
    let heard = request.progress.clone();
    let mut generation = remote.generate(request)?;
    let written = rest(&mut generation, heard).await?;
    assert_valid(&program, &written.slots);
    Ok(written)
}

/// That every slot holds what its grammar allows, by a regular expression engine that isn't ours.
pub(crate) fn assert_valid(program: &Program, slots: &[String]) {
    assert_eq!(program.slots().count(), slots.len());
    for (slot, text) in program.slots().zip(slots) {
        match &slot.grammar {
            Grammar::Regex(pattern) => {
                let regex = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
                assert!(regex.is_match(text), "{}: {text:?} against {pattern}", slot.name);
            }
            Grammar::Choices(choices) => assert!(choices.contains(text), "{}: {text:?}", slot.name),
            Grammar::Lookup { of, table } => {
                assert!(table[&slots[*of]].contains(text), "{}: {text:?}", slot.name);
            }
        }
        for &earlier in &slot.distinct_from {
            assert_ne!(text, &slots[earlier], "{} differs", slot.name);
        }
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to this: {what}");
}
