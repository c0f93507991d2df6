use std::collections::BTreeMap;
use std::time::Duration;

use leafresh_engine::{
    Backend, Delta, Grammar, Local, Piece, Program, Progress, Prompt, Request, Sampling, Segment, Slot, Usage,
};

pub(crate) const SENTENCE: &str = "[가-힣](?: ?[가-힣]){4,20}(?:니다|요)\\.";
pub(crate) const TITLE: &str = "[가-힣](?: ?[가-힣]){2,10}";

pub(crate) fn slot(name: &str, grammar: Grammar, max_tokens: usize, distinct_from: &[usize]) -> Segment {
    Segment::Slot(Slot {
        name: name.into(),
        grammar,
        max_tokens,
        distinct_from: distinct_from.to_vec(),
        stop: vec![],
    })
}

pub(crate) fn fixed(text: &str) -> Segment {
    Segment::Fixed(text.into())
}

/// A sentence and two titled descriptions, all written freely.
pub(crate) fn free(max_tokens: usize) -> Program {
    let regex = |pattern: &str| Grammar::Regex(pattern.into());
    Program::new(vec![
        slot("opening", regex(SENTENCE), max_tokens, &[]),
        fixed("\n\n1. "),
        slot("title_1", regex(TITLE), max_tokens, &[]),
        fixed("\n"),
        slot("text_1", regex(SENTENCE), max_tokens, &[]),
        fixed("\n\n2. "),
        slot("title_2", regex(TITLE), max_tokens, &[1]),
        fixed("\n"),
        slot("text_2", regex(SENTENCE), max_tokens, &[]),
    ])
    .unwrap()
}

pub(crate) const TITLES: [&str; 4] = ["텀블러 쓰기", "텀블러 쓰기 알리기", "계단 오르기", "장바구니 챙기기"];

/// An opening written freely, and two titles and texts chosen.
pub(crate) fn select() -> Program {
    let titles = || Grammar::Choices(TITLES.map(String::from).to_vec());
    let texts = |of| {
        let text = |title: &&str| {
            (title.to_string(), vec![format!("{title}를 해 보세요."), format!("{title}가 좋습니다.")])
        };
        Grammar::Lookup { of, table: TITLES.iter().map(text).collect::<BTreeMap<_, _>>() }
    };
    Program::new(vec![
        slot("opening", Grammar::Regex(SENTENCE.into()), 60, &[]),
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

pub(crate) fn request(prompt: &str, program: Program, seed: u64) -> Request {
    Request {
        adapter: None,
        prompt: Prompt { pieces: vec![Piece::Text(prompt.into())] },
        program,
        progress: Progress::default(),
        sampling: Sampling {
            seed: Some(seed),
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            ..Sampling::default()
        },
    }
}

/// A finished generation.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub slots: Vec<String>,
    pub usage: Usage,
}

pub(crate) async fn finish(engine: &Local, request: Request) -> Result<Written, leafresh_engine::Error> {
    let begun = request.progress.clone();
    let slot_count = request.program.slots().count();
    let mut generation = engine.generate(request)?;
    let (mut slots, mut partial) = (begun.done.clone(), begun.partial.clone());
    while let Some(delta) = generation.next().await {
        match delta {
            Delta::Text { slot, text } => {
                assert_eq!(slot, slots.len(), "text belongs to the slot in progress");
                assert!(!text.is_empty() && !text.contains('\u{FFFD}'), "whole characters only: {text:?}");
                partial.push_str(&text);
            }
            Delta::SlotDone { slot, text } => {
                assert_eq!(slot, slots.len());
                assert_eq!(text, partial, "a slot is exactly its deltas");
                slots.push(text);
                partial.clear();
            }
            Delta::Done(usage) => {
                assert_eq!(slots.len(), slot_count);
                assert!(generation.next().await.is_none(), "nothing follows the end");
                return Ok(Written { slots, usage });
            }
            Delta::Failed(error) => {
                assert!(generation.next().await.is_none(), "nothing follows the end");
                return Err(error);
            }
        }
    }
    panic!("the generation ended without a word");
}

/// That every slot holds what its grammar allows, by a regular expression engine that isn't ours.
pub(crate) fn assert_valid(program: &Program, slots: &[String]) {
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

/// Every way of having been interrupted: after each character of the text.
pub(crate) fn cuts(slots: &[String]) -> Vec<Progress> {
    let mut cuts = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let done = slots[..index].to_vec();
        let ends = slot.char_indices().map(|(at, _)| at).chain([slot.len()]);
        cuts.extend(ends.map(|at| Progress { done: done.clone(), partial: slot[..at].into() }));
    }
    cuts
}

/// Waits until the engine has let go of everything, and says how many steps it took meanwhile.
pub(crate) async fn idle(engine: &Local) -> u64 {
    let before = engine.health().steps;
    for _ in 0..1000 {
        let health = engine.health();
        if health.running == 0 && health.queued == 0 && health.kv_used == 0 {
            return health.steps - before;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("still busy: {:?}", engine.health());
}

/// All of them at the same time.
pub(crate) async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if futures.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}
