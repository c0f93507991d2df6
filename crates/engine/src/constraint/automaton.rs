//! A slot's regular expression as a byte automaton over the model's vocabulary.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};

use crate::Error;
use crate::vocab::{Token, Vocab};

/// No way to the end.
pub(super) const UNREACHABLE: u32 = u32::MAX;
/// An automaton larger than this many bytes is refused: bounds multiply, and whoever wrote them should hear of it.
const SIZE_LIMIT: usize = 64 << 20;
/// Masks kept for one automaton, in bytes, before all are dropped and made again.
const MASKS_LIMIT: usize = 64 << 20;
/// States whose masks are made ahead; more than any answer of the catalogue has.
const PREPARED: usize = 4096;

/// A compiled regular expression. Shared by every slot that uses it, and so are the masks it has made.
pub(crate) struct Automaton {
    dfa: dense::DFA<Vec<u32>>,
    pub(super) start: StateID,
    pub(super) vocab: Arc<Vocab>,
    /// By state: the fewest tokens to a match, counted in tokens of one byte or one character.
    distances: Vec<u32>,
    /// The largest finite distance: with more tokens left than this no mask depends on the budget.
    pub(super) farthest: u32,
    masks: Mutex<Masks>,
}

#[derive(Default)]
struct Masks {
    by_state: HashMap<(StateID, u32), Arc<[Token]>>,
    /// Most states allow what others allow: equal masks are kept once.
    distinct: HashSet<Arc<[Token]>>,
    bytes: usize,
}

impl std::fmt::Debug for Automaton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Automaton").field("states", &self.distances.len()).finish_non_exhaustive()
    }
}

