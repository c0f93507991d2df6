//! A prompt as a server takes it. Special tokens of the template are special, and what people wrote never is.
//!
//! Where the server tokenises, pieces are tokenised apart and sent as numbers. Where it doesn't, they are sent as one text, and
//! spellings of special tokens in what people wrote are broken up by a space.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use leafresh_engine::{Piece, Prompt};
use serde_json::{Value, json};

use crate::client::{Client, Fault};
use crate::dialect::Input;
use crate::settings::Kind;

/// SentencePiece vocabularies put a space before any text. A line break before it keeps the space out.
const ANCHOR: &str = "\n";

/// A spelling of a special token has at most so many characters between its brackets.
const LONGEST_SPECIAL: usize = 64;

/// In so many places a text is cut, so that none of its parts spells a special token. One with more of them is broken up.
const MOST_CUTS: usize = 16;

/// Texts whose tokens are remembered: beginnings that all prompts share, and what a program's fixed texts come to.
const REMEMBERED: usize = 256;

/// A server's tokenizer.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    client: Client,
    kind: Kind,
    model: String,
    /// What begins every text, if anything does.
    bos: Vec<u32>,
    anchor: Option<Vec<u32>>,
    known: Mutex<HashMap<(String, bool), Vec<u32>>>,
}

impl Tokenizer {
    /// Asks a server how it tokenises; `None` when it doesn't do so for others.
    ///
    /// # Errors
    /// A fault that says nothing about that.
    pub(crate) async fn find(client: &Client, kind: Kind, model: &str) -> Result<Option<Self>, Fault> {
        if matches!(kind, Kind::Tgi | Kind::Openai | Kind::Leafresh) {
            return Ok(None);
        }
        let mut tokenizer = Self {
            client: client.clone(),
            kind,
            model: model.to_owned(),
            bos: Vec::new(),
            anchor: None,
            known: Mutex::default(),
        };
        let plain = match tokenizer.ask("a", false, false).await {
            Ok(tokens) => tokens,
            Err(Fault::Refused { .. } | Fault::Nonsense(_)) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let whole = tokenizer.ask("a", true, false).await?;
        let begins = whole.windows(plain.len()).position(|tokens| tokens == plain);
        tokenizer.bos = whole[..begins.unwrap_or(0)].to_vec();
        let (anchor, behind) =
            (tokenizer.ask(ANCHOR, false, false).await?, tokenizer.ask("\na", false, false).await?);
        // Behind a line break an "a" is another token than at the beginning.
        if behind.strip_prefix(&*anchor).is_some_and(|tokens| tokens != plain) {
            tokenizer.anchor = Some(anchor);
        }
        Ok(Some(tokenizer))
    }

    pub(crate) fn bos(&self) -> &[u32] {
        &self.bos
    }

    /// The tokens of a text that stands behind others.
    pub(crate) async fn tokens(&self, text: &str, special: bool) -> Result<Vec<u32>, Fault> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let key = (text.to_owned(), special);
        if let Some(tokens) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(tokens.clone());
        }
        let tokens = match &self.anchor {
            None => self.ask(text, false, special).await?,
            Some(anchor) => {
                let tokens = self.ask(&format!("{ANCHOR}{text}"), false, special).await?;
                match tokens.strip_prefix(&**anchor) {
                    Some(tokens) => tokens.to_vec(),
                    // The line break has become one token with what follows.
                    None => self.ask(text, false, special).await?,
                }
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, tokens.clone());
        Ok(tokens)
    }

    async fn ask(&self, text: &str, bos: bool, special: bool) -> Result<Vec<u32>, Fault> {
        let body = match self.kind {
            Kind::LlamaServer => json!({ "content": text, "add_special": bos, "parse_special": special }),
            _ => json!({ "model": self.model, "prompt": text, "add_special_tokens": bos }),
        };
        let answer = self.client.post("/tokenize", &body).await?;
        let tokens = answer.get("tokens").and_then(Value::as_array);
        let number = |token: &Value| token.as_u64().and_then(|token| u32::try_from(token).ok());
        let tokens: Option<Vec<u32>> = tokens.and_then(|tokens| tokens.iter().map(number).collect());
        tokens.ok_or_else(|| Fault::Nonsense("/tokenize gives no tokens".into()))
    }

    /// Whether special tokens in a text can be told to be plain text.
    fn can_spell_out(&self) -> bool {
        self.kind == Kind::LlamaServer
    }
}

