//! Headers of answers, and names in addresses.

use std::fmt::Write as _;

use ureq::Body;
use ureq::http::Response;

/// A header's text.
pub(super) fn text<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

pub(super) fn number(response: &Response<Body>, name: &str) -> Option<u64> {
    text(response, name)?.trim().parse().ok()
}

/// A name as a part of a path; `folders`: its slashes separate.
pub(super) fn within(name: &str, folders: bool) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (folders && byte == b'/') {
            path.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn names_are_written_so_that_no_address_is_changed_by_them() {
        assert_eq!(within("BF16/a b?#.gguf", true), "BF16/a%20b%3F%23.gguf");
        assert_eq!(within("refs/pr/1", false), "refs%2Fpr%2F1");
    }
}
