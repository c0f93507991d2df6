//! Keys, cookies, limits and what is closed to whom.

use std::path::PathBuf;
use std::time::Duration;

use leafresh_server::Listeners;
use leafresh_server::config::Config;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::client::{Response, request};
use crate::support::events::read_begun;
use crate::support::{
    BASE_INFO, Connection, SSE, Server, Setup, VALID, VALID_BODY, get, open, post, read, read_rest,
    read_some, until, until_async,
};

const ALPHA: &str = "alpha-key-0123456789";
const BETA: &str = "beta-key-9876543210";

/// A server with two keys, and the file they are in.
struct Keyed {
    server: Server,
    file: PathBuf,
    _dir: TempDir,
}

impl Keyed {
    async fn start(setup: Setup, limits: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.toml");
        std::fs::write(&file, keys(&[("alpha", ALPHA, limits), ("beta", BETA, "")])).unwrap();
        let at = file.clone();
        let server = setup.with(|config| config.keys.file = Some(at)).start().await;
        Self { server, file, _dir: dir }
    }

    async fn ask(&self, request: &[u8]) -> Response {
        Connection::ask(self.server.address, request).await
    }
}

fn keys(keys: &[(&str, &str, &str)]) -> String {
    let entry = |(name, key, more): &(&str, &str, &str)| {
        format!("[[key]]\nname = \"{name}\"\nkey = \"{key}\"\n{more}\n")
    };
    keys.iter().map(entry).collect()
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[tokio::test]
async fn case_31_without_a_key_that_fits_everything_that_computes_or_tells_of_people_is_401() {
    let keyed = Keyed::start(Setup::default(), "").await;
    let short = &ALPHA[..ALPHA.len() - 1];
    let long = format!("{ALPHA}x");
    let wrong: &[&[(&str, &str)]] = &[
        &[],
        &[("X-API-Key", "")],
        &[("X-API-Key", short)],
        &[("X-API-Key", &long)],
        &[("Authorization", ALPHA)],
        &[("Authorization", "Basic YWxwaGE6")],
        &[("Authorization", "Bearer ")],
        // The one that is looked at first counts.
        &[("Authorization", "Bearer wrong"), ("X-API-Key", ALPHA)],
        &[("Authorization", "Basic YWxwaGE6"), ("X-API-Key", short)],
        &[("Cookie", "leafresh=0123456789abcdef")],
    ];
    for headers in wrong {
        let mut all = headers.to_vec();
        all.push(SSE);
        for request in [
            get(VALID, &all),
            get(BASE_INFO, &all),
            post(BASE_INFO, headers, VALID_BODY),
            get("/metrics", headers),
            get("/v1/models", headers),
            get("/ai/chatbot/sessions/a", headers),
            request("DELETE", "/ai/chatbot/streams/a", headers, b""),
            request("POST", "/auth/cookie", headers, b""),
        ] {
            let response = keyed.ask(&request).await;
            let shown = String::from_utf8_lossy(&request).into_owned();
            // A real status, whatever the client reads.
            assert_eq!(response.status(), 401, "{shown}");
            assert_eq!(response.head.header("www-authenticate"), Some("Bearer"));
            let expected = if shown.contains(" /v1/") {
                json!("invalid_api_key")
            } else {
                json!({ "status": 401, "message": "API 키가 없거나 올바르지 않습니다.", "data": null })
            };
            let body = response.json();
            assert_eq!(*body.pointer("/error/code").unwrap_or(&body), expected, "{shown}");
        }
    }
    assert_eq!(keyed.server.health().steps, 0);
    // Open to everybody: that it lives, and the page, which has to ask for a key.
    for path in ["/", "/chat.js", "/health", "/health/ready"] {
        assert_eq!(keyed.ask(&get(path, &[])).await.status(), 200, "{path}");
    }
    for header in [
        ("Authorization", bearer(ALPHA)),
        ("authorization", format!("bEARER  {BETA}")),
        ("X-API-Key", BETA.into()),
    ] {
        let header = (header.0, header.1.as_str());
        let answer = keyed.ask(&get(VALID, &[SSE, header])).await;
        assert_eq!(read(&answer.body()).last().unwrap().name, "close");
        assert_eq!(keyed.ask(&get("/metrics", &[header])).await.status(), 200);
    }
}

#[tokio::test]
async fn keys_are_read_again_when_their_file_changes_and_a_bad_file_changes_nothing() {
    let keyed = Keyed::start(Setup::default(), "").await;
    let status = async |key: &str| keyed.ask(&get(VALID, &[("X-API-Key", key)])).await.status();
    assert_eq!((status(ALPHA).await, status("gamma-key-0123456789").await), (200, 401));
    std::fs::write(&keyed.file, keys(&[("gamma", "gamma-key-0123456789", "")])).unwrap();
    until_async("the new key counts", async || status("gamma-key-0123456789").await == 200).await;
    assert_eq!(status(ALPHA).await, 401, "the old one is gone");

    std::fs::write(&keyed.file, "[[key]]\nname = \"broken").unwrap();
    assert!(keyed.server.state.load_keys().is_err());
    assert_eq!(status("gamma-key-0123456789").await, 200);
    // What SIGHUP does.
    std::fs::write(&keyed.file, keys(&[("alpha", ALPHA, "")])).unwrap();
    keyed.server.state.load_keys().unwrap();
    assert_eq!((status(ALPHA).await, status("gamma-key-0123456789").await), (200, 401));
}

#[tokio::test]
async fn a_cookie_stands_for_the_key_it_was_given_for_as_long_as_that_counts() {
    let keyed = Keyed::start(Setup::default(), "").await;
    let given = keyed.ask(&request("POST", "/auth/cookie", &[("X-API-Key", ALPHA)], b"")).await;
    assert_eq!((given.status(), given.body().len()), (204, 0));
    let set = given.head.header("set-cookie").unwrap().to_owned();
    let parts: Vec<_> = set.split("; ").collect();
    assert_eq!(parts[1..], ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"], "{set}");
    assert!(!set.contains(ALPHA), "{set}");
    let cookie = format!("other=1; {}", parts[0]);
    let with_cookie = async || keyed.ask(&get(VALID, &[SSE, ("Cookie", &cookie)])).await;
    assert_eq!(read(&with_cookie().await.body()).last().unwrap().name, "close");
    std::fs::write(&keyed.file, keys(&[("beta", BETA, "")])).unwrap();
    keyed.server.state.load_keys().unwrap();
    assert_eq!(with_cookie().await.status(), 401);
}

#[tokio::test]
async fn a_cookie_ends_with_its_time() {
    let brief = Setup::default().with(|config| config.keys.cookie_seconds.0 = Duration::from_millis(600));
    let keyed = Keyed::start(brief, "").await;
    let given = keyed.ask(&request("POST", "/auth/cookie", &[("X-API-Key", ALPHA)], b"")).await;
    let cookie = given.head.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    until_async("it has ended", async || {
        keyed.ask(&get(VALID, &[("Cookie", &cookie)])).await.status() == 401
    })
    .await;
}

#[tokio::test]
async fn behind_tls_a_cookie_is_for_tls_only() {
    let proxied = Setup::default().with(|config| config.limits.trusted_proxies = list(json!(["127.0.0.1"])));
    let keyed = Keyed::start(proxied, "").await;
    let headers = [("X-API-Key", ALPHA), ("X-Forwarded-Proto", "https")];
    let given = keyed.ask(&request("POST", "/auth/cookie", &headers, b"")).await;
    assert!(given.head.header("set-cookie").unwrap().ends_with("; Secure"));
}

fn list<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Vec<T> {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn case_7_streams_are_apart_by_key() {
    let keyed = Keyed::start(Setup::slow(10), "").await;
    let (alpha, beta) = (("X-API-Key", ALPHA), ("X-API-Key", BETA));
    let target = format!("{VALID}&sessionId=s&requestId=r");
    let mut first = open(&keyed.server, &get(&target, &[SSE, alpha])).await;
    let begun = read_some(&mut first, 2).await;
    let id = begun[0].id.clone();
    // Neither joined nor resumed nor stopped by another.
    let others = keyed.ask(&get(&target, &[SSE, beta, ("Last-Event-ID", &id)])).await;
    assert_eq!(read(&others.body())[0].data["status"], json!(410));
    let mut second = open(&keyed.server, &get(&target, &[SSE, beta])).await;
    assert_ne!(read_some(&mut second, 1).await[0].stream(), begun[0].stream());
    let path = format!("/ai/chatbot/streams/{}", begun[0].stream());
    assert_eq!(keyed.ask(&request("DELETE", &path, &[beta], b"")).await.status(), 204);
    let own = keyed.ask(&get(&target, &[SSE, alpha, ("Last-Event-ID", &id)])).await;
    assert_eq!(read(&own.body()).last().unwrap().name, "close");
}

#[tokio::test]
async fn a_client_over_its_rate_gets_429_and_when_to_come_back() {
    let keyed = Keyed::start(Setup::default(), "requests_per_minute = 6\nburst = 2").await;
    let (alpha, beta) = (("X-API-Key", ALPHA), ("X-API-Key", BETA));
    let target = format!("{VALID}&requestId=r");
    let first = read(&keyed.ask(&get(&target, &[SSE, alpha])).await.body());
    assert_eq!(keyed.ask(&post(BASE_INFO, &[alpha], VALID_BODY)).await.status(), 200);
    for request in [get(VALID, &[SSE, alpha]), post(BASE_INFO, &[alpha], VALID_BODY)] {
        let refused = keyed.ask(&request).await;
        assert_eq!(refused.status(), 429);
        let seconds: u32 = refused.head.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&seconds), "{seconds}");
        let message = "요청이 너무 많습니다. 잠시 후 다시 시도해 주세요.";
        assert_eq!(refused.json(), json!({ "status": 429, "message": message, "data": null }));
    }
    // Going on with an answer is no new request; others have their own allowance.
    let rest = keyed.ask(&get(&target, &[SSE, alpha, ("Last-Event-ID", &first[0].id)])).await;
    assert_eq!(read(&rest.body()).last().unwrap().name, "close");
    assert_eq!(keyed.ask(&get(VALID, &[SSE, beta])).await.status(), 200);
}

#[tokio::test]
async fn a_client_with_too_many_answers_at_once_gets_429_until_one_ends() {
    let keyed = Keyed::start(Setup::slow(20).no_grace(), "running = 2").await;
    let alpha = ("X-API-Key", ALPHA);
    let first = open(&keyed.server, &get(VALID, &[SSE, alpha])).await;
    let joined = get(&format!("{VALID}&requestId=r"), &[SSE, alpha]);
    let _second = open(&keyed.server, &joined).await;
    let refused = keyed.ask(&get(VALID, &[SSE, alpha])).await;
    assert_eq!((refused.status(), refused.head.header("retry-after")), (429, Some("3")));
    // Joining one's own answer takes no place.
    let _third = open(&keyed.server, &joined).await;
    drop(first);
    until("its place is free", || keyed.server.health().running == 1).await;
    until_async("it can be taken", async || {
        let mut connection = Connection::open(keyed.server.address).await;
        connection.send(&get(VALID, &[SSE, alpha])).await;
        connection.head().await.status == 200
    })
    .await;
}

#[tokio::test]
async fn who_asks_often_doesnt_make_others_wait_longer() {
    let one = |config: &mut Config| {
        (config.engine.running, config.engine.queue) = (1, 16);
        config.limits.trusted_proxies = list(json!(["127.0.0.1"]));
    };
    let mut server = Setup::held().with(one).start().await;
    let ask = async |address: &str, number: u64| {
        let target = format!("{VALID}&progress=1&requestId={address}-{number}");
        open(&server, &get(&target, &[SSE, ("X-Forwarded-For", address)])).await
    };
    let mut often = vec![ask(OFTEN, 0).await];
    until("it is being written", || server.health().running == 1).await;
    // Before the model looks at who has come they wait in the order in which they came.
    for number in 1..4 {
        often.push(ask(OFTEN, number).await);
        told_place(often.last_mut().unwrap(), number).await;
    }
    let mut once = ask("203.0.113.2", 4).await;
    told_place(&mut once, 4).await;
    server.step();
    // One of the other's, then this one.
    told_place(&mut once, 2).await;
    told_place(often.last_mut().unwrap(), 4).await;
    server.go_on();
    for stream in often.iter_mut().chain([&mut once]) {
        let rest = String::from_utf8(read_rest(stream).await).unwrap();
        assert!(rest.contains("event: close"), "{rest}");
    }
}

const OFTEN: &str = "203.0.113.1";

/// Reads until a stream tells of this place in the queue.
async fn told_place(stream: &mut Connection, last: u64) {
    let mut bytes = Vec::new();
    let mut told = None;
    while told != Some(last) {
        bytes.extend(stream.chunk().await.expect("more events"));
        let events = read_begun(&bytes);
        told = events.iter().filter_map(|event| event.data["data"]["position"].as_u64()).next_back();
    }
}

#[tokio::test]
async fn without_keys_a_client_is_its_address_as_a_trusted_proxy_gives_it() {
    let limited = |config: &mut Config| {
        (config.limits.requests_per_minute, config.limits.burst) = (1, 1);
        config.limits.trusted_proxies = list(json!(["127.0.0.1"]));
    };
    let server = Setup::default().with(limited).start().await;
    let status = async |forwarded: &str| {
        let headers = [SSE, ("X-Forwarded-For", forwarded)];
        Connection::ask(server.address, &get(VALID, &headers)).await.status()
    };
    assert_eq!((status("203.0.113.1").await, status("203.0.113.1").await), (200, 429));
    assert_eq!(status("203.0.113.2").await, 200);
    // Claiming another address doesn't help: the proxy's own word comes last.
    assert_eq!(status("198.51.100.1, 203.0.113.1").await, 429);
    // Field report 16: nor does claiming to be this machine, where a proxy stands in front.
    assert_eq!((status("127.0.0.1").await, status("127.0.0.1").await), (200, 429));
    assert_eq!(Connection::ask(server.address, &get(VALID, &[SSE])).await.status(), 429);

    // A proxy that isn't trusted isn't believed: whoever comes through it is one client. This machine itself has no limit.
    let alone = |config: &mut Config| (config.limits.requests_per_minute, config.limits.burst) = (1, 1);
    let server = Setup::default().with(alone).start().await;
    let status = async |address: &str| {
        let headers = [SSE, ("X-Forwarded-For", address)];
        Connection::ask(server.address, &get(VALID, &headers)).await.status()
    };
    assert_eq!((status("203.0.113.1").await, status("203.0.113.2").await), (200, 429));
    for _ in 0..3 {
        assert_eq!(Connection::ask(server.address, &get(VALID, &[SSE])).await.status(), 200);
    }
}

/// Field report 15: a relay on another machine is one client.
#[tokio::test]
async fn a_relay_may_ask_as_much_as_the_server_takes() {
    let narrow = |config: &mut Config| (config.engine.running, config.engine.queue) = (2, 64);
    let mut server = Setup::held().with(narrow).start().await;
    let mut readers = Vec::new();
    for _ in 0..66 {
        // Through a proxy that nobody named: not exempt.
        readers.push(open(&server, &get(VALID, &[SSE, ("X-Forwarded-For", "203.0.113.1")])).await);
    }
    server.go_on();
    for reader in &mut readers {
        assert_eq!(read(&read_rest(reader).await).last().unwrap().name, "close");
    }
}

/// Field report 45.
#[tokio::test]
async fn another_scheme_in_authorization_is_passed_over() {
    let keyed = Keyed::start(Setup::default(), "").await;
    let basic = ("Authorization", "Basic cHJveHk6c2VjcmV0");
    assert_eq!(keyed.ask(&get(VALID, &[basic, ("X-API-Key", ALPHA)])).await.status(), 200);
    let given = keyed.ask(&request("POST", "/auth/cookie", &[basic, ("X-API-Key", ALPHA)], b"")).await;
    let cookie = given.head.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(keyed.ask(&get(VALID, &[basic, ("Cookie", &cookie)])).await.status(), 200);
}

/// Field reports 21 and 45.
#[tokio::test]
async fn a_cookie_is_no_key_can_be_ended_and_stands_beside_others_of_its_name() {
    let named = |config: &mut Config| {
        config.keys.cookie_name = serde_json::from_value(json!("mine")).unwrap();
        config.keys.cookie_same_site = serde_json::from_value(json!("none")).unwrap();
    };
    let keyed = Keyed::start(Setup::default().with(named), "").await;
    let log_in = request("POST", "/auth/cookie", &[("X-API-Key", ALPHA)], b"");
    let set = keyed.ask(&log_in).await.head.header("set-cookie").unwrap().to_owned();
    assert!(set.starts_with("mine=") && set.ends_with("; SameSite=None; Secure"), "{set}");
    let ours = set.split(';').next().unwrap();
    // Another server under the same host name has set the first one.
    let both = format!("mine=0123456789abcdef; {ours}");
    let asked = async || keyed.ask(&get(VALID, &[("Cookie", &both)])).await.status();
    assert_eq!(asked().await, 200);
    let renewed = keyed.ask(&request("POST", "/auth/cookie", &[("Cookie", ours)], b"")).await;
    assert_eq!((renewed.status(), renewed.head.header("set-cookie")), (401, None));
    for _ in 0..2 {
        let ended = keyed.ask(&request("DELETE", "/auth/cookie", &[("Cookie", &both)], b"")).await;
        let set = ended.head.header("set-cookie").unwrap();
        assert_eq!(
            (ended.status(), set.starts_with("mine=; "), set.contains("Max-Age=0")),
            (204, true, true)
        );
        assert_eq!(asked().await, 401);
    }
}

/// Field report 45.
#[tokio::test]
async fn cookies_count_towards_the_limits_and_push_nobody_elses_out() {
    let keyed = Keyed::start(Setup::default(), "requests_per_minute = 1\nburst = 2").await;
    let log_in = async |key| keyed.ask(&request("POST", "/auth/cookie", &[("X-API-Key", key)], b"")).await;
    assert_eq!((log_in(ALPHA).await.status(), log_in(ALPHA).await.status()), (204, 204));
    assert_eq!(log_in(ALPHA).await.status(), 429);
    let first = log_in(BETA).await.head.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for _ in 0..1000 {
        assert_eq!(log_in(BETA).await.status(), 204);
    }
    let asked = keyed.ask(&get("/ai/chatbot/sessions/a", &[("Cookie", &first)])).await;
    assert_eq!(asked.status(), 401, "beta's own first one has gone");
}

/// Field report 47.
#[tokio::test]
async fn a_name_may_have_two_keys_while_one_takes_the_others_place() {
    let keyed = Keyed::start(Setup::default(), "").await;
    let next = "alpha-key-of-next-year";
    let both = keys(&[("alpha", ALPHA, ""), ("alpha", next, "")]);
    std::fs::write(&keyed.file, both).unwrap();
    keyed.server.state.load_keys().unwrap();
    let target = format!("{VALID}&requestId=r");
    let stream = async |key| {
        let answer = keyed.ask(&get(&target, &[SSE, ("X-API-Key", key)])).await;
        read(&answer.body())[0].stream().to_owned()
    };
    assert_eq!(stream(ALPHA).await, stream(next).await, "both are alpha");
}

/// Field report 19.
#[tokio::test]
async fn under_another_name_a_local_server_answers_nothing() {
    let named = |config: &mut Config| config.server.hosts = list(json!(["my-pc.local"]));
    let server = Setup::default().with(named).start().await;
    let ask = async |address, host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Connection::ask(address, request.as_bytes()).await
    };
    for host in ["localhost", "LocalHost:8000", "127.0.0.1:9", "[::1]:9", "192.168.0.7", "My-PC.local:80"] {
        assert_eq!(ask(server.address, host, "/health").await.status(), 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "pc.local", ""] {
        for path in ["/metrics", "/", VALID, "/ai/chatbot/sessions/a", "/nothing"] {
            let refused = ask(server.address, host, path).await;
            assert_eq!(refused.status(), 421, "{host} {path}");
            let message = refused.json()["message"].as_str().unwrap().to_owned();
            assert!(message.contains("server.hosts"), "{message}");
        }
    }
    assert_eq!(server.health().steps, 0);
    // Behind a proxy, or with keys, the name says nothing.
    let trusted = |config: &mut Config| config.limits.trusted_proxies = list(json!(["127.0.0.1"]));
    let proxied = Setup::default().with(trusted).start().await;
    assert_eq!(ask(proxied.address, "evil.example", "/health").await.status(), 200);
    let keyed = Keyed::start(Setup::default(), "").await;
    assert_eq!(ask(keyed.server.address, "evil.example", "/health").await.status(), 200);
}

/// Field report 19.
#[tokio::test]
async fn a_page_of_another_site_starts_nothing() {
    let page = ("Origin", "https://page.example");
    let foreign = ("Sec-Fetch-Site", "cross-site");
    let server = Server::start().await;
    for headers in [&[SSE, foreign][..], &[SSE, foreign, page]] {
        let refused = Connection::ask(server.address, &get(VALID, headers)).await;
        assert_eq!(refused.status(), 403);
        assert!(refused.json()["message"].as_str().unwrap().contains("cors.origins"));
    }
    assert_eq!(Connection::ask(server.address, &post(BASE_INFO, &[foreign], VALID_BODY)).await.status(), 403);
    assert_eq!(server.health().steps, 0);
    for site in ["same-origin", "same-site", "none"] {
        let answer = Connection::ask(server.address, &get(VALID, &[SSE, ("Sec-Fetch-Site", site)])).await;
        assert_eq!(answer.status(), 200, "{site}");
    }
    // A link to the page is no harm.
    assert_eq!(Connection::ask(server.address, &get("/", &[foreign])).await.status(), 200);

    let listed = |config: &mut Config| config.cors.origins = list(json!(["https://page.example"]));
    let server = Setup::default().with(listed).start().await;
    let ask = async |headers: &[_]| Connection::ask(server.address, &get(VALID, headers)).await.status();
    assert_eq!((ask(&[foreign, page]).await, ask(&[foreign]).await), (200, 403));
    assert_eq!(ask(&[foreign, ("Origin", "https://other.example")]).await, 403);
    let any = |config: &mut Config| config.cors.origins = list(json!(["*"]));
    let server = Setup::default().with(any).start().await;
    assert_eq!(Connection::ask(server.address, &get(VALID, &[foreign, page])).await.status(), 200);
}

/// Field report 45.
#[tokio::test]
async fn a_conversation_can_be_forgotten_where_it_can_be_had() {
    let main = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Setup::slow(20).start_on(Listeners::new(main, Some(admin)));
    let mut reader = open(&server, &get(&format!("{VALID}&sessionId=a"), &[SSE])).await;
    let begun = read_some(&mut reader, 1).await;
    let forget = request("DELETE", "/ai/chatbot/sessions/a", &[], b"");
    let forgotten = Connection::ask(server.address, &forget).await;
    assert_eq!((forgotten.status(), &forgotten.json()["data"]), (200, &json!(null)));
    let end = read(&read_rest(&mut reader).await).pop().unwrap();
    assert_eq!((end.name.as_str(), &end.data["status"]), ("error", &json!(499)));
    // Its log has gone with it, and reading stays closed.
    let target = format!("{VALID}&sessionId=a");
    let again = Connection::ask(server.address, &get(&target, &[SSE, ("Last-Event-ID", &begun[0].id)])).await;
    assert_eq!(read(&again.body())[0].data["status"], json!(410));
    assert_eq!(Connection::ask(server.address, &get("/ai/chatbot/sessions/a", &[])).await.status(), 404);
    assert_eq!(Connection::ask(server.address, &forget).await.status(), 200, "also when there is none");
}

#[tokio::test]
async fn what_is_administrative_moves_to_its_own_address() {
    let main = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin_address = admin.local_addr().unwrap();
    let server = Setup::default().start_on(Listeners::new(main, Some(admin)));
    for path in ["/metrics", "/v1/models", "/ai/chatbot/sessions/a"] {
        let closed = Connection::ask(server.address, &get(path, &[])).await;
        assert_eq!((closed.status(), closed.json()["data"].clone()), (404, json!(null)), "{path}");
    }
    assert_eq!(Connection::ask(admin_address, &get("/metrics", &[])).await.status(), 200);
    assert_eq!(Connection::ask(admin_address, &get("/health", &[])).await.status(), 200);
    assert_eq!(Connection::ask(server.address, &get(VALID, &[])).await.status(), 200);
}
