//! Readers that leave, in every phase, with and without time to return.

use std::time::Duration;

use leafresh_server::config::Config;
use serde_json::json;

use crate::support::client::request;
use crate::support::{
    BASE_INFO, Connection, SSE, Server, Setup, VALID, VALID_BODY, get, open, post, read, read_rest,
    read_some, until, until_async,
};

fn is_idle(server: &Server) -> bool {
    let health = server.health();
    (health.running, health.queued) == (0, 0)
}

async fn until_counted(server: &Server, answers: u64) {
    until_async("it is counted", async || server.metrics().await.all_ended() == answers).await;
}

async fn until_parked(server: &Server, answers: u64) {
    until_async("it is parked", async || {
        server.metrics().await.value("leafresh_requests_parked") == answers && is_idle(server)
    })
    .await;
}

/// The model takes no further step.
async fn assert_still(server: &Server) {
    let steps = server.health().steps;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.health().steps, steps, "it computes on for nobody");
}

#[tokio::test]
async fn case_1_a_reader_that_leaves_while_the_model_writes_frees_its_slot_within_a_step() {
    let server = Setup::slow(30).no_grace().start().await;
    let baseline = server.health();
    let mut reader = open(&server, &get(VALID, &[SSE])).await;
    read_some(&mut reader, 3).await;
    assert_eq!(server.health().running, 1);
    drop(reader);
    until("the slot is free", || is_idle(&server)).await;
    assert_still(&server).await;
    until_counted(&server, 1).await;
    let metrics = server.metrics().await;
    assert_eq!(metrics.ended("left", "writing"), 1);
    assert_eq!(metrics.value("leafresh_requests_running"), 0);
    assert_eq!(metrics.value("leafresh_requests_parked"), 0);
    assert_eq!(server.health().kv_used, baseline.kv_used);
}

#[tokio::test]
async fn case_1_a_reader_that_leaves_before_the_first_token_frees_its_slot() {
    let server = Setup::slow(100).no_grace().start().await;
    let reader = open(&server, &get(VALID, &[SSE])).await;
    until("it has begun", || server.health().running == 1).await;
    drop(reader);
    until("the slot is free", || is_idle(&server)).await;
    until_counted(&server, 1).await;
    assert_eq!(server.metrics().await.ended("left", "prefill"), 1, "{}", server.metrics().await.0);
}

#[tokio::test]
async fn case_1_a_reader_that_leaves_the_queue_gives_its_place_back() {
    let one = |config: &mut Config| (config.engine.running, config.engine.queue) = (1, 1);
    let server = Setup::slow(30).no_grace().with(one).start().await;
    let mut first = open(&server, &get(VALID, &[SSE])).await;
    read_some(&mut first, 1).await;
    let second = open(&server, &get(VALID, &[SSE])).await;
    until("it waits", || server.health().queued == 1).await;
    drop(second);
    until("its place is free", || server.health().queued == 0).await;
    assert_eq!(server.health().running, 1, "the one that runs goes on");
    // The place can be taken again.
    open(&server, &get(VALID, &[SSE])).await;
    until_counted(&server, 2).await;
    assert_eq!(server.metrics().await.ended("left", "queued"), 2);
}

#[tokio::test]
async fn case_1_a_client_that_leaves_a_post_frees_its_slot_even_with_the_grace_time_on() {
    let server = Setup::slow(30).start().await;
    let mut client = Connection::open(server.address).await;
    client.send(&post(BASE_INFO, &[], VALID_BODY)).await;
    until("it writes", || server.health().steps > 3).await;
    drop(client);
    until("the slot is free", || is_idle(&server)).await;
    until_counted(&server, 1).await;
    let metrics = server.metrics().await;
    assert_eq!(metrics.ended("left", "writing") + metrics.ended("left", "prefill"), 1);
}

#[tokio::test]
async fn case_1_leaving_at_any_moment_counts_once_and_leaves_nothing() {
    let server = Setup::slow(2).no_grace().start().await;
    for chunks in 0..24 {
        let mut reader = open(&server, &get(VALID, &[SSE])).await;
        for _ in 0..chunks * 3 {
            if reader.chunk().await.is_none() {
                break;
            }
        }
        drop(reader);
    }
    until("all slots are free", || is_idle(&server)).await;
    until_counted(&server, 24).await;
    let metrics = server.metrics().await;
    assert_eq!(metrics.value("leafresh_requests_running"), 0);
    assert_eq!(metrics.value("leafresh_kv_cells_used"), server.health().kv_used as u64);
}

