//! Commands that are advised: what a shell takes as it is meant.

use std::path::Path;

/// A path as one word.
pub(crate) fn quoted(path: &Path) -> String {
    word(&path.to_string_lossy())
}

/// A text as one word, which is no flag.
pub(crate) fn word(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+=:@%".contains(character);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_text_is_one_word_whatever_is_in_it() {
        for (text, expected) in [
            ("/var/lib/leafresh", "/var/lib/leafresh"),
            ("my data", "'my data'"),
            ("it's;rm", r"'it'\''s;rm'"),
            ("-rf", "'-rf'"),
            ("", "''"),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
