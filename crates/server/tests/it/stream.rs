//! A good answer, in every encoding there is of it.

use serde_json::{Value, json};

use crate::support::{BASE_INFO, Connection, Event, SSE, Server, Setup, VALID, VALID_BODY, get, post, read};
use crate::support::{catalog::catalog, events::read_in_chunks};

/// All texts in one.
fn joined(events: &[Event]) -> String {
    events.iter().filter_map(Event::text).collect()
}

/// What the texts have to be, by the answer in `close`.
fn rendering(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let challenges = answer["challenges"].as_array().unwrap().iter().enumerate();
    let challenges = challenges.map(|(index, challenge)| {
        format!("\n\n{}. {}\n{}", index + 1, text(&challenge["title"]), text(&challenge["description"]))
    });
    [text(&answer["recommend"])].into_iter().chain(challenges).collect()
}

async fn events(server: &Server, target: &str) -> Vec<Event> {
    let response = Connection::ask(server.address, &get(target, &[SSE])).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    read(&response.body())
}

#[tokio::test]
async fn the_headers_are_those_of_an_event_stream() {
    let server = Server::start().await;
    // Whatever the client accepts, a valid GET streams.
    for headers in [&[SSE][..], &[("Accept", "application/json")], &[("Accept", "*/*")], &[]] {
        let response = Connection::ask(server.address, &get(VALID, headers)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(response.head.header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(response.head.header("x-accel-buffering"), Some("no"));
        assert_eq!(read(&response.body()).last().unwrap().name, "close");
    }
}

#[tokio::test]
async fn the_headers_come_before_the_first_event() {
    let server = Setup::slow(2000).start().await;
    let mut connection = Connection::open(server.address).await;
    let asked = std::time::Instant::now();
    connection.send(&get(VALID, &[SSE])).await;
    assert_eq!(connection.head().await.status, 200);
    assert!(asked.elapsed().as_millis() < 1500, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn events_are_numbered_from_one_and_end_with_end() {
    let server = Server::start().await;
    let events = events(&server, VALID).await;
    let stream = events[0].stream();
    assert!(
        stream.len() == 32 && stream.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{stream}"
    );
    let (end, others) = events.split_last().unwrap();
    for (index, event) in others.iter().enumerate() {
        assert_eq!(event.id, format!("{stream}:{}", index + 1));
        assert_eq!(event.name, "challenge");
    }
    assert_eq!((end.id.as_str(), end.name.as_str()), (format!("{stream}:end").as_str(), "close"));
    assert_eq!(events[0].retry.as_deref(), Some("1000"));
    assert!(events[1..].iter().all(|event| event.retry.is_none()));
}

#[tokio::test]
async fn every_category_is_answered_with_three_challenges_of_its_own() {
    let server = Server::start().await;
    for category in catalog().categories() {
        for (place, work_type) in
            [("city", "office"), ("beach", "field"), ("mountain", "sales"), ("rural", "remote")]
        {
            let target = format!(
                "{BASE_INFO}?location={place}&workType={work_type}&category={}&details=1",
                category.code
            );
            let events = events(&server, &target).await;
            let close = &events.last().unwrap().data;
            assert_eq!(
                (close["status"].clone(), close["message"].clone()),
                (json!(200), json!("모든 챌린지 추천 완료"))
            );
            let answer = &close["data"];
            assert_eq!(joined(&events), rendering(answer));
            let challenges = answer["challenges"].as_array().unwrap();
            assert_eq!(challenges.len(), 3);
            for challenge in challenges {
                assert_eq!(challenge["category"], json!(category.code));
                assert_eq!(challenge["label"], json!(category.label));
            }
            let titles: std::collections::HashSet<_> =
                challenges.iter().map(|challenge| challenge["title"].to_string()).collect();
            assert_eq!(titles.len(), 3);
            assert_eq!(answer["remembered"], json!(false));
            assert_eq!(answer["degraded"], json!(false));
            let parts =
                challenges.iter().flat_map(|challenge| [&challenge["title"], &challenge["description"]]);
            for part in parts.chain([&answer["recommend"]]) {
                assert!(!part.as_str().unwrap().contains('\n'), "{part}");
            }
        }
    }
}

#[tokio::test]
async fn a_finished_challenge_comes_as_a_typed_event_before_the_next_one_begins() {
    let server = Server::start().await;
    let events = events(&server, VALID).await;
    let answer = &events.last().unwrap().data["data"];
    let mut text = String::new();
    let mut typed = 0;
    for event in &events[..events.len() - 1] {
        assert_eq!(event.data["status"], json!(200));
        if let Some(more) = event.text() {
            assert_eq!(event.data["message"], json!("토큰 생성"));
            text += more;
            continue;
        }
        let challenge = &answer["challenges"][typed];
        typed += 1;
        assert_eq!(event.data["message"], json!(format!("{typed}번째 챌린지 추천")));
        assert_eq!(&event.data["data"], &json!({ "challenges": challenge }));
        let description = challenge["description"].as_str().unwrap();
        assert!(text.ends_with(description), "challenge {typed} came after {text:?}");
        assert!(!text.contains(&format!("\n\n{}. ", typed + 1)));
    }
    assert_eq!(typed, 3);
}

#[tokio::test]
async fn text_comes_in_pieces_and_no_chunk_cuts_a_character() {
    let server = Server::start().await;
    let response = Connection::ask(server.address, &get(VALID, &[SSE])).await;
    for chunk in &response.chunks {
        assert!(std::str::from_utf8(chunk).is_ok(), "{chunk:?}");
    }
    let texts = read(&response.body()).iter().filter(|event| event.text().is_some()).count();
    assert!(texts > 20, "{texts} texts");
}

#[tokio::test]
async fn case_11_a_client_that_reads_in_chunks_of_any_size_gets_the_same_text() {
    let server = Server::start().await;
    let body = Connection::ask(server.address, &get(VALID, &[SSE])).await.body();
    let whole = read(&body);
    for size in (1..64).chain([100, 1000, body.len()]) {
        assert_eq!(read_in_chunks(body.chunks(size)), whole, "chunks of {size}");
    }
    assert!(!joined(&whole).contains('\u{FFFD}'));
}

#[tokio::test]
async fn case_11_get_and_post_give_the_same_answer() {
    let server = Server::start().await;
    let streamed = events(&server, VALID).await;
    let answer = Connection::ask(server.address, &post(BASE_INFO, &[], VALID_BODY)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.head.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.json(), streamed.last().unwrap().data);
    assert_eq!(joined(&streamed), rendering(&answer.json()["data"]));

    let streamed_post = Connection::ask(server.address, &post(BASE_INFO, &[SSE], VALID_BODY)).await;
    assert_eq!(streamed_post.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let streamed_post = read(&streamed_post.body());
    assert_eq!(streamed_post.last().unwrap().data, answer.json());
    assert_eq!(joined(&streamed_post), joined(&streamed));
}

#[tokio::test]
async fn the_older_dialect_has_the_same_text_under_other_names() {
    let server = Server::start().await;
    let plain = events(&server, VALID).await;
    let older = events(&server, &format!("{VALID}&dialect=token")).await;
    assert_eq!(joined(&older), joined(&plain));

    // Left out are the typed events; the numbers keep their places.
    let kept: Vec<_> =
        plain.iter().filter(|event| event.text().is_some()).map(|event| event.number().to_owned()).collect();
    let numbers: Vec<_> =
        older.iter().filter(|event| event.name == "token").map(|event| event.number().to_owned()).collect();
    assert_eq!(numbers, kept);

    let [.., last_token, complete, close] = &older[..] else { panic!("{older:?}") };
    let names = [last_token, complete, close].map(|event| event.name.as_str());
    assert_eq!(names, ["token", "complete", "close"]);
    assert_eq!(complete.id, last_token.id);
    assert_eq!(complete.data, close.data);
    assert_eq!(close.data["message"], json!("모든 응답 완료"));
    assert_eq!(close.data["data"], plain.last().unwrap().data["data"]);
    assert_eq!(last_token.data["message"], json!("토큰 생성"));
    assert_eq!(older.len(), numbers.len() + 2);
}

#[tokio::test]
async fn case_30_keep_alives_never_make_a_block_of_their_own() {
    // A step takes longer than three keep-alives.
    let server = Setup::slow(35).keep_alive(10).start().await;
    let events = events(&server, VALID).await;
    let alive = events.iter().filter(|event| event.comments > 0).count();
    assert!(alive > 10, "{alive} of {} blocks had a keep-alive", events.len());
    assert_eq!(events[0].retry.as_deref(), Some("1000"));
    let answer = &events.last().unwrap().data["data"];
    assert_eq!(joined(&events), rendering(answer));
}

#[tokio::test]
async fn case_30_a_reader_by_springs_rule_reads_a_stream_with_keep_alives_every_100_ms() {
    let server = Setup::slow(30).keep_alive(100).start().await;
    let events = events(&server, VALID).await;
    assert_eq!(events.last().unwrap().name, "close");
}

#[tokio::test]
async fn without_keep_alives_a_silent_stream_is_silent() {
    let server = Setup::slow(30).keep_alive(0).start().await;
    let events = events(&server, VALID).await;
    assert!(events.iter().all(|event| event.comments == 0));
}

#[tokio::test]
async fn an_old_client_gets_the_stream_until_the_connection_ends() {
    let server = Server::start().await;
    let request = format!("GET {VALID} HTTP/1.0\r\n\r\n");
    let response = Connection::ask(server.address, request.as_bytes()).await;
    assert_eq!(read(&response.body()).last().unwrap().name, "close");
}

#[tokio::test]
async fn one_connection_takes_one_request_after_the_other() {
    let server = Server::start().await;
    let mut connection = Connection::open(server.address).await;
    for _ in 0..3 {
        connection.send(&get(VALID, &[SSE])).await;
        assert_eq!(read(&connection.response().await.body()).last().unwrap().name, "close");
    }
}

#[tokio::test]
async fn a_strict_client_finds_two_keys_in_an_answer_unless_it_asks_for_details() {
    let server = Server::start().await;
    let keys = |data: &Value| data["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let details = ["recommend", "challenges", "sources", "grounding", "degraded", "remembered"];
    for (query, body, expected) in [
        ("", "", &details[..2]),
        ("&details=0", r#","details":false"#, &details[..2]),
        ("&details=1", r#","details":true"#, &details[..]),
        ("&details=1", r#","details":1"#, &details[..]),
    ] {
        for dialect in ["", "&dialect=token"] {
            let events = events(&server, &format!("{VALID}{query}{dialect}")).await;
            let ends = events.iter().filter(|event| matches!(&*event.name, "close" | "complete"));
            assert!(ends.map(|event| keys(&event.data)).all(|keys| keys == expected), "{query}{dialect}");
        }
        let body = VALID_BODY.replace('}', &format!("{body}}}"));
        let posted = Connection::ask(server.address, &post(BASE_INFO, &[], body)).await.json();
        assert_eq!(keys(&posted), expected);
        for challenge in posted["data"]["challenges"].as_array().unwrap() {
            let keys: Vec<_> = challenge.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["title", "description", "category", "label"]);
        }
    }
}
