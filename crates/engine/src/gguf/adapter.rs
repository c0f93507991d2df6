//! A LoRA adapter's file (arXiv:2106.09685): for each matrix of the model that it changes, two narrow ones whose product is
//! added to it. llama.cpp makes them with `convert_lora_to_gguf.py`.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use super::{Header, Metadata, Preamble, Reader, TensorInfo, Value, open, preamble, tensors};
use crate::Error;

/// What an adapter's file says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterHeader {
    /// What the products are scaled by, together with their rank; 0 is for 1.
    pub alpha: f32,
    /// Ordered by what they change.
    pub pairs: Vec<Pair>,
    /// Bytes of all tensors.
    pub bytes: u64,
}

/// The change of one of the model's matrices, `[outputs, inputs]`: `b × a`, times [`AdapterHeader::scale`].
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The name of the model's tensor.
    pub changes: String,
    /// `[rank, inputs]`
    pub a: TensorInfo,
    /// `[outputs, rank]`
    pub b: TensorInfo,
}

impl Pair {
    /// A table of words is a matrix from which rows are taken; its narrow ones are the other way round: `a` has the rank
    /// innermost (`build_inp_embd`, llama-graph.cpp).
    pub fn is_table_of_words(&self) -> bool {
        self.changes == TABLE_OF_WORDS
    }

    pub fn rank(&self) -> u64 {
        let narrow = if self.is_table_of_words() { &self.a } else { &self.b };
        narrow.dims.first().copied().unwrap_or(0)
    }
}

impl AdapterHeader {
    /// What a pair's product is multiplied with before it is added (`get_scale`, llama-adapter.h).
    pub fn scale(&self, pair: &Pair) -> f32 {
        if self.alpha == 0.0 { 1.0 } else { self.alpha / pair.rank() as f32 }
    }

    /// Whether it can be used while the model runs.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn check_for_running(&self, model: &Header) -> Result<(), String> {
        let changes_words = self.pairs.iter().any(Pair::is_table_of_words);
        if changes_words && !model.tensors.iter().any(|tensor| tensor.name == HEAD) {
            return Err("changes the table of words, which is this model's output head as well: llama.cpp can't do both \
                        while the model runs. Merge it with `leafresh models merge`"
                .into());
        }
        Ok(())
    }

    /// Whether logits are other than what the model's own head makes of the last norm.
    pub fn changes_head(&self) -> bool {
        self.pairs.iter().any(|pair| pair.changes == HEAD)
    }
}

const TABLE_OF_WORDS: &str = "token_embd.weight";
const HEAD: &str = "output.weight";
const DAMAGED: &str = "The file is damaged, or made by an old converter: convert the adapter again";

/// The adapters in a folder, by name: `NAME.gguf` each, in alphabetical order.
///
/// # Errors
/// [`Error::Unfit`] when the folder can't be read, or a name can't be asked for.
pub fn adapters(folder: Option<&Path>) -> Result<Vec<(String, PathBuf)>, Error> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let unreadable =
        |error: std::io::Error| Error::Unfit(format!("engine.adapters, {}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str()).filter(|name| is_name(name));
        let Some(name) = name else {
            return Err(Error::Unfit(format!(
                "engine.adapters, {}: an adapter's name has 1 to {LONGEST_NAME} letters, digits, `-`, `_` or `.`; rename the \
                 file",
                path.display()
            )));
        };
        found.push((name.to_owned(), path));
    }
    found.sort();
    Ok(found)
}

/// What people write into addresses and configurations.
fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=LONGEST_NAME).contains(&length)
        && name.chars().all(|character| character.is_alphanumeric() || "-_.".contains(character))
}

const LONGEST_NAME: usize = 64;

/// Reads an adapter's header and checks that it is one for this model. The tensors' contents aren't read.
///
/// # Errors
/// [`Error::ModelFile`]: what was expected, what was found, what to do.
pub fn check_adapter(path: &Path, model: &Header) -> Result<AdapterHeader, Error> {
    let fail = |reason: String| Error::ModelFile { path: path.to_owned(), reason };
    let (file, length) = open(path).map_err(fail)?;
    parse(file, length, model).map_err(fail)
}

