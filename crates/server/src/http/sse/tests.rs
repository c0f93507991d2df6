use leafresh_chat::{Challenge, Failure};

use super::*;
use crate::streams::Source;
use crate::streams::tests::{Script, answer, challenge, run, script, state};

/// The lines of a stream's blocks, without its random id.
async fn lines<S: Source>(source: S, dialect: Dialect, app: &AppState) -> Vec<String> {
    let reader = run(source, app);
    let id = reader.stream().to_string();
    let body = axum::body::to_bytes(response(reader, dialect, app).into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap().replace(&id, "S").lines().map(str::to_owned).collect()
}

fn text(text: &str) -> Event {
    Event::Text(text.into())
}

const CLOSE: &str = r#"{"recommend":"가나","challenges":[{"title":"제목","description":"설명","category":"VEGAN","label":"비건"}],"sources":[],"grounding":"none","degraded":false,"remembered":false}"#;

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
    let response = Error::Cancelled.response(app.replies());
    assert_eq!(response.status(), 500);
    assert_eq!(Error::Cancelled.envelope(app.replies()).status, 499);
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
        let body =
            axum::body::to_bytes(response(reader, dialect, &app).into_body(), usize::MAX).await.unwrap();
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
    let app = state(|config| config.stream.keep_alive_seconds.0 = Duration::from_millis(10));
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
