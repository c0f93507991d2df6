//! The link with which a challenge is started in the operator's own app.

use axum::http::Uri;
use serde::de::{Deserialize, Deserializer, Error};

/// What of a challenge a link may hold, as `{title}`; the page puts it there, encoded.
const PARTS: [&str; 3] = ["category", "title", "description"];

const EXAMPLE: &str = "https://app.example/new?category={category}&title={title}&description={description}";

/// An address of the web with gaps for the parts of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeUrl(String);

impl ChallengeUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The error says what is wrong.
    fn parse(text: &str) -> Result<Self, String> {
        let web = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
        let (_, address) = web.ok_or("it has to begin with http:// or https://")?;
        let (site, rest) = address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
        if site.is_empty() {
            return Err("it names no site".into());
        }
        if site.contains(['{', '}', '@']) {
            return Err("before the first / is the name of a site alone".into());
        }
        let filled = format!("https://{site}{}", fill(rest)?);
        let uri: Result<Uri, _> = filled.parse();
        match uri.ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty())) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err("it is no address".into()),
        }
    }
}

/// The text with a letter in each gap.
fn fill(text: &str) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a { has no }")?;
        if !PARTS.contains(&name) {
            return Err(format!(
                "a challenge has no {{{name}}}, but {{category}}, {{title}} and {{description}}"
            ));
        }
        filled.extend([before, "x"]);
        rest = after;
    }
    filled.push_str(rest);
    if filled.contains('}') { Err("a } has no {".into()) } else { Ok(filled) }
}

impl<'de> Deserialize<'de> for ChallengeUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|reason| {
            D::Error::custom(format!("found \"{text}\", expected a link such as {EXAMPLE}: {reason}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ChallengeUrl, EXAMPLE};

    #[test]
    fn a_link_has_a_site_and_gaps_that_a_challenge_can_fill() {
        for good in [
            EXAMPLE,
            "http://localhost:3000/#/challenges/new?title={title}",
            "https://app.example/{category}/{title}?from=leafresh",
            "https://app.example/challenges",
        ] {
            assert_eq!(ChallengeUrl::parse(good).unwrap().as_str(), good);
        }
        for (bad, expected) in [
            ("", "begin with http"),
            ("/new?title={title}", "begin with http"),
            ("javascript://app.example/%0aalert(1)", "begin with http"),
            ("https:///new?title={title}", "no site"),
            ("https://{category}.example/", "the name of a site alone"),
            ("https://me@app.example/?title={title}", "the name of a site alone"),
            ("https://app.example/?title={titel}", "no {titel}, but {category}"),
            ("https://app.example/?title={title", "a { has no }"),
            ("https://app.example/?title=title}", "a } has no {"),
            ("https://app.example/a b?title={title}", "no address"),
        ] {
            let error = ChallengeUrl::parse(bad).unwrap_err();
            assert!(error.contains(expected), "{bad}: {error}");
        }
    }
}
