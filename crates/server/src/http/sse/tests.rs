use leafresh_chat::{Challenge, Failure};
use proptest::prelude::*;

use super::*;
use crate::streams::Source;
use crate::streams::tests::{Script, answer, catalog, challenge, run, script, state};

/// The lines of a stream's blocks, without its random id.
async fn lines<S: Source>(source: S, view: impl Into<View>, app: &AppState) -> Vec<String> {
    let reader = run(source, app);
    let id = reader.stream().to_string();
    let body = axum::body::to_bytes(response(reader, view.into(), app.part()).into_body(), usize::MAX)
        .await
        .unwrap();
    String::from_utf8(body.to_vec()).unwrap().replace(&id, "S").lines().map(str::to_owned).collect()
}

fn text(text: &str) -> Event {
    Event::Text(text.into())
}

const CLOSE: &str = r#"{"recommend":"가나","challenges":[{"title":"제목","description":"설명","category":"VEGAN","label":"비건"}]}"#;
const DETAILS: &str = r#"],"sources":[],"grounding":"none","degraded":false,"remembered":false}"#;

impl From<Dialect> for View {
    fn from(dialect: Dialect) -> Self {
        Self { dialect, details: false }
    }
}

fn whole() -> Script {
    script([
        text("가"),
        Event::Challenge { number: 1, challenge: challenge() },
        text("나"),
        Event::Close(answer("가나")),
    ])
}

