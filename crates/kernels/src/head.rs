//! The output head for the tokens that may come next, instead of for the whole vocabulary.
//!
//! A slot allows a handful to some thousands of tokens, the vocabulary holds up to hundreds of thousands, and its matrix
//! is most of a small model's bytes. Here only the rows asked for are multiplied, with the dot product that fits their type.

use std::ffi::c_void;

/// Multiplications from which on a second thread pays.
const WORTH_A_THREAD: usize = 1 << 20;

/// A head's matrix where its owner has it, and the kernels for its type.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// `[n_vocab]` rows of `row_bytes`, in a type that `dot` multiplies.
    pub rows: *const u8,
    pub row_bytes: usize,
    pub n_vocab: usize,
    pub n_embd: usize,
    /// Turns a row of floats into what `dot` multiplies with the matrix's type: `converted_bytes` of it.
    pub convert: unsafe extern "C" fn(*const f32, *mut c_void, i64),
    pub converted_bytes: usize,
    pub dot: unsafe extern "C" fn(i32, *mut f32, usize, *const c_void, usize, *const c_void, usize, i32),
}

// SAFETY: weights are only read, and the functions are plain ones.
unsafe impl Sync for Head {}
// SAFETY: as above.
unsafe impl Send for Head {}

/// What is wanted of one output.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The last norm's output, `[n_embd]`; none: its logits stay as they are.
    pub hidden: Option<&'a [f32]>,
    /// Those who share a list share the reading of its rows.
    pub tokens: &'a [u32],
    pub ends: &'a [u32],
    /// One for each of `tokens`, then for each of `ends`; that of an id outside the matrix stays as it is.
    pub logits: &'a mut [f32],
}

/// One output's share of the work.
struct Part<'a> {
    tokens: &'a [u32],
    row: Vec<u8>,
    logits: &'a mut [f32],
}

