//! `leafresh models inspect`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use leafresh_engine::gguf::{self, Header, Value as Metadata};
use leafresh_engine::memory::{self, Available, Plan, bytes_as};
use leafresh_engine::trim::SOURCE_TOKENS;
use leafresh_engine::{InstructionSets, instruction_sets};
use leafresh_server::config::{Config, Flags, Sources};
use serde_json::{Value, json};

const HELP: &str = "\
What is printed:
  the file    what it says of itself: kind of model, size, how its weights are stored
  checksum    whether it is the file that FILE.sha256 beside it names
              (`sha256sum FILE > FILE.sha256` writes one)
  memory      what it would take with the settings in use, part by part, against what is free now:
              MemAvailable or the tightest control group above this process, and each GPU
  disk        what is free where models and temporary files are written

The settings that count are those of [engine]: context (the KV cache grows with it), kv_type,
running, step_tokens, gpu_layers, mmap. Ends with 1 when the checksum differs or the model doesn't
fit.

Examples:
  leafresh models inspect models/my-model.gguf
  LEAFRESH_ENGINE__CONTEXT=65536 leafresh models inspect models/my-model.gguf
      Would it fit with a longer context?
  leafresh models inspect --json models/my-model.gguf | jq .memory";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// A GGUF file
    file: PathBuf,
    /// Print one JSON object; sizes in bytes
    #[arg(long)]
    json: bool,
    /// Read settings from FILE [default: config/leafresh.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// All that is found, before it is written one way or the other.
struct Report<'a> {
    file: &'a Path,
    header: Header,
    /// What `FILE.sha256` says; an error's text when the file differs.
    checksum: Result<Option<String>, String>,
    plan: Result<Plan, String>,
    sets: Result<InstructionSets, String>,
    /// Folders and their free bytes.
    disk: Vec<(PathBuf, u64)>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = Config::load(&Sources::read(options.config.clone(), Flags::default()))?;
    let header = gguf::check(&options.file)?;
    let checksum = gguf::verify_checksum(&options.file)
        .map(|verified| verified.map(|verified| verified.sha256))
        .map_err(|error| error.to_string());
    let plan = Available::here()
        .and_then(|available| memory::plan(&header, &config.engine, &available))
        .map_err(|error| error.to_string());
    let folder = options.file.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    let disk = [folder, std::env::temp_dir()]
        .into_iter()
        .filter_map(|folder| memory::disk_free(&folder).ok().map(|free| (folder, free)))
        .collect();
    let sets = instruction_sets().map_err(|error| error.to_string());
    let report = Report { file: &options.file, header, checksum, plan, sets, disk };
    let text =
        if options.json { serde_json::to_string_pretty(&report.json())? + "\n" } else { report.text()? };
    std::io::stdout().write_all(text.as_bytes())?;
    let fine = report.checksum.is_ok() && report.plan.is_ok();
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Report<'_> {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let out = &mut text;
        writeln!(out, "{}", self.file.display())?;
        for (name, value) in self.facts() {
            writeln!(out, "  {name:<16}{value}")?;
        }
        let checksum = match &self.checksum {
            Ok(Some(sum)) => format!("as noted, sha256 {sum}"),
            Ok(None) => "none noted beside the file".into(),
            Err(reason) => reason.clone(),
        };
        writeln!(out, "  {:<16}{checksum}", "checksum")?;
        writeln!(out, "\nMemory, with the settings in use")?;
        match &self.plan {
            Ok(plan) => write_plan(out, plan)?,
            Err(reason) => writeln!(out, "  {reason}")?,
        }
        match &self.sets {
            Ok(sets) => writeln!(out, "\nInstruction sets: {sets}")?,
            Err(reason) => writeln!(out, "\nInstruction sets: {reason}")?,
        }
        for (folder, free) in &self.disk {
            writeln!(out, "Disk: {} free in {}", bytes_as(*free), folder.display())?;
        }
        Ok(text)
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let header = &self.header;
        let range = |numbers: &[usize]| {
            let (least, most) = (numbers.iter().min().unwrap_or(&0), numbers.iter().max().unwrap_or(&0));
            if least == most { least.to_string() } else { format!("{least} to {most}") }
        };
        let vocabulary = match trimmed_from(header) {
            Some(before) => format!("{} tokens of {before}, the others were trimmed", header.vocabulary),
            None => format!("{} tokens", header.vocabulary),
        };
        let mut facts = vec![
            ("name", header.name.clone().unwrap_or_else(|| "none".into())),
            ("architecture", header.architecture.clone()),
            ("weights", format!("{}, {:.1} million", header.file_type, header.parameters as f64 / 1e6)),
            ("file", format!("{}, GGUF version {}", bytes_as(header.file_bytes), header.version)),
            ("layers", format!("{}, width {}", header.block_count, header.embedding_length)),
            (
                "attention",
                format!(
                    "{} heads, {} key-value heads of {} and {} numbers",
                    range(&header.heads),
                    range(&header.kv_heads),
                    header.key_length,
                    header.value_length
                ),
            ),
            ("context", format!("{} tokens", header.context_length)),
            ("vocabulary", vocabulary),
            ("chat template", if header.chat_template.is_some() { "yes" } else { "no" }.into()),
        ];
        if let Some(window) = header.sliding_window {
            facts.insert(7, ("sliding window", format!("{window} tokens")));
        }
        facts
    }

    fn json(&self) -> Value {
        let header = &self.header;
        let checksum = match &self.checksum {
            Ok(Some(sum)) => json!({ "state": "as noted", "sha256": sum }),
            Ok(None) => json!({ "state": "none noted" }),
            Err(reason) => json!({ "state": "differs", "reason": reason }),
        };
        let memory = match &self.plan {
            Ok(plan) => {
                json!({ "fits": true, "needed": plan.host.needed(), "free": plan.host.free, "plan": plan })
            }
            Err(reason) => json!({ "fits": false, "reason": reason }),
        };
        let sets = match &self.sets {
            Ok(sets) => json!({ "used": sets.used, "unused": sets.unused, "amx": sets.amx }),
            Err(reason) => json!({ "reason": reason }),
        };
        let disk: Vec<_> =
            self.disk.iter().map(|(folder, free)| json!({ "folder": folder, "free": free })).collect();
        json!({
            "file": self.file,
            "file_bytes": header.file_bytes,
            "gguf_version": header.version,
            "name": header.name,
            "architecture": header.architecture,
            "file_type": header.file_type,
            "parameters": header.parameters,
            "tensor_bytes": header.tensor_bytes,
            "layers": header.block_count,
            "width": header.embedding_length,
            "heads": header.heads,
            "kv_heads": header.kv_heads,
            "key_length": header.key_length,
            "value_length": header.value_length,
            "sliding_window": header.sliding_window,
            "context_length": header.context_length,
            "vocabulary": header.vocabulary,
            "trimmed_from": trimmed_from(header),
            "chat_template": header.chat_template.is_some(),
            "checksum": checksum,
            "memory": memory,
            "instruction_sets": sets,
            "disk": disk,
        })
    }
}

