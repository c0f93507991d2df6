//! API keys: a file of names, digests and limits, read again while the server runs.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Allowance;
use crate::config::Error;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;
const LONGEST_NAME: usize = 64;
/// The one that is in use, and the one that takes its place.
const KEYS_OF_A_NAME: usize = 2;

pub(super) type Sha256Digest = [u8; 32];

/// A key's name and what may be done with it. The key itself isn't kept.
pub(crate) struct ApiKey {
    pub(crate) name: Arc<str>,
    pub(super) digest: Sha256Digest,
    pub(crate) allowance: Allowance,
}

/// Without the digest, so that it can't get into a log.
impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.name)
            .field("allowance", &self.allowance)
            .finish_non_exhaustive()
    }
}

/// The keys that count now.
pub(crate) struct KeyRing {
    path: PathBuf,
    defaults: Allowance,
    keys: RwLock<Vec<Arc<ApiKey>>>,
    /// How the file looked when it was last read.
    seen: Mutex<Option<(SystemTime, u64)>>,
}

impl KeyRing {
    /// # Errors
    /// A file that can't be read or used, with its place. What it holds is never part of the text.
    pub(crate) fn open(path: &Path, defaults: Allowance) -> Result<Self, Error> {
        let seen = look(path);
        let keys = read(path, defaults)?;
        tracing::info!(keys = keys.len(), file = %path.display(), "API keys loaded");
        Ok(Self { path: path.into(), defaults, keys: RwLock::new(keys), seen: Mutex::new(seen) })
    }

    /// The key that was presented, if it is one. It takes equally long for every wrong one.
    pub(super) fn find(&self, presented: &[u8]) -> Option<Arc<ApiKey>> {
        let digest: Sha256Digest = Sha256::digest(presented).into();
        self.find_digest(&digest)
    }

    pub(super) fn find_digest(&self, digest: &Sha256Digest) -> Option<Arc<ApiKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for key in keys.iter() {
            if key.digest.ct_eq(digest).into() {
                found = Some(key.clone());
            }
        }
        found
    }

    /// Reads the file again, changed or not.
    pub(super) fn reload(&self) -> Result<(), Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = look(&self.path);
        let keys = read(&self.path, self.defaults)?;
        tracing::info!(keys = keys.len(), file = %self.path.display(), "API keys loaded again");
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Reads the file again if it looks different. A bad one is reported once, and the keys stay.
    pub(super) fn refresh(&self) {
        let changed = *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != look(&self.path);
        if changed && let Err(error) = self.reload() {
            tracing::error!(%error, "the API keys stay as they were");
        }
    }
}

fn look(path: &Path) -> Option<(SystemTime, u64)> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: toml::Spanned<String>,
    key: Option<String>,
    sha256: Option<String>,
    requests_per_minute: Option<u32>,
    burst: Option<u32>,
    running: Option<u32>,
}

fn read(path: &Path, defaults: Allowance) -> Result<Vec<Arc<ApiKey>>, Error> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error(format!("keys.file {shown}: {error}; `leafresh keys new NAME` explains what belongs into it"))
    })?;
    parse(&text, defaults).map_err(|(at, reason)| {
        let line = text[..at.min(text.len())].lines().count().max(1);
        Error(format!("{shown}, line {line}: {reason}"))
    })
}

/// Errors come with their place in bytes.
fn parse(text: &str, defaults: Allowance) -> Result<Vec<Arc<ApiKey>>, (usize, String)> {
    // The parser's own display shows the line, and that may hold a key.
    let file: File = toml::from_str(text)
        .map_err(|error| (error.span().map_or(0, |span| span.start + 1), error.message().to_owned()))?;
    let mut names = HashMap::<_, usize>::new();
    let mut digests = HashSet::new();
    let mut keys = Vec::new();
    for entry in file.key {
        let at = entry.name.span().start + 1;
        let key = entry.check(defaults).map_err(|reason| (at, reason))?;
        let known = names.entry(key.name.clone()).or_default();
        *known += 1;
        if *known > KEYS_OF_A_NAME {
            return Err((at, format!("`{}` has more than {KEYS_OF_A_NAME} keys", key.name)));
        }
        if !digests.insert(key.digest) {
            return Err((at, format!("`{}` has the key of another one", key.name)));
        }
        keys.push(Arc::new(key));
    }
    if keys.is_empty() {
        return Err((0, "there is no key in it; `leafresh keys new NAME` makes one".into()));
    }
    Ok(keys)
}

