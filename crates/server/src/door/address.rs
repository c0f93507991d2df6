//! Which address a request comes from, with proxies in between.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

/// The other end of a connection, and which of the server's addresses it came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// It came to an address that is reached from this machine only.
    pub(crate) local: bool,
    /// What is administrative is answered there.
    pub(crate) admin: bool,
    /// And without a key.
    pub(crate) apart: bool,
}

/// The address that the nearest trusted proxy saw, going from proxy to proxy as long as they are trusted. What a client
/// writes into `X-Forwarded-For` itself lies behind the address that a proxy added, and is never reached.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut address = peer.to_canonical();
    let values = headers.get_all("x-forwarded-for").iter().rev().map(|value| value.to_str().unwrap_or(""));
    for hop in values.flat_map(|value| value.rsplit(',')) {
        if !trusted(address) {
            break;
        }
        match parse(hop.trim()) {
            Some(hop) => address = hop,
            // Nobody knows who is behind what can't be read.
            None => break,
        }
    }
    address
}

/// An address, with a port or brackets where a proxy writes them.
fn parse(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    let address =
        address.or_else(|_| hop.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>()).ok();
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("203.0.113.1", &["198.51.100.7"], "203.0.113.1"),
            ("127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("::ffff:127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            // What the client claims stands left of what the proxy saw.
            ("127.0.0.1", &["1.2.3.4, 198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["1.2.3.4", "198.51.100.7"], "198.51.100.7"),
            // A chain of trusted proxies is followed to its end.
            ("127.0.0.1", &["198.51.100.7, 10.0.0.3, 10.0.0.2"], "198.51.100.7"),
            ("127.0.0.1", &["10.0.0.3"], "10.0.0.3"),
            ("127.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("127.0.0.1", &["198.51.100.7:8080"], "198.51.100.7"),
            ("127.0.0.1", &["198.51.100.7, nonsense"], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("127.0.0.1", &[""], "127.0.0.1"),
        ];
        let trusted = |address: IpAddr| {
            address.is_loopback() || matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10)
        };
        for (peer, values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let address = client_address(peer.parse().unwrap(), &headers, trusted);
            assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{peer} {values:?}");
        }
    }
}
