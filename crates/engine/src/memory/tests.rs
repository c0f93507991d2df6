use std::fs;
use std::path::Path;

use super::*;
use crate::gguf::{Metadata, TensorInfo, TensorType, Value};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const Q4_K: TensorType = TensorType { name: "Q4_K", block: 256, bytes: 144 };
const F32: TensorType = TensorType { name: "F32", block: 1, bytes: 4 };

fn tensor(name: &str, dims: &[u64], kind: TensorType) -> TensorInfo {
    let bytes = dims.iter().product::<u64>() / kind.block * kind.bytes;
    TensorInfo { name: name.into(), dims: dims.into(), kind, bytes }
}

/// A model of the shape of Mistral 7B: 32 blocks, 8 key-value heads of 128 numbers, a vocabulary of 32,768.
fn seven_billion() -> Header {
    let mut tensors = vec![
        tensor("token_embd.weight", &[4096, 32_768], Q4_K),
        tensor("output_norm.weight", &[4096], F32),
        tensor("output.weight", &[4096, 32_768], Q4_K),
    ];
    for block in 0..32 {
        let mut add = |name: &str, dims: &[u64], kind| {
            tensors.push(tensor(&format!("blk.{block}.{name}.weight"), dims, kind));
        };
        add("attn_norm", &[4096], F32);
        add("attn_q", &[4096, 4096], Q4_K);
        add("attn_k", &[4096, 1024], Q4_K);
        add("attn_v", &[4096, 1024], Q4_K);
        add("attn_output", &[4096, 4096], Q4_K);
        add("ffn_gate", &[4096, 14_336], Q4_K);
        add("ffn_up", &[4096, 14_336], Q4_K);
        add("ffn_down", &[14_336, 4096], Q4_K);
    }
    let bytes = tensors.iter().map(|tensor| tensor.bytes).sum();
    Header {
        version: 3,
        architecture: "llama".into(),
        name: None,
        file_type: "Q4_K_M".into(),
        block_count: 32,
        context_length: 32_768,
        embedding_length: 4096,
        heads: vec![32; 32],
        kv_heads: vec![8; 32],
        key_length: 128,
        value_length: 128,
        sliding_window: None,
        vocabulary: 32_768,
        chat_template: None,
        parameters: tensors.iter().map(TensorInfo::elements).sum(),
        tensor_bytes: bytes,
        file_bytes: bytes,
        tensors,
        metadata: Metadata::from([("llama.feed_forward_length", Value::Integer(14_336))]),
        data: 0,
    }
}

fn available(memory: u64, gpus: &[u64]) -> Available {
    let gpu = |(index, &free): (usize, &u64)| Gpu { name: format!("GPU{index}"), free };
    Available {
        memory: Free { bytes: memory, limited_by: "a test".into() },
        gpus: gpus.iter().enumerate().map(gpu).collect(),
        repacked: vec!["Q4_0", "Q4_K"],
        byte_products: false,
    }
}

