//! Which tokens each row of the KV cache holds, so that requests with the same beginning share it.
//!
//! A row belongs to a running sequence or is idle: then it keeps its tokens until their cells are wanted, and goes by
//! least recent use. The bookkeeping is exact: a cell is free when no row refers to it any more.

use crate::model::{Adapter, SeqId};
use crate::vocab::Token;

#[derive(Debug)]
pub(crate) struct PrefixCache {
    rows: Vec<Row>,
    /// How many rows refer to each cell, and the cells that none does.
    references: Vec<u32>,
    free: Vec<u32>,
    clock: u64,
    /// No row takes over anything of another one, or of what it held before.
    sharing: bool,
}

#[derive(Debug, Default)]
struct Row {
    /// What its tokens were computed with: keys and values differ from adapter to adapter.
    adapter: Adapter,
    tokens: Vec<Token>,
    /// `cells[i]` holds `tokens[i]`. The numbers are ours, not the model's: only their sharing matters.
    cells: Vec<u32>,
    running: bool,
    used: u64,
}

/// A row for a new sequence, and what it can share.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) row: SeqId,
    /// Tokens to be shared from another row, which the claim has already counted.
    pub(crate) shared: Option<(SeqId, usize)>,
    /// Rows whose tokens were given up.
    pub(crate) evicted: Vec<SeqId>,
}

impl PrefixCache {
    pub(crate) fn new(rows: usize, cells: usize) -> Self {
        Self {
            rows: (0..rows).map(|_| Row::default()).collect(),
            references: vec![0; cells],
            free: (0..cells as u32).rev().collect(),
            clock: 0,
            sharing: true,
        }
    }

    /// For models that can't: every sequence begins with an empty row.
    pub(crate) fn without_sharing(self) -> Self {
        Self { sharing: false, ..self }
    }

    /// The row of this adapter that agrees longest with `tokens`, and how far.
    fn longest(
        &self,
        adapter: Adapter,
        tokens: &[Token],
        rows: impl Iterator<Item = usize>,
    ) -> Option<(usize, usize)> {
        rows.filter(|&row| self.sharing && self.rows[row].adapter == adapter)
            .map(|row| (row, common_prefix(&self.rows[row].tokens, tokens)))
            .filter(|&(_, len)| len > 0)
            .max_by_key(|&(_, len)| len)
    }

    /// Takes a row for a sequence that begins with `tokens`: an empty one, or the idle one used longest ago.
    /// `None` when all rows are running.
    pub(crate) fn claim(&mut self, adapter: Adapter, tokens: &[Token]) -> Option<Claim> {
        let tokens = &tokens[..tokens.len().saturating_sub(1)];
        let best = self.longest(adapter, tokens, 0..self.rows.len());
        let idle = (0..self.rows.len()).filter(|&row| !self.rows[row].running);
        // The row to share from goes last, when nothing else is idle; then the sequence continues in it.
        let row = idle.min_by_key(|&row| {
            (
                best.is_some_and(|(from, _)| from == row),
                !self.rows[row].tokens.is_empty(),
                self.rows[row].used,
            )
        })?;
        self.rows[row].running = true;
        self.touch(row);
        let mut claim = Claim { row: row as SeqId, shared: None, evicted: Vec::new() };
        match best {
            Some((from, len)) if from == row => {
                self.truncate(row as SeqId, len);
                claim.shared = Some((row as SeqId, len));
            }
            _ => {
                if !self.rows[row].tokens.is_empty() {
                    self.truncate(row as SeqId, 0);
                    claim.evicted.push(row as SeqId);
                }
                self.rows[row].adapter = adapter;
                if let Some((from, len)) = best {
                    self.share(from, row, len);
                    claim.shared = Some((from as SeqId, len));
                }
            }
        }
        Some(claim)
    }

    /// When another row meanwhile holds more of `tokens` than the running `row` does, shares that instead.
    pub(crate) fn improve(&mut self, row: SeqId, tokens: &[Token]) -> Option<(SeqId, usize)> {
        let own = row as usize;
        let tokens = &tokens[..tokens.len().saturating_sub(1)];
        let others = (0..self.rows.len()).filter(|&other| other != own);
        let (from, len) = self.longest(self.rows[own].adapter, tokens, others)?;
        if len <= self.rows[own].tokens.len() {
            return None;
        }
        self.truncate(row, 0);
        self.share(from, own, len);
        Some((from as SeqId, len))
    }

    fn share(&mut self, from: usize, to: usize, len: usize) {
        self.touch(from);
        let (tokens, cells) = (self.rows[from].tokens[..len].to_vec(), self.rows[from].cells[..len].to_vec());
        for &cell in &cells {
            self.references[cell as usize] += 1;
        }
        self.rows[to].tokens = tokens;
        self.rows[to].cells = cells;
    }