impl Automaton {
    fn new(regex: &str, vocab: Arc<Vocab>) -> Result<Self, Error> {
        let fail =
            |error: &dyn std::fmt::Display| Error::Program(format!("regular expression {regex:?}: {error}"));
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .match_kind(MatchKind::All)
            .accelerate(false)
            .dfa_size_limit(Some(SIZE_LIMIT))
            .determinize_size_limit(Some(SIZE_LIMIT));
        let parts = thompson::Config::new().nfa_size_limit(Some(SIZE_LIMIT));
        let dfa = dense::Builder::new().configure(config).thompson(parts).build(regex);
        let dfa = dfa.map_err(|error| fail(&error))?;
        let start =
            dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).map_err(|error| fail(&error))?;
        let mut automaton =
            Self { dfa, start, vocab, distances: Vec::new(), farthest: 0, masks: Mutex::default() };
        automaton.measure();
        if automaton.distance(start) == UNREACHABLE {
            return Err(fail(&"no text of the model's vocabulary matches it"));
        }
        Ok(automaton)
    }

    /// Fills `distances`: a breadth-first search backwards from the matching states.
    fn measure(&mut self) {
        let mut sources: HashMap<StateID, Vec<StateID>> = HashMap::new();
        let mut seen = HashSet::from([self.start]);
        let mut open = vec![self.start];
        let mut targets = HashSet::new();
        while let Some(state) = open.pop() {
            targets.clear();
            let step = |state, byte| self.step(state, byte);
            self.vocab.characters.walk(state, &step, &mut |_, target| _ = targets.insert(target));
            for &target in &targets {
                sources.entry(target).or_default().push(state);
                if seen.insert(target) {
                    open.push(target);
                }
            }
        }
        let mut level: Vec<StateID> = seen.iter().copied().filter(|&state| self.is_match(state)).collect();
        let mut distance = 0;
        self.distances =
            vec![UNREACHABLE; seen.iter().map(|&state| self.index(state) + 1).max().unwrap_or(0)];
        while !level.is_empty() {
            let mut next = Vec::new();
            for state in level {
                let index = self.index(state);
                if self.distances[index] == UNREACHABLE {
                    self.distances[index] = distance;
                    self.farthest = distance;
                    next.extend(sources.get(&state).into_iter().flatten());
                }
            }
            level = next;
            distance += 1;
        }
    }

    fn index(&self, state: StateID) -> usize {
        state.as_usize() >> self.dfa.stride2()
    }

    pub(super) fn step(&self, state: StateID, byte: u8) -> Option<StateID> {
        let next = self.dfa.next_state(state, byte);
        (!self.dfa.is_dead_state(next)).then_some(next)
    }

    pub(super) fn step_all(&self, state: StateID, bytes: &[u8]) -> Option<StateID> {
        bytes.iter().try_fold(state, |state, &byte| self.step(state, byte))
    }

    /// Whether a text that leads here matches as a whole.
    pub(super) fn is_match(&self, state: StateID) -> bool {
        self.dfa.is_match_state(self.dfa.next_eoi_state(state))
    }

    /// The fewest tokens from here to a match.
    pub(super) fn distance(&self, state: StateID) -> u32 {
        self.distances.get(self.index(state)).copied().unwrap_or(UNREACHABLE)
    }

    /// Every token after which at most `left − 1` tokens more lead to a match.
    pub(super) fn mask(&self, state: StateID, left: u32) -> Arc<[Token]> {
        let left = left.min(self.farthest.saturating_add(1));
        if let Some(mask) = self.masks().by_state.get(&(state, left)) {
            return mask.clone();
        }
        // Without the lock: nobody waits for another one's mask.
        let mut tokens = Vec::new();
        self.vocab.tokens.walk(state, &|state, byte| self.step(state, byte), &mut |token, state| {
            if self.distance(state) < left {
                tokens.push(token);
            }
        });
        tokens.sort_unstable();
        self.masks().keep((state, left), tokens.into())
    }

    /// Makes the masks of all states that a text within its budget can reach, so that no batch waits for one. Stops when
    /// nobody else holds the automaton any more.
    fn prepare(self: Arc<Self>) {
        let mut seen = HashSet::from([self.start]);
        let mut open = std::collections::VecDeque::from([self.start]);
        while let Some(state) = open.pop_front() {
            if Arc::strong_count(&self) == 1 || self.masks().bytes > MASKS_LIMIT / 2 || seen.len() > PREPARED
            {
                return;
            }
            self.mask(state, u32::MAX);
            let step = |state, byte| self.step(state, byte);
            self.vocab.characters.walk(state, &step, &mut |_, target| {
                if seen.insert(target) {
                    open.push_back(target);
                }
            });
        }
    }

    /// Memory that it takes with the masks made so far.
    fn bytes(&self) -> usize {
        self.dfa.memory_usage() + size_of_val(&*self.distances) + self.masks().bytes
    }

    fn masks(&self) -> MutexGuard<'_, Masks> {
        self.masks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Masks {
    /// Keeps a mask, and gives the equal one that is there already.
    fn keep(&mut self, key: (StateID, u32), mut mask: Arc<[Token]>) -> Arc<[Token]> {
        if let Some(known) = self.distinct.get(&mask) {
            mask = known.clone();
        } else {
            let bytes = size_of_val(&*mask);
            if self.bytes + bytes > MASKS_LIMIT {
                *self = Self::default();
            }
            self.bytes += bytes;
            self.distinct.insert(mask.clone());
        }
        self.by_state.insert(key, mask.clone());
        mask
    }
}

/// The automata of one model, each compiled once.
#[derive(Debug)]
pub(crate) struct Automata {
    vocab: Arc<Vocab>,
    compiled: Mutex<Compiled>,
    /// To the thread that makes masks ahead. None: the system gave no thread, so they are made when they are needed.
    ahead: Option<mpsc::Sender<Arc<Automaton>>>,
}

#[derive(Debug, Default)]
struct Compiled {
    /// With the time of their last use.
    by_regex: HashMap<String, (Arc<Automaton>, u64)>,
    now: u64,
}

impl Compiled {
    /// Automata kept, and their bytes. A catalogue uses a handful again and again; what strangers bring for one request must
    /// neither fill the memory nor push those out.
    const MOST: usize = 64;
    const MOST_BYTES: usize = 256 << 20;

    fn get(&mut self, regex: &str) -> Option<Arc<Automaton>> {
        self.now += 1;
        let (automaton, used) = self.by_regex.get_mut(regex)?;
        *used = self.now;
        Some(automaton.clone())
    }

