//! `/`: the chat page, embedded in the binary, with the catalogue's choices written into it.

use std::io::Write;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use leafresh_chat::{Catalog, Term};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::envelope::one_line;
use crate::config::{self, ChallengeUrl};
use crate::state::AppState;

const PAGE: &str = include_str!("../../../../web/index.html");

/// A file of `web/` with its type.
macro_rules! web {
    ($name:literal, $kind:expr) => {
        (concat!("/", $name), $kind, include_bytes!(concat!("../../../../web/", $name)) as &[u8])
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [(&str, &str, &[u8]); 22] = [
    web!("card.js", SCRIPT),
    web!("catalog.js", SCRIPT),
    web!("chat.js", SCRIPT),
    web!("choices.js", SCRIPT),
    web!("conversation.js", SCRIPT),
    web!("dom.js", SCRIPT),
    web!("feedback.js", SCRIPT),
    web!("history.js", SCRIPT),
    web!("language.js", SCRIPT),
    web!("raw.js", SCRIPT),
    web!("saved.js", SCRIPT),
    web!("settings.js", SCRIPT),
    web!("shelf.js", SCRIPT),
    web!("stream.js", SCRIPT),
    web!("texts.en.js", SCRIPT),
    web!("texts.ko.js", SCRIPT),
    web!("turn.js", SCRIPT),
    web!("view.js", SCRIPT),
    web!("style.css", "text/css; charset=utf-8"),
    web!("favicon.svg", "image/svg+xml"),
    web!("icon.png", "image/png"),
    web!("manifest.webmanifest", "application/manifest+json"),
];

/// Nothing from elsewhere, no inline script; but the page may ask any server, for it has a field for its address.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' http: https:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn router(catalog: &Catalog, settings: &config::Page) -> Router<AppState> {
    let page = PAGE.replace("{{catalog}}", &choices(catalog, settings));
    let router = Router::new().route("/", file("text/html; charset=utf-8", page.into_bytes().into()));
    FILES
        .into_iter()
        .fold(router, |router, (path, kind, bytes)| router.route(path, file(kind, Bytes::from_static(bytes))))
}

/// A file that is asked for again at each visit, and sent only when it has changed.
fn file(kind: &'static str, bytes: Bytes) -> MethodRouter<AppState> {
    let file = File::new(kind, bytes);
    get(move |request: HeaderMap| async move { file.answer(&request) })
}

#[derive(Clone)]
struct File {
    kind: &'static str,
    plain: Form,
    /// None where that would be no shorter.
    gzip: Option<Form>,
}

/// The bytes of a file, by themselves or compressed, and their name.
#[derive(Clone)]
struct Form {
    bytes: Bytes,
    tag: String,
}

impl Form {
    fn new(bytes: Bytes) -> Self {
        let tag = format!("\"{:x}\"", Sha256::digest(&bytes));
        Self { bytes, tag }
    }

    /// Whether the browser has it. A proxy that compresses makes a weak tag of ours: the file is the same.
    fn is_known(&self, request: &HeaderMap) -> bool {
        items(request, header::IF_NONE_MATCH)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == self.tag)
    }
}

impl File {
    fn new(kind: &'static str, bytes: Bytes) -> Self {
        let shorter = compressed(&bytes).filter(|compressed| compressed.len() < bytes.len());
        Self { kind, plain: Form::new(bytes), gzip: shorter.map(|bytes| Form::new(bytes.into())) }
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let gzip = self.gzip.as_ref().filter(|_| takes_gzip(request));
        let form = gzip.unwrap_or(&self.plain);
        let said = [
            (header::CONTENT_TYPE, self.kind),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept-encoding"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_FRAME_OPTIONS, "DENY"),
        ];
        let said: [(HeaderName, HeaderValue); 7] =
            said.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let tag = [(header::ETAG, form.tag.clone())];
        if form.is_known(request) {
            return (StatusCode::NOT_MODIFIED, said, tag).into_response();
        }
        let mut response = (said, tag, form.bytes.clone()).into_response();
        if gzip.is_some() {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// Done once, when the server starts.
fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// Whether a browser names gzip, and not with `q=0`.
fn takes_gzip(request: &HeaderMap) -> bool {
    items(request, header::ACCEPT_ENCODING).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let quality = quality.trim().strip_prefix("q=").and_then(|quality| quality.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && quality.is_some_and(|quality| quality > 0.0)
    })
}

/// What stands between the commas of a header.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

/// What a person can choose, and where it leads, as JSON that may stand inside a script element.
fn choices(catalog: &Catalog, settings: &config::Page) -> String {
    let terms = |terms: &[Term]| -> Vec<Value> {
        terms.iter().map(|term| json!({ "code": term.code, "label": term.label })).collect()
    };
    let categories: Vec<_> = catalog
        .categories()
        .iter()
        .map(|category| {
            json!({ "code": category.code, "label": category.label, "description": category.description })
        })
        .collect();
    let choices = json!({
        "categories": categories,
        "places": terms(catalog.places()),
        "workTypes": terms(catalog.work_types()),
        "challengeUrl": settings.challenge_url.as_ref().map(ChallengeUrl::as_str),
    });
    for_script(&choices.to_string())
}

/// Outside of strings JSON has none of these; inside, an escape means the same and no parser of HTML sees the end of
/// the element or a comment.
fn for_script(json: &str) -> String {
    one_line(json.to_owned()).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_a_script_element_cannot_end_it() {
        let value = json!({ "label": "</script><!-- & \"\u{2028}" });
        let text = for_script(&value.to_string());
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn the_page_has_a_place_for_the_catalogue() {
        assert_eq!(PAGE.matches("{{catalog}}").count(), 1);
    }

    #[test]
    fn every_file_of_the_page_is_served_and_all_of_them_are_small() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
        let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
        let mut there: Vec<String> = names.map(|name| format!("/{}", name.to_str().unwrap())).collect();
        let mut served: Vec<&str> = FILES.iter().map(|(path, ..)| *path).chain(["/index.html"]).collect();
        there.sort();
        served.sort_unstable();
        assert_eq!(served, there);
        let files = FILES.iter().map(|(.., bytes)| *bytes).chain([PAGE.as_bytes()]);
        let sent: usize = files.map(|bytes| compressed(bytes).unwrap().len().min(bytes.len())).sum();
        assert!(sent <= 40_000, "{sent} bytes");
    }

    #[test]
    fn gzip_is_sent_to_whoever_names_it() {
        let takes = |value: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        for yes in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.5"] {
            assert!(takes(yes), "{yes}");
        }
        for no in ["", "identity", "br", "gzip;q=0", "gzip; q=0.0, br", "gzip;x"] {
            assert!(!takes(no), "{no}");
        }
    }
}