#[tokio::test]
async fn case_1_leaving_in_the_last_characters_counts_as_left_or_as_whole_and_once() {
    let server = Setup::slow(10).no_grace().start().await;
    let whole = Connection::ask(server.address, &get(VALID, &[SSE])).await;
    let events = read(&whole.body()).len();
    for before_the_end in 1..6 {
        let mut reader = open(&server, &get(VALID, &[SSE])).await;
        read_some(&mut reader, events - before_the_end).await;
        drop(reader);
    }
    until_counted(&server, 6).await;
    until("all slots are free", || is_idle(&server)).await;
}

#[tokio::test]
async fn case_2_a_parked_answer_takes_no_step_and_goes_on_with_the_very_text() {
    let server = Setup::slow(15).start().await;
    let expected = read(&Connection::ask(server.address, &get(VALID, &[SSE])).await.body());
    let mut reader = open(&server, &get(VALID, &[SSE])).await;
    let begun = read_some(&mut reader, 5).await;
    drop(reader);
    until_parked(&server, 1).await;
    assert_still(&server).await;

    let id = begun.last().unwrap().id.clone();
    let rest = Connection::ask(server.address, &get(VALID, &[SSE, ("Last-Event-ID", &id)])).await;
    assert_eq!(rest.status(), 200);
    let rest = read(&rest.body());
    assert_eq!(rest[0].stream(), begun[0].stream());
    assert_eq!(rest[0].retry.as_deref(), Some("1000"), "the first block of every response");
    let both: Vec<_> = begun.iter().chain(&rest).map(|event| (event.number(), &event.data)).collect();
    let expected: Vec<_> = expected.iter().map(|event| (event.number(), &event.data)).collect();
    assert_eq!(both, expected);
    let metrics = server.metrics().await;
    assert_eq!((metrics.ended("close", "writing"), metrics.all_ended()), (2, 2));
    assert_eq!(metrics.value("leafresh_requests_parked"), 0);
}

#[tokio::test]
async fn case_2_a_queued_answer_is_parked_too_and_holds_no_place() {
    let one = |config: &mut Config| (config.engine.running, config.engine.queue) = (1, 1);
    let server = Setup::slow(30).with(one).start().await;
    let mut first = open(&server, &get(VALID, &[SSE])).await;
    read_some(&mut first, 1).await;
    let mut second = Connection::open(server.address).await;
    let with_id = ("Idempotency-Key", "second");
    second.send(&get(VALID, &[SSE, with_id])).await;
    assert_eq!(second.head().await.status, 200);
    until("it waits", || server.health().queued == 1).await;
    drop(second);
    until("its place is free", || server.health().queued == 0).await;
    // Somebody else waits in its place; it comes back all the same.
    let third = open(&server, &get(VALID, &[SSE])).await;
    let again = get(VALID, &[SSE, with_id]);
    let back = Connection::ask(server.address, &again);
    let (back, ()) = tokio::join!(back, async {
        until("both wait", || server.health().queued == 2).await;
        drop(first);
    });
    assert_eq!(read(&back.body()).last().unwrap().name, "close");
    drop(third);
}

#[tokio::test]
async fn case_2_after_the_grace_time_it_is_cancelled_and_says_so() {
    let server = Setup::slow(15).grace(300).start().await;
    let baseline = server.health().kv_used;
    let mut reader = open(&server, &get(VALID, &[SSE])).await;
    let begun = read_some(&mut reader, 4).await;
    drop(reader);
    until_counted(&server, 1).await;
    let metrics = server.metrics().await;
    assert_eq!(metrics.ended("left", "writing"), 1);
    assert_eq!(metrics.value("leafresh_requests_parked"), 0);
    until("its cells are free", || server.health().kv_used == baseline).await;

    let id = begun.last().unwrap().id.clone();
    let rest =
        read(&Connection::ask(server.address, &get(VALID, &[SSE, ("Last-Event-ID", &id)])).await.body());
    let error = rest.last().unwrap();
    assert_eq!((error.name.as_str(), error.number()), ("error", "end"));
    assert_eq!(error.data, json!({ "status": 499, "message": "요청이 취소되었습니다.", "data": null }));
    assert_still(&server).await;
}