    /// Makes room for `count` tokens by giving up idle rows, least recently used first, and calls `evict` for each.
    /// `false`: there isn't room even so, and all idle rows are gone.
    pub(crate) fn make_room(&mut self, count: usize, mut evict: impl FnMut(SeqId)) -> bool {
        while self.free.len() < count {
            if !self.give_up_oldest(&mut evict) {
                return false;
            }
        }
        true
    }

    /// Gives up the idle row that was used longest ago, and calls `evict` for it. `false`: none is idle.
    pub(crate) fn give_up_oldest(&mut self, mut evict: impl FnMut(SeqId)) -> bool {
        let idle =
            (0..self.rows.len()).filter(|&row| !self.rows[row].running && !self.rows[row].tokens.is_empty());
        let Some(oldest) = idle.min_by_key(|&row| self.rows[row].used) else {
            return false;
        };
        self.truncate(oldest as SeqId, 0);
        evict(oldest as SeqId);
        true
    }

    /// Notes tokens that were decoded into a running row. [`PrefixCache::make_room`] came before.
    pub(crate) fn extend(&mut self, row: SeqId, tokens: &[Token]) {
        for &token in tokens {
            let Some(cell) = self.free.pop() else {
                tracing::error!("no room was made for a token");
                return;
            };
            self.references[cell as usize] = 1;
            let row = &mut self.rows[row as usize];
            row.tokens.push(token);
            row.cells.push(cell);
        }
    }

    /// The sequence has ended: its row keeps the tokens for others, as long as all idle rows together hold at most
    /// `keep` cells. Those used longest ago go first; `evict` is called for each.
    pub(crate) fn release(&mut self, row: SeqId, keep: usize, mut evict: impl FnMut(SeqId)) {
        self.rows[row as usize].running = false;
        self.touch(row as usize);
        while self.total_cells() - self.free.len() - self.running_cells() > keep {
            if !self.give_up_oldest(&mut evict) {
                return;
            }
        }
    }

    /// Forgets a row's tokens from `len` on.
    pub(crate) fn truncate(&mut self, row: SeqId, len: usize) {
        let row = &mut self.rows[row as usize];
        row.tokens.truncate(len);
        for cell in row.cells.drain(len.min(row.cells.len())..) {
            let references = &mut self.references[cell as usize];
            *references -= 1;
            if *references == 0 {
                self.free.push(cell);
            }
        }
    }

    /// Cells that running rows refer to, each counted once.
    pub(crate) fn running_cells(&self) -> usize {
        let mut seen = vec![false; self.references.len()];
        let running = self.rows.iter().filter(|row| row.running);
        running
            .flat_map(|row| &row.cells)
            .filter(|&&cell| !std::mem::replace(&mut seen[cell as usize], true))
            .count()
    }

    pub(crate) fn total_cells(&self) -> usize {
        self.references.len()
    }

    fn touch(&mut self, row: usize) {
        self.clock += 1;
        self.rows[row].used = self.clock;
    }
}