#[tokio::test]
async fn a_stream_is_written_byte_for_byte_as_the_contract_says() {
    let app = state(|_| ());
    let expected = format!(
        r#"retry: 1000
id: S:1
event: challenge
data: {{"status":200,"message":"토큰 생성","data":"가"}}

id: S:2
event: challenge
data: {{"status":200,"message":"1번째 챌린지 추천","data":{{"challenges":{{"title":"제목","description":"설명","category":"VEGAN","label":"비건"}}}}}}

id: S:3
event: challenge
data: {{"status":200,"message":"토큰 생성","data":"나"}}

id: S:end
event: close
data: {{"status":200,"message":"모든 챌린지 추천 완료","data":{CLOSE}}}

"#
    );
    let lines = lines(whole(), Dialect::Challenge, &app).await;
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn details_come_after_the_two_keys_that_every_client_knows() {
    let app = state(|_| ());
    let lines = lines(whole(), View { details: true, ..View::default() }, &app).await;
    let close = CLOSE.strip_suffix("]}").unwrap().to_owned() + DETAILS;
    assert!(lines[lines.len() - 2].contains(&format!(r#""data":{close}}}"#)), "{lines:?}");
}

#[tokio::test]
async fn the_older_dialect_is_written_byte_for_byte_as_the_contract_says() {
    let app = state(|_| ());
    let expected = format!(
        r#"retry: 1000
id: S:1
event: token
data: {{"status":200,"message":"토큰 생성","data":{{"token":"가"}}}}

id: S:3
event: token
data: {{"status":200,"message":"토큰 생성","data":{{"token":"나"}}}}

id: S:3
event: complete
data: {{"status":200,"message":"모든 응답 완료","data":{CLOSE}}}

id: S:end
event: close
data: {{"status":200,"message":"모든 응답 완료","data":{CLOSE}}}

"#
    );
    let lines = lines(whole(), Dialect::Token, &app).await;
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn failures_have_their_own_status() {
    let cases = [(Failure::Internal, 500), (Failure::Unavailable, 503), (Failure::Cancelled, 499)];
    let app = state(|_| ());
    for (failure, status) in cases {
        let lines = lines(script([Event::Error(failure)]), Dialect::Challenge, &app).await;
        assert_eq!(&lines[..3], ["retry: 1000", "id: S:end", "event: error"]);
        assert!(lines[3].starts_with(&format!(r#"data: {{"status":{status},"#)), "{}", lines[3]);
    }
    // HTTP has no status 499; the envelope says what happened.
    let catalog = catalog();
    let response = Error::Cancelled.response(catalog.replies());
    assert_eq!(response.status(), 500);
    assert_eq!(Error::Cancelled.envelope(catalog.replies()).status, 499);
}

#[tokio::test]
async fn an_error_in_the_middle_can_be_followed_by_a_close() {
    let app = state(|config| config.stream.error_then_close = true);
    let lines = lines(script([text("가"), Event::Error(Failure::Internal)]), Dialect::Challenge, &app).await;
    let rest: Vec<_> = lines[5..].iter().map(String::as_str).collect();
    let message = "응답이 중간에 종료되었습니다.";
    let data = format!(r#"data: {{"status":500,"message":"{message}","data":null}}"#);
    assert_eq!(rest, ["id: S:1", "event: error", &data, "", "id: S:end", "event: close", &data, ""]);
}

#[tokio::test]
async fn case_25_line_breaks_in_a_models_text_forge_no_event() {
    let app = state(|config| config.stream.keep_alive_seconds.0 = Duration::ZERO);
    let evil = "a\r\n\r\nevent: close\r\ndata: {}\n\n\0\u{2028}\u{85}\u{feff}";
    let forged = Event::Challenge { number: 1, challenge: Challenge { title: evil.into(), ..challenge() } };
    for dialect in [Dialect::Challenge, Dialect::Token] {
        let source = script([text(evil), forged.clone(), Event::Close(answer(evil))]);
        let reader = run(source, &app);
        let body = axum::body::to_bytes(response(reader, dialect.into(), app.part()).into_body(), usize::MAX)
            .await
            .unwrap();
        assert!(!body.contains(&b'\r') && !body.contains(&b'\0'));
        let blocks = String::from_utf8(body.to_vec()).unwrap();
        for block in blocks.trim_end().split("\n\n") {
            let names: Vec<_> = block.lines().map(|line| line.split(':').next().unwrap()).collect();
            assert!(names.ends_with(&["id", "event", "data"]), "{names:?}");
        }
        assert_eq!(blocks.matches("\nevent: close\n").count(), 1);
    }
}

#[tokio::test]
async fn case_30_a_text_of_any_length_makes_events_below_32_kib() {
    let app = state(|_| ());
    let long = "\u{1}".repeat(100_000);
    let lines = lines(script([text(&long), Event::Close(answer(""))]), Dialect::Challenge, &app).await;
    assert!(lines.iter().all(|line| line.len() < 32 * 1024 - 200));
}

#[tokio::test]
async fn case_10_keep_alives_belong_to_the_block_after_them_and_stop_with_the_end() {
    let app = state(|config| {
        config.stream.first_keep_alive_seconds.0 = Duration::ZERO;
        config.stream.keep_alive_seconds.0 = Duration::from_millis(10);
    });
    let source = Script { pause: Duration::from_millis(35), ..whole() };
    let lines = lines(source, Dialect::Challenge, &app).await;
    for (line, before) in lines[1..].iter().zip(&lines) {
        assert!(!line.is_empty() || before.starts_with("data: "), "an empty line after {before:?}");
    }
    assert!(lines.iter().filter(|line| *line == ":").count() >= 4, "{lines:?}");
    assert!(lines[0] == ":" && lines[lines.len() - 1].is_empty());
}

#[test]
fn a_stream_of_its_own_for_every_refusal() {
    let [first, second] = [StreamId::random(), StreamId::random()];
    assert_ne!(first, second);
    assert_eq!(first.to_string().len(), 32);
}

/// The reader of the tests that ask a real server, which forgives nothing.
#[path = "../../../tests/it/support/events.rs"]
#[allow(dead_code, reason = "those tests use more of it")]
mod strict;

/// What models and documents may hold, and what is dangerous in lines, JSON and UTF-8.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[가-힣 .!?]{0,40}",
        proptest::collection::vec(
            proptest::sample::select(vec![
                "\n",
                "\r",
                "\r\n",
                "\n\n",
                "\0",
                "\"",
                "\\",
                "data: ",
                "id: x:end\n",
                ":",
                "\u{2028}",
                "\u{feff}",
                "😀",
                "👩\u{200d}🌾",
                "한",
                "\u{1112}\u{1161}",
            ]),
            0..8,
        )
        .prop_map(|parts| parts.concat()),
    ]
}

fn any_challenge() -> impl Strategy<Value = Challenge> {
    (any_text(), any_text(), any_text(), any_text())
        .prop_map(|(title, description, category, label)| Challenge { title, description, category, label })
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any_text().prop_map(Event::Text),
        1 => (1usize..4, any_challenge()).prop_map(|(number, challenge)| Event::Challenge { number, challenge }),
    ]
}

fn any_end() -> impl Strategy<Value = Event> {
    prop_oneof![
        (any_text(), proptest::collection::vec(any_challenge(), 0..4)).prop_map(|(recommend, challenges)| {
            Event::Close(Answer { recommend, challenges, ..answer("") })
        }),
        proptest::sample::select(vec![Failure::Cancelled, Failure::Unavailable, Failure::Internal,])
            .prop_map(Event::Error),
    ]
}

proptest! {
    /// Whatever a stream says, the strictest reader hears the same, in both dialects, with keep-alives anywhere and
    /// however the bytes are cut.
    #[test]
    fn fuzz_what_is_encoded_is_what_a_strict_reader_reads(
        events in proptest::collection::vec((any_event(), 0usize..3), 0..12),
        end in any_end(),
        token in any::<bool>(),
        error_then_close in any::<bool>(),
        piece in 1usize..50,
    ) {
        let app = state(|config| config.stream.error_then_close = error_then_close);
        let dialect = if token { Dialect::Token } else { Dialect::Challenge };
        let mut encoder = Encoder::new(StreamId::random(), dialect.into(), Kind::default(), app.part());
        let (mut text, mut comments) = (String::new(), 0);
        let all: Vec<_> = events.into_iter().chain([(end, 1)]).collect();
        for (index, (event, silences)) in all.iter().enumerate() {
            text += &KEEP_ALIVE.repeat(*silences);
            comments += silences;
            let numbered = Numbered { number: index as u64 + 1, event: Arc::new(event.clone()) };
            text += &encoder.encode(&numbered);
        }
        let read = strict::read_in_chunks(text.as_bytes().chunks(piece));
        prop_assert_eq!(read.iter().map(|event| event.comments).sum::<usize>(), comments);
        prop_assert_eq!(read[0].retry.as_deref(), Some("1000"));
        let texts: Vec<&str> = read.iter().filter_map(strict::Event::text).collect();
        let expected: Vec<&str> = all
            .iter()
            .filter_map(|(event, _)| match event {
                Event::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        prop_assert_eq!(texts, expected);
        let typed = read.iter().filter(|event| event.data["data"]["challenges"].is_object()).count();
        let given = all.iter().filter(|(event, _)| matches!(event, Event::Challenge { .. })).count();
        prop_assert_eq!(typed, if token { 0 } else { given });
        if let (Event::Close(answer), _) = &all[all.len() - 1] {
            let data = &read.last().unwrap().data["data"];
            prop_assert_eq!(data["recommend"].as_str(), Some(answer.recommend.as_str()));
            prop_assert_eq!(data["challenges"].as_array().map(Vec::len), Some(answer.challenges.len()));
        }
    }
}

/// Field report 17.
#[tokio::test]
async fn the_first_keep_alive_of_a_silence_comes_at_a_time_of_its_own() {
    let app = state(|config| {
        config.stream.first_keep_alive_seconds.0 = Duration::from_millis(10);
        config.stream.keep_alive_seconds.0 = Duration::from_hours(1);
    });
    let source =
        Script { pause: Duration::from_millis(500), ..script([text("가"), Event::Close(answer(""))]) };
    let lines = lines(source, Dialect::Challenge, &app).await;
    let kinds: Vec<_> =
        lines.iter().filter(|line| !line.is_empty()).filter_map(|line| line.split(':').next()).collect();
    assert_eq!(kinds, ["", "retry", "id", "event", "data", "", "id", "event", "data"]);
}

/// Field report 17.
#[test]
fn keep_alives_can_be_turned_off_or_all_be_alike() {
    let seconds = Duration::from_secs;
    let due = |first, next, silent| Pulse { first: seconds(first), next: seconds(next), silent }.due();
    assert_eq!((due(5, 8, false), due(5, 8, true)), (Some(seconds(5)), Some(seconds(8))));
    let stream = config::Stream::default();
    assert_eq!((stream.first_keep_alive_seconds.0, stream.keep_alive_seconds.0), (seconds(5), seconds(8)));
    assert_eq!((due(5, 0, false), due(5, 0, true)), (None, None));
    assert_eq!((due(0, 8, false), due(0, 8, true)), (Some(seconds(8)), Some(seconds(8))));
}
