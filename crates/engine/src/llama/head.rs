//! The output head for the tokens that may come next, instead of for the whole vocabulary.
//!
//! A slot allows a handful to some thousands of tokens, the vocabulary holds up to hundreds of thousands, and its matrix
//! is most of a small model's bytes. So the graph is ended behind the last norm, and the logits that are asked for are
//! dot products of its rows with the head's, by ggml's own kernels. What the graph does between the two differs from
//! model to model; [`Head::learn`] looks at it and compares, and a model that isn't as expected keeps its whole head.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_void};

use llama_cpp_sys_2 as sys;

use super::products::Products;
use super::{attention, custom};
use crate::model::Candidates;

/// Rows that are compared with the model's own logits before the head is used.
const COMPARED: usize = 1024;

/// How far a logit may be from the model's own, as a share of the range of all logits: kernels sum in different orders,
/// some of half-precision products.
const TOLERANCE: f32 = 0.01;

/// Multiplications from which on a second thread pays.
const WORTH_A_THREAD: usize = 1 << 20;

/// What is taken out of the graph while it is computed. llama.cpp keeps its address, so it lives in a box.
#[derive(Default)]
pub(super) struct Tap {
    mode: Mode,
    /// The output of the last norm: a row for each output of the batch.
    hidden: Vec<f32>,
    head: Option<Head>,
    /// Attention is computed by our kernel where it can be.
    attention: bool,
    /// Layers in which our attention gave what ggml's gave, and those in which it didn't.
    compared: (usize, usize),
    products: Products,
    before_comparing: Mode,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The graph runs as it is.
    #[default]
    Idle,
    /// The graph runs to its end; what the head would need is noted.
    Learn,
    /// The graph ends behind the last norm.
    Cut,
    /// The graph runs to its end; our kernels are compared with ggml's in each layer.
    Compare,
}

/// A shared tap: the callback changes it while llama.cpp computes, its owner reads it afterwards, both on one thread.
pub(super) struct SharedTap(Box<UnsafeCell<Tap>>);

impl SharedTap {
    pub(super) fn new() -> Self {
        Self(Box::default())
    }

    /// Has the context call the tap. It must outlive the context.
    pub(super) fn install(&self, params: &mut sys::llama_context_params) {
        params.cb_eval = Some(tap);
        params.cb_eval_user_data = self.0.get().cast();
    }

    /// # Safety
    /// Not while the context computes.
    unsafe fn get(&mut self) -> &mut Tap {
        // SAFETY: the caller's promise, and `&mut self` keeps others out.
        unsafe { &mut *self.0.get() }
    }

    /// From the next batch on what is learned is noted.
    pub(super) fn learn(&mut self) {
        // SAFETY: nothing computes between two calls of the owner.
        unsafe { self.get() }.mode = Mode::Learn;
    }

    /// Whether from now on the graph ends before the head: what was noted gives the logits that the model gave, `[n_vocab]`.
    pub(super) fn cut(&mut self, logits: &[f32]) -> bool {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        let agrees = tap.head.as_ref().is_some_and(|head| head.agrees(&tap.hidden, logits));
        tap.mode = if agrees { Mode::Cut } else { Mode::Idle };
        agrees
    }

    /// In the next batch our kernels are compared with ggml's.
    pub(super) fn compare(&mut self, products: bool) {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        tap.compared = (0, 0);
        if products {
            tap.products.compare();
        }
        tap.before_comparing = std::mem::replace(&mut tap.mode, Mode::Compare);
    }

    /// Uses those of our kernels from now on that gave what ggml's gave in every layer: attention, products.
    pub(super) fn choose(&mut self, attention: bool) -> (bool, bool) {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        tap.mode = tap.before_comparing;
        tap.attention = attention && matches!(tap.compared, (1.., 0));
        (tap.attention, tap.products.decide())
    }

    /// Attention, products.
    #[cfg(test)]
    pub(super) fn own_kernels(&mut self) -> (bool, bool) {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        (tap.attention, tap.products.are_ours())
    }

    /// Fills in the logits that are wanted behind the last batch. `output(entry)` is the row among the batch's outputs.
    pub(super) fn score(
        &mut self,
        wanted: &mut [Candidates],
        threads: usize,
        output: impl Fn(usize) -> Option<usize>,
    ) {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        if let Some(head) = &tap.head {
            head.score(&tap.hidden, wanted, threads, output);
        }
    }
}

