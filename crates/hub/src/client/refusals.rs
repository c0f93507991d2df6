//! What it means when the Hub refuses, and what to do.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use ureq::Body;
use ureq::http::Response;

use super::answers::text;
use super::{Again, Hub};
use crate::{Error, RepoId};

/// What was asked for.
pub(super) struct Refusal<'a> {
    pub(super) hub: &'a Hub,
    pub(super) repo: &'a RepoId,
    pub(super) revision: &'a str,
    pub(super) file: Option<&'a str>,
}

/// What an answer says of why.
pub(super) struct Said<'a> {
    pub(super) status: u16,
    /// `X-Error-Code` and `X-Error-Message`.
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal<'_> {
    /// Hands over an answer that is none.
    pub(super) fn check(&self, response: Response<Body>) -> Result<Response<Body>, Again> {
        if response.status().is_success() {
            return Ok(response);
        }
        let said = Said {
            status: response.status().as_u16(),
            code: text(&response, "x-error-code").unwrap_or_default(),
            message: text(&response, "x-error-message").unwrap_or_default(),
            retry_after: text(&response, "retry-after").and_then(seconds),
        };
        Err(refusal(self, &said))
    }
}

pub(super) fn refusal(asked: &Refusal, said: &Said) -> Again {
    let Refusal { hub, repo, revision, file } = asked;
    let endpoint = hub.endpoint().to_owned();
    let repo = repo.to_string();
    let bad_token = |message: &str| {
        let message = message.to_ascii_lowercase();
        ["invalid credentials", "invalid token", "expired"].iter().any(|part| message.contains(part))
    };
    Again::Never(match (said.status, said.code) {
        (429, _) => {
            let after = said.retry_after;
            return match after {
                Some(after) if after > hub.patience().longest => {
                    Again::Never(Error::TooMany { endpoint, after })
                }
                _ => Again::Later { reason: "it has too many requests (429)".into(), after },
            };
        }
        (408 | 500..=599, _) => {
            return Again::Later { reason: format!("it answers {}", said.status), after: said.retry_after };
        }
        (401 | 403, "GatedRepo") => Error::Gated { advice: gated(hub, &repo), repo },
        (401, _) if bad_token(said.message) && hub.token().is_some() => Error::BadToken {
            source_of_token: hub.token().map(|token| token.source.clone()).unwrap_or_default(),
            page: format!("{endpoint}/settings/tokens"),
        },
        (404, "RevisionNotFound") => Error::NoRevision { repo, revision: (*revision).to_owned() },
        (404, "EntryNotFound") => {
            Error::NoFile(format!("{repo} has no file {} at {revision}", file.unwrap_or("of that name")))
        }
        (401 | 404, _) => Error::NoRepository { advice: unknown(hub), repo, endpoint },
        (status, _) => {
            let reason = if said.message.is_empty() { "no reason given" } else { said.message };
            Error::Refused { endpoint, status, reason: reason.chars().filter(|c| !c.is_control()).collect() }
        }
    })
}

/// What to do for a repository whose terms have to be accepted.
fn gated(hub: &Hub, repo: &str) -> String {
    let endpoint = hub.endpoint();
    let accept = format!("sign in at {endpoint}/{repo} and accept its terms there");
    match hub.token() {
        None => format!(
            "{accept}, then make a token with read access at {endpoint}/settings/tokens and set HF_TOKEN to it (or name a \
             variable or file with hub.token_variable or hub.token_file)"
        ),
        Some(token) => format!(
            "the account of the token in {} has not been let in. With that account {accept}; some owners let in by hand, \
             which takes a while; a fine-grained token has to allow gated repositories",
            token.source
        ),
    }
}

fn unknown(hub: &Hub) -> String {
    match hub.token() {
        None => "check its name; a private one needs a token (HF_TOKEN)".into(),
        Some(token) => {
            format!("check its name, and whether the account of the token in {} may see it", token.source)
        }
    }
}

/// `Retry-After` as seconds; as a date it is counted from now (RFC 9110, 10.2.3).
fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some((date - OffsetDateTime::now_utc()).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Token};

    fn hub(token: bool) -> Hub {
        let token = |name: &str| (token && name == "HF_TOKEN").then(|| "secret-token".into());
        let found = Token::find(&token, None, None).unwrap();
        Hub::new(Settings { endpoint: "https://hub".into(), ..Settings::of(&|_| None, found) })
    }

    fn said(hub: &Hub, status: u16, code: &str, message: &str, retry_after: Option<u64>) -> Again {
        let repo = RepoId::parse("a/b").unwrap();
        let asked = Refusal { hub, repo: &repo, revision: "main", file: Some("c.gguf") };
        let retry_after = retry_after.map(Duration::from_secs);
        refusal(&asked, &Said { status, code, message, retry_after })
    }

    #[test]
    fn a_refusal_says_which_page_to_open_and_which_token_is_missing() {
        let cases = [
            (false, 401, "GatedRepo", "", "set HF_TOKEN"),
            (false, 401, "GatedRepo", "", "https://hub/a/b and accept"),
            (true, 403, "GatedRepo", "", "the token in HF_TOKEN has not been let in"),
            (true, 401, "", "Invalid credentials in Authorization header", "https://hub/settings/tokens"),
            (false, 401, "RepoNotFound", "", "needs a token"),
            (true, 404, "RepoNotFound", "", "may see it"),
            (false, 404, "RevisionNotFound", "", "no revision `main`"),
            (false, 404, "EntryNotFound", "", "no file c.gguf at main"),
            (false, 403, "", "Storage\u{1b} is disabled", "answers 403: Storage is disabled"),
            (false, 418, "", "", "418: no reason"),
        ];
        for (token, status, code, message, part) in cases {
            let Again::Never(error) = said(&hub(token), status, code, message, None) else {
                panic!("{status}")
            };
            let error = error.to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_passes_is_tried_again_and_a_long_wait_is_said() {
        for (status, after) in [(429, Some(2)), (429, None), (503, Some(1)), (500, None)] {
            let Again::Later { after: waits, .. } = said(&hub(false), status, "", "", after) else {
                panic!()
            };
            assert_eq!(waits, after.map(Duration::from_secs));
        }
        let Again::Never(error) = said(&hub(false), 429, "", "", Some(3600)) else { panic!() };
        assert!(error.to_string().contains("3600 s"), "{error}");
    }

    #[test]
    fn a_time_to_come_back_is_a_number_or_a_date() {
        assert_eq!(seconds("120"), Some(Duration::from_mins(2)));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert!(seconds("Fri, 31 Dec 9998 23:59:59 GMT").unwrap() > Duration::from_hours(24));
        assert_eq!(seconds("soon"), None);
    }
}
