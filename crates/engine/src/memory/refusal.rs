//! What doesn't fit, and which changes would make it fit.

use super::needs::Needs;
use super::{Available, Plan, bytes_as, placement};
use crate::gguf::Header;
use crate::{Error, KvType, LocalSettings};

/// Below this a prompt with its answer hardly fits, so it is no advice.
const LEAST_CONTEXT: usize = 1024;

/// Bits a weight takes in files of these types, about: the larger tensors have more.
const BITS: [(&str, f64); 5] =
    [("Q8_0", 8.5), ("Q6_K", 6.6), ("Q5_K_M", 5.7), ("Q4_K_M", 4.9), ("Q4_0", 4.7)];

/// The refusal of a plan that the machine's memory can't hold.
pub(super) fn host(plan: &Plan, header: &Header, settings: &LocalSettings, available: &Available) -> Error {
    let changes = changes(plan, header, settings, available).join("; ");
    Error::NoRoom(format!(
        "the model needs {} of memory, and {} are free ({}): {}. Any of these makes it fit: {changes}",
        bytes_as(plan.host.needed()),
        bytes_as(plan.host.free),
        plan.host.limited_by,
        plan.host_parts()
    ))
}

/// Each of them is enough alone.
fn changes(plan: &Plan, header: &Header, settings: &LocalSettings, available: &Available) -> Vec<String> {
    let fits = |settings: &LocalSettings| {
        Needs::new(header, settings, available)
            .and_then(|needs| placement::place(&needs, settings, available))
            .is_ok_and(|plan| plan.host.needed() <= plan.host.free)
    };
    let mut changes = Vec::new();
    // A halving search over steps of 256 tokens, between one that fits (0: none) and one that doesn't.
    let (mut good, mut bad) = (0, settings.context.div_ceil(256));
    while good + 1 < bad {
        let middle = usize::midpoint(good, bad);
        if fits(&LocalSettings { context: middle * 256, ..settings.clone() }) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    if good * 256 >= LEAST_CONTEXT {
        changes.push(format!("engine.context at most {}", good * 256));
    }
    if settings.kv_type == KvType::F16 && fits(&LocalSettings { kv_type: KvType::Q8_0, ..settings.clone() }) {
        changes.push("engine.kv_type = \"q8_0\"".into());
    }
    if plan.host.weights_as_bytes > 0 && fits(&LocalSettings { products_of_bytes: false, ..settings.clone() })
    {
        changes.push("engine.products_of_bytes = false".into());
    }
    let running =
        (1..settings.running).rev().find(|&running| fits(&LocalSettings { running, ..settings.clone() }));
    changes.extend(running.map(|running| format!("engine.running at most {running}")));
    let rest = plan.host.needed() - plan.host.weights;
    let share = plan.host.weights as f64 / header.tensor_bytes.max(1) as f64;
    let file = BITS.iter().find_map(|(name, bits)| {
        let bytes = (header.parameters as f64 * share * bits / 8.0) as u64;
        (bytes < plan.host.weights && rest + bytes <= plan.host.free).then_some((name, bytes))
    });
    changes.extend(file.map(|(name, bytes)| {
        format!(
            "the model as {name} (weights about {}; `leafresh models quantize` makes it)",
            bytes_as(bytes)
        )
    }));
    let more = plan.host.needed() - plan.host.free;
    changes.push(format!("{} more memory, or a higher limit", bytes_as(more)));
    changes
}
