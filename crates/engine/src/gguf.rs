//! A GGUF model file, read without trusting it, before llama.cpp sees it.
//!
//! llama.cpp ends the process on some damaged files (its assertions abort), and a file cut off in its tensors fails
//! only once its missing pages are touched. Here every length, count and offset is checked against the file's size,
//! nothing is allocated that the file couldn't fill, and an error says what was expected and what was found.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

mod adapter;
mod checksum;
mod kind;
mod metadata;
mod reader;
mod rewrite;
mod tensors;
#[cfg(test)]
pub(crate) mod tests;
mod vocabulary;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

pub use adapter::{AdapterHeader, Pair, adapters, check_adapter};
pub(crate) use checksum::checksum;
pub use checksum::{Verified, note_checksum, note_path, verify_checksum};
pub use metadata::{Metadata, Value};
pub(crate) use rewrite::{Changes, NewValue, not_written, rewrite};
pub use tensors::{TensorInfo, TensorType};
pub(crate) use vocabulary::{Merging, Vocabulary};

use crate::Error;
use reader::{Reader, Section};

/// llama.cpp has tables of this many layers and experts, and aborts beyond them.
const MOST_BLOCKS: u64 = 512;
const MOST_EXPERTS: u64 = 1024;

/// What a model file says of itself; enough to plan its memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Of the format: 2 or 3.
    pub version: u32,
    /// Prefix of the model's own keys: `llama`, `gemma3` …
    pub architecture: String,
    pub name: Option<String>,
    /// How most weights are stored, as in file names: `Q4_K_M`, `F16` …
    pub file_type: String,
    /// Transformer blocks (layers).
    pub block_count: usize,
    /// Tokens of context that the model was trained for.
    pub context_length: usize,
    /// Width of a token's vector.
    pub embedding_length: usize,
    /// Attention heads of each block, `[block_count]`; 0 where a block has no attention.
    pub heads: Vec<usize>,
    /// Heads whose keys and values are cached, `[block_count]`.
    pub kv_heads: Vec<usize>,
    /// Numbers in one head's key and in one head's value.
    pub key_length: usize,
    pub value_length: usize,
    /// Tokens that a block with a sliding window looks back at.
    pub sliding_window: Option<usize>,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// In Jinja.
    pub chat_template: Option<String>,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Bytes of all tensors, without padding.
    pub tensor_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    pub tensors: Vec<TensorInfo>,
    pub metadata: Metadata,
    /// Where the first tensor's data begin in the file.
    pub(crate) data: u64,
}

/// Reads the header of a model file and checks it, the tensors' bounds included. The tensors' contents aren't read:
/// [`verify_checksum`] does that.
///
/// # Errors
/// [`Error::ModelFile`]: what was expected, what was found, what to do.
pub fn check(path: &Path) -> Result<Header, Error> {
    let fail = |reason: String| Error::ModelFile { path: path.to_owned(), reason };
    let (file, length) = open(path).map_err(fail)?;
    parse(file, length).map_err(fail)
}

/// Opens a regular file. What isn't one is refused first: opening a named pipe would wait for ever.
fn open(path: &Path) -> Result<(File, u64), String> {
    use std::io::ErrorKind;
    let explain = |error: std::io::Error| {
        match error.kind() {
        ErrorKind::NotFound => "there is no such file; check the path, or fetch the model first".to_owned(),
        ErrorKind::PermissionDenied => {
            "no permission to read it; give the user that runs the server read access to the file and its folders"
                .to_owned()
        }
        _ => format!("can't be opened: {error}"),
    }
    };
    let metadata = std::fs::metadata(path).map_err(explain)?;
    if metadata.is_dir() {
        return Err("is a folder; expected the path of a GGUF file, for instance of one inside it".into());
    }
    if !metadata.is_file() {
        return Err("is no regular file; expected a GGUF file".into());
    }
    Ok((File::open(path).map_err(explain)?, metadata.len()))
}