/// The prompt's part of what a server is given.
pub(crate) async fn input(prompt: &Prompt, tokenizer: Option<&Tokenizer>, bos: &str) -> Result<Input, Fault> {
    let Some(tokenizer) = tokenizer else { return Ok(Input::Text(text(prompt, bos))) };
    let mut tokens = tokenizer.bos().to_vec();
    let last = prompt.pieces.len().saturating_sub(1);
    for (index, piece) in prompt.pieces.iter().enumerate() {
        let (text, special) = match piece {
            Piece::Template(text) => (text, true),
            Piece::Text(text) => (text, false),
        };
        // The spaces at its end are the program's.
        let text = if index == last { text.trim_end_matches(' ') } else { text };
        if special || tokenizer.can_spell_out() {
            tokens.extend(tokenizer.tokens(text, special).await?);
            continue;
        }
        for part in parts(text) {
            tokens.extend(tokenizer.tokens(&part, false).await?);
        }
    }
    let begin = tokenizer.bos();
    if !begin.is_empty() && tokens[begin.len()..].starts_with(begin) {
        tokens.drain(..begin.len()); // The template has its own.
    }
    Ok(Input::Tokens(tokens))
}

/// The input with what was written behind the prompt.
pub(crate) async fn continued(
    mut input: Input,
    written: &str,
    tokenizer: Option<&Tokenizer>,
) -> Result<Input, Fault> {
    match (&mut input, tokenizer) {
        (Input::Tokens(tokens), Some(tokenizer)) => tokens.extend(tokenizer.tokens(written, false).await?),
        (Input::Text(text), _) => text.push_str(written),
        (Input::Tokens(_), None) => {}
    }
    Ok(input)
}

/// One text for servers that put `bos` before it themselves.
fn text(prompt: &Prompt, bos: &str) -> String {
    let mut text = String::new();
    for piece in &prompt.pieces {
        match piece {
            Piece::Template(piece) => text.push_str(piece),
            Piece::Text(piece) => text.push_str(&broken_up(piece)),
        }
    }
    let text = text.trim_end_matches(' ');
    match text.strip_prefix(bos) {
        Some(rest) if !bos.is_empty() => rest.to_owned(),
        _ => text.to_owned(),
    }
}

/// Parts of a text, none of which spells a special token.
fn parts(text: &str) -> Vec<String> {
    let cuts = specials(text);
    if cuts.len() > MOST_CUTS {
        return vec![broken_up(text)];
    }
    let ends = cuts.iter().copied().chain([text.len()]);
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| text[start..end].to_owned()).collect()
}

/// The text with a space behind each bracket that could begin a special token.
fn broken_up(text: &str) -> String {
    let mut broken = String::with_capacity(text.len());
    let mut from = 0;
    for cut in specials(text) {
        broken.push_str(&text[from..cut]);
        broken.push(' ');
        from = cut;
    }
    broken + &text[from..]
}

/// Where special tokens may be spelled: behind the brackets that open them. All known families write them `<…>`, `<|…|>`,
/// `<｜…｜>` or `[…]`, in Latin letters.
fn specials(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, open) in text.char_indices() {
        let close = match open {
            '<' => '>',
            '[' => ']',
            _ => continue,
        };
        let inside = &text[at + 1..];
        let begins =
            |character: char| character.is_ascii_alphanumeric() || "/|_!\u{FF5C}".contains(character);
        if inside.starts_with(begins)
            && inside.chars().take(LONGEST_SPECIAL).any(|character| character == close)
        {
            found.push(at + 1);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_text_spells_a_special_token() {
        for special in [
            "<end_of_turn>",
            "</s>",
            "<|im_end|>",
            "[INST]",
            "[/INST]",
            "<｜User｜>",
            "[|endofturn|]",
            "<unused3>",
        ] {
            let text = format!("앞 {special}뒤");
            let cut = parts(&text);
            assert_eq!(cut.concat(), text);
            assert!(cut.len() > 1 && cut.iter().all(|part| !part.contains(special)), "{cut:?}");
            assert!(!broken_up(&text).contains(special), "{special}");
        }
    }

    #[test]
    fn other_brackets_are_left_alone() {
        for text in ["[중요] 물 아끼기", "1 < 2", "a[", "<- 여기", "<a", ""] {
            assert_eq!((parts(text), broken_up(text)), (vec![text.to_owned()], text.to_owned()));
        }
    }

    #[test]
    fn who_types_many_is_asked_for_once() {
        let text = "<a>".repeat(MOST_CUTS + 1);
        assert_eq!(parts(&text), ["< a>".repeat(MOST_CUTS + 1)]);
    }

    #[test]
    fn one_text_has_no_beginning_of_its_own_and_no_space_at_its_end() {
        let pieces = vec![
            Piece::Template("<s><|user|>".into()),
            Piece::Text("<|end|> [주의] ".into()),
            Piece::Template("<|end|><|assistant|>  ".into()),
        ];
        let prompt = Prompt { pieces };
        assert_eq!(text(&prompt, "<s>"), "<|user|>< |end|> [주의] <|end|><|assistant|>");
        assert!(text(&prompt, "").starts_with("<s><|user|>"));
    }
}
