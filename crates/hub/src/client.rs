//! The Hub's HTTP: what a repository has, what a file is, and its bytes from a place on.
//!
//! <https://huggingface.co/docs/hub/api>; what a `HEAD` says of a file is what `huggingface_hub` goes by
//! (`get_hf_file_metadata`).

mod answers;
mod licence;
mod refusals;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder, Timeout};

use crate::settings::{Patience, Settings, Token};
use crate::{Error, RepoId};

use answers::{number, text, within};
use licence::Card;
pub use licence::Licence;
use refusals::Refusal;

const AGENT: &str = concat!("leafresh/", env!("CARGO_PKG_VERSION"));

/// A file may have moved with its repository.
const MOST_MOVES: usize = 5;

/// A description of a repository with thousands of files is a few megabytes.
const LARGEST_DESCRIPTION: u64 = 32 << 20;

/// The Hub, or a mirror of it.
pub struct Hub {
    settings: Settings,
    /// One that follows nothing: what an answer says of a file stands before it sends elsewhere.
    asking: Agent,
    /// One that follows to where the bytes lie, without the token.
    fetching: Agent,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What a repository is at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub id: RepoId,
    /// 40 hexadecimal digits.
    pub commit: String,
    pub licence: Licence,
    /// Its files, with folders.
    pub files: Vec<String>,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub commit: String,
    /// Names its bytes: the SHA-256 of large files.
    pub etag: String,
    pub bytes: u64,
    /// Where the Hub has it now.
    pub(crate) url: String,
}

/// Why a call is tried again.
pub(crate) enum Again {
    /// After this time at least.
    Later { reason: String, after: Option<Duration> },
    /// It isn't.
    Never(Error),
}

#[derive(Deserialize)]
struct Description {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: Option<Card>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Hub {
    pub fn new(settings: Settings) -> Self {
        let Patience { silence, .. } = settings.patience;
        let agent = |redirects: u32| {
            Agent::config_builder()
                .user_agent(AGENT)
                .http_status_as_error(false)
                .max_redirects(redirects)
                .max_redirects_will_error(redirects > 0)
                // Of a compressed body no part could be asked for.
                .accept_encoding("identity")
                .tls_config(tls())
                .timeout_connect(Some(silence))
                .timeout_recv_response(Some(silence))
                .timeout_per_read(Some(silence))
                .build()
                .new_agent()
        };
        Self { asking: agent(0), fetching: agent(10), settings }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.settings.endpoint
    }

    pub(crate) fn patience(&self) -> Patience {
        self.settings.patience
    }

    /// What a repository has at a branch, tag or commit.
    ///
    /// # Errors
    /// [`Error::Gated`], [`Error::NoRepository`], [`Error::NoRevision`], [`Error::BadToken`]; [`Error::Network`] when the Hub
    /// can't be reached.
    pub fn repository(&self, id: &RepoId, revision: &str) -> Result<Repository, Error> {
        let url = format!("{}/api/models/{id}/revision/{}", self.endpoint(), within(revision, false));
        let about = Refusal { hub: self, repo: id, revision, file: None };
        let (response, _) = self.ask(&about, url, |url| self.asking.get(url))?;
        let body = response.into_body().into_with_config().limit(LARGEST_DESCRIPTION).read_to_string();
        let body = body.map_err(|error| self.network(error.to_string()))?;
        let description: Description = serde_json::from_str(&body).map_err(|error| self.strange(&error))?;
        if !is_commit(&description.sha) {
            return Err(self.strange(&format!("it names no commit, but `{}`", description.sha)));
        }
        let licence = description.card.unwrap_or_default().licence(self.endpoint(), id);
        let files =
            description.siblings.into_iter().map(|file| file.rfilename).filter(|name| is_inside(name));
        Ok(Repository { id: id.clone(), commit: description.sha, licence, files: files.collect() })
    }

    /// What a file of a repository is.
    ///
    /// # Errors
    /// As [`Hub::repository`]; [`Error::NoFile`] when there is none of that name.
    pub fn file(&self, id: &RepoId, commit: &str, name: &str) -> Result<Remote, Error> {
        let about = Refusal { hub: self, repo: id, revision: commit, file: Some(name) };
        let (response, url) = self.ask(&about, self.place(id, commit, name), |url| self.asking.head(url))?;
        self.remote(&response, name, url)
    }

    /// Asks, and follows a repository that was renamed to where it is on the same server. Hands over where that is, too. What
    /// sends to another server is an answer: a file's bytes are there.
    fn ask(
        &self,
        about: &Refusal,
        mut url: String,
        request: impl Fn(&str) -> RequestBuilder<WithoutBody>,
    ) -> Result<(Response<Body>, String), Error> {
        for _ in 0..MOST_MOVES {
            let response = self.retry(|| {
                let response = self.authorised(request(&url)).call().map_err(|error| later(&error))?;
                if response.status().is_redirection() { Ok(response) } else { about.check(response) }
            })?;
            let place = text(&response, "location").filter(|_| response.status().is_redirection());
            match place.filter(|place| place.starts_with('/') && !place.starts_with("//")) {
                Some(place) => url = self.on_this_server(place),
                None => return Ok((response, url)),
            }
        }
        Err(self.strange(&format!("{} is moved again and again", about.repo)))
    }

    fn remote(&self, response: &Response<Body>, name: &str, url: String) -> Result<Remote, Error> {
        let etag = text(response, "x-linked-etag").or_else(|| text(response, "etag")).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        let bytes = number(response, "x-linked-size").or_else(|| number(response, "content-length"));
        let commit = text(response, "x-repo-commit").unwrap_or_default();
        match bytes {
            Some(bytes) if is_commit(commit) => Ok(Remote { commit: commit.to_owned(), etag, bytes, url }),
            _ => Err(self.strange(&format!("it doesn't say what {name} is (x-repo-commit, x-linked-size)"))),
        }
    }

