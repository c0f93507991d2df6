//! `/`: the chat page, embedded in the binary, with the catalogue's choices written into it.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use leafresh_chat::{Catalog, Term};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::envelope::one_line;
use crate::state::AppState;

const PAGE: &str = include_str!("../../../../web/index.html");
const FILES: [(&str, &str, &str); 6] = [
    ("/chat.js", "text/javascript; charset=utf-8", include_str!("../../../../web/chat.js")),
    ("/settings.js", "text/javascript; charset=utf-8", include_str!("../../../../web/settings.js")),
    ("/stream.js", "text/javascript; charset=utf-8", include_str!("../../../../web/stream.js")),
    ("/turn.js", "text/javascript; charset=utf-8", include_str!("../../../../web/turn.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("../../../../web/style.css")),
    ("/favicon.svg", "image/svg+xml", include_str!("../../../../web/favicon.svg")),
];

/// Nothing from elsewhere, no inline script; but the page may ask any server, for it has a field for its address.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn router(catalog: &Catalog) -> Router<AppState> {
    let page = Bytes::from(PAGE.replace("{{catalog}}", &choices(catalog)));
    let router = Router::new().route("/", file("text/html; charset=utf-8", page));
    FILES.into_iter().fold(router, |router, (path, kind, text)| {
        router.route(path, file(kind, Bytes::from_static(text.as_bytes())))
    })
}

/// A file that is asked for again at each visit, and sent only when it has changed.
fn file(kind: &'static str, bytes: Bytes) -> MethodRouter<AppState> {
    let tag = format!("\"{:x}\"", Sha256::digest(&bytes));
    get(move |request: HeaderMap| async move { answer(&request, kind, bytes, &tag) })
}

fn answer(request: &HeaderMap, kind: &'static str, bytes: Bytes, tag: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    let headers: [(HeaderName, HeaderValue); 6] =
        headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let tagged = [(header::ETAG, tag.to_owned())];
    if has(request, tag) {
        return (StatusCode::NOT_MODIFIED, headers, tagged).into_response();
    }
    (headers, tagged, bytes).into_response()
}

/// Whether the browser has this version. A proxy that compresses makes a weak tag of ours: the file is the same.
fn has(request: &HeaderMap, tag: &str) -> bool {
    let lists = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = lists.flat_map(|list| list.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// What a person can choose, as JSON that may stand inside a script element.
fn choices(catalog: &Catalog) -> String {
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
}