fn refused(settings: &LocalSettings, available: &Available) -> String {
    match plan(&seven_billion(), settings, available) {
        Err(Error::NoRoom(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_model_is_counted_part_by_part() {
    let header = seven_billion();
    let plan = plan(&header, &LocalSettings::default(), &available(16 * GIB, &[])).unwrap();
    assert_eq!(plan.host.weights, header.tensor_bytes);
    // Everything but the embedding table and the norms.
    let table = 4096 * 32_768 / 256 * 144;
    assert_eq!(plan.host.copied_weights, header.tensor_bytes - table - 33 * 4096 * 4);
    assert_eq!(plan.kv_per_token, 32 * 8 * (128 + 128) * 2);
    assert_eq!(plan.host.kv, 2 * GIB);
    assert_eq!(plan.host.output_rows, 16 * 32_768 * 4);
    assert_eq!((plan.gpu_layers, plan.layers), (0, 33));
    assert_eq!(plan.notes, Vec::<String>::new());
}

#[test]
fn settings_change_what_they_say() {
    let of =
        |settings: LocalSettings| plan(&seven_billion(), &settings, &available(32 * GIB, &[])).unwrap().host;
    let base = of(LocalSettings::default());
    // Blocks of 32 numbers in 34 bytes instead of 64.
    assert_eq!(of(LocalSettings { kv_type: KvType::Q8_0, ..Default::default() }).kv, base.kv / 64 * 34);
    // llama.cpp rounds the context up to 256 tokens.
    assert_eq!(of(LocalSettings { context: 1000, ..Default::default() }).kv, base.kv / 16);
    assert_eq!(of(LocalSettings { running: 16, ..Default::default() }).output_rows, base.output_rows * 2);
    let unmapped = of(LocalSettings { mmap: false, ..Default::default() });
    assert_eq!(unmapped.copied_weights, base.weights);
    assert_eq!(unmapped.needed(), base.needed());
}

#[test]
fn sliding_and_shared_layers_are_counted_as_llama_cpp_keeps_them() {
    let mut header = seven_billion();
    header.sliding_window = Some(512);
    header.kv_heads = [[4; 16], [8; 16]].concat();
    let full = plan(&header, &LocalSettings::default(), &available(32 * GIB, &[])).unwrap();
    // The whole length in every layer, so that prefixes can be shared; but a mask of its own for the sliding ones.
    assert_eq!(full.kv_per_token, (16 * 4 + 16 * 8) * 256 * 2);
    let without = plan(&seven_billion(), &LocalSettings::default(), &available(32 * GIB, &[])).unwrap();
    assert_eq!(full.host.scratch, without.host.scratch + 16_384 * 512 * 2);

    // Every second layer slides, with heads half as long; the last four read the cache of earlier ones.
    let pattern = (0..32).map(|block| i64::from(block % 2 == 0)).collect();
    header.kv_heads = vec![8; 32];
    header.metadata = Metadata::from([
        ("llama.attention.sliding_window_pattern", Value::Integers(pattern)),
        ("llama.attention.key_length_swa", Value::Integer(64)),
        ("llama.attention.value_length_swa", Value::Integer(64)),
        ("llama.attention.shared_kv_layers", Value::Integer(4)),
    ]);
    let mixed = plan(&header, &LocalSettings::default(), &available(32 * GIB, &[])).unwrap();
    assert_eq!(mixed.kv_per_token, (14 * 64 + 14 * 128) * 2 * 8 * 2);
}

#[test]
fn heads_that_q8_0_can_not_store_are_refused() {
    let mut header = seven_billion();
    header.key_length = 80;
    let settings = LocalSettings { kv_type: KvType::Q8_0, ..Default::default() };
    let error = plan(&header, &settings, &available(32 * GIB, &[])).unwrap_err().to_string();
    assert!(error.contains("80") && error.contains("\"f16\""), "{error}");
}

/// Field report 49.
#[test]
fn as_many_layers_as_fit_go_to_the_gpus() {
    let header = seven_billion();
    let settings = LocalSettings::default();
    let cases: &[(&[u64], usize, usize)] = &[
        // Free on each GPU; layers there; GPUs used.
        (&[], 0, 0),
        (&[500 * MIB], 0, 0),
        (&[2 * GIB], 5, 1),
        (&[4 * GIB], 16, 1),
        (&[24 * GIB], 33, 1),
        (&[4 * GIB, 4 * GIB], 32, 2),
        (&[24 * GIB, 2 * GIB], 33, 2),
    ];
    for &(gpus, layers, used) in cases {
        let available = available(16 * GIB, gpus);
        let plan = plan(&header, &settings, &available).unwrap();
        assert_eq!((plan.gpu_layers, plan.gpus.len()), (layers, used), "{gpus:?}");
        assert!(plan.gpus.iter().all(|gpu| gpu.needed() <= gpu.free), "{gpus:?}");
        // Nothing is lost between the places.
        let weights = plan.host.weights + plan.gpus.iter().map(|gpu| gpu.weights).sum::<u64>();
        let kv = plan.host.kv + plan.gpus.iter().map(|gpu| gpu.kv).sum::<u64>();
        assert_eq!((weights, kv), (header.tensor_bytes, 2 * GIB), "{gpus:?}");
        let some = (1..33).contains(&layers) || (layers == 0 && !gpus.is_empty());
        assert_eq!(plan.notes.len(), usize::from(some), "{:?}", plan.notes);
    }
}

#[test]
fn a_table_that_is_the_output_layer_too_is_on_both_sides() {
    let mut header = seven_billion();
    header.tensors.retain(|tensor| tensor.name != "output.weight");
    let table = 4096 * 32_768 / 256 * 144;
    let weights: u64 = header.tensors.iter().map(|tensor| tensor.bytes).sum();
    let host = |gpus: &[u64]| plan(&header, &LocalSettings::default(), &available(16 * GIB, gpus)).unwrap();
    assert_eq!(host(&[]).host.weights, weights + table, "copied in another order for the output layer");
    let with_gpu = host(&[24 * GIB]);
    assert_eq!(with_gpu.host.weights, table);
    assert_eq!(with_gpu.gpus[0].weights, weights);
}

#[test]
fn more_layers_than_fit_are_refused_with_the_number_that_does() {
    let settings = LocalSettings { gpu_layers: Some(30), ..Default::default() };
    let reason = refused(&settings, &available(16 * GIB, &[4 * GIB]));
    assert!(reason.contains("engine.gpu_layers = 30") && reason.contains("16 of 33 layers fit"), "{reason}");

    let without = plan(&seven_billion(), &settings, &available(16 * GIB, &[])).unwrap();
    assert_eq!((without.gpu_layers, without.notes.len()), (0, 1));
    let none = LocalSettings { gpu_layers: Some(0), ..Default::default() };
    assert_eq!(plan(&seven_billion(), &none, &available(16 * GIB, &[24 * GIB])).unwrap().gpu_layers, 0);
}

#[test]
fn what_does_not_fit_is_refused_with_figures_and_with_what_helps() {
    let reason = refused(&LocalSettings::default(), &available(5 * GIB, &[]));
    for part in [
        "the model needs 6.",
        "5.0 GiB are free (a test)",
        "weights 3.8 GiB",
        "KV cache 2.0 GiB (16384 tokens",
    ] {
        assert!(reason.contains(part), "no {part:?} in {reason}");
    }
    // What is advised works, and a step less wouldn't be enough.
    let context: usize = reason
        .split_once("engine.context at most ")
        .and_then(|(_, rest)| rest.split(';').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{reason}"));
    let with = |context| LocalSettings { context, ..Default::default() };
    assert!(plan(&seven_billion(), &with(context), &available(5 * GIB, &[])).is_ok(), "{context}");
    refused(&with(context + 1), &available(5 * GIB, &[]));

    let tight = available(5 * GIB + 512 * MIB, &[]);
    let reason = refused(&LocalSettings::default(), &tight);
    assert!(reason.contains("engine.kv_type = \"q8_0\""), "{reason}");
    let smaller = LocalSettings { kv_type: KvType::Q8_0, ..Default::default() };
    assert!(plan(&seven_billion(), &smaller, &tight).is_ok());

    // Where no setting is enough, only that is said which is.
    let reason = refused(&LocalSettings::default(), &available(GIB, &[]));
    assert!(!reason.contains("engine.") && reason.contains("more memory"), "{reason}");
}

#[test]
fn sizes_are_written_with_three_digits_or_so() {
    for (bytes, text) in [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (48 * MIB, "48.0 MiB"),
        (1023 * MIB, "1.0 GiB"),
        (139 * GIB, "139.0 GiB"),
    ] {
        assert_eq!(bytes_as(bytes), text);
    }
}

/// A tree of files as the kernel shows it.
fn kernel(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\n");

fn free(root: &Path) -> Free {
    Free::below(root).unwrap()
}

#[test]
fn without_limits_the_machine_counts() {
    let dir = kernel(&[MEMINFO, ("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", "")]);
    assert_eq!(free(dir.path()).bytes, 8 * GIB);
    let dir = kernel(&[MEMINFO]);
    assert_eq!(free(dir.path()).bytes, 8 * GIB);
    assert_eq!(Free::below(Path::new("/nowhere")), None);
}

#[test]
fn the_tightest_group_above_the_process_counts() {
    let mount = "31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    let stat = "anon 1\ninactive_file 536870912\nactive_file 536870912\n";
    let base = [
        MEMINFO,
        ("proc/self/cgroup", "0::/app.slice/leafresh.service\n"),
        ("proc/self/mountinfo", mount),
        ("sys/fs/cgroup/app.slice/leafresh.service/memory.max", "max\n"),
        ("sys/fs/cgroup/app.slice/leafresh.service/memory.current", "1\n"),
        ("sys/fs/cgroup/app.slice/memory.max", "4294967296\n"),
        ("sys/fs/cgroup/app.slice/memory.current", "2147483648\n"),
        ("sys/fs/cgroup/app.slice/memory.stat", stat),
    ];
    let dir = kernel(&base);
    // 4 GiB, of which 2 are used, of which 1 is page cache that can go.
    let found = free(dir.path());
    assert_eq!(found.bytes, 3 * GIB);
    assert!(found.limited_by.contains("app.slice is limited to 4.0 GiB and uses 1.0 GiB"), "{found:?}");

    // What slows a group down until it is useless is a limit too.
    fs::write(dir.path().join("sys/fs/cgroup/app.slice/memory.high"), "3221225472\n").unwrap();
    assert_eq!(free(dir.path()).bytes, 2 * GIB);
    // A limit that leaves more than the machine has doesn't count.
    fs::remove_file(dir.path().join("sys/fs/cgroup/app.slice/memory.high")).unwrap();
    fs::write(dir.path().join("sys/fs/cgroup/app.slice/memory.max"), "107374182400\n").unwrap();
    assert_eq!(free(dir.path()).bytes, 8 * GIB);
}

#[test]
fn a_container_of_version_1_is_found_by_what_is_mounted() {
    let mountinfo = "40 30 0:30 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n\
                     41 30 0:31 /docker/abc /sys/fs/cgroup/cpu ro,nosuid - cgroup cgroup rw,cpu\n";
    let dir = kernel(&[
        MEMINFO,
        ("proc/self/cgroup", "5:cpu:/docker/abc\n4:memory:/docker/abc\n0::/\n"),
        ("proc/self/mountinfo", mountinfo),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n"),
        ("sys/fs/cgroup/memory/memory.stat", "active_file 7\ntotal_inactive_file 1073741824\n"),
    ]);
    assert_eq!(free(dir.path()).bytes, 2 * GIB);
    fs::write(dir.path().join("sys/fs/cgroup/memory/memory.limit_in_bytes"), "9223372036854771712\n")
        .unwrap();
    assert_eq!(free(dir.path()).bytes, 8 * GIB);
}

#[test]
fn a_container_smaller_than_the_machine_refuses_what_the_machine_would_hold() {
    let dir = kernel(&[
        MEMINFO,
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/memory.max", "4294967296\n"),
        ("sys/fs/cgroup/memory.current", "0\n"),
    ]);
    let here = Available { memory: free(dir.path()), ..available(0, &[]) };
    let reason = refused(&LocalSettings::default(), &here);
    assert!(reason.contains("control group") && reason.contains("limited to 4.0 GiB"), "{reason}");
    assert!(plan(&seven_billion(), &LocalSettings::default(), &available(8 * GIB, &[])).is_ok());
}

#[test]
fn weights_are_counted_once_more_as_bytes_where_products_are_ours() {
    let able = |repacked: &[&'static str]| Available {
        byte_products: true,
        repacked: repacked.to_vec(),
        ..available(32 * GIB, &[])
    };
    let as_bytes = |header: &Header, settings: &LocalSettings, available: &Available| {
        plan(header, settings, available).unwrap().host.weights_as_bytes
    };
    let settings = LocalSettings::default();
    let mut header = seven_billion();
    assert_eq!(as_bytes(&header, &settings, &able(&[])), 0, "more than is held twice");
    let first = |tensor: &TensorInfo| !tensor.name.starts_with("blk.") || tensor.name.starts_with("blk.0.");
    header.tensors.retain(first);
    let matrices =
        header.tensors.iter().filter(|tensor| tensor.name.starts_with("blk.") && tensor.dims.len() == 2);
    let expected = matrices.map(|tensor| tensor.elements() / 32 * 40).sum::<u64>();
    assert!(expected > 100 << 20);
    assert_eq!(as_bytes(&header, &settings, &able(&[])), expected);
    assert_eq!(
        as_bytes(&header, &settings, &able(&["Q4_K"])),
        0,
        "llama.cpp has them in an order of its own"
    );
    assert_eq!(as_bytes(&header, &settings, &available(32 * GIB, &[])), 0, "not on this processor");
    let without = LocalSettings { products_of_bytes: false, ..settings };
    assert_eq!(as_bytes(&header, &without, &able(&[])), 0);
}