    /// The bytes from a place on of what [`Hub::file`] has told of. They may begin at 0 all the same, which the answer says.
    pub(crate) fn bytes(
        &self,
        id: &RepoId,
        name: &str,
        remote: &Remote,
        from: u64,
    ) -> Result<Response<Body>, Again> {
        let about = Refusal { hub: self, repo: id, revision: &remote.commit, file: Some(name) };
        let request =
            self.authorised(self.fetching.get(&remote.url)).header("range", format!("bytes={from}-"));
        about.check(request.call().map_err(|error| later(&error))?)
    }

    fn place(&self, id: &RepoId, commit: &str, name: &str) -> String {
        format!("{}/{id}/resolve/{}/{}", self.endpoint(), within(commit, false), within(name, true))
    }

    fn on_this_server(&self, path: &str) -> String {
        let endpoint = self.endpoint();
        let host =
            endpoint.find("://").and_then(|at| endpoint[at + 3..].find('/').map(|slash| at + 3 + slash));
        format!("{}{path}", host.map_or(endpoint, |end| &endpoint[..end]))
    }

    fn authorised(&self, request: RequestBuilder<WithoutBody>) -> RequestBuilder<WithoutBody> {
        match self.token() {
            Some(token) => request.header("authorization", format!("Bearer {}", token.as_str())),
            None => request,
        }
    }

    /// Whether a token can be sent: nobody in between reads it.
    fn is_trusted(&self) -> bool {
        self.endpoint().starts_with("https://") || self.is_local()
    }

    /// Whether the Hub is this machine: a double of it, or a proxy that speaks TLS itself.
    fn is_local(&self) -> bool {
        let authority = self.endpoint().strip_prefix("http://").and_then(|rest| rest.split('/').next());
        authority.is_some_and(|authority| {
            authority.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
                || authority.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
                || (authority.split(':').next() == Some("localhost") && !authority.contains('@'))
        })
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.settings.token.as_ref().filter(|_| self.is_trusted())
    }

    /// Tries until it works, the patience is at its end, or trying has no sense.
    fn retry<T>(&self, mut call: impl FnMut() -> Result<T, Again>) -> Result<T, Error> {
        if self.settings.offline {
            return Err(Error::Offline);
        }
        let mut pause = self.patience().pause;
        let mut tries = 1;
        loop {
            match call() {
                Ok(value) => return Ok(value),
                Err(Again::Never(error)) => return Err(error),
                Err(Again::Later { reason, .. }) if tries >= self.patience().tries => {
                    return Err(self.network(reason));
                }
                Err(Again::Later { after, .. }) => {
                    std::thread::sleep(after.unwrap_or(pause));
                    pause *= 2;
                    tries += 1;
                }
            }
        }
    }

    pub(crate) fn network(&self, reason: String) -> Error {
        Error::Network { endpoint: self.endpoint().to_owned(), reason }
    }

    /// It answers something else than the Hub does.
    fn strange(&self, reason: &impl fmt::Display) -> Error {
        let reason = format!("that isn't what the Hub says ({reason}); HF_ENDPOINT may name something else");
        Error::Refused { endpoint: self.endpoint().to_owned(), status: 200, reason }
    }
}

/// Whoever answers on the network can't be told from a network that is broken.
pub(crate) fn later(error: &ureq::Error) -> Again {
    let reason = match error {
        ureq::Error::Timeout(Timeout::PerRead | Timeout::RecvResponse) => {
            "it was silent for too long".to_owned()
        }
        ureq::Error::Timeout(_) => "it can't be reached in time".to_owned(),
        ureq::Error::HostNotFound => "there is no such host".to_owned(),
        other => other.to_string(),
    };
    Again::Later { reason, after: None }
}

/// With the certificates that this machine trusts (or those of `SSL_CERT_FILE`), as a company's proxy needs.
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        tracing::warn!("this machine has no certificates of authorities: install `ca-certificates`");
    }
    let certificates = found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
    TlsConfig::builder()
        .root_certs(RootCerts::from(certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a name of the repository's stays in the folder that it is put into.
fn is_inside(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && !part.contains('\\') && !part.contains('\0')
    };
    name.split('/').all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_in_its_folder_and_a_commit_is_one() {
        for bad in ["../a.gguf", "/etc/passwd", "a//b", "a/../b", "", ".", "a\\b"] {
            assert!(!is_inside(bad), "{bad:?}");
        }
        assert!(is_inside("BF16/a..b.gguf"));
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567") && !is_commit("main"));
    }

    #[test]
    fn a_token_is_sent_where_nobody_in_between_reads_it() {
        for (endpoint, trusted) in [
            ("https://huggingface.co", true),
            ("http://127.0.0.1:80", true),
            ("http://mirror.example", false),
            ("http://localhost:80", true),
            ("http://[::1]:80/mirror", true),
            ("http://127.0.0.1.example", false),
            ("http://localhost.example:80", false),
            ("http://localhost:80@mirror.example", false),
        ] {
            let settings = Settings { endpoint: endpoint.into(), ..Settings::of(&|_| None, None) };
            assert_eq!(Hub::new(settings).is_trusted(), trusted, "{endpoint}");
        }
    }

    #[test]
    fn a_path_of_the_same_server_keeps_its_host() {
        for (endpoint, expected) in
            [("https://hub", "https://hub/x"), ("https://hub/mirror/of", "https://hub/x")]
        {
            let settings = Settings { endpoint: endpoint.into(), ..Settings::of(&|_| None, None) };
            assert_eq!(Hub::new(settings).on_this_server("/x"), expected);
        }
    }
}