/// Called for every node of the graph: before it (`ask`: is it wanted?) and, if it is, behind it (go on?).
unsafe extern "C" fn tap(tensor: *mut sys::ggml_tensor, ask: bool, data: *mut c_void) -> bool {
    // SAFETY: llama.cpp passes a node of its graph and the pointer that was installed; nobody else holds the tap while a
    // batch is computed.
    let (tensor, tap) = unsafe { (&mut *tensor, &mut *data.cast::<Tap>()) };
    let mut wanted = false;
    if ask {
        attention::choose(tensor, tap.attention);
        wanted = tap.products.ask(tensor);
    }
    match tap.mode {
        Mode::Idle => return !ask,
        Mode::Compare if ask => return wanted || tensor.op == sys::GGML_OP_FLASH_ATTN_EXT,
        Mode::Compare => {
            if tensor.op == sys::GGML_OP_FLASH_ATTN_EXT {
                let (agree, differ) = &mut tap.compared;
                *(if attention::agrees(tensor) { agree } else { differ }) += 1;
            } else {
                tap.products.see(tensor);
            }
            return true;
        }
        Mode::Learn | Mode::Cut => {}
    }
    // SAFETY: ggml ends names with NUL.
    let name = unsafe { CStr::from_ptr(tensor.name.as_ptr()) };
    if name == c"result_norm" {
        if !ask {
            tap.read(tensor);
        }
        return ask || tap.mode == Mode::Learn;
    }
    if ask && tap.mode == Mode::Learn && name == c"result_output" {
        tap.head = Head::of(tensor);
    }
    !ask
}

impl Tap {
    fn read(&mut self, tensor: &sys::ggml_tensor) {
        self.hidden.clear();
        self.hidden.resize((tensor.ne[0] * tensor.ne[1]) as usize, 0.0);
        if tensor.type_ == sys::GGML_TYPE_F32 && !self.hidden.is_empty() {
            // SAFETY: the tensor holds ne[0] × ne[1] floats, and so does the vector.
            unsafe {
                let bytes = size_of_val(&*self.hidden);
                sys::ggml_backend_tensor_get(tensor, self.hidden.as_mut_ptr().cast(), 0, bytes);
            }
        }
    }
}

/// The head's matrix where llama.cpp has it, and the kernels for its type.
struct Head {
    rows: *const u8,
    row_bytes: usize,
    n_vocab: usize,
    n_embd: usize,
    /// Turns a row of floats into what `dot` multiplies with the matrix's type.
    convert: unsafe extern "C" fn(*const f32, *mut c_void, i64),
    converted_bytes: usize,
    dot: unsafe extern "C" fn(i32, *mut f32, usize, *const c_void, usize, *const c_void, usize, i32),
}

// SAFETY: weights are read only once they are loaded, and the functions are plain ones.
unsafe impl Sync for Head {}
// SAFETY: as above.
unsafe impl Send for Head {}

impl Head {
    /// The head of a graph whose last node is nothing but a product of a matrix in plain memory and the last norm.
    fn of(output: &sys::ggml_tensor) -> Option<Self> {
        if output.op != sys::GGML_OP_MUL_MAT {
            return None;
        }
        // SAFETY: a product's sources are tensors of the same graph, a type's traits are static, and names end in NUL.
        unsafe {
            let (weight, hidden) = (output.src[0].as_ref()?, output.src[1].as_ref()?);
            let plain = custom::is_plain(weight);
            if !plain || weight.data.is_null() || CStr::from_ptr(hidden.name.as_ptr()) != c"result_norm" {
                return None;
            }
            let traits = sys::ggml_get_type_traits_cpu(weight.type_).as_ref()?;
            let partner = sys::ggml_get_type_traits_cpu(traits.vec_dot_type).as_ref()?;
            Some(Self {
                rows: weight.data.cast(),
                row_bytes: weight.nb[1],
                n_vocab: weight.ne[1] as usize,
                n_embd: weight.ne[0] as usize,
                convert: partner.from_float?,
                converted_bytes: sys::ggml_row_size(traits.vec_dot_type, weight.ne[0]),
                dot: traits.vec_dot?,
            })
        }
    }

    /// Whether it gives what the model gave for one output.
    fn agrees(&self, hidden: &[f32], logits: &[f32]) -> bool {
        if hidden.len() != self.n_embd
            || logits.len() != self.n_vocab
            || logits.iter().any(|x| !x.is_finite())
        {
            return false;
        }
        let step = (self.n_vocab / COMPARED).max(1);
        let tokens = (0..self.n_vocab as u32).step_by(step).collect();
        let mut wanted = [Candidates { tokens, ..Candidates::default() }];
        self.score(hidden, &mut wanted, 1, Some);
        let range = logits.iter().fold(f32::MIN, |most, x| most.max(*x))
            - logits.iter().fold(f32::MAX, |least, x| least.min(*x));
        let [Candidates { tokens, logits: ours, .. }] = &wanted;
        range > 0.0
            && tokens
                .iter()
                .zip(ours)
                .all(|(&token, x)| (x - logits[token as usize]).abs() <= TOLERANCE * range)
    }

