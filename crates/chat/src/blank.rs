//! Text that shows nothing, and characters that show nothing inside of text.

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

/// Whether a reader would see nothing: white space, characters that are ignored by default (Unicode's
/// `Default_Ignorable_Code_Point`, Hangul fillers among them) and the empty Braille pattern.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c == '\u{2800}' || is_ignorable(c))
}

/// Whether a character is there for how others are shown, and never shown itself.
pub(crate) fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

#[cfg(test)]
mod tests {
    use super::is_blank;

    #[test]
    fn what_shows_nothing_is_blank() {
        for blank in ["", " ", "\u{3000}", "\u{3164}\u{3164}", "\u{200b}", "\u{feff}", "\u{ad}", "\u{115f}"] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for blank in ["\u{1160}", "\u{ffa0}", "\u{2800}", "\u{2060} \u{180e}", "\u{fe0f}"] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for text in ["가", "\u{200b}가", ".", "ㅤ.", "0", "\u{1100}"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }
}
