//! Values that are checked while they are read, so that an error names the key they came from.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderValue, Uri};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// An address to listen on: `HOST:PORT`. Port 0 takes any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen(String);

impl Listen {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let valid = match text.parse::<SocketAddr>() {
            Ok(_) => true,
            Err(_) => text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains([':', '/', ' ']) && port.parse::<u16>().is_ok()
            }),
        };
        valid.then(|| Self(text.to_owned()))
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self("127.0.0.1:8000".into())
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an address HOST:PORT, such as 127.0.0.1:8000 or 0.0.0.0:8000";
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

/// What all paths begin with: empty, or `/a` or `/a/b`, without a slash at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let valid = text.is_empty()
            || text.strip_prefix('/').is_some_and(|rest| {
                rest.split('/').all(|part| !matches!(part, "" | "." | "..") && part.chars().all(plain))
            });
        valid.then(|| Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a path such as /leafresh (no slash at its end), or nothing";
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

/// A name under which the server is asked, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// Whether a host, without its port, is this one.
    pub fn is(&self, host: &str) -> bool {
        self.0.eq_ignore_ascii_case(host)
    }

    fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        (!text.is_empty() && text.chars().all(plain)).then(|| Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a host name such as leafresh.example (no scheme, no port)";
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

/// The name of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieName(String);

impl CookieName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        // A token of RFC 9110.
        let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        (!text.is_empty() && text.chars().all(plain)).then(|| Self(text.to_owned()))
    }
}

impl Default for CookieName {
    fn default() -> Self {
        Self("leafresh".into())
    }
}

impl<'de> Deserialize<'de> for CookieName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "the name of a cookie: letters, digits, - and _";
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

/// From which pages a browser sends a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Those of the same site.
    Strict,
    /// And links to it.
    Lax,
    /// All, over TLS only.
    None,
}

/// A length of time, written as a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Seconds {
    pub const fn new(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Seconds;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of seconds, 0 to 86400")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Seconds, E> {
                self.visit_f64(number as f64)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Seconds, E> {
                self.visit_f64(number as f64)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Seconds, E> {
                if (0.0..=86_400.0).contains(&number) {
                    Ok(Seconds(Duration::from_secs_f64(number)))
                } else {
                    Err(E::invalid_value(Unexpected::Float(number), &self))
                }
            }
        }

        deserializer.deserialize_any(Number)
    }
}

/// For times without which nothing would work.
pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
    let seconds = Seconds::deserialize(deserializer)?;
    if seconds.0.is_zero() {
        return Err(D::Error::invalid_value(Unexpected::Unsigned(0), &"a number of seconds above 0"));
    }
    Ok(seconds)
}

/// For sizes without which nothing would work.
pub(super) fn at_least_one<'de, D: Deserializer<'de>, N>(deserializer: D) -> Result<N, D::Error>
where
    N: Deserialize<'de> + Default + PartialEq,
{
    let number = N::deserialize(deserializer)?;
    if number == N::default() {
        return Err(D::Error::invalid_value(Unexpected::Unsigned(0), &"a whole number above 0"));
    }
    Ok(number)
}

/// The origin of a page, as browsers write it: scheme, host and port, no path. Or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    fn parse(text: &str) -> Option<Self> {
        let origin = || {
            let uri: Uri = text.parse().ok()?;
            let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
            // Compared with what was written: a browser sends neither a path nor a trailing slash nor capitals.
            (text == format!("{scheme}://{}", uri.authority()?).to_ascii_lowercase()).then_some(())
        };
        if text != "*" {
            origin()?;
        }
        HeaderValue::from_str(text).ok().map(Self)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected =
            "an origin such as https://example.com or http://localhost:3000 (no path, no final slash), or *";
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

/// The address of an HTTP server, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let host = uri.host().is_some_and(|host| !host.is_empty());
        let whole = uri.authority().is_some_and(|authority| !authority.as_str().ends_with(':'));
        let plain = uri.scheme_str() == Some("http") && host && whole;
        (plain && uri.query().is_none() && !text.contains('@'))
            .then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an address such as http://127.0.0.1:4318 (OTLP over HTTP; for TLS put a collector beside the server)";
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Whether the log tells what people wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogText {
    Off,
    /// Each letter and digit replaced by one that stands for its kind.
    Redacted,
    Full,
}

#[cfg(test)]
mod tests {
    use super::{CookieName, Endpoint, HostName, Listen, Origin, Prefix};

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["127.0.0.1:8000", "0.0.0.0:0", "[::]:8000", "localhost:80", "my-host.example:65535"] {
            assert!(Listen::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "8000", ":8000", "127.0.0.1", "host:", "host:70000", "::1:80", "http://host:80", "a b:80"]
        {
            assert!(Listen::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_is_an_address_without_tls() {
        for (good, kept) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
            ("http://collector:4318/", "http://collector:4318"),
            ("http://[::1]:4318/otlp/", "http://[::1]:4318/otlp"),
        ] {
            assert_eq!(Endpoint::parse(good).unwrap().as_str(), kept);
        }
        for bad in [
            "",
            "127.0.0.1:4318",
            "https://c:4318",
            "http://",
            "http://c:",
            "/v1/traces",
            "http://a:b@c",
            "http://c?d=e",
        ] {
            assert!(Endpoint::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_begins_with_a_slash_and_ends_without() {
        for good in ["", "/a", "/a/b-c.d"] {
            assert!(Prefix::parse(good).is_some(), "{good}");
        }
        for bad in ["/", "a", "/a/", "//a", "/a b", "/..", "/{x}", "/a?b", "/가"] {
            assert!(Prefix::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_of_hosts_and_cookies_hold_nothing_else() {
        for good in ["leafresh.example", "my-pc", "a_b.local"] {
            assert!(HostName::parse(good).is_some() && CookieName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a:80", "http://a", "a b", "a/b", "a;b", "a=b", "가"] {
            assert!(HostName::parse(bad).is_none() && CookieName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for good in ["*", "https://example.com", "http://localhost:3000", "http://[::1]:3000"] {
            assert!(Origin::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "https://example.com/",
            "https://Example.com",
            "ftp://a",
            "https://a\r\nb",
            "null",
        ] {
            assert!(Origin::parse(bad).is_none(), "{bad}");
        }
    }
}
