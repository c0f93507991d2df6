//! Messages that hold no words.

use std::collections::HashSet;

/// Tells words from noise.
#[derive(Debug)]
pub(super) struct Noise {
    /// Runs over a keyboard, small letters.
    runs: Vec<String>,
    /// Every syllable that the catalogue uses: what people write is made of them.
    syllables: HashSet<char>,
}

impl Noise {
    pub(super) fn new<'a>(runs: &[String], texts: impl IntoIterator<Item = &'a str>) -> Self {
        let syllables = texts.into_iter().flat_map(str::chars).filter(|&c| is_syllable(c)).collect();
        Self { runs: runs.to_vec(), syllables }
    }

    pub(super) fn is(&self, message: &str) -> bool {
        let letters: Vec<char> =
            message.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let syllables: Vec<char> = letters.iter().copied().filter(|&c| is_syllable(c)).collect();
        let jamo = letters.iter().filter(|c| is_jamo(**c)).count();
        let words = letters.iter().filter(|c| c.is_alphabetic()).count() - jamo;
        words == 0
            || jamo > 2 * syllables.len() + 3
            || repeats(&letters)
            || self.is_typed_at_random(&letters)
            || self.is_rare(&syllables)
            || (syllables.is_empty() && letters.iter().all(char::is_ascii) && is_unpronounceable(message))
    }

    /// Most of it runs over the keyboard.
    fn is_typed_at_random(&self, letters: &[char]) -> bool {
        let mut rest: String = letters.iter().collect();
        for run in &self.runs {
            rest = rest.replace(run.as_str(), "");
        }
        rest.chars().count() * 2 < letters.len()
    }

    /// Most syllables are such as nobody writes.
    fn is_rare(&self, syllables: &[char]) -> bool {
        let rare = syllables.iter().filter(|&c| !self.syllables.contains(c)).count();
        syllables.len() >= 3 && rare * 3 >= syllables.len() * 2
    }
}

/// The same one or two letters again and again.
fn repeats(letters: &[char]) -> bool {
    let distinct: HashSet<_> = letters.iter().collect();
    (letters.len() >= 4 && distinct.len() == 1) || (letters.len() >= 6 && distinct.len() == 2)
}

/// Longer words of Latin letters without vowels, or with hardly any.
fn is_unpronounceable(message: &str) -> bool {
    let words: Vec<&str> =
        message.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() >= 4).collect();
    let odd = |word: &&&str| {
        let vowels = word.chars().filter(|c| "aeiouyAEIOUY".contains(*c)).count();
        vowels * 6 < word.len()
    };
    !words.is_empty() && words.iter().filter(odd).count() * 2 > words.len()
}

fn is_syllable(c: char) -> bool {
    ('가'..='힣').contains(&c)
}

fn is_jamo(c: char) -> bool {
    ('ㄱ'..='ㅣ').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_from_short_and_odd_messages() {
        let runs = ["asdf", "qwer", "ㅁㄴㅇㄹ"].map(String::from);
        let noise = Noise::new(&runs, ["가나다라 비건으로 추천해 주세요 뭐 하지 좋아요 네 하하"]);
        for (message, expected) in [
            ("ㅋㅋㅋㅋ", true),
            ("ㅁㄴㅇㄹㅁㄴㅇㄹ", true),
            ("asdfasdf", true),
            ("asdf qwer", true),
            ("???", true),
            ("12345", true),
            ("🙂🙂", true),
            ("하하하하하하", true),
            ("아아아아아", true),
            ("뷁쉙뛟갉", true),
            ("xkcdfhgj wrtp", true),
            ("비건ㅋㅋ", false),
            ("비건으로 추천해 주세요 ㅋㅋㅋ", false),
            ("네", false),
            ("좋아요!", false),
            ("1번 좋아요", false),
            ("eco tips", false),
            ("CO2", false),
            ("plz help my planet", false),
            ("環境保護", false),
        ] {
            assert_eq!(noise.is(message), expected, "{message}");
        }
    }
}