    /// Keeps one beside those that were used last, and gives the equal one that is there already.
    fn keep(&mut self, regex: &str, automaton: Arc<Automaton>) -> Arc<Automaton> {
        if let Some(known) = self.get(regex) {
            return known;
        }
        let mut bytes =
            automaton.bytes() + self.by_regex.values().map(|(automaton, _)| automaton.bytes()).sum::<usize>();
        while self.by_regex.len() >= Self::MOST || bytes > Self::MOST_BYTES {
            let oldest = self.by_regex.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(regex, _)| regex.clone()) else { break };
            let gone = self.by_regex.remove(&oldest).map_or(0, |(automaton, _)| automaton.bytes());
            // Masks are made meanwhile.
            bytes = bytes.saturating_sub(gone);
        }
        self.by_regex.insert(regex.to_owned(), (automaton.clone(), self.now));
        automaton
    }
}

impl Automata {
    pub(crate) fn new(vocab: Arc<Vocab>) -> Self {
        let (ahead, automata) = mpsc::channel::<Arc<Automaton>>();
        let prepare = move || automata.into_iter().for_each(Automaton::prepare);
        let thread = std::thread::Builder::new().name("masks".into()).spawn(prepare);
        Self { vocab, compiled: Mutex::default(), ahead: thread.is_ok().then_some(ahead) }
    }

    /// # Errors
    /// [`Error::Program`] when the expression is malformed, too large, or matches nothing the vocabulary can spell.
    pub(crate) fn get(&self, regex: &str) -> Result<Arc<Automaton>, Error> {
        if let Some(automaton) = self.lock().get(regex) {
            return Ok(automaton);
        }
        // Compiled without the lock: it takes tens of milliseconds, and twice is better than everyone waiting.
        let automaton = Arc::new(Automaton::new(regex, self.vocab.clone())?);
        let automaton = self.lock().keep(regex, automaton);
        if let Some(ahead) = &self.ahead {
            let _ = ahead.send(automaton.clone()); // Fails only if the thread is gone; then they are made when needed.
        }
        Ok(automaton)
    }

    fn lock(&self) -> MutexGuard<'_, Compiled> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn masks_are_made_before_anybody_asks_for_one() {
        let pieces = (b'a'..=b'z').map(|letter| [letter].into()).collect();
        let automata = Automata::new(Arc::new(Vocab::new(pieces, |_| false, vec![], None)));
        let automaton = automata.get("ab[cd]e").expect("an expression");
        let path: Vec<StateID> = (0..=4)
            .map(|end| automaton.step_all(automaton.start, &b"abce"[..end]))
            .map(Option::unwrap)
            .collect();
        let left = automaton.farthest + 1;
        let is_made = |state: &StateID| automaton.masks().by_state.contains_key(&(*state, left));
        let patience = Instant::now() + Duration::from_mins(1);
        while !path.iter().all(is_made) {
            assert!(Instant::now() < patience, "no thread makes them");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_is_used_again_and_again_stays_when_strangers_come() {
        let pieces = (b'a'..=b'z').map(|letter| [letter].into()).collect();
        let automata = Automata::new(Arc::new(Vocab::new(pieces, |_| false, vec![], None)));
        let own = automata.get("own").expect("an expression");
        for number in 1..=3 * Compiled::MOST {
            automata.get(&format!("a{{{number}}}")).expect("an expression");
            assert!(Arc::ptr_eq(&own, &automata.get("own").expect("an expression")), "{number}");
        }
        assert_eq!(automata.lock().by_regex.len(), Compiled::MOST);
    }

    #[test]
    fn an_expression_without_bounds_in_size_is_refused() {
        let pieces = (0..=255u8).map(|byte| [byte].into()).collect();
        let automata = Automata::new(Arc::new(Vocab::new(pieces, |_| true, vec![], None)));
        let error = automata.get("(?:.{1000}){1000}").unwrap_err().to_string();
        assert!(error.contains("NFA"), "{error}");
    }
}
