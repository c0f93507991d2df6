use proptest::prelude::*;

use super::*;
use crate::{Grammar, Piece, Progress, Sampling, Segment, Slot, Usage};

fn request() -> impl Strategy<Value = Request> {
    let slot = |(name, distinct): (String, Vec<usize>)| {
        let grammar = Grammar::Choices(vec![name.clone(), "나".into()]);
        Segment::Slot(Slot { name, grammar, max_tokens: 9, distinct_from: distinct, stop: vec![] })
    };
    let pieces = proptest::collection::vec(".{0,9}".prop_map(Piece::Text), 0..4);
    let slots = proptest::collection::vec((".{1,9}", Just(vec![])).prop_map(slot), 1..2);
    (pieces, slots, ".{0,9}", proptest::option::of(any::<u64>())).prop_map(
        |(pieces, slots, partial, seed)| Request {
            adapter: Some("말투".into()),
            prompt: Prompt { pieces },
            program: Program::new(slots).unwrap(),
            progress: Progress { done: vec!["끝".into()], partial },
            sampling: Sampling { seed, ..Sampling::default() },
        },
    )
}

fn delta() -> impl Strategy<Value = Delta> {
    prop_oneof![
        (0usize..9, ".{0,9}").prop_map(|(slot, text)| Delta::Text { slot, text }),
        (0usize..9, ".{0,9}").prop_map(|(slot, text)| Delta::SlotDone { slot, text }),
        any::<usize>().prop_map(|count| Delta::Done(Usage { prompt_tokens: count, ..Usage::default() })),
        ".{0,9}".prop_map(|reason| Delta::Failed(Error::Internal(reason))),
    ]
}

/// Reads what was written from a reader that gives so many bytes at a time.
async fn read_all<T: DeserializeOwned>(bytes: &[u8], piece: usize) -> Vec<T> {
    let (mut write, read) = tokio::io::duplex(piece);
    let bytes = bytes.to_vec();
    let writer = tokio::spawn(async move {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut write, &bytes).await;
    });
    let mut messages = Messages::new(read);
    let mut all = Vec::new();
    while let Ok(Some(message)) = messages.next().await {
        all.push(message);
    }
    drop(messages);
    writer.await.unwrap();
    all
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn fuzz_requests_arrive_as_they_were_sent_however_they_are_cut(
        requests in proptest::collection::vec(request(), 1..5),
        piece in 1usize..200,
    ) {
        let mut bytes = BytesMut::new();
        for (id, request) in requests.iter().enumerate() {
            let terms = Terms { client: id as u64, wait: Some(Duration::from_millis(3)), returning: id % 2 == 0 };
            encode(&ToEngine::Start { id: id as u64, request: request.clone(), terms }, &mut bytes).unwrap();
        }
        let arrived: Vec<ToEngine> = block(read_all(&bytes, piece));
        prop_assert_eq!(arrived.len(), requests.len());
        for (message, expected) in arrived.into_iter().zip(requests) {
            let ToEngine::Start { id, request, terms } = message else { panic!("{message:?}") };
            prop_assert_eq!((id, terms.returning), (terms.client, id % 2 == 0));
            prop_assert_eq!(request, expected);
        }
    }

    #[test]
    fn fuzz_what_an_engine_said_before_it_died_is_heard_up_to_its_last_whole_message(
        deltas in proptest::collection::vec(delta(), 1..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let (mut bytes, mut ends) = (BytesMut::new(), vec![]);
        for delta in &deltas {
            encode(&FromEngine::Delta { id: 7, delta: delta.clone() }, &mut bytes).unwrap();
            ends.push(bytes.len());
        }
        let cut = cut.index(bytes.len() + 1);
        let arrived: Vec<FromEngine> = block(read_all(&bytes[..cut], 64));
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        let expected: Vec<_> =
            deltas[..whole].iter().map(|delta| FromEngine::Delta { id: 7, delta: delta.clone() }).collect();
        prop_assert_eq!(arrived, expected);
    }

    /// Whatever comes, there is an end, and no panic.
    #[test]
    fn fuzz_bytes_that_are_no_messages_are_an_error_or_the_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        block(read_all::<FromEngine>(&bytes, 64));
        block(read_all::<ToEngine>(&bytes, 64));
    }

    /// A bit that is wrong makes another message or an error; what came before it is heard.
    #[test]
    fn fuzz_a_flipped_bit_is_another_message_or_an_error(
        requests in proptest::collection::vec(request(), 1..4),
        flip in any::<proptest::sample::Index>(),
        bit in 0u8..8,
        piece in 1usize..200,
    ) {
        let (mut bytes, mut ends) = (BytesMut::new(), vec![]);
        for (id, request) in requests.iter().enumerate() {
            let terms = Terms { client: 1, wait: None, returning: false };
            encode(&ToEngine::Start { id: id as u64, request: request.clone(), terms }, &mut bytes).unwrap();
            ends.push(bytes.len());
        }
        let flip = flip.index(bytes.len());
        bytes[flip] ^= 1 << bit;
        let arrived: Vec<ToEngine> = block(read_all(&bytes, piece));
        let before = ends.iter().filter(|&&end| end <= flip).count();
        prop_assert!(arrived.len() >= before);
        for (message, expected) in arrived.into_iter().zip(&requests[..before]) {
            let ToEngine::Start { request, .. } = message else { panic!("{message:?}") };
            prop_assert_eq!(&request, expected);
        }
        // Heard by the wrong side, they are no messages, or others.
        block(read_all::<FromEngine>(&bytes, piece));
    }

    /// A frame that says it is longer than frames may be is refused before anything of it is read.
    #[test]
    fn fuzz_frames_that_are_too_long_are_refused(length in LONGEST_FRAME as u32 + 1.., rest in 0usize..400) {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.resize(4 + rest, 0);
        let mut messages = Messages::new(bytes.as_slice());
        prop_assert!(block(messages.next::<FromEngine>()).is_err());
    }
}

/// Field report 8.
#[test]
fn another_version_says_so_before_anything_else_is_understood() {
    let hear = |said: Vec<u8>| {
        block(async move {
            let mut out = BytesMut::new();
            codec().encode(Bytes::from(said), &mut out).unwrap();
            Messages::new(&out[..]).greeted().await
        })
    };
    assert!(matches!(hear(greeting().into_bytes()), Ok(Some(()))));
    for other in
        [greeting() + "0", "leafresh 9.0.0, engine protocol 77".into(), String::new(), "\0\x01".into()]
    {
        let error = hear(other.clone().into_bytes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains(&greeting()) && error.to_string().contains("restart"), "{error}");
    }
    assert!(matches!(block(async { Messages::new(&b""[..]).greeted().await }), Ok(None)));
}
