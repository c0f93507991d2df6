//! Spans, as a receiver of OpenTelemetry's protocol gets them.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{BASE_INFO, Connection, SSE, Setup, VALID, get, until, until_async};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A small receiver: what it is sent, head and body.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Sent>>>);

type Sent = (String, Vec<u8>);

impl Receiver {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self::default();
        let kept = receiver.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(kept.clone().serve(connection));
            }
        });
        (receiver, format!("http://{address}/otlp"))
    }

    async fn serve(self, mut connection: TcpStream) {
        let mut bytes = Vec::new();
        while connection.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.split_once("content-length: ").unwrap().1.lines().next().unwrap();
            let whole = end + 4 + length.parse::<usize>().unwrap();
            if bytes.len() >= whole {
                let body = bytes.drain(..whole).skip(end + 4).collect();
                self.0.lock().unwrap().push((head, body));
                connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        }
    }

    fn spans(&self) -> Vec<Span> {
        let sent = self.0.lock().unwrap();
        let inner = |bytes: &[u8], field: u64| -> Vec<Vec<u8>> {
            fields(bytes).into_iter().filter(|(number, _)| *number == field).map(|(_, value)| value).collect()
        };
        let resources = sent.iter().flat_map(|(_, body)| inner(body, 1));
        let scopes = resources.flat_map(|resource| inner(&resource, 2));
        scopes.flat_map(|scope| inner(&scope, 2)).map(|span| Span::read(&span)).collect()
    }
}

/// A message's fields with their numbers, read as protobuf's wire format has them and not by the types that wrote them.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (&byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => varint(&mut bytes).to_le_bytes().to_vec(),
            wire => {
                let length = if wire == 1 { 8 } else { varint(&mut bytes) as usize };
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                value.to_vec()
            }
        };
        fields.push((key >> 3, value));
    }
    fields
}

#[derive(Debug, Default, Clone)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    times: (u64, u64),
    attributes: Vec<String>,
}

impl Span {
    fn read(bytes: &[u8]) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let mut span = Self::default();
        for (field, value) in fields(bytes) {
            match field {
                1 => span.trace = hex(&value),
                2 => span.id = hex(&value),
                4 => span.parent = hex(&value),
                5 => span.name = String::from_utf8(value).unwrap(),
                7 => span.times.0 = number(&value),
                8 => span.times.1 = number(&value),
                9 => span.attributes.push(String::from_utf8_lossy(&value).into_owned()),
                _ => {}
            }
        }
        span
    }
}

fn sending_to(endpoint: &str) -> Setup {
    let endpoint = serde_json::from_value(json!(endpoint)).unwrap();
    Setup::default().with(|config| config.otlp.endpoint = Some(endpoint))
}

#[tokio::test]
async fn a_request_s_span_belongs_to_its_caller_s_trace_and_has_the_stages_of_its_answer() {
    let (receiver, endpoint) = Receiver::start().await;
    let mut server = sending_to(&endpoint).start().await;
    let traced = |flags: &str| format!("00-{TRACE}-{PARENT}-{flags}");
    // Who asks doesn't record this one.
    let unsampled = [SSE, ("traceparent", &traced("00"))];
    Connection::ask(server.address, &get(VALID, &unsampled)).await;
    Connection::ask(server.address, &get(VALID, &[SSE, ("traceparent", &traced("01"))])).await;
    until("it has been sent", || receiver.spans().iter().any(|span| span.name.starts_with("GET "))).await;
    let spans = receiver.spans();
    let (head, _) = receiver.0.lock().unwrap()[0].clone();
    assert!(head.starts_with("post /otlp/v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names[0], format!("GET {BASE_INFO}"));
    let stages = &names[1..];
    assert!(["queue", "prefill", "write"].iter().all(|stage| stages.contains(stage)), "{names:?}");
    let whole = &spans[0];
    assert_eq!((whole.trace.as_str(), whole.parent.as_str()), (TRACE, PARENT));
    for stage in &spans[1..] {
        assert_eq!((&stage.trace, &stage.parent), (&whole.trace, &whole.id));
        assert!(stage.times.0 <= stage.times.1 && stage.times.0 >= whole.times.0, "{stage:?} in {whole:?}");
        assert!(stage.times.1 <= whole.times.1, "{stage:?} in {whole:?}");
    }
    let said = whole.attributes.join("\n");
    for attribute in ["http.route", "leafresh.outcome", "gen_ai.usage.input_tokens"] {
        assert!(said.contains(attribute), "{said}");
    }

    // One that begins a trace of its own, told when the server ends.
    Connection::ask(server.address, &get(VALID, &[SSE])).await;
    server.shut_down();
    until("it has ended", || server.ended.is_finished()).await;
    let own: Vec<_> = receiver.spans().into_iter().filter(|span| span.trace != TRACE).collect();
    assert_eq!(own[0].name, format!("GET {BASE_INFO}"));
    assert!(own[0].parent.is_empty() && own[0].trace.len() == 32, "{own:?}");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_holds_nobody_up_and_what_is_lost_is_counted() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = sending_to(&format!("http://{gone}")).start().await;
    assert_eq!(Connection::ask(server.address, &get(VALID, &[SSE])).await.status(), 200);
    until_async("they are lost", async || server.metrics().await.value("leafresh_spans_dropped_total") > 0)
        .await;
    assert_eq!(Connection::ask(server.address, &get(VALID, &[SSE])).await.status(), 200);
}