/// The tokens that there were before `leafresh models trim`.
fn trimmed_from(header: &Header) -> Option<i64> {
    match header.metadata.get(SOURCE_TOKENS) {
        Some(Metadata::Integer(tokens)) => Some(*tokens),
        _ => None,
    }
}

fn write_plan(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let host = &plan.host;
    let kv = format!("KV cache, {} tokens", plan.context);
    let parts = [
        ("weights", host.weights),
        (" copied of them", host.copied_weights),
        ("weights as bytes", host.weights_as_bytes),
        (kv.as_str(), host.kv),
        ("output rows", host.output_rows),
        ("scratch, about", host.scratch),
        ("vocabulary, about", host.vocabulary),
        ("program, about", host.process),
        ("needed", host.needed()),
        ("free", host.free),
    ];
    write_parts(out, "", &parts)?;
    writeln!(out, "  {:<24}  {}", "", host.limited_by)?;
    for gpu in &plan.gpus {
        let parts = [
            ("weights", gpu.weights),
            ("KV cache", gpu.kv),
            ("scratch, about", gpu.scratch),
            ("reserve", gpu.reserve),
            ("needed", gpu.needed()),
            ("free", gpu.free),
        ];
        write_parts(out, &format!("{}: {} of {} layers", gpu.name, gpu.layers, plan.layers), &parts)?;
    }
    for note in &plan.notes {
        writeln!(out, "  {note}")?;
    }
    Ok(())
}

fn write_parts(out: &mut String, title: &str, parts: &[(&str, u64)]) -> std::fmt::Result {
    if !title.is_empty() {
        writeln!(out, "  {title}")?;
    }
    for (name, bytes) in parts {
        writeln!(out, "  {name:<24}{:>12}", bytes_as(*bytes))?;
    }
    Ok(())
}