/// How many tokens two texts begin with in common.
pub(crate) fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl PrefixCache {
        /// How many of `tokens` some row holds, the last one never counting.
        fn matched(&self, adapter: Adapter, tokens: &[Token]) -> usize {
            let tokens = &tokens[..tokens.len().saturating_sub(1)];
            self.longest(adapter, tokens, 0..self.rows.len()).map_or(0, |(_, len)| len)
        }
    }

    /// What a cell is, naively: the row's tokens up to it. Rows that share hold equal tokens in equal cells.
    fn check(cache: &PrefixCache) {
        let mut counted = vec![0u32; cache.references.len()];
        for row in &cache.rows {
            assert_eq!(row.tokens.len(), row.cells.len());
            for &cell in &row.cells {
                counted[cell as usize] += 1;
            }
        }
        assert_eq!(counted, cache.references, "references are exact");
        let free = counted.iter().filter(|&&count| count == 0).count();
        assert_eq!(free, cache.free.len(), "no cell leaks");
        for a in &cache.rows {
            for b in &cache.rows {
                for (position, cell) in a.cells.iter().enumerate() {
                    if b.cells.contains(cell) {
                        let meaning = |row: &Row| (row.adapter, row.tokens[..=position].to_vec());
                        assert_eq!(meaning(a), meaning(b), "a shared cell means the same");
                    }
                }
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Start(Adapter, Vec<Token>),
        Write(usize, Vec<Token>),
        End(usize, usize),
        Cut(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let tokens = || proptest::collection::vec(0u32..3, 1..12);
        prop_oneof![
            (proptest::option::of(0usize..2), tokens())
                .prop_map(|(adapter, tokens)| Op::Start(adapter, tokens)),
            (0usize..4, tokens()).prop_map(|(row, tokens)| Op::Write(row, tokens)),
            (0usize..4, 0usize..40).prop_map(|(row, keep)| Op::End(row, keep)),
            (0usize..4, 0usize..6).prop_map(|(row, len)| Op::Cut(row, len)),
        ]
    }

    proptest! {
        #[test]
        fn random_operations_leak_nothing_and_share_only_what_agrees(ops in proptest::collection::vec(op(), 1..60)) {
            let mut cache = PrefixCache::new(4, 40);
            for op in ops {
                match op {
                    Op::Start(adapter, tokens) => {
                        let longest = cache.matched(adapter, &tokens);
                        if let Some(claim) = cache.claim(adapter, &tokens) {
                            let row = &cache.rows[claim.row as usize];
                            prop_assert_eq!(row.adapter, adapter);
                            prop_assert_eq!(row.tokens.len(), longest, "the longest match is shared");
                            prop_assert_eq!(&row.tokens[..], &tokens[..longest]);
                            let rest = &tokens[longest..];
                            if cache.make_room(rest.len(), |_| ()) {
                                cache.extend(claim.row, rest);
                            }
                        }
                    }
                    Op::Write(row, tokens) if cache.rows[row].running => {
                        if cache.make_room(tokens.len(), |_| ()) { cache.extend(row as SeqId, &tokens); }
                    }
                    Op::End(row, keep) => {
                        cache.release(row as SeqId, keep, |_| ());
                        let idle = 40 - cache.free.len() - cache.running_cells();
                        prop_assert!(idle <= keep, "{idle} idle cells");
                    }
                    Op::Cut(row, len) if cache.rows[row].running => cache.truncate(row as SeqId, len),
                    Op::Write(..) | Op::Cut(..) => {}
                }
                check(&cache);
            }
            for row in 0..4 { cache.release(row, 40, |_| ()); }
            prop_assert!(cache.make_room(40, |_| ()), "all of it can be had back");
            prop_assert_eq!(cache.free.len(), 40);
        }
    }

    #[test]
    fn the_row_used_longest_ago_goes_first_and_running_ones_stay() {
        let mut cache = PrefixCache::new(3, 12);
        for base in [10, 20, 30] {
            let tokens = [base, base + 1, base + 2, base + 3];
            let claim = cache.claim(None, &tokens).expect("a row");
            assert!(cache.make_room(4, |_| ()));
            cache.extend(claim.row, &tokens);
        }
        cache.release(0, 12, |_| ());
        cache.release(1, 12, |_| ());
        let mut evicted = Vec::new();
        assert!(cache.make_room(2, |row| evicted.push(row)));
        assert!(cache.make_room(8, |row| evicted.push(row)));
        assert!(!cache.make_room(9, |row| evicted.push(row)), "the running row keeps its cells");
        assert_eq!(evicted, [0, 1]);
    }

    #[test]
    fn a_neighbour_that_has_got_further_is_shared_from() {
        let mut cache = PrefixCache::new(2, 20);
        let tokens = [1, 2, 3, 4, 5];
        let first = cache.claim(None, &tokens).expect("a row").row;
        let second = cache.claim(None, &tokens).expect("a row").row;
        assert_eq!(cache.improve(second, &tokens), None);
        cache.extend(first, &tokens);
        assert_eq!(cache.improve(second, &tokens), Some((first, 4)), "all but the last token");
        assert_eq!(cache.improve(second, &tokens), None);
        check(&cache);
        assert_eq!(cache.running_cells(), 5);
    }

    #[test]
    fn rows_of_another_adapter_are_never_shared_and_go_like_others_when_cells_are_wanted() {
        let mut cache = PrefixCache::new(2, 8);
        let tokens = [1, 2, 3, 4];
        let plain = cache.claim(None, &tokens).expect("a row").row;
        cache.extend(plain, &tokens);
        cache.release(plain, 8, |_| ());
        let claim = cache.claim(Some(0), &tokens).expect("a row");
        assert_eq!(claim.shared, None);
        assert_eq!(cache.improve(claim.row, &tokens), None);
        cache.extend(claim.row, &tokens);
        cache.release(claim.row, 8, |_| ());
        let again = cache.claim(Some(0), &tokens).expect("a row");
        assert_eq!(again.shared, Some((claim.row, 3)));
        check(&cache);
    }
}
