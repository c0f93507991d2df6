//! Which layers go where.

use super::needs::Needs;
use super::{Available, Host, OnGpu, Plan, bytes_as};
use crate::{Error, LocalSettings};

/// Left free on a GPU for what its driver and libraries take while they compute: the margin of llama.cpp's own fitting
/// (`fit_params_target` in `common.h`).
const RESERVE: u64 = 1 << 30;

/// Places as many layers on the GPUs as fit, or as many as the settings say. The host's share isn't held against what is
/// free here.
pub(super) fn place(needs: &Needs, settings: &LocalSettings, available: &Available) -> Result<Plan, Error> {
    let all = needs.layers.len();
    let mut notes = Vec::new();
    let fits = |count: &usize| on_gpus(needs, available, *count).iter().all(|gpu| gpu.needed() <= gpu.free);
    let most = if available.gpus.is_empty() { 0 } else { (0..=all).rev().find(fits).unwrap_or(0) };
    let count = match settings.gpu_layers {
        Some(wanted) if wanted > 0 && available.gpus.is_empty() => {
            notes.push(format!(
                "engine.gpu_layers is {wanted}, but llama.cpp sees no GPU: all layers are computed by the processor"
            ));
            0
        }
        Some(wanted) => wanted.min(all),
        None => most,
    };
    let gpus = on_gpus(needs, available, count);
    if let Some(full) = gpus.iter().find(|gpu| gpu.needed() > gpu.free) {
        return Err(Error::NoRoom(format!(
            "engine.gpu_layers = {count} puts {} on {} (weights {}, KV cache {}, scratch about {}, reserve {}), where \
             {} are free; {most} of {all} layers fit. Set engine.gpu_layers to that, or leave it out",
            bytes_as(full.needed()),
            full.name,
            bytes_as(full.weights),
            bytes_as(full.kv),
            bytes_as(full.scratch),
            bytes_as(full.reserve),
            bytes_as(full.free),
        )));
    }
    if settings.gpu_layers.is_none() && !available.gpus.is_empty() && count < all {
        notes.push(format!("{count} of {all} layers fit on the GPU; the rest are computed by the processor"));
    }
    Ok(Plan {
        host: host(needs, available, count),
        gpus: gpus.into_iter().filter(|gpu| gpu.layers > 0).collect(),
        gpu_layers: count,
        layers: all,
        context: needs.context,
        kv_type: settings.kv_type,
        kv_per_token: needs.kv_per_token,
        notes,
    })
}

/// The last `count` layers, split by free memory as llama.cpp does without a `tensor_split` (`load_tensors`).
fn on_gpus(needs: &Needs, available: &Available, count: usize) -> Vec<OnGpu> {
    let mut shares: Vec<_> = available
        .gpus
        .iter()
        .map(|gpu| OnGpu {
            name: gpu.name.clone(),
            layers: 0,
            weights: 0,
            kv: 0,
            scratch: 0,
            reserve: 0,
            free: gpu.free,
        })
        .collect();
    let total: f32 = available.gpus.iter().map(|gpu| gpu.free as f32).sum();
    let mut sum = 0.0;
    let splits: Vec<f32> = available
        .gpus
        .iter()
        .map(|gpu| {
            sum += gpu.free as f32;
            sum / total
        })
        .collect();
    let on_host = needs.layers.len() - count;
    for (index, layer) in needs.layers.iter().skip(on_host).enumerate() {
        let place = index as f32 / count as f32;
        let gpu = splits.partition_point(|&split| split <= place);
        let Some(share) = shares.get_mut(gpu) else { continue };
        share.layers += 1;
        share.weights += layer.weights + layer.tied;
        share.kv += layer.kv;
    }
    // Large batches of layers that are on the CPU are computed on a GPU, which takes their weights in for it.
    let largest = needs.layers.iter().take(on_host).map(|layer| layer.largest).max().unwrap_or(0);
    for share in shares.iter_mut().filter(|share| share.layers > 0) {
        share.scratch = needs.scratch.whole + largest;
        share.reserve = RESERVE;
    }
    shares
}

fn host(needs: &Needs, available: &Available, gpu_layers: usize) -> Host {
    let layers = &needs.layers[..needs.layers.len() - gpu_layers];
    let own: u64 = layers.iter().map(|layer| layer.weights).sum();
    // Beside a GPU, llama.cpp prefers the file's own pages to copies.
    let repacked =
        if available.gpus.is_empty() { layers.iter().map(|layer| layer.repacked).sum() } else { 0 };
    // The embedding table is copied whole when it is the output layer too; else it isn't there twice.
    let output = needs.layers.last().filter(|_| gpu_layers == 0 && available.gpus.is_empty());
    let copy_of_table =
        output.filter(|output| output.tied > 0).map_or(0, |output| output.repacked.min(output.tied));
    let as_bytes = if gpu_layers == 0 { needs.as_bytes } else { 0 };
    let weights = needs.input + own + copy_of_table;
    Host {
        weights,
        copied_weights: if needs.mapped { repacked } else { weights },
        weights_as_bytes: as_bytes,
        adapters: needs.adapters,
        kv: layers.iter().map(|layer| layer.kv).sum(),
        output_rows: needs.output_rows,
        scratch: if layers.is_empty() { needs.scratch.inputs } else { needs.scratch.whole },
        vocabulary: needs.vocabulary,
        process: needs.process,
        free: available.memory.bytes,
        limited_by: available.memory.limited_by.clone(),
    }
}
