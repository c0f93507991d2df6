//! Servers that write elsewhere, as operators name them.

use std::path::PathBuf;

use leafresh_remote::{Key, Kind};
use serde::de::{Deserialize, Deserializer, Error, Unexpected};

use super::values::{self, Seconds};

/// One `[[upstream]]`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    pub url: UpstreamUrl,
    /// None, written `auto`: found out.
    #[serde(default, deserialize_with = "kind")]
    pub kind: Option<Kind>,
    /// The name that the server knows its model by. None: the first one that it lists.
    #[serde(default)]
    pub model: Option<String>,
    /// Where the key is that the server wants.
    #[serde(default)]
    pub key: Option<KeyPlace>,
    /// Answers that it writes at the same time.
    #[serde(default = "defaults::running", deserialize_with = "values::at_least_one")]
    pub running: usize,
    /// Whether it is used although it can't be bound to a grammar.
    #[serde(default = "defaults::steer")]
    pub steer: bool,
    #[serde(default = "defaults::connect", deserialize_with = "values::positive")]
    pub connect_seconds: Seconds,
    #[serde(default = "defaults::first", deserialize_with = "values::positive")]
    pub first_seconds: Seconds,
    #[serde(default = "defaults::idle", deserialize_with = "values::positive")]
    pub idle_seconds: Seconds,
}

mod defaults {
    use super::Seconds;
    use leafresh_remote::Upstream;

    pub(super) fn running() -> usize {
        Upstream::new("").running
    }

    pub(super) fn steer() -> bool {
        Upstream::new("").steer
    }

    pub(super) fn connect() -> Seconds {
        Seconds(Upstream::new("").connect)
    }

    pub(super) fn first() -> Seconds {
        Seconds(Upstream::new("").first)
    }

    pub(super) fn idle() -> Seconds {
        Seconds(Upstream::new("").idle)
    }
}

impl From<&Upstream> for leafresh_remote::Upstream {
    fn from(upstream: &Upstream) -> Self {
        let Upstream { url, kind, model, key, running, steer, connect_seconds, first_seconds, idle_seconds } =
            upstream.clone();
        Self {
            kind,
            model,
            key: key.map(|KeyPlace(key)| key),
            running,
            steer,
            connect: connect_seconds.0,
            first: first_seconds.0,
            idle: idle_seconds.0,
            ..Self::new(&url.0)
        }
    }
}

/// The address of a server: `http://HOST:PORT`, or `https://…`, with or without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl(String);

impl UpstreamUrl {
    fn parse(text: &str) -> Option<Self> {
        let url = reqwest::Url::parse(text).ok()?;
        let plain = url.username().is_empty() && url.password().is_none();
        let bare = url.query().is_none() && url.fragment().is_none();
        let known = matches!(url.scheme(), "http" | "https") && url.has_host();
        (plain && bare && known).then(|| Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for UpstreamUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an address such as http://127.0.0.1:8001 (no key in it, no ? and no #)";
        let text = String::deserialize(deserializer)?;
        // What stands there may hold a key.
        Self::parse(&text)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Other("something else"), &expected))
    }
}

/// Where a key is: `env:NAME`, or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlace(Key);

impl<'de> Deserialize<'de> for KeyPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "\"env:NAME\", the name of an environment variable, or a file as \"./NAME\", \"/…/NAME\" or \"~/NAME\"";
        let text = String::deserialize(deserializer)?;
        let looks_like_a_path = text.starts_with(['/', '.', '~']);
        match text.strip_prefix("env:") {
            Some(name) if !name.is_empty() => Ok(Self(Key::Variable(name.to_owned()))),
            None if looks_like_a_path => {
                let path = PathBuf::from(&text);
                let path = super::at_home("upstream.key", &path).map_err(D::Error::custom)?;
                Ok(Self(Key::File(path)))
            }
            // It may be the key itself.
            _ => Err(D::Error::invalid_value(Unexpected::Other("something else"), &expected)),
        }
    }
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Kind>, D::Error> {
    const NAMES: [&str; 7] = ["auto", "vllm", "llama-server", "sglang", "tgi", "openai", "leafresh"];
    let text = String::deserialize(deserializer)?;
    if text == NAMES[0] {
        return Ok(None);
    }
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    kind.map(Some).ok_or_else(|| D::Error::unknown_variant(&text, &NAMES))
}

#[cfg(test)]
mod tests {
    use super::UpstreamUrl;

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_no_key() {
        for good in
            ["http://127.0.0.1:8001", "https://vllm.example/", "http://[::1]:80/v1", "https://a.example/b/v1"]
        {
            assert!(UpstreamUrl::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "127.0.0.1:8001", "localhost:80", "ftp://a", "http://key@a", "http://a?key=1", "http://a#b"]
        {
            assert!(UpstreamUrl::parse(bad).is_none(), "{bad}");
        }
    }
}
