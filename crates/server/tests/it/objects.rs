//! Objects as clients read them that exist already, and that nobody changes.

use serde_json::Value;

use crate::support::client::{Response, request};
use crate::support::java::java;
use crate::support::{BASE_INFO, Connection, FREE_TEXT, SSE, Server, Setup, VALID, VALID_BODY, get, post};

/// An insult: it gets a fixed reply.
const INSULT: &str = r#"{"message":"이 병1신아"}"#;

#[tokio::test]
async fn jacksons_defaults_read_every_object_into_records_of_what_they_use() {
    let server = Server::start().await;
    let broken = Setup::broken().start().await;
    let cases = [
        (&server, BASE_INFO, VALID_BODY),
        (&server, FREE_TEXT, r#"{"message":"메일함이 꽉 찼어","sessionId":"a","location":"city"}"#),
        (&server, FREE_TEXT, INSULT),
        (&server, BASE_INFO, r#"{"location":"city"}"#),
        (&server, FREE_TEXT, "{"),
        (&broken, BASE_INFO, VALID_BODY),
    ];
    let requests = cases.map(|(server, path, body)| format!("http://{}{path} {body}\n", server.address));
    let Some(output) = java("Records.java", &[], &requests.concat()).await else { return };
    let records: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), cases.len(), "{output}");
    for (record, (server, path, body)) in records.iter().zip(cases) {
        let answer = Connection::ask(server.address, &post(path, &[], body)).await;
        let (status, said) = (answer.status(), answer.json());
        assert_eq!(record["http"], status, "{body}");
        assert_eq!(
            (&record["answer"]["status"], &record["answer"]["message"]),
            (&said["status"], &said["message"])
        );
        assert_eq!(record["answer"]["data"].is_null(), said["data"].is_null(), "{body}");
        let count = |data: &Value| data["challenges"].as_array().map(Vec::len);
        assert_eq!(count(&record["answer"]["data"]), count(&said["data"]), "{body}");
    }
    let label = &records[0]["answer"]["data"]["challenges"][2]["label"];
    assert_eq!(label, "제로웨이스트");
    assert!(!records[2]["answer"]["data"]["recommend"].as_str().unwrap().is_empty());
    let statuses: Vec<_> = records.iter().map(|record| record["http"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 200, 400, 400, 500]);
}

/// What a client reads that takes text without a named charset for Latin-1, as Windows PowerShell, Volley and Tomcat do.
fn as_old_clients_read(response: &Response) -> String {
    let kind = response.head.header("content-type").unwrap_or_default();
    if kind.to_ascii_lowercase().contains("charset=utf-8") {
        return response.text();
    }
    response.body().iter().copied().map(char::from).collect()
}

/// Field report 26.
#[tokio::test]
async fn a_client_that_takes_text_without_a_charset_for_latin_1_reads_korean_everywhere() {
    let server = Server::start().await;
    let loading = Server::without_model(&Setup::default().config).await;
    let cases = [
        (&server, get(VALID, &[SSE]), "모든 챌린지 추천 완료"),
        (&server, get(BASE_INFO, &[SSE]), "필수입니다"),
        (&server, get(BASE_INFO, &[]), "필수입니다"),
        (&server, post(BASE_INFO, &[], VALID_BODY), "모든 챌린지 추천 완료"),
        (&server, post(BASE_INFO, &[], "{"), ""),
        (&server, post(BASE_INFO, &[("Content-Type", "text/plain")], VALID_BODY), ""),
        (&server, post(BASE_INFO, &[], "x".repeat(70_000)), ""),
        (&server, get("/nothing", &[]), ""),
        (&server, request("PUT", BASE_INFO, &[], b""), ""),
        (&server, get("/health", &[]), "정상"),
        (&server, get("/health/ready", &[]), ""),
        (&server, get("/ai/chatbot/sessions/nobody", &[]), ""),
        (&server, request("DELETE", "/ai/chatbot/sessions/nobody", &[], b""), ""),
        (&loading, get(VALID, &[SSE]), ""),
        (&loading, get("/health/ready", &[]), ""),
    ];
    for (server, request, expected) in cases {
        let response = Connection::ask(server.address, &request).await;
        let what = String::from_utf8_lossy(&request[..request.len().min(90)]).into_owned();
        let text = as_old_clients_read(&response);
        assert!(text.contains(|letter| ('가'..='힣').contains(&letter)), "{what}\n{text}");
        assert!(text.contains(expected), "{what}\n{text}");
    }
}