#[tokio::test]
async fn case_2_a_reader_that_returns_in_time_again_and_again_loses_nothing() {
    let server = Setup::slow(5).start().await;
    let expected = read(&Connection::ask(server.address, &get(VALID, &[SSE])).await.body());
    let mut id = None;
    let mut events = Vec::new();
    while !events.last().is_some_and(crate::support::Event::is_terminal) {
        let header = id.as_deref().map(|id| ("Last-Event-ID", id));
        let headers: Vec<_> = [SSE].into_iter().chain(header).collect();
        let mut reader = open(&server, &get(VALID, &headers)).await;
        let some = read_some(&mut reader, 1).await;
        id = some.last().map(|event| event.id.clone());
        events.extend(some);
    }
    let shown = |events: &[crate::support::Event]| -> Vec<_> {
        events.iter().map(|event| (event.number().to_owned(), event.data.clone())).collect()
    };
    assert_eq!(shown(&events), shown(&expected));
    until_counted(&server, 2).await;
}

#[tokio::test]
async fn case_2_deleting_a_stream_ends_it_at_once_parked_or_not() {
    let server = Setup::slow(20).start().await;
    let delete = |id: &str| request("DELETE", &format!("/ai/chatbot/streams/{id}"), &[], b"");
    let mut watched = open(&server, &get(VALID, &[SSE])).await;
    let begun = read_some(&mut watched, 2).await;
    let stream = begun[0].stream().to_owned();
    let deleted = Connection::ask(server.address, &delete(&stream)).await;
    assert_eq!((deleted.status(), deleted.body().len()), (204, 0));
    let error = read(&read_rest(&mut watched).await).pop().unwrap();
    assert_eq!((error.name.as_str(), error.data["status"].clone()), ("error", json!(499)));
    until("the slot is free", || is_idle(&server)).await;

    let mut reader = open(&server, &get(VALID, &[SSE])).await;
    let begun = read_some(&mut reader, 2).await;
    drop(reader);
    until_parked(&server, 1).await;
    assert_eq!(Connection::ask(server.address, &delete(begun[0].stream())).await.status(), 204);
    until_counted(&server, 2).await;
    let metrics = server.metrics().await;
    assert_eq!((metrics.ended("stopped", "writing"), metrics.value("leafresh_requests_parked")), (2, 0));
    // Whether or not there is one, the answer is the same.
    for id in [begun[0].stream(), "0123456789abcdef0123456789abcdef", "nonsense"] {
        assert_eq!(Connection::ask(server.address, &delete(id)).await.status(), 204, "{id}");
    }
    let wrong = Connection::ask(server.address, &get("/ai/chatbot/streams/x", &[])).await;
    assert_eq!((wrong.status(), wrong.head.header("allow")), (405, Some("DELETE")));
}

#[tokio::test]
async fn case_2_a_client_of_a_post_with_a_request_id_may_come_back_for_its_object() {
    let server = Setup::slow(10).start().await;
    let named = ("Idempotency-Key", "mine");
    let mut client = Connection::open(server.address).await;
    client.send(&post(BASE_INFO, &[named], VALID_BODY)).await;
    until("it writes", || server.health().steps > 3).await;
    drop(client);
    until_parked(&server, 1).await;
    let answer = Connection::ask(server.address, &post(BASE_INFO, &[named], VALID_BODY)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json()["data"]["challenges"].as_array().unwrap().len(), 3);
    assert_eq!(server.metrics().await.all_ended(), 1);
}

#[tokio::test]
async fn case_2_a_hundred_readers_that_leave_at_once_stop_the_engine_within_one_step() {
    let mut server =
        Setup::held().with(|config| (config.engine.running, config.engine.queue) = (16, 200)).start().await;
    let mut readers = Vec::new();
    for _ in 0..100 {
        readers.push(open(&server, &get(VALID, &[SSE])).await);
    }
    let mut steps = 0;
    until("they run and some write", || {
        server.step();
        steps += 1;
        server.health().running == 16 && steps > 20
    })
    .await;
    until("it has come to a stop", || server.health().steps == steps).await;
    drop(readers);
    until_async("all are parked", async || server.metrics().await.value("leafresh_requests_parked") == 100)
        .await;
    assert_eq!(server.health().steps, steps);
    // The model is free again; the step that was held is the only one.
    server.go_on();
    until("nobody runs", || is_idle(&server)).await;
    assert_still(&server).await;
    assert!(server.health().steps <= steps + 1, "{} steps, not {steps}", server.health().steps);
    let answer = Connection::ask(server.address, &get(VALID, &[SSE])).await.body();
    assert_eq!(read(&answer).last().unwrap().name, "close");
}
