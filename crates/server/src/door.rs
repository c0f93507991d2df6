//! Who is at the door: clients, known by their key or else by their address, and how much each of them may ask.

mod address;
mod cookies;
mod keys;
mod limiter;

pub(crate) use address::Peer;
pub(crate) use keys::{Key, KeyRing};
pub use keys::{fresh_key, is_name};
pub(crate) use limiter::Place;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use tokio::time::Instant;

use self::address::client_address;
use self::cookies::Cookies;
use self::limiter::{Client, Limiter};
use crate::config::{self, Config};

/// What one client may do. 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) requests_per_minute: u32,
    pub(crate) burst: u32,
    /// Answers at the same time.
    pub(crate) running: u32,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    key: Option<Arc<Key>>,
    address: IpAddr,
}

impl Identity {
    /// The key's name; empty without one. Sessions and streams belong to it.
    pub(crate) fn name(&self) -> &str {
        self.key.as_ref().map_or("", |key| &key.name)
    }

    pub(crate) fn key(&self) -> Option<&Arc<Key>> {
        self.key.as_ref()
    }

    /// As whom it is counted, and waits in turn with others.
    pub(crate) fn client(&self) -> Client {
        self.key.as_ref().map_or_else(|| Client::address(self.address), |key| Client::Key(key.name.clone()))
    }
}

/// A key is needed, and none that was presented fits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

/// Over a limit; after this time it is worth asking again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMuch(pub(crate) Duration);

/// The doorkeeper of one server.
pub(crate) struct Door {
    limits: config::Limits,
    keys: config::Keys,
    /// Empty while keys are configured but not loaded: then nobody has one that fits.
    ring: OnceLock<KeyRing>,
    cookies: Cookies,
    limiter: Limiter,
}

impl Door {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            limits: config.limits.clone(),
            keys: config.keys.clone(),
            ring: OnceLock::new(),
            cookies: Cookies::new(config.keys.cookie_seconds.0),
            limiter: Limiter::default(),
        }
    }

    /// Reads the keys' file, if one is configured.
    ///
    /// # Errors
    /// A file that can't be read or used. Then the keys that were there stay, or nobody has one.
    pub(crate) fn load_keys(&self) -> Result<(), config::Error> {
        let Some(file) = &self.keys.file else { return Ok(()) };
        if let Some(ring) = self.ring.get() {
            return ring.reload();
        }
        let ring = KeyRing::open(&config::at_home("keys.file", file)?, self.allowance())?;
        // Whoever was faster has read the same file.
        let _ = self.ring.set(ring);
        Ok(())
    }

    /// Reads the keys' file again if it has changed.
    pub(crate) fn refresh_keys(&self) {
        if let Some(ring) = self.ring.get() {
            ring.refresh();
        }
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.keys.file.is_some()
    }

    /// Whether addresses of this client are counted by others: a proxy's, or this machine's own.
    pub(crate) fn is_exempt(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.is_proxy(address)
    }

    pub(crate) fn limits(&self) -> &config::Limits {
        &self.limits
    }

    /// Who sends these headers, with a key if one fits. Without keys in the configuration nobody needs one.
    ///
    /// # Errors
    /// [`Unknown`] when a key is needed.
    pub(crate) fn identify(&self, peer: Peer, headers: &HeaderMap) -> Result<Identity, Unknown> {
        let identity = self.stranger(peer, headers);
        if !self.has_keys() {
            return Ok(identity);
        }
        let ring = self.ring.get().ok_or(Unknown)?;
        let key = match presented(headers) {
            Some(presented) => ring.find(presented),
            None => self.cookies.find(headers, ring),
        };
        Ok(Identity { key: Some(key.ok_or(Unknown)?), ..identity })
    }

    /// The same without looking at keys, for what is open to everybody.
    pub(crate) fn stranger(&self, peer: Peer, headers: &HeaderMap) -> Identity {
        let address = client_address(peer.address.ip(), headers, |address| self.is_proxy(address));
        Identity { key: None, address }
    }

    /// A cookie that stands for a key for a while, as the value of `Set-Cookie`.
    pub(crate) fn cookie(&self, key: &Key, secure: bool) -> String {
        self.cookies.make(key, secure)
    }

    /// Whether the request came over TLS to a proxy that can be believed.
    pub(crate) fn is_secure(&self, peer: Peer, headers: &HeaderMap) -> bool {
        let said = headers.get("x-forwarded-proto").is_some_and(|value| value == "https");
        said && self.is_proxy(peer.address.ip().to_canonical())
    }

    /// Takes a request off the client's allowance.
    ///
    /// # Errors
    /// [`TooMuch`] when there is none left.
    pub(crate) fn ask(&self, identity: &Identity) -> Result<(), TooMuch> {
        match self.client(identity) {
            Some((client, allowance)) => self.limiter.ask(client, &allowance, Instant::now()),
            None => Ok(()),
        }
    }

    /// A place among the answers that the client may have at the same time.
    ///
    /// # Errors
    /// [`TooMuch`] when all are taken.
    pub(crate) fn place(&self, identity: &Identity) -> Result<Option<Place>, TooMuch> {
        let client = self.client(identity);
        client.map(|(client, allowance)| self.limiter.place(client, &allowance, Instant::now())).transpose()
    }

    /// Who is counted, and how much they may; `None` for whom nothing is.
    fn client(&self, identity: &Identity) -> Option<(Client, Allowance)> {
        let allowance = match &identity.key {
            Some(key) => key.allowance,
            None if identity.address.is_loopback() => return None,
            None => self.allowance(),
        };
        Some((identity.client(), allowance))
    }

    fn allowance(&self) -> Allowance {
        let config::Limits { requests_per_minute, burst, running, .. } = self.limits;
        Allowance { requests_per_minute, burst, running }
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.limits.trusted_proxies.iter().any(|proxy| proxy.contains(address))
    }
}

/// The key in a request's headers, whether it fits or not.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).map(|value| {
        // A scheme of another kind is a key that fits nowhere.
        let value = value.as_bytes();
        let is_bearer = value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        if is_bearer { value[7..].trim_ascii() } else { b"" }
    });
    bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes().trim_ascii()))
}
