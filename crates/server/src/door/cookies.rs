//! Cookies for browsers, whose `EventSource` can't send headers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::keys::{Key, KeyRing, Sha256Digest};

const NAME: &str = "leafresh";

/// Cookies at the same time. One more takes the place of the one that would end first.
const MOST: usize = 10_000;

/// Which cookie stands for which key. A cookie is a random number and says nothing by itself; here only its digest is
/// kept. It ends with its time, with its key, and with the process.
pub(super) struct Cookies {
    life: Duration,
    given: Mutex<HashMap<Sha256Digest, Given>>,
}

struct Given {
    key: Sha256Digest,
    until: Instant,
}

impl Cookies {
    pub(super) fn new(life: Duration) -> Self {
        Self { life, given: Mutex::default() }
    }

    /// The value of `Set-Cookie`.
    pub(super) fn make(&self, key: &Key, secure: bool) -> String {
        let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let now = Instant::now();
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, given| given.until > now);
        if given.len() >= MOST
            && let Some(first) = given.iter().min_by_key(|(_, given)| given.until).map(|(token, _)| *token)
        {
            given.remove(&first);
        }
        given.insert(Sha256::digest(&token).into(), Given { key: key.digest, until: now + self.life });
        let secure = if secure { "; Secure" } else { "" };
        let seconds = self.life.as_secs();
        format!("{NAME}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }

    /// The key that a request's cookie stands for.
    pub(super) fn find(&self, headers: &HeaderMap, ring: &KeyRing) -> Option<Arc<Key>> {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, token) = pairs.find(|(name, _)| *name == NAME)?;
        let digest: Sha256Digest = Sha256::digest(token).into();
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let key = given.get(&digest).filter(|given| given.until > Instant::now())?.key;
        ring.find_digest(&key)
    }
}
