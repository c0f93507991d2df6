//! The output head for the tokens that may come next, taken out of llama.cpp's graph.
//!
//! The graph is ended behind the last norm, and the logits that are asked for are dot products of its rows with the head's,
//! by ggml's own dot products. What the graph does between the two differs from model to model; a model whose graph isn't as
//! expected, or whose logits are others, keeps its whole head. The same callback puts our kernels into the graph.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_void};

use leafresh_kernels::head::{Head, Wanted};
use llama_cpp_sys_2 as sys;

use super::matmul::Matmuls;
use super::{attention, custom};
use crate::model::Candidates;

/// Rows that are compared with the model's own logits before the head is used.
const COMPARED: usize = 1024;

/// How far a logit may be from the model's own, as a share of the range of all logits: kernels sum in different orders,
/// some of half-precision products.
const TOLERANCE: f32 = 0.01;

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
    matmuls: Matmuls,
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
        let agrees = tap.head.as_ref().is_some_and(|head| agrees(head, &tap.hidden, logits));
        tap.mode = if agrees { Mode::Cut } else { Mode::Idle };
        agrees
    }

    /// In the next batch our kernels are compared with ggml's.
    pub(super) fn compare(&mut self, matmul: bool) {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        tap.compared = (0, 0);
        if matmul {
            tap.matmuls.compare();
        }
        tap.before_comparing = std::mem::replace(&mut tap.mode, Mode::Compare);
    }

    /// Uses those of our kernels from now on that gave what ggml's gave in every layer: attention, matmul.
    pub(super) fn choose(&mut self, attention: bool) -> (bool, bool) {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        tap.mode = tap.before_comparing;
        tap.attention = attention && matches!(tap.compared, (1.., 0));
        (tap.attention, tap.matmuls.decide())
    }

    /// Attention, matmul.
    #[cfg(test)]
    pub(super) fn own_kernels(&mut self) -> (bool, bool) {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        (tap.attention, tap.matmuls.are_ours())
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
            score(head, &tap.hidden, wanted, threads, output);
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
        wanted = tap.matmuls.ask(tensor);
    }
    match tap.mode {
        Mode::Idle => return !ask,
        Mode::Compare if ask => return wanted || tensor.op == sys::GGML_OP_FLASH_ATTN_EXT,
        Mode::Compare => {
            if tensor.op == sys::GGML_OP_FLASH_ATTN_EXT {
                let (agree, differ) = &mut tap.compared;
                *(if attention::agrees(tensor) { agree } else { differ }) += 1;
            } else {
                tap.matmuls.see(tensor);
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
        tap.head = head_of(tensor);
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

/// The head of a graph whose last node is nothing but a product of a matrix in plain memory and the last norm.
fn head_of(output: &sys::ggml_tensor) -> Option<Head> {
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
        Some(Head {
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

/// Whether the head gives what the model gave for one output.
fn agrees(head: &Head, hidden: &[f32], logits: &[f32]) -> bool {
    if hidden.len() != head.n_embd || logits.len() != head.n_vocab || logits.iter().any(|x| !x.is_finite()) {
        return false;
    }
    let step = (head.n_vocab / COMPARED).max(1);
    let tokens = (0..head.n_vocab as u32).step_by(step).collect();
    let mut wanted = [Candidates { tokens, ..Candidates::default() }];
    score(head, hidden, &mut wanted, 1, Some);
    let range = logits.iter().fold(f32::MIN, |most, x| most.max(*x))
        - logits.iter().fold(f32::MAX, |least, x| least.min(*x));
    let [Candidates { tokens, logits: ours, .. }] = &wanted;
    range > 0.0
        && tokens.iter().zip(ours).all(|(&token, x)| (x - logits[token as usize]).abs() <= TOLERANCE * range)
}

fn score(
    head: &Head,
    hidden: &[f32],
    wanted: &mut [Candidates],
    threads: usize,
    output: impl Fn(usize) -> Option<usize>,
) {
    let wanted = wanted.iter_mut().map(|Candidates { entry, tokens, ends, logits }| {
        logits.clear();
        logits.resize(tokens.len() + ends.len(), f32::NEG_INFINITY);
        let hidden = output(*entry).and_then(|row| hidden.get(row * head.n_embd..)?.get(..head.n_embd));
        Wanted { hidden, tokens, ends, logits }
    });
    // SAFETY: the matrix lives as long as the model, `head_of` took its shape from it and the functions from its type.
    unsafe { head.score(wanted, threads) };
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::llama::LlamaModel;
    use crate::model::{Entry, Model};
    use crate::settings::LocalSettings;

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
