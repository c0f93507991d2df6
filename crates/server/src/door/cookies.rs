//! Cookies for browsers, whose `EventSource` can't send headers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::keys::{ApiKey, KeyRing, Sha256Digest};
use crate::config::{self, SameSite};

/// Cookies of one key at the same time. One more takes the place of that key's which would end first.
const MOST_OF_A_KEY: usize = 1_000;

/// Which cookie stands for which key. A cookie is a random number and says nothing by itself; here only its digest is
/// kept. It ends with its time, with its key, and with the process.
pub(super) struct Cookies {
    settings: config::Keys,
    given: Mutex<HashMap<Sha256Digest, Given>>,
}

struct Given {
    owner: Arc<str>,
    key: Sha256Digest,
    until: Instant,
}

impl Cookies {
    pub(super) fn new(settings: &config::Keys) -> Self {
        Self { settings: settings.clone(), given: Mutex::default() }
    }

    /// The value of `Set-Cookie`.
    pub(super) fn make(&self, key: &ApiKey, secure: bool) -> String {
        let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let now = Instant::now();
        let mut given = self.given();
        given.retain(|_, given| given.until > now);
        let own = || given.iter().filter(|(_, given)| given.owner == key.name);
        if own().count() >= MOST_OF_A_KEY
            && let Some(first) = own().min_by_key(|(_, given)| given.until).map(|(token, _)| *token)
        {
            given.remove(&first);
        }
        let until = now + self.settings.cookie_seconds.0;
        given.insert(digest(&token), Given { owner: key.name.clone(), key: key.digest, until });
        self.set(&token, self.settings.cookie_seconds.0.as_secs(), secure)
    }

    /// Ends the cookies that a request brings; the value of `Set-Cookie` that has the browser forget them.
    pub(super) fn end(&self, headers: &HeaderMap, secure: bool) -> String {
        let mut given = self.given();
        for token in self.presented(headers) {
            given.remove(&digest(token));
        }
        self.set("", 0, secure)
    }

    /// The key that a request's cookie stands for. Of several with our name any may be ours: another server under the same host
    /// name may have set the others.
    pub(super) fn find(&self, headers: &HeaderMap, ring: &KeyRing) -> Option<Arc<ApiKey>> {
        let given = self.given();
        let now = Instant::now();
        let good = |token: &str| given.get(&digest(token)).filter(|given| given.until > now);
        self.presented(headers).filter_map(good).find_map(|given| ring.find_digest(&given.key))
    }

    fn set(&self, token: &str, seconds: u64, secure: bool) -> String {
        let name = self.settings.cookie_name.as_str();
        let site = match self.settings.cookie_same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        // Browsers refuse one for every site that isn't for TLS only.
        let secure = secure || self.settings.cookie_same_site == SameSite::None;
        let secure = if secure { "; Secure" } else { "" };
        format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={site}{secure}")
    }

    fn presented<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        let name = self.settings.cookie_name.as_str();
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(move |(found, _)| *found == name).map(|(_, token)| token)
    }

    fn given(&self) -> MutexGuard<'_, HashMap<Sha256Digest, Given>> {
        // Nothing in there is left half done by a panic.
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(token: &str) -> Sha256Digest {
    Sha256::digest(token).into()
}
