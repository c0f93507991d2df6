use axum::http::HeaderValue;
use serde_json::json;

use super::*;
use crate::log::tests::Pipe;

/// What the log says of this.
fn logged(work: impl FnOnce()) -> String {
    let (lines, _guard) = Pipe::of_this_thread();
    work();
    lines.text()
}

fn door(change: impl FnOnce(&mut Config)) -> Door {
    let mut config = Config::default();
    change(&mut config);
    Door::new(&config)
}

fn peer(address: &str) -> Peer {
    Peer { address: address.parse().unwrap(), local: false, admin: false, apart: false }
}

fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
    all.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

const FORWARDED: (&str, &str) = ("x-forwarded-for", "203.0.113.9");

/// Field report 15.
#[test]
fn by_default_nothing_of_a_client_is_limited() {
    let door = door(|_| ());
    let relay = door.stranger(peer("203.0.113.1:1"), &HeaderMap::new());
    let permits: Vec<_> = (0..500).map(|_| door.permit(&relay).unwrap()).collect();
    assert!((0..500).all(|_| door.ask(&relay).is_ok()));
    assert_eq!(door.connections_of("203.0.113.1".parse().unwrap()), None);
    drop(permits);
}

/// Field report 15.
#[test]
fn a_limit_that_is_met_is_named_in_the_log() {
    let door = door(|config| {
        (config.limits.requests_per_minute, config.limits.burst, config.limits.running) = (1, 1, 1);
    });
    let client = door.stranger(peer("203.0.113.1:1"), &HeaderMap::new());
    let log = logged(|| {
        door.ask(&client).unwrap();
        let _permit = door.permit(&client).unwrap();
    });
    assert_eq!(log, "");
    let _permit = door.permit(&client).unwrap();
    let log = logged(|| assert!(door.ask(&client).is_err() && door.permit(&client).is_err()));
    assert!(log.contains("limits.requests_per_minute") && log.contains("limits.running"), "{log}");
}

/// Who is trusted, the peer, its headers, and whether it is this machine itself.
type Case = (fn(&mut Config), &'static str, &'static [(&'static str, &'static str)], bool);

/// Field report 16.
#[test]
fn only_this_machine_itself_is_not_counted() {
    let trusted = |config: &mut Config| {
        config.limits.trusted_proxies = serde_json::from_value(json!(["127.0.0.1"])).unwrap();
    };
    let nobody = |_: &mut Config| ();
    let cases: [Case; 7] = [
        (nobody, "127.0.0.1:1", &[], true),
        (nobody, "[::1]:1", &[], true),
        (nobody, "127.0.0.1:1", &[FORWARDED], false),
        (nobody, "203.0.113.1:1", &[], false),
        (trusted, "127.0.0.1:1", &[], false),
        (trusted, "127.0.0.1:1", &[FORWARDED], false),
        // What the client claims itself.
        (trusted, "127.0.0.1:1", &[("x-forwarded-for", "127.0.0.1")], false),
    ];
    for (change, address, sent, own) in cases {
        let identity = door(change).stranger(peer(address), &headers(sent));
        assert_eq!(identity.own, own, "{address} {sent:?}");
    }
}

/// Field report 16.
#[test]
fn of_a_proxy_on_this_machine_that_nobody_trusts_the_log_warns_once() {
    let door = door(|_| ());
    let ask = |address, sent: &[(&'static str, &'static str)]| {
        logged(|| drop(door.stranger(peer(address), &headers(sent))))
    };
    assert_eq!(ask("127.0.0.1:1", &[]), "");
    assert_eq!(ask("203.0.113.1:1", &[FORWARDED]), "");
    assert!(ask("127.0.0.1:1", &[FORWARDED]).contains("limits.trusted_proxies"));
    assert_eq!(ask("127.0.0.1:1", &[FORWARDED]), "");
}

/// Field report 45.
#[test]
fn connections_of_one_household_are_one_clients_as_its_requests_are() {
    let door = door(|config| config.limits.connections = 2);
    let counted = |address: &str| door.connections_of(address.parse().unwrap());
    assert_eq!(counted("2001:db8:1:2::1"), counted("2001:db8:1:2:ffff::9"));
    assert_ne!(counted("2001:db8:1:2::1"), counted("2001:db8:1:3::1"));
    assert_eq!(counted("203.0.113.1"), Some(("203.0.113.1".parse().unwrap(), 2)));
    assert_eq!(counted("127.0.0.1"), None);
}
