//! Query strings as front ends and relays really send them: encoded once, twice, or not at all.
//!
//! Hand-written because `form_urlencoded`, and with it axum's `Query`, makes U+FFFD of bytes that are no UTF-8, which have to be
//! refused, and because values that were encoded twice are decoded twice.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::{Given, Name, Raw};

/// Reads `name=value` pairs. Never fails: what is no UTF-8 is kept as [`Raw::Undecodable`].
pub(crate) fn from_query(query: &str) -> Given {
    let mut given = Given::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name);
        if let Some(name) = std::str::from_utf8(&name).ok().and_then(Name::parse) {
            given.set(name, Some(read_value(value)));
        }
    }
    given
}

fn read_value(value: &str) -> Raw {
    match String::from_utf8(decode(value)) {
        Ok(text) => Raw::Text(decode_again(&text).unwrap_or(text)),
        Err(_) => Raw::Undecodable,
    }
}

/// Percent-decoding after which `+` was a space. A `%` without two hexadecimal digits after it stays as it is.
fn decode(text: &str) -> Vec<u8> {
    let spaced: Cow<'_, [u8]> = if text.contains('+') {
        text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect::<Vec<_>>().into()
    } else {
        text.as_bytes().into()
    };
    percent_decode(&spaced).collect()
}

/// A relay that encodes what was encoded already leaves ASCII whose decoding has other characters.
fn decode_again(text: &str) -> Option<String> {
    if !text.is_ascii() {
        return None;
    }
    let again = String::from_utf8(percent_decode(text.as_bytes()).collect()).ok()?;
    (!again.is_ascii()).then_some(again)
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }

    fn location(query: &str) -> Option<Raw> {
        from_query(query).get(Name::Location).cloned()
    }

    #[test]
    fn values_are_decoded_as_the_contract_says() {
        let cases = [
            ("location=%EB%8F%84%EC%8B%9C", "도시"),
            ("location=도시", "도시"),
            ("location=%25EB%258F%2584%25EC%258B%259C", "도시"),
            ("location=city", "city"),
            ("location=a+b%20c", "a b c"),
            ("location=100%", "100%"),
            ("location=%", "%"),
            ("location=%4", "%4"),
            ("location=%zz%41", "%zzA"),
            // Encoded once: a plus sign of the text, and a percent sign that stands for itself.
            ("location=1%2B1", "1+1"),
            ("location=100%2525", "100%25"),
            // Encoded twice: the inner plus sign stays.
            ("location=%25EB%258F%2584%2B1", "도+1"),
            // Not all ASCII after one decoding: what looks like a second encoding is text.
            ("location=도%25EB%258F%2584", "도%EB%8F%84"),
            // ASCII whose further decoding is no UTF-8.
            ("location=%25FF", "%FF"),
            ("location=", ""),
            ("location", ""),
            ("location=a=b", "a=b"),
            ("%6Cocation=a", "a"),
            ("location=a&location=b", "b"),
            ("location=%FF&location=b", "b"),
            ("x=%FF&%FF=1&&=&location=b", "b"),
        ];
        for (query, expected) in cases {
            assert_eq!(location(query), Some(Raw::Text(expected.into())), "{query}");
        }
        for query in
            ["location=%FF", "location=%EB%8F", "location=%ED%A0%80", "location=%C0%AF", "location=도%FF"]
        {
            assert_eq!(location(query), Some(Raw::Undecodable), "{query}");
        }
        for query in ["", "Location=a", "locations=a", "x=location"] {
            assert_eq!(location(query), None, "{query}");
        }
    }

    proptest! {
        #[test]
        fn fuzz_a_text_encoded_once_comes_back(text in any::<String>()) {
            prop_assume!(decode_again(&text).is_none());
            prop_assert_eq!(location(&format!("location={}", encode(&text))), Some(Raw::Text(text)));
        }

        #[test]
        fn fuzz_a_korean_text_encoded_twice_comes_back(text in "[ -~]{0,9}[가-힣][ -~가-힣]{0,9}") {
            let query = format!("location={}", encode(&encode(&text)));
            prop_assert_eq!(location(&query), Some(Raw::Text(text)));
        }

        #[test]
        fn fuzz_no_query_is_too_strange(query in any::<String>()) {
            from_query(&query);
        }

        #[test]
        fn fuzz_values_are_text_or_undecodable(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let query = bytes.iter().fold("location=".to_owned(), |query, byte| format!("{query}%{byte:02x}"));
            let read = location(&query);
            prop_assert_eq!(read == Some(Raw::Undecodable), std::str::from_utf8(&bytes).is_err());
        }

        #[test]
        fn fuzz_korean_of_another_encoding_is_undecodable_once_and_stays_as_it_is_twice(
            bytes in proptest::collection::vec((0xB0u8..=0xC8, 0xA1u8..=0xFE), 1..20),
        ) {
            // EUC-KR: pairs of bytes that are UTF-8 by accident only.
            let bytes: Vec<u8> = bytes.into_iter().flat_map(|(lead, trail)| [lead, trail]).collect();
            let once = bytes.iter().fold(String::new(), |query, byte| format!("{query}%{byte:02X}"));
            let expected = match String::from_utf8(bytes) {
                Ok(text) => (Raw::Text(text.clone()), Raw::Text(text)),
                Err(_) => (Raw::Undecodable, Raw::Text(once.clone())),
            };
            prop_assert_eq!(location(&format!("location={once}")), Some(expected.0));
            prop_assert_eq!(location(&format!("location={}", once.replace('%', "%25"))), Some(expected.1));
        }

        #[test]
        fn fuzz_of_values_that_are_there_twice_the_last_counts(
            before in proptest::collection::vec("[ -%'-~가-힣]{0,9}", 0..4),
            last in "[a-z가-힣]{1,9}",
        ) {
            let values = before.iter().chain([&last]).map(|value| format!("location={value}"));
            let query = values.collect::<Vec<_>>().join("&");
            prop_assert_eq!(location(&query), Some(Raw::Text(last)));
        }
    }
}
