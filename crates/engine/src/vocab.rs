//! The model's vocabulary: what each token spells, and all spellings as one tree.

/// A token's id in the model's vocabulary.
pub type Token = u32;

const NO_TOKEN: Token = Token::MAX;

/// Text to tokens. Implementations are shared between threads.
pub trait Tokenizer: Send + Sync {
    /// `special`: texts such as `<eos>` become their special tokens; otherwise they are spelled out.
    /// No beginning-of-text token and no leading space is added.
    fn tokenize(&self, text: &str, special: bool) -> Vec<Token>;
}

/// What the tokens of a model spell.
///
/// Control, unknown and unused tokens spell nothing, so that no slot can hold them; nor are there ids that the model's
/// output has room for but its tokenizer doesn't know.
#[derive(Debug)]
pub struct Vocab {
    pieces: Vec<Box<[u8]>>,
    /// Every token that spells something.
    pub(crate) tokens: Tree,
    /// Those that spell one byte or one character: any text can be made of them.
    pub(crate) characters: Tree,
    ends: Vec<Token>,
    bos: Option<Token>,
}

impl Vocab {
    /// `pieces[token]` is what the token spells; empty for one that spells nothing a reader may see.
    /// Of tokens that spell the same the first counts, raw `is_byte` tokens last. `ends` end a text or a turn.
    pub fn new(
        pieces: Vec<Box<[u8]>>,
        is_byte: impl Fn(Token) -> bool,
        ends: Vec<Token>,
        bos: Option<Token>,
    ) -> Self {
        let mut order: Vec<Token> =
            (0..pieces.len() as Token).filter(|&token| !pieces[token as usize].is_empty()).collect();
        order.sort_by_key(|&token| (&pieces[token as usize], is_byte(token), token));
        order.dedup_by_key(|token| &pieces[*token as usize]);
        let tokens = Tree::new(&order, &pieces);
        order.retain(|&token| is_single_character(&pieces[token as usize]));
        let characters = Tree::new(&order, &pieces);
        Self { pieces, tokens, characters, ends, bos }
    }

    /// The bytes that a token spells: nothing for special tokens and ids outside the vocabulary.
    pub fn piece(&self, token: Token) -> &[u8] {
        self.pieces.get(token as usize).map_or(&[], |piece| piece)
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there is such a token.
    pub fn holds(&self, token: Token) -> bool {
        (token as usize) < self.pieces.len()
    }

    /// Tokens that end a text or a turn.
    pub fn ends(&self) -> &[Token] {
        &self.ends
    }

    /// The token that begins a text, for models that want one.
    pub fn bos(&self) -> Option<Token> {
        self.bos
    }
}

fn is_single_character(piece: &[u8]) -> bool {
    piece.len() == 1 || std::str::from_utf8(piece).is_ok_and(|text| text.chars().nth(1).is_none())
}

/// Spellings as a byte tree in depth-first order.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    byte: u8,
    token: Token,
    /// Index of the first node after this one's subtree.
    end: u32,
}

impl Tree {
    /// `order` is sorted by spelling, without doubles.
    fn new(order: &[Token], pieces: &[Box<[u8]>]) -> Self {
        let mut tree = Self { nodes: Vec::with_capacity(order.len() * 2) };
        tree.build(order, pieces, 0);
        tree
    }

    /// The spellings in `order` agree in their first `depth` bytes and are longer.
    fn build(&mut self, order: &[Token], pieces: &[Box<[u8]>], depth: usize) {
        let mut rest = order;
        while let Some(&first) = rest.first() {
            let byte = pieces[first as usize][depth];
            let same = rest.partition_point(|&token| pieces[token as usize][depth] == byte);
            let (group, after) = rest.split_at(same);
            let index = self.nodes.len();
            // The shortest spelling sorts first, so a token that ends here is the group's first.
            let ends_here = pieces[first as usize].len() == depth + 1;
            self.nodes.push(Node { byte, token: if ends_here { first } else { NO_TOKEN }, end: 0 });
            self.build(&group[usize::from(ends_here)..], pieces, depth + 1);
            self.nodes[index].end = self.nodes.len() as u32;
            rest = after;
        }
    }

    /// `step` says which state a byte leads to (`None`: nowhere), `visit` sees every token reached.
    pub(crate) fn walk<S: Copy>(
        &self,
        start: S,
        step: &impl Fn(S, u8) -> Option<S>,
        visit: &mut impl FnMut(Token, S),
    ) {
        self.walk_range(0, self.nodes.len(), start, step, visit);
    }

    fn walk_range<S: Copy>(
        &self,
        mut index: usize,
        end: usize,
        state: S,
        step: &impl Fn(S, u8) -> Option<S>,
        visit: &mut impl FnMut(Token, S),
    ) {
        while index < end {
            let node = self.nodes[index];
            if let Some(next) = step(state, node.byte) {
                if node.token != NO_TOKEN {
                    visit(node.token, next);
                }
                self.walk_range(index + 1, node.end as usize, next, step, visit);
            }
            index = node.end as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn vocab(pieces: &[&str]) -> Vocab {
        Vocab::new(pieces.iter().map(|piece| piece.as_bytes().into()).collect(), |_| false, vec![], None)
    }

    #[test]
    fn a_walk_visits_every_spelling_once_and_prunes_what_a_step_refuses() {
        let pieces = ["", "a", "ab", "abc", "b", "가", "가나", "a", "abd"];
        let vocab = vocab(&pieces);
        let mut seen = Vec::new();
        vocab.tokens.walk((), &|(), _| Some(()), &mut |token, ()| seen.push(token));
        let unique: BTreeSet<_> = seen.iter().copied().collect();
        assert_eq!(seen.len(), unique.len());
        assert_eq!(
            unique,
            BTreeSet::from([1, 2, 3, 4, 5, 6, 8]),
            "the empty one and the double are left out"
        );

        let mut seen = Vec::new();
        vocab.tokens.walk((), &|(), byte| (byte != b'c').then_some(()), &mut |token, ()| seen.push(token));
        assert!(!seen.contains(&3) && seen.contains(&8));
    }

    #[test]
    fn single_characters_are_bytes_and_characters_of_any_length() {
        let vocab = vocab(&["a", "ab", "가", "가나", "🌱"]);
        let mut singles = BTreeSet::new();
        vocab.characters.walk((), &|(), _| Some(()), &mut |token, ()| _ = singles.insert(token));
        assert_eq!(singles, BTreeSet::from([0, 2, 4]));
    }

    #[test]
    fn a_spelled_token_counts_before_a_raw_byte_of_the_same_spelling() {
        let vocab = Vocab::new(vec![b"a"[..].into(), b"a"[..].into()], |token| token == 0, vec![], None);
        let mut seen = Vec::new();
        vocab.tokens.walk((), &|(), _| Some(()), &mut |token, ()| seen.push(token));
        assert_eq!(seen, [1]);
    }
}