fn parse<R: Read + Seek>(source: R, length: u64, model: &Header) -> Result<AdapterHeader, String> {
    let mut reader = Reader::new(source, length);
    let Preamble { tensors, keys, .. } = preamble(&mut reader)?;
    let metadata = Metadata::read(&mut reader, keys)?;
    let tensors = tensors::read(&mut reader, tensors, metadata.alignment()?)?;
    fits(&metadata, tensors, model)
}

fn fits(metadata: &Metadata, tensors: Vec<TensorInfo>, model: &Header) -> Result<AdapterHeader, String> {
    if metadata.text("general.type")? != Some("adapter") {
        return Err("isn't an adapter; expected a GGUF file of type `adapter`, as convert_lora_to_gguf.py \
                    writes it"
            .into());
    }
    match metadata.text("adapter.type")? {
        Some("lora") => {}
        other => {
            return Err(format!("is an adapter of type `{}`; expected `lora`", other.unwrap_or("unknown")));
        }
    }
    let architecture = metadata.text("general.architecture")?.unwrap_or("unknown");
    if architecture != model.architecture {
        return Err(format!("is for a model of type `{architecture}`; this one is `{}`", model.architecture));
    }
    if metadata.get("adapter.alora.invocation_tokens").is_some() {
        return Err(
            "works from certain tokens on only (aLoRA), which isn't supported; use a plain LoRA".into()
        );
    }
    let alpha = match metadata.get("adapter.lora.alpha") {
        None => 0.0,
        Some(Value::Float(alpha)) if alpha.is_finite() => *alpha as f32,
        Some(_) => return Err(format!("has no number as `adapter.lora.alpha`. {DAMAGED}")),
    };
    let bytes = tensors.iter().map(|tensor| tensor.bytes).sum();
    let pairs = pairs(tensors)?;
    for pair in &pairs {
        check_pair(pair, model)?;
    }
    Ok(AdapterHeader { alpha, pairs, bytes })
}

fn pairs(tensors: Vec<TensorInfo>) -> Result<Vec<Pair>, String> {
    let mut found: BTreeMap<String, [Option<TensorInfo>; 2]> = BTreeMap::new();
    for tensor in tensors {
        let half = ["lora_a", "lora_b"]
            .iter()
            .position(|&half| tensor.name.strip_suffix(half).is_some_and(|name| name.ends_with('.')));
        let Some((half, name)) = half.zip(tensor.name.rsplit_once('.').map(|(name, _)| name.to_owned()))
        else {
            return Err(format!(
                "holds `{}`, which is no half of a LoRA pair: norms and whole matrices aren't changed while the model \
                 runs. Train without them, or merge the adapter into the model where it was trained",
                tensor.name.escape_debug()
            ));
        };
        found.entry(name).or_default()[half] = Some(tensor);
    }
    if found.is_empty() {
        return Err(format!("changes nothing: it holds no tensors. {DAMAGED}"));
    }
    let whole = |(changes, halves): (String, [Option<TensorInfo>; 2])| match halves {
        [Some(a), Some(b)] => Ok(Pair { changes, a, b }),
        _ => Err(format!("has only one half of the pair for `{}`. {DAMAGED}", changes.escape_debug())),
    };
    found.into_iter().map(whole).collect()
}

fn check_pair(pair: &Pair, model: &Header) -> Result<(), String> {
    let name = pair.changes.escape_debug();
    let Some(changed) = model.tensors.iter().find(|tensor| tensor.name == pair.changes) else {
        return Err(format!("changes `{name}`, which this model doesn't have; it was made for another one"));
    };
    let matrix = |tensor: &TensorInfo| match tensor.dims[..] {
        [inner, outer] => Some((inner, outer)),
        [inner] => Some((inner, 1)),
        _ => None,
    };
    let shapes = matrix(changed).zip(matrix(&pair.a)).zip(matrix(&pair.b));
    let right = shapes.is_some_and(|(((inputs, outputs), a), b)| {
        if pair.is_table_of_words() {
            b.1 == inputs && a.1 == outputs && a.0 == b.0
        } else {
            a.0 == inputs && b.1 == outputs && a.1 == b.0
        }
    });
    if right {
        return Ok(());
    }
    Err(format!(
        "changes `{name}` of shape {:?} by {:?} and {:?}, which doesn't fit; it was made for a model of another size",
        changed.dims, pair.a.dims, pair.b.dims
    ))
}

#[cfg(test)]
mod tests;
