//! The memory plan against llama.cpp's own figures, with the real models.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::sync::Once;

use leafresh_engine::memory::{self, Available, Free};
use leafresh_engine::{Error, KvType, Local, LocalSettings, gguf};
use tracing_subscriber::filter::LevelFilter;

use crate::model_files::model;

const GEMMA: &str = "gemma-3-270m-Q4_K_M.gguf";
const SMOLLM: &str = "smollm2-135m-instruct-Q4_1.gguf";

thread_local! {
    /// What llama.cpp logs while a model is loaded by this thread; other tests load theirs at the same time.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ThisThreadsLog;

impl Write for ThisThreadsLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Loads a model and returns what llama.cpp said of it.
fn load(path: &Path, settings: &LocalSettings) -> String {
    // For the whole process: a subscriber of one thread misses what another thread was the first to log.
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_ansi(false)
            .with_writer(|| ThisThreadsLog)
            .init();
    });
    LOG.take();
    drop(Local::load(path, settings).unwrap());
    String::from_utf8(LOG.take()).unwrap()
}

/// The sum, in MiB, of what llama.cpp says of buffers of a kind: `CPU KV buffer size =   48.00 MiB`.
fn buffers(log: &str, kind: &str) -> f64 {
    let sizes = log.lines().filter_map(|line| {
        let (before, after) = line.split_once(" buffer size = ")?;
        before.ends_with(kind).then(|| after.trim().trim_end_matches("MiB").trim().parse::<f64>().unwrap())
    });
    sizes.sum()
}

#[test]
fn the_plan_agrees_with_what_llama_cpp_allocates() {
    let base = || LocalSettings { threads: Some(1), ..LocalSettings::default() };
    let settings = [
        base(),
        LocalSettings { context: 2000, running: 4, step_tokens: 64, prefill_tokens: 16, ..base() },
        LocalSettings { context: 8192, running: 64, step_tokens: 256, ..base() },
        LocalSettings { context: 4096, kv_type: KvType::Q8_0, ..base() },
        LocalSettings { context: 1024, mmap: false, ..base() },
    ];
    for name in [GEMMA, SMOLLM] {
        let Some(path) = model(name) else { return };
        let header = gguf::check(&path).unwrap();
        for settings in &settings {
            let log = load(&path, settings);
            let plan = memory::plan(&header, settings, &Available::here().unwrap()).unwrap();
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let host = &plan.host;
            let mapped = if settings.mmap { mib(host.weights) } else { 0.0 };
            let copied = mib(host.copied_weights);
            let copies = buffers(&log, "CPU_REPACK model") + buffers(&log, "CPU model");
            // What we say, what llama.cpp says, and by how much they may differ. It rounds to hundredths of a MiB.
            let figures = [
                ("mapped weights", mapped, buffers(&log, "CPU_Mapped model"), 0.02),
                ("copied weights", copied, copies, 0.02),
                ("KV cache", mib(host.kv), buffers(&log, " KV"), 0.02),
                ("output rows", mib(host.output_rows), buffers(&log, "output"), 0.02),
                ("scratch", mib(host.scratch), buffers(&log, "compute"), 0.02 * mib(host.scratch)),
            ];
            for (part, ours, theirs, tolerance) in figures {
                assert!(
                    (ours - theirs).abs() <= tolerance,
                    "{part} of {name}: {ours} MiB, llama.cpp says {theirs}; {settings:?}"
                );
            }
        }
    }
}

#[test]
fn a_model_that_does_not_fit_is_refused_before_it_is_loaded() {
    let Some(path) = model(GEMMA) else { return };
    let header = gguf::check(&path).unwrap();
    let small = Available {
        memory: Free { bytes: 300 << 20, limited_by: "a small container".into() },
        ..Available::here().unwrap()
    };
    let refused = memory::plan(&header, &LocalSettings::default(), &small).unwrap_err();
    assert!(matches!(&refused, Error::NoRoom(reason) if reason.contains("a small container")), "{refused}");
    let huge = LocalSettings { context: 1 << 30, ..LocalSettings::default() };
    let refused = Local::load(&path, &huge).unwrap_err().to_string();
    assert!(refused.contains("engine.context at most"), "{refused}");
}
