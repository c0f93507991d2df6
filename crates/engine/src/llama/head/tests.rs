use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::*;
use crate::llama::custom::tests::{Lines, repacked};
use crate::llama::{LlamaModel, cpu};
use crate::memory::Available;
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
            let asked = batch.iter().enumerate().filter(|(_, entry)| entry.logits).map(|(index, _)| index);
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

/// Writes a model whose head is of four bits, for which ggml has an order of its own, as the table of words (tied) or beside it.
fn with_head_of_four_bits(from: &Path, to: &Path, tied: bool) {
    let path = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    let (from, to) = (path(from), path(to));
    // SAFETY: the context owns the tensors that are written, and is freed behind them; the head's bytes outlive the writing.
    unsafe {
        let mut tensors = std::ptr::null_mut();
        let source = sys::gguf_init_from_file(
            from.as_ptr(),
            sys::gguf_init_params { no_alloc: false, ctx: &raw mut tensors },
        );
        let target = sys::gguf_init_empty();
        sys::gguf_set_kv(target, source);
        let words = *sys::ggml_get_tensor(tensors, c"token_embd.weight".as_ptr());
        let (width, rows) = (words.ne[0], words.ne[1]);
        let mut numbers = vec![0.0f32; (width * rows) as usize];
        let traits = &*sys::ggml_get_type_traits(words.type_);
        traits.to_float.unwrap()(words.data, numbers.as_mut_ptr(), width * rows);
        let row_bytes = sys::ggml_row_size(sys::GGML_TYPE_Q4_0, width);
        let mut bytes = vec![0u8; row_bytes * rows as usize];
        let data = bytes.as_mut_ptr().cast::<c_void>();
        let (begin, weights) = (0, std::ptr::null());
        sys::ggml_quantize_chunk(sys::GGML_TYPE_Q4_0, numbers.as_ptr(), data, begin, rows, width, weights);
        let mut head = words;
        head.type_ = sys::GGML_TYPE_Q4_0;
        head.data = data;
        head.nb = [18, row_bytes, bytes.len(), bytes.len()];
        if !tied {
            sys::ggml_set_name(&raw mut head, c"output.weight".as_ptr());
        }
        for index in 0..sys::gguf_get_n_tensors(source) {
            let tensor = sys::ggml_get_tensor(tensors, sys::gguf_get_tensor_name(source, index));
            if !tied || name(&*tensor) != c"token_embd.weight" {
                sys::gguf_add_tensor(target, tensor);
            }
        }
        sys::gguf_add_tensor(target, &raw const head);
        assert!(sys::gguf_write_to_file(target, to.as_ptr(), false));
        sys::gguf_free(target);
        sys::gguf_free(source);
        sys::ggml_free(tensors);
    }
}

/// Field report 50. On arm64 with dotprod the same happens to heads of eight bits.
#[test]
fn a_head_in_an_order_of_ggmls_is_read_from_the_table_of_words_or_said_not_to_be_used() {
    let Some(path) = model("smollm2-135m-instruct-Q4_1.gguf") else { return };
    // Beside a GPU llama.cpp prefers the file's own pages.
    let beside_gpu = Available::here().is_ok_and(|here| !here.gpus.is_empty());
    if beside_gpu || !cpu::repacked_types().contains(&"Q4_0") {
        eprintln!("skipped: nothing is repacked here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = LocalSettings { threads: Some(2), context: 256, running: 3, ..LocalSettings::default() };
    for tied in [true, false] {
        let file = folder.path().join("model.gguf");
        with_head_of_four_bits(&path, &file, tied);
        let log = Arc::new(Mutex::default());
        let subscriber = tracing_subscriber::fmt().with_writer(Lines(log.clone())).with_ansi(false).finish();
        let loaded =
            tracing::subscriber::with_default(subscriber, || LlamaModel::load(&file, &settings, 0).unwrap());
        let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        let about: Vec<&str> = log.lines().filter(|line| line.contains("output head")).collect();
        let &[about] = &about[..] else { panic!("one line about it: {log}") };
        assert_eq!(loaded.head_alone, tied, "{log}");
        if tied {
            assert!(about.contains("is used"), "{about}");
        } else {
            assert!(
                about.contains("WARN") && about.contains("isn't used") && about.contains("REPACK"),
                "{about}"
            );
        }
    }
}

#[test]
fn why_a_head_is_left_to_llama_cpp_is_told() {
    // SAFETY: numbers and pointers only, for which zero is a value.
    let zero: sys::ggml_tensor = unsafe { std::mem::zeroed() };
    let (mut output, mut matrix, mut hidden) = (zero, zero, zero);
    let why =
        |output: &sys::ggml_tensor, words: Option<&sys::ggml_tensor>| head_of(output, words).err().unwrap();
    output.op = sys::GGML_OP_SCALE;
    assert!(why(&output, None).contains("no product"));
    output.op = sys::GGML_OP_MUL_MAT;
    assert!(why(&output, None).contains("factor"));
    (output.src[0], output.src[1]) = (&raw mut matrix, &raw mut hidden);
    assert!(why(&output, None).contains("last norm"));
    // SAFETY: the name is shorter than the array.
    unsafe { sys::ggml_set_name(&raw mut hidden, c"result_norm".as_ptr()) };
    assert!(why(&output, None).contains("no buffer"));
    let Some(buffer) = repacked(64) else { return };
    matrix.buffer = buffer.0;
    assert!(why(&output, None).contains("CPU_REPACK"));
    let mut words = matrix;
    words.ne[0] = 32;
    assert!(why(&output, Some(&words)).contains("CPU_REPACK"), "another table");
}
