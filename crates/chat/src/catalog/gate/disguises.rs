//! How Hangul is written to hide a word: as jamo, prolonged, with jamo in between.

const FIRST_SYLLABLE: u32 = 0xAC00;
const VOWELS: u32 = 21;
const FINALS: u32 = 28;
/// The first consonant of a syllable that begins with a vowel.
const SILENT: u32 = 11;

/// First consonant, vowel and final of a syllable.
fn parts(c: char) -> Option<(u32, u32, u32)> {
    let index = ('가'..='힣').contains(&c).then(|| u32::from(c) - FIRST_SYLLABLE)?;
    Some((index / FINALS / VOWELS, index / FINALS % VOWELS, index % FINALS))
}

fn syllable(first: u32, vowel: u32, last: u32) -> Option<char> {
    char::from_u32(FIRST_SYLLABLE + (first * VOWELS + vowel) * FINALS + last)
}

/// One syllable out of two of which the second only repeats the first one's vowel.
pub(super) fn prolonged(before: char, c: char) -> Option<char> {
    let ((first, vowel, 0), (SILENT, same, last)) = (parts(before)?, parts(c)?) else {
        return None;
    };
    (vowel == same).then(|| syllable(first, vowel, last)).flatten()
}

/// Compatibility jamo, which keyboards write.
pub(super) fn is_jamo(c: char) -> bool {
    ('ㄱ'..='ㅣ').contains(&c)
}

fn is_vowel(c: char) -> bool {
    ('ㅏ'..='ㅣ').contains(&c)
}

/// In the order of Unicode's first consonants and finals; finals begin with none.
const FIRSTS: &str = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ";
const LASTS: &str = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ";

fn index_in(list: &str, c: char) -> Option<u32> {
    list.chars().position(|known| known == c).map(|index| index as u32)
}

/// "ㅄ" is written for "ㅂㅅ".
pub(super) fn split(c: char) -> impl Iterator<Item = char> {
    let (first, second) = if c == 'ㅄ' { ('ㅂ', Some('ㅅ')) } else { (c, None) };
    [first].into_iter().chain(second)
}

/// Jamo that spell syllables, put together.
pub(super) fn composed(chars: &[char]) -> Vec<char> {
    let mut composed = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let vowel = chars.get(at + 1).copied().filter(|&c| is_vowel(c));
        let (Some(first), Some(vowel)) = (index_in(FIRSTS, c), vowel) else {
            composed.push(c);
            at += 1;
            continue;
        };
        at += 2;
        let follows = |at: usize| chars.get(at).copied();
        let last =
            follows(at).and_then(|c| index_in(LASTS, c)).filter(|_| !follows(at + 1).is_some_and(is_vowel));
        at += usize::from(last.is_some());
        let vowel = u32::from(vowel) - u32::from('ㅏ');
        composed.extend(syllable(first, vowel, last.map_or(0, |last| last + 1)));
    }
    composed
}

/// Without jamo that stand between syllables.
pub(super) fn without_single_jamo(text: &[char]) -> Vec<char> {
    text.iter().copied().filter(|&c| !is_jamo(c)).collect()
}

/// Consonants after an open syllable become its final.
pub(super) fn with_finals(text: &[char]) -> Vec<char> {
    let mut joined: Vec<char> = Vec::new();
    for &c in text {
        let closed = joined.last().and_then(|&before| {
            let (first, vowel, 0) = parts(before)? else { return None };
            syllable(first, vowel, index_in(LASTS, c)? + 1)
        });
        match (closed, joined.last_mut()) {
            (Some(closed), Some(last)) => *last = closed,
            _ => joined.push(c),
        }
    }
    joined
}