/// Reads and checks a header from the beginning of `source`, which holds `length` bytes.
fn parse<R: Read + Seek>(source: R, length: u64) -> Result<Header, String> {
    let mut reader = Reader::new(source, length);
    let Preamble { version, tensors, keys } = preamble(&mut reader)?;
    let metadata = Metadata::read(&mut reader, keys)?;
    refuse_other_purposes(&metadata, tensors)?;
    let alignment = metadata.alignment()?;
    let tensors = tensors::read(&mut reader, tensors, alignment)?;
    // It can't overflow: the tensors lie behind it, in the file.
    let data = reader.position().next_multiple_of(alignment);
    Header::new(version, metadata, tensors, length, data)
}

struct Preamble {
    version: u32,
    tensors: u64,
    keys: u64,
}

fn preamble<R: Read + Seek>(reader: &mut Reader<R>) -> Result<Preamble, String> {
    let start = reader.peek()?;
    if let Some(reason) = kind::refuse(&start, reader.length()) {
        return Err(reason);
    }
    reader.enter(Section::Header);
    reader.skip(4)?;
    let version = reader.u32()?;
    match version {
        2 | 3 => {}
        1 => {
            return Err("is GGUF version 1, which llama.cpp no longer reads; convert the model again".into());
        }
        _ if (1..=3).contains(&version.swap_bytes()) => {
            return Err(
                "is a big-endian GGUF file, made for another processor; fetch the little-endian one".into()
            );
        }
        _ => {
            return Err(format!(
                "is GGUF version {version}; expected 2 or 3. A newer file needs a newer release, else it is damaged"
            ));
        }
    }
    let tensors = reader.u64()?;
    let keys = reader.u64()?;
    for (count, most, what) in [(tensors, tensors::MOST, "tensors"), (keys, metadata::MOST, "metadata keys")]
    {
        if count > most {
            return Err(format!(
                "announces {count} {what}; no model has more than {most}. The file is damaged: fetch it again"
            ));
        }
    }
    Ok(Preamble { version, tensors, keys })
}

/// GGUF holds more than models.
fn refuse_other_purposes(metadata: &Metadata, tensors: u64) -> Result<(), String> {
    if let Some(purpose) = metadata.text("general.type")?.filter(|&purpose| purpose != "model") {
        return Err(format!(
            "is a GGUF file of type `{purpose}`, which extends a model; expected the model's own file"
        ));
    }
    if let Some(parts) = metadata.number("split.count")?.filter(|&parts| parts > 1) {
        let part = metadata.number("split.no")?.map_or(0, |number| number + 1);
        return Err(format!(
            "is part {part} of {parts} of a split model; join the parts with `llama-gguf-split --merge` and use the result"
        ));
    }
    if tensors == 0 {
        return Err("holds no tensors, only metadata; expected a whole model".into());
    }
    Ok(())
}

impl Header {
    fn new(
        version: u32,
        metadata: Metadata,
        tensors: Vec<TensorInfo>,
        file_bytes: u64,
        data: u64,
    ) -> Result<Self, String> {
        let architecture = match metadata.text("general.architecture")? {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => return Err("has no key `general.architecture`; expected a language model".into()),
        };
        let own = |suffix: &str| format!("{architecture}.{suffix}");
        let size = |suffix: &str, most: u64| metadata.size(&own(suffix), most);

        let block_count = size("block_count", MOST_BLOCKS)?;
        check_abort_conditions(&metadata, &architecture, block_count)?;
        metadata.refuse_repeated_tokens()?;
        let embedding_length = size("embedding_length", u64::from(u32::MAX))?;
        let heads = metadata
            .per_block(&own("attention.head_count"), block_count)?
            .unwrap_or_else(|| vec![0; block_count]);
        let kv_heads = metadata
            .per_block(&own("attention.head_count_kv"), block_count)?
            .unwrap_or_else(|| heads.clone());
        for (block, (&heads, &kv_heads)) in heads.iter().zip(&kv_heads).enumerate() {
            if kv_heads > 0 && heads % kv_heads > 0 {
                return Err(format!(
                    "block {block} shares {kv_heads} key-value heads among {heads} heads, which doesn't divide evenly; \
                     the file is damaged: fetch it again"
                ));
            }
        }
        let head_length = heads.iter().find(|&&heads| heads > 0).map_or(0, |heads| embedding_length / heads);
        let length_of = |suffix: &str| match metadata.number(&own(suffix))? {
            Some(_) => metadata.size(&own(suffix), u64::from(u32::MAX)),
            None => Ok::<_, String>(head_length),
        };
        let key_length = length_of("attention.key_length")?;
        let value_length = length_of("attention.value_length")?;
        let sliding_window = metadata.number(&own("attention.sliding_window"))?.filter(|&window| window > 0);
        let vocabulary = match metadata.list_length("tokenizer.ggml.tokens")? {
            Some(length) => length as usize,
            None => size("vocab_size", u64::from(u32::MAX))?,
        };

        Ok(Self {
            version,
            name: metadata.text("general.name")?.map(str::to_owned),
            file_type: file_type(&metadata, &tensors)?,
            block_count,
            context_length: size("context_length", u64::from(u32::MAX))?,
            embedding_length,
            heads,
            kv_heads,
            key_length,
            value_length,
            sliding_window: sliding_window.map(|window| window as usize),
            vocabulary,
            chat_template: metadata.text("tokenizer.chat_template")?.map(str::to_owned),
            // Neither sum can overflow: the tensors lie one after the other inside the file, and no type stores more
            // than eight numbers in a byte.
            parameters: tensors.iter().map(TensorInfo::elements).sum(),
            tensor_bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
            file_bytes,
            architecture,
            tensors,
            metadata,
            data,
        })
    }
}

