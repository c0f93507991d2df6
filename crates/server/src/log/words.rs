//! People's words in the log, as far as the operator wants them there.

use crate::config::LogText;

/// What stands for a Hangul syllable or letter, for another letter, and for a digit.
const HANGUL: char = '\u{AC00}';
const LETTER: char = 'x';
const DIGIT: char = '0';

/// A text as it may be logged; `None`: not at all.
pub(crate) fn words(text: &str, wanted: LogText) -> Option<String> {
    match wanted {
        LogText::Off => None,
        LogText::Redacted => Some(text.chars().map(redacted).collect()),
        LogText::Full => Some(text.to_owned()),
    }
}

/// Length, spaces, punctuation and kinds of letters stay: what a text that could not be read, or took long, looks like. No word,
/// name or number can be made out.
fn redacted(c: char) -> char {
    match c {
        '\u{1100}'..='\u{11FF}' | '\u{3130}'..='\u{318F}' | '\u{AC00}'..='\u{D7A3}' => HANGUL,
        c if c.is_numeric() => DIGIT,
        c if c.is_alphabetic() => LETTER,
        c if c.is_ascii() => c,
        // Pictures and rare signs tell people apart, too.
        c if c.is_whitespace() => ' ',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_redacted_words_only_their_shape_is_left() {
        let cases = [
            ("010-1234-5678로 연락줘, 김민수", "000-0000-0000가 가가가, 가가가"),
            ("mail: a.b+c@example.com", "xxxx: x.x+x@xxxxxxx.xxx"),
            ("ㅋㅋ Привет 你好 ١٢ ½", "가가 xxxxxx xx 00 0"),
            ("👍\u{3000}é!\u{301}", "? x!?"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text, LogText::Redacted).as_deref(), Some(expected));
            assert_eq!(words(text, LogText::Full).as_deref(), Some(text));
            assert_eq!(words(text, LogText::Off), None);
        }
    }
}