    fn score(
        &self,
        hidden: &[f32],
        wanted: &mut [Candidates],
        threads: usize,
        output: impl Fn(usize) -> Option<usize>,
    ) {
        let mut parts: Vec<Part> = Vec::with_capacity(wanted.len());
        for candidates in wanted.iter_mut() {
            let Candidates { entry, tokens, ends, logits } = candidates;
            logits.clear();
            logits.resize(tokens.len() + ends.len(), f32::NEG_INFINITY);
            let row = output(*entry).and_then(|row| hidden.get(row * self.n_embd..)?.get(..self.n_embd));
            let Some(row) = row else { continue };
            let row = self.converted(row);
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
        // SAFETY: the row holds n_embd floats, and the vector as many bytes as ggml needs for that many numbers.
        unsafe { (self.convert)(row.as_ptr(), converted.as_mut_ptr().cast(), self.n_embd as i64) };
        converted
    }

    /// The products of each token's row with each converted one. An id outside the matrix keeps what stands there.
    fn dots(&self, tokens: &[u32], into: &mut [(&[u8], &mut [f32])]) {
        for (index, &token) in
            tokens.iter().enumerate().filter(|(_, token)| (**token as usize) < self.n_vocab)
        {
            for (row, logits) in &mut *into {
                // SAFETY: the token's row lies within the matrix, which lives as long as the model; both rows are of
                // n_embd numbers in the types that `dot` takes; it writes one float.
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

/// One output's share of the work.
struct Part<'a> {
    tokens: &'a [u32],
    row: Vec<u8>,
    logits: &'a mut [f32],
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::llama::LlamaModel;
    use crate::local::LocalSettings;
    use crate::model::{Entry, Model};

    fn model(name: &str) -> Option<PathBuf> {
        std::env::var_os("LEAFRESH_TEST_MODELS").map(|folder| PathBuf::from(folder).join(name))
    }

    /// Three rows of different lengths, not all of which ask for logits.
    fn batches() -> Vec<Vec<Entry>> {
        let run = |sequence, from: usize, tokens: &[u32], logits| {
            let entry = |(offset, &token)| Entry {
                token,
                position: from + offset,
                sequence,
                logits: logits && offset + 1 == tokens.len(),
            };
            tokens.iter().enumerate().map(entry).collect::<Vec<_>>()
        };
        vec![
            [run(0, 0, &[2, 700, 900], true), run(1, 0, &[2, 17], false), run(2, 0, &[2], true)].concat(),
            [run(0, 3, &[41], false), run(1, 2, &[5000, 3], true)].concat(),
            [run(2, 1, &[99], true), run(0, 4, &[7], true), run(1, 4, &[8], true)].concat(),
        ]
    }

    #[test]
    fn the_logits_of_some_tokens_are_those_of_the_whole_head() {
        for name in ["gemma-3-270m-Q4_K_M.gguf", "smollm2-135m-instruct-Q4_1.gguf"] {
            let Some(path) = model(name) else { return };
            let load = |head_for_candidates, threads| {
                let settings = LocalSettings {
                    threads: Some(threads),
                    context: 256,
                    running: 3,
                    head_for_candidates,
                    ..LocalSettings::default()
                };
                LlamaModel::load(&path, &settings, 0).unwrap()
            };
            let (mut ours, mut whole) = (load(true, 2), load(false, 1));
            assert!(ours.head_alone && !whole.head_alone, "{name}");
            let n_vocab = 49_000; // Both have more.
            let many: Arc<[u32]> = (0..n_vocab).step_by(3).collect();
            let few: Arc<[u32]> = [5, 1, u32::MAX - 1].into();
            for batch in batches() {
                let asked =
                    batch.iter().enumerate().filter(|(_, entry)| entry.logits).map(|(index, _)| index);
                let mut wanted: Vec<Candidates> = asked
                    .enumerate()
                    .map(|(nth, entry)| Candidates {
                        entry,
                        tokens: if nth == 1 { few.clone() } else { many.clone() },
                        ends: vec![1, 2],
                        logits: Vec::new(),
                    })
                    .collect();
                let mut expected = wanted.clone();
                ours.decode(&batch).unwrap();
                ours.score(&mut wanted);
                whole.decode(&batch).unwrap();
                whole.score(&mut expected);
                for (got, expected) in wanted.iter().zip(&expected) {
                    assert_eq!(got.logits.len(), got.tokens.len() + 2);
                    for (a, b) in got.logits.iter().zip(&expected.logits) {
                        let same = a.total_cmp(b).is_eq() || (a - b).abs() < 0.3;
                        assert!(same, "{name}: {a} for {b}");
                    }
                }
            }
        }
    }
}