impl Entry {
    fn check(self, defaults: Allowance) -> Result<ApiKey, String> {
        let name = self.name.into_inner();
        if !is_name(&name) {
            return Err(format!("a name has 1 to {LONGEST_NAME} visible ASCII characters without spaces"));
        }
        let digest = match (&self.key, &self.sha256) {
            (Some(key), None) if key.len() < SHORTEST => {
                return Err(format!("the key of `{name}` has fewer than {SHORTEST} characters"));
            }
            (Some(key), None) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(format!("the key of `{name}` has other characters than visible ASCII"));
            }
            (Some(key), None) => Sha256::digest(key).into(),
            (None, Some(digest)) => from_hex(digest)
                .ok_or_else(|| format!("sha256 of `{name}` is no digest of 64 hexadecimal digits"))?,
            _ => return Err(format!("`{name}` needs either `sha256` or `key`")),
        };
        let allowance = Allowance {
            requests_per_minute: self.requests_per_minute.unwrap_or(defaults.requests_per_minute),
            burst: self.burst.unwrap_or(defaults.burst),
            running: self.running.unwrap_or(defaults.running),
        };
        Ok(ApiKey { name: name.into(), digest, allowance })
    }
}

fn from_hex(text: &str) -> Option<Sha256Digest> {
    let mut digest = Sha256Digest::default();
    if text.len() != 2 * digest.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(digest)
}

/// Whether a key can be called that.
pub fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// How many keys a file holds.
///
/// # Errors
/// A file that the server couldn't use, with the line. What it holds is never part of the text.
pub fn count_keys(path: &Path) -> Result<usize, Error> {
    let none = Allowance { requests_per_minute: 0, burst: 0, running: 0 };
    read(path, none).map(|keys| keys.len())
}

/// A new key of 256 random bits, and its digest as the file has it.
pub fn fresh_key() -> (String, String) {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    };
    let key = format!("lf_{}", hex(&rand::random::<[u8; 32]>()));
    let digest = hex(&Sha256::digest(&key));
    (key, digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Allowance = Allowance { requests_per_minute: 1, burst: 2, running: 3 };

    #[test]
    fn a_key_is_found_by_its_text_whichever_way_it_is_stored() {
        let (fresh, digest) = fresh_key();
        let text = format!(
            "[[key]]\nname = \"a\"\nsha256 = \"{digest}\"\nrunning = 9\n[[key]]\nname = \"b\"\nkey = \"0123456789abcdef\"\n"
        );
        let keys = RwLock::new(parse(&text, NONE).unwrap());
        let ring = KeyRing { path: PathBuf::new(), defaults: NONE, keys, seen: Mutex::new(None) };
        let a = ring.find(fresh.as_bytes()).unwrap();
        assert_eq!((&*a.name, a.allowance), ("a", Allowance { running: 9, ..NONE }));
        assert_eq!(&*ring.find(b"0123456789abcdef").unwrap().name, "b");
        for wrong in [&b""[..], b"0123456789abcde", b"0123456789abcdeF", digest.as_bytes()] {
            assert!(ring.find(wrong).is_none());
        }
    }

    #[test]
    fn a_bad_file_is_named_by_line_and_never_shows_a_key() {
        let secret = "very-secret-key-of-mine";
        let cases = [
            ("", 1, "no key"),
            ("\n[[key]]\nname = \"a\"\n", 3, "needs either"),
            ("[[key]]\nname = \"a\"\nkey = \"very-secret-key-of-mine\"\nsha256 = \"\"\n", 2, "needs either"),
            ("[[key]]\nname = \"a\"\nkey = \"very-secret\"\n", 2, "fewer than 16"),
            ("[[key]]\nname = \"a\"\nsha256 = \"xyz\"\n", 2, "64 hexadecimal"),
            ("[[key]]\nname = \"a b\"\nkey = \"very-secret-key-of-mine\"\n", 2, "visible ASCII"),
            (
                "[[key]]\nname = \"a\"\nkey = \"very-secret-key-of-mine\"\n[[key]]\nname = \"a\"\nkey = \"0123456789abcdef\"\n\
                 [[key]]\nname = \"a\"\nkey = \"fedcba9876543210\"",
                8,
                "more than 2 keys",
            ),
            (
                "[[key]]\nname = \"a\"\nkey = \"0123456789abcdef\"\n[[key]]\nname = \"b\"\nkey = \"0123456789abcdef\"",
                5,
                "another one",
            ),
            ("[[key]]\nname = \"a\"\nkey = \"very-secret-key-of-mine\" x\n", 3, ""),
            ("[[key]]\nname = \"a\"\nkey = \"very-secret-key-of-mine\"\nrate = 5\n", 4, "rate"),
        ];
        for (text, line, reason) in cases {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("keys.toml");
            std::fs::write(&path, text).unwrap();
            let error = read(&path, NONE).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}:")) && error.contains(reason), "{error} for {text}");
            assert!(!error.contains(secret) && !error.contains("0123456789abcdef"), "{error}");
        }
    }
}
