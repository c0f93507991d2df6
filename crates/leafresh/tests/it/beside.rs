//! Two programs that want the same data, as during an update.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::grounding::{fake, indexed, with_index};
use crate::process::assert_fails;
use crate::program::{Program, model};
use crate::support::{Connection, DETAILED, SSE, get, read};

/// The titles of an answer by the model.
async fn titles(program: &Program) -> Vec<String> {
    let answer = Connection::ask(program.address, &get(DETAILED, &[SSE])).await;
    let close = read(&answer.body()).pop().unwrap();
    let data = &close.data["data"];
    assert_eq!(data["degraded"], json!(false), "{close:?}");
    let title = |challenge: &Value| challenge["title"].as_str().unwrap().to_owned();
    data["challenges"].as_array().unwrap().iter().map(title).collect()
}

/// Field report 10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_answers_from_the_catalogue_until_the_first_one_lets_go_of_the_index() {
    let Some(model) = model() else { return };
    let data = tempfile::tempdir().unwrap();
    let known = indexed(data.path(), fake()).await;
    let of_index = |titles: &[String]| titles.iter().all(|title| known.contains(title));
    let with_data = |command: &mut Command| _ = command.env("LEAFRESH_DATA__DIR", data.path());
    let mut first = Program::start_with("127.0.0.1:0", &model, with_data).await;
    assert!(of_index(&titles(&first).await));

    let second = Program::begin("127.0.0.1:0", &model, with_data);
    let ready = async || {
        let answer = Connection::ask(second.address, &get("/health/ready", &[])).await;
        (answer.status(), answer.json()["data"]["reasons"].clone())
    };
    // Until its model is loaded, and from then on.
    for _ in 0..600 {
        let (status, reasons) = ready().await;
        assert_eq!(status, 503);
        if reasons == json!(["index"]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let meanwhile = titles(&second).await;
    assert!(!of_index(&meanwhile), "{meanwhile:?}");
    assert_eq!(ready().await.0, 503);

    // Nor does a command change what a server holds.
    let mut index = with_index(&["index", "README.md"], data.path());
    let output = index.env("LEAFRESH_LOG__FILTER", "off").output().unwrap();
    assert_fails(&output, &["another process uses this index", "stop it", "retrieval.url"]);

    first.signal("TERM");
    assert_eq!(first.ended().code(), Some(0));
    second.ready().await;
    assert!(of_index(&titles(&second).await));
}
