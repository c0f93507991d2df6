//! Long texts in passages that an embedding model can take, cut where sentences end.

/// How long passages are, in tokens of the embedding model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// Of a passage at most.
    pub(crate) passage: usize,
    /// Of what a passage repeats of the one before, at most, in whole sentences.
    pub(crate) overlap: usize,
}

/// Passages of `text`, in order. Every character but spaces at the cuts is in at least one of them.
pub(crate) fn passages(text: &str, lengths: Lengths, count: impl Fn(&str) -> usize) -> Vec<String> {
    let pieces: Vec<(&str, usize)> = sentences(text)
        .flat_map(|sentence| within(sentence, lengths.passage.max(1), &count))
        .map(|piece| (piece, count(piece)))
        .collect();
    let mut passages = Vec::new();
    let mut start = 0;
    while start < pieces.len() {
        let mut tokens = 0;
        let fit = pieces[start..].iter().take_while(|(_, piece)| {
            tokens += piece;
            tokens <= lengths.passage
        });
        let mut end = start + fit.count().max(1);
        let join =
            |end: usize| pieces[start..end].iter().map(|(piece, _)| *piece).collect::<Vec<_>>().join(" ");
        let mut passage = join(end);
        // Joined they may have a few tokens more than apart.
        while end > start + 1 && count(&passage) > lengths.passage {
            end -= 1;
            passage = join(end);
        }
        passages.push(passage);
        if end == pieces.len() {
            break;
        }
        let mut repeated = 0;
        let again = pieces[start + 1..end].iter().rev().take_while(|(_, piece)| {
            repeated += piece;
            repeated <= lengths.overlap
        });
        start = end - again.count();
    }
    passages
}

/// Sentences without the spaces around them. One ends with its mark before a space, and at an empty line.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").flat_map(|paragraph| {
        let mut rest = paragraph;
        std::iter::from_fn(move || {
            rest = rest.trim();
            if rest.is_empty() {
                return None;
            }
            let (sentence, later) = rest.split_at(sentence_end(rest));
            rest = later;
            Some(sentence)
        })
    })
}

fn sentence_end(text: &str) -> usize {
    let mut characters = text.char_indices().peekable();
    while let Some((_, character)) = characters.next() {
        let next = characters.peek().copied();
        let is_mark = matches!(character, '.' | '!' | '?' | '…' | '。' | '！' | '？');
        if is_mark
            && let Some((at, next)) = next
            && next.is_whitespace()
        {
            return at;
        }
    }
    text.len()
}

/// A sentence that is longer than a passage, in pieces: between words, and inside one that is too long itself.
fn within<'a>(sentence: &'a str, limit: usize, count: &impl Fn(&str) -> usize) -> Vec<&'a str> {
    if count(sentence) <= limit || sentence.chars().nth(1).is_none() {
        return vec![sentence];
    }
    let middle = sentence.len() / 2;
    let near = |at: usize| at.abs_diff(middle);
    let spaces = sentence.char_indices().filter(|(at, character)| *at > 0 && character.is_whitespace());
    let cut = spaces.map(|(at, _)| at).min_by_key(|&at| near(at)).or_else(|| {
        sentence.char_indices().map(|(at, _)| at).filter(|&at| at > 0).min_by_key(|&at| near(at))
    });
    let (first, second) = sentence.split_at(cut.unwrap_or(sentence.len()));
    [first.trim(), second.trim()]
        .into_iter()
        .filter(|half| !half.is_empty())
        .flat_map(|half| within(half, limit, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A token is a word here.
    fn words(text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn cut(text: &str, passage: usize, overlap: usize) -> Vec<String> {
        passages(text, Lengths { passage, overlap }, words)
    }

    #[test]
    fn a_short_text_is_one_passage_and_an_empty_one_none() {
        assert_eq!(cut("하나 둘. 셋!", 10, 2), ["하나 둘. 셋!"]);
        assert_eq!(cut(" \n\n ", 10, 2), [""; 0]);
    }

    #[test]
    fn passages_end_with_sentences_and_repeat_whole_ones() {
        let text = "가 나 다. 라 마. 바 사 아? 자 차.";
        assert_eq!(cut(text, 5, 0), ["가 나 다. 라 마.", "바 사 아? 자 차."]);
        assert_eq!(
            cut(text, 5, 2),
            ["가 나 다. 라 마.", "라 마. 바 사 아?", "자 차."],
            "a longer one isn't repeated"
        );
    }

    #[test]
    fn a_number_with_a_point_is_no_end_and_an_empty_line_is_one() {
        assert_eq!(
            sentences("1.5 리터를 써요. 끝\n\n다음").collect::<Vec<_>>(),
            ["1.5 리터를 써요.", "끝", "다음"]
        );
    }

    #[test]
    fn a_sentence_that_is_too_long_is_cut_between_words_and_a_word_inside() {
        assert_eq!(cut("가 나 다 라 마 바 사 아.", 3, 0), ["가 나", "다 라", "마 바", "사 아."]);
        let by_characters = passages("가나다라마바사", Lengths { passage: 2, overlap: 0 }, |text| {
            text.chars().count()
        });
        assert!(by_characters.iter().all(|piece| piece.chars().count() <= 2), "{by_characters:?}");
        assert_eq!(by_characters.concat(), "가나다라마바사");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_passage_is_too_long(
            text in "([가-힣]{1,5}[ .!?\n]{1,2}){0,40}", passage in 1usize..12, overlap in 0usize..6,
        ) {
            let found = cut(&text, passage, overlap);
            for piece in &found {
                prop_assert!(words(piece) <= passage, "{piece:?}");
            }
            let mut rest = &found.join(" ")[..];
            for word in text.split_whitespace() {
                let at = rest.find(word);
                prop_assert!(at.is_some(), "{word:?} of {text:?} is in {found:?}");
                rest = &rest[at.unwrap()..];
            }
        }
    }
}
