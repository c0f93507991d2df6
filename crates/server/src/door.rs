//! Who is at the door: clients, known by their key or else by their address, and how much each of them may ask.

mod address;
mod cookies;
mod keys;
mod limiter;

pub(crate) use address::Peer;
pub(crate) use keys::{ApiKey, KeyRing};
pub use keys::{count_keys, fresh_key, is_name};
pub(crate) use limiter::Permit;

use std::net::IpAddr;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use tokio::time::Instant;

use self::address::client_address;
use self::cookies::Cookies;
use self::limiter::{Client, Limiter, one_client};
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
    key: Option<Arc<ApiKey>>,
    address: IpAddr,
    /// This machine itself, with nobody in between: nothing of it is counted.
    own: bool,
}

impl Identity {
    /// The key's name; empty without one. Sessions and streams belong to it.
    pub(crate) fn name(&self) -> &str {
        self.key.as_ref().map_or("", |key| &key.name)
    }

    pub(crate) fn key(&self) -> Option<&Arc<ApiKey>> {
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
    warned_of_proxy: Once,
}

impl Door {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            limits: config.limits.clone(),
            keys: config.keys.clone(),
            ring: OnceLock::new(),
            cookies: Cookies::new(&config.keys),
            limiter: Limiter::default(),
            warned_of_proxy: Once::new(),
        }
    }

    /// Reads the keys' file, if one is configured.
    ///
    /// # Errors
    /// A file that can't be read or used. Then the keys that were there stay, or nobody has one.
    pub(crate) fn load_keys(&self) -> Result<(), config::Error> {
        let Some(file) = self.keys.path()? else { return Ok(()) };
        if let Some(ring) = self.ring.get() {
            return ring.reload();
        }
        let ring = KeyRing::open(&file, self.allowance())?;
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

    /// Whether a proxy stands in front, which answers for the names that the server is asked under.
    pub(crate) fn has_proxies(&self) -> bool {
        !self.limits.trusted_proxies.is_empty()
    }

    /// As whom the connections of an address are counted, and how many it may have; `None` for a proxy's, and for this machine's
    /// own where there is none.
    pub(crate) fn connections_of(&self, address: IpAddr) -> Option<(IpAddr, u32)> {
        let limit = self.limits.connections;
        let own = address.is_loopback() && !self.has_proxies();
        (limit > 0 && !own && !self.is_proxy(address)).then(|| (one_client(address), limit))
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

    /// The same where a cookie isn't enough: it would renew itself for ever.
    ///
    /// # Errors
    /// [`Unknown`] when a key is needed.
    pub(crate) fn identify_by_key(&self, peer: Peer, headers: &HeaderMap) -> Result<Identity, Unknown> {
        if self.has_keys() && presented(headers).is_none() {
            return Err(Unknown);
        }
        self.identify(peer, headers)
    }

    /// The same without looking at keys, for what is open to everybody.
    pub(crate) fn stranger(&self, peer: Peer, headers: &HeaderMap) -> Identity {
        let address = client_address(peer.address.ip(), headers, |address| self.is_proxy(address));
        let loopback = peer.address.ip().to_canonical().is_loopback();
        let forwarded = headers.contains_key("x-forwarded-for");
        if loopback && forwarded && !self.is_proxy(peer.address.ip().to_canonical()) {
            self.warned_of_proxy.call_once(|| {
                tracing::warn!(
                    "requests come through a proxy on this machine that limits.trusted_proxies doesn't name: all of its \
                     clients count as one"
                );
            });
        }
        Identity { key: None, address, own: loopback && !forwarded && !self.has_proxies() }
    }

    /// A cookie that stands for a key for a while, as the value of `Set-Cookie`.
    pub(crate) fn cookie(&self, key: &ApiKey, secure: bool) -> String {
        self.cookies.make(key, secure)
    }

    /// Ends the cookies that came with a request, and says so to the browser.
    pub(crate) fn end_cookie(&self, headers: &HeaderMap, secure: bool) -> String {
        self.cookies.end(headers, secure)
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
            Some((client, allowance)) => {
                let asked = self.limiter.ask(client, &allowance, Instant::now());
                asked.inspect_err(|_| met("limits.requests_per_minute"))
            }
            None => Ok(()),
        }
    }

    /// One of the answers that the client may have at the same time; none for whom nothing is limited.
    ///
    /// # Errors
    /// [`TooMuch`] when all are taken.
    pub(crate) fn permit(&self, identity: &Identity) -> Result<Option<Permit>, TooMuch> {
        let client = self.client(identity);
        let permit =
            client.map(|(client, allowance)| self.limiter.permit(client, &allowance, Instant::now()));
        permit.transpose().inspect_err(|_| met("limits.running"))
    }

    /// Who is counted, and how much they may; `None` for whom nothing is.
    fn client(&self, identity: &Identity) -> Option<(Client, Allowance)> {
        let allowance = match &identity.key {
            Some(key) => key.allowance,
            None if identity.own => return None,
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

/// Tells the operator which setting it was. Whom it met is in the request's span, if it may be known.
pub(crate) fn met(setting: &'static str) {
    tracing::warn!(setting, "a client has met a limit");
}

/// The key in a request's headers, whether it fits or not. Another scheme in `Authorization` is somebody else's: a proxy's
/// password, say.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let mut bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
    });
    let own = || headers.get("x-api-key").map(|value| value.as_bytes().trim_ascii());
    bearers.next().or_else(own).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests;