/// What llama.cpp (0.1.160's) asserts about a model's metadata, and would end the process for.
fn check_abort_conditions(metadata: &Metadata, architecture: &str, block_count: usize) -> Result<(), String> {
    let own = |suffix: &str| format!("{architecture}.{suffix}");
    let number = |suffix: &str| Ok::<_, String>(metadata.number(&own(suffix))?.unwrap_or(0));
    let refuse = |suffix: &str, found: String, expected: &str| {
        let key = own(suffix);
        Err(format!(
            "metadata key `{key}` is {found}; expected {expected}. The file is damaged: fetch it again"
        ))
    };

    let predicting = number("nextn_predict_layers")?;
    if predicting > block_count as u64 {
        return refuse("nextn_predict_layers", predicting.to_string(), "no more than the model's blocks");
    }
    let scaling = metadata.text(&own("rope.scaling.type"))?.unwrap_or("linear");
    if !["none", "linear", "yarn", "longrope"].contains(&scaling) {
        return refuse("rope.scaling.type", format!("`{scaling}`"), "`none`, `linear`, `yarn` or `longrope`");
    }

    let experts = number("expert_count")?;
    if experts > MOST_EXPERTS {
        return refuse("expert_count", experts.to_string(), &format!("at most {MOST_EXPERTS}"));
    }
    // The converters of some dense models write one expert, which llama.cpp then takes back.
    if architecture.starts_with("hunyuan") && experts <= 1 {
        return Ok(());
    }
    let used = metadata.per_block(&own("expert_used_count"), block_count)?.unwrap_or_default();
    let used = used.into_iter().max().unwrap_or(0) as u64;
    if used > experts || (experts > 0 && used == 0) {
        return refuse("expert_used_count", used.to_string(), &format!("some of the {experts} experts"));
    }
    let groups = number("expert_group_count")?;
    let uneven = groups > 1 && experts % groups > 0;
    if uneven || (groups > 0 && groups >= experts) {
        return refuse(
            "expert_group_count",
            groups.to_string(),
            &format!("a divisor of the {experts} experts"),
        );
    }
    let groups_used = number("expert_group_used_count")?;
    if groups > 1 && !(1..groups).contains(&groups_used) {
        return refuse("expert_group_used_count", groups_used.to_string(), &format!("1 to {}", groups - 1));
    }
    Ok(())
}

/// The name that the file gives, else that of the type which holds most bytes.
fn file_type(metadata: &Metadata, tensors: &[TensorInfo]) -> Result<String, String> {
    let named = metadata.number("general.file_type")?.and_then(tensors::file_type_name);
    let largest = tensors.iter().max_by_key(|tensor| tensor.bytes).map(|tensor| tensor.kind.name);
    Ok(named.or(largest).unwrap_or("unknown").to_owned())
}