impl Head {
    /// Computes the logits that are wanted, on up to so many threads.
    ///
    /// # Safety
    /// The matrix is there, as large as the fields say, and the functions take what is said of them.
    pub unsafe fn score<'a>(&self, wanted: impl IntoIterator<Item = Wanted<'a>>, threads: usize) {
        let mut parts: Vec<Part> = Vec::new();
        for Wanted { hidden, tokens, ends, logits } in wanted {
            let Some(hidden) = hidden.filter(|hidden| hidden.len() == self.n_embd) else { continue };
            let row = self.converted(hidden);
            let (of_tokens, of_ends) = logits.split_at_mut(tokens.len());
            self.dots(ends, &mut [(&row, of_ends)]);
            parts.push(Part { tokens, row, logits: of_tokens });
        }
        // Slots in the same state share their list: a row of the matrix is then read once for all of them.
        parts.sort_by_key(|part| part.tokens.as_ptr());
        for group in parts.chunk_by_mut(|a, b| std::ptr::eq(a.tokens, b.tokens)) {
            self.score_group(group, threads);
        }
    }

    fn score_group(&self, group: &mut [Part], threads: usize) {
        let Some(tokens) = group.first().map(|part| part.tokens) else { return };
        let work = tokens.len() * group.len() * self.n_embd;
        let threads = threads.min(work / WORTH_A_THREAD + 1);
        let share = tokens.len().div_ceil(threads).max(1);
        let mut rests: Vec<(&[u8], &mut [f32])> =
            group.iter_mut().map(|part| (&*part.row, &mut *part.logits)).collect();
        std::thread::scope(|scope| {
            let mut shares = tokens.chunks(share).peekable();
            while let Some(tokens) = shares.next() {
                let mut mine: Vec<(&[u8], &mut [f32])> = Vec::with_capacity(rests.len());
                for (row, rest) in &mut rests {
                    let (head, tail) = std::mem::take(rest).split_at_mut(tokens.len());
                    *rest = tail;
                    mine.push((row, head));
                }
                if shares.peek().is_some() {
                    scope.spawn(move || self.dots(tokens, &mut mine));
                } else {
                    self.dots(tokens, &mut mine); // The last share is this thread's own.
                }
            }
        });
    }

    fn converted(&self, row: &[f32]) -> Vec<u8> {
        let mut converted = vec![0; self.converted_bytes];
        // SAFETY: the row holds n_embd floats, and the vector as many bytes as are needed for that many numbers.
        unsafe { (self.convert)(row.as_ptr(), converted.as_mut_ptr().cast(), self.n_embd as i64) };
        converted
    }

    /// The products of each token's row with each converted one. An id outside the matrix keeps what stands there.
    fn dots(&self, tokens: &[u32], into: &mut [(&[u8], &mut [f32])]) {
        for (index, &token) in
            tokens.iter().enumerate().filter(|(_, token)| (**token as usize) < self.n_vocab)
        {
            for (row, logits) in &mut *into {
                // SAFETY: the token's row lies within the matrix; both rows are of n_embd numbers in the types that
                // `dot` takes; it writes one float.
                unsafe {
                    let weights = self.rows.add(token as usize * self.row_bytes);
                    (self.dot)(
                        self.n_embd as i32,
                        &raw mut logits[index],
                        0,
                        weights.cast(),
                        0,
                        row.as_ptr().cast(),
                        0,
                        1,
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    unsafe extern "C" fn copy(row: *const f32, into: *mut c_void, count: i64) {
        // SAFETY: both hold `count` floats.
        unsafe { into.cast::<f32>().copy_from_nonoverlapping(row, count as usize) };
    }

    unsafe extern "C" fn dot(
        count: i32,
        out: *mut f32,
        _: usize,
        a: *const c_void,
        _: usize,
        b: *const c_void,
        _: usize,
        _: i32,
    ) {
        // SAFETY: both hold `count` floats, and `out` one.
        unsafe {
            let (a, b) = (a.cast::<f32>(), b.cast::<f32>());
            *out = (0..count as usize).map(|index| *a.add(index) * *b.add(index)).sum();
        }
    }

    #[test]
    fn logits_are_the_rows_products_whoever_shares_a_list_and_however_many_threads() {
        let (n_vocab, n_embd, outputs) = (5000, 64, 7);
        let (matrix, hidden) = (random(n_vocab * n_embd, 5), random(n_embd * outputs, 6));
        let head = Head {
            rows: matrix.as_ptr().cast(),
            row_bytes: 4 * n_embd,
            n_vocab,
            n_embd,
            convert: copy,
            converted_bytes: 4 * n_embd,
            dot,
        };
        let many: Vec<u32> = (0..5000).step_by(2).collect();
        let few = vec![3, 1, u32::MAX];
        let ends = [2, n_vocab as u32];
        for threads in [1, 3] {
            let lists = (0..outputs).map(|output| if output % 3 == 1 { &few } else { &many });
            let mut logits: Vec<Vec<f32>> =
                lists.clone().map(|list| vec![f32::NEG_INFINITY; list.len() + ends.len()]).collect();
            let wanted =
                logits.iter_mut().zip(lists.clone()).enumerate().map(|(output, (logits, tokens))| Wanted {
                    hidden: hidden.get(output * n_embd..(output + 1) * n_embd).filter(|_| output != 4),
                    tokens,
                    ends: &ends,
                    logits,
                });
            // SAFETY: the matrix is as large as said.
            unsafe { head.score(wanted, threads) };
            for (output, (logits, list)) in logits.iter().zip(lists).enumerate() {
                for (&token, &got) in list.iter().chain(&ends).zip(logits) {
                    let row = matrix.get(token as usize * n_embd..).and_then(|rest| rest.get(..n_embd));
                    let own = &hidden[output * n_embd..][..n_embd];
                    let product = row.map(|row| row.iter().zip(own).map(|(a, b)| a * b).sum::<f32>());
                    let right = product.filter(|_| output != 4).unwrap_or(f32::NEG_INFINITY);
                    assert!(
                        got.total_cmp(&right).is_eq() || (got - right).abs() < 1e-4,
                        "{got}, not {right}"
                    );
                }
            }
        }
    }
}
