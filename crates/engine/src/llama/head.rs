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
pub(super) struct HeadTap {
    mode: Mode,
    /// The output of the last norm: a row for each output of the batch.
    hidden: Vec<f32>,
    head: Option<Head>,
    /// Why there is none.
    without: String,
    /// The table of words that the graph begins with, where it is in plain memory.
    words: Option<Words>,
    /// Attention is computed by our kernel where it can be.
    attention: bool,
    /// Layers in which our attention gave what ggml's gave, and those in which it didn't.
    compared: (usize, usize),
    matmuls: Matmuls,
    before_comparing: Mode,
}

/// A tensor of the model's own, which lives longer.
struct Words(sys::ggml_tensor);

// SAFETY: weights are only read.
unsafe impl Send for Words {}

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
pub(super) struct SharedHeadTap(Box<UnsafeCell<HeadTap>>);

impl SharedHeadTap {
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
    unsafe fn get(&mut self) -> &mut HeadTap {
        // SAFETY: the caller's promise, and `&mut self` keeps others out.
        unsafe { &mut *self.0.get() }
    }

    /// From the next batch on what is learned is noted.
    pub(super) fn learn(&mut self) {
        // SAFETY: nothing computes between two calls of the owner.
        let tap = unsafe { self.get() };
        tap.mode = Mode::Learn;
        tap.without = "its graph has no node that is called result_output".into();
    }

    /// From now on the graph ends before the head, if what was noted gives the logits that the model gave, `[n_vocab]`.
    ///
    /// # Errors
    /// Why it doesn't.
    pub(super) fn cut(&mut self, logits: &[f32]) -> Result<(), String> {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        tap.mode = Mode::Idle;
        let head = tap.head.as_ref().ok_or_else(|| tap.without.clone())?;
        if !agrees(head, &tap.hidden, logits) {
            return Err("products with its matrix aren't the model's logits".into());
        }
        tap.mode = Mode::Cut;
        Ok(())
    }

    /// Whether the graph ends before the head from the next batch on; only after [`SharedHeadTap::cut`] has allowed it.
    pub(super) fn end_before_head(&mut self, alone: bool) {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        tap.mode = if alone { Mode::Cut } else { Mode::Idle };
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
    ///
    /// # Errors
    /// Why one isn't used.
    pub(super) fn choose(&mut self, attention: bool) -> [Result<(), String>; 2] {
        // SAFETY: as above.
        let tap = unsafe { self.get() };
        tap.mode = tap.before_comparing;
        let (agree, differ) = tap.compared;
        let compared = custom::outcome("layers", agree, differ);
        tap.attention = attention && compared.is_ok();
        [compared, tap.matmuls.decide()]
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
    let (tensor, tap) = unsafe { (&mut *tensor, &mut *data.cast::<HeadTap>()) };
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
    if name(tensor) == c"result_norm" {
        if !ask {
            tap.read(tensor);
        }
        return ask || tap.mode == Mode::Learn;
    }
    if ask && tap.mode == Mode::Learn {
        if let Some(words) = words_of(tensor) {
            tap.words = Some(Words(*words));
        } else if name(tensor) == c"result_output" {
            (tap.head, tap.without) = match head_of(tensor, tap.words.as_ref().map(|Words(table)| table)) {
                Ok(head) => (Some(head), String::new()),
                Err(why) => (None, why),
            };
        }
    }
    !ask
}

impl HeadTap {
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

/// The table that a node takes the tokens' rows from, if it does and the table lies in plain memory.
fn words_of(node: &sys::ggml_tensor) -> Option<&sys::ggml_tensor> {
    if node.op != sys::GGML_OP_GET_ROWS {
        return None;
    }
    // SAFETY: a node's sources are tensors of the same graph, or null.
    let table = unsafe { node.src[0].as_ref() }?;
    (name(table) == c"token_embd.weight" && custom::is_plain(table)).then_some(table)
}

fn name(tensor: &sys::ggml_tensor) -> &CStr {
    // SAFETY: ggml ends names with NUL, within their array.
    unsafe { CStr::from_ptr(tensor.name.as_ptr()) }
}

/// The head of a graph whose last node is nothing but a product of a matrix in plain memory and the last norm.
///
/// # Errors
/// What it is instead.
fn head_of(output: &sys::ggml_tensor, words: Option<&sys::ggml_tensor>) -> Result<Head, String> {
    if output.op != sys::GGML_OP_MUL_MAT {
        return Err("what comes last in its graph is no product".into());
    }
    // SAFETY: a product's sources are tensors of the same graph.
    let (Some(matrix), Some(hidden)) = (unsafe { (output.src[0].as_ref(), output.src[1].as_ref()) }) else {
        return Err("the last product lacks a factor".into());
    };
    if name(hidden) != c"result_norm" {
        return Err("what its matrix is multiplied with isn't the last norm".into());
    }
    // A table of words that is the head as well is loaded twice where ggml has an order of its own for matrices: the one that
    // rows are taken from stays as it is in the file.
    let same = |words: &&sys::ggml_tensor| {
        (name(words), words.type_, words.ne) == (name(matrix), matrix.type_, matrix.ne)
    };
    let matrix = if custom::is_plain(matrix) {
        matrix
    } else {
        words.filter(same).ok_or_else(|| format!("its matrix {}", custom::whereabouts(matrix)))?
    };
    let by_rows = || -> Option<Head> {
        // SAFETY: a type's traits are static.
        unsafe {
            let traits = sys::ggml_get_type_traits_cpu(matrix.type_).as_ref()?;
            let partner = sys::ggml_get_type_traits_cpu(traits.vec_dot_type).as_ref()?;
            Some(Head {
                rows: matrix.data.cast(),
                row_bytes: matrix.nb[1],
                n_vocab: matrix.ne[1] as usize,
                n_embd: matrix.ne[0] as usize,
                convert: partner.from_float?,
                converted_bytes: sys::ggml_row_size(traits.vec_dot_type, matrix.ne[0]),
                dot: traits.vec_dot?,
            })
        }
    };
    if matrix.data.is_null() {
        return Err("its matrix isn't in memory".into());
    }
    by_rows().ok_or_else(|| "ggml has no product of single rows for its matrix's type".into())
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
mod tests;
