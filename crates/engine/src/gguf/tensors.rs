//! The tensors' descriptions: names, shapes, types, and where their bytes lie.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::reader::{Reader, Section, plural};

/// More tensors than any model has, with every expert apart.
pub(super) const MOST: u64 = 1 << 17;

/// llama.cpp's names have 64 bytes with the end mark, and tensors at most four dimensions.
const LONGEST_NAME: u64 = 63;
const MOST_DIMENSIONS: u32 = 4;

/// How numbers are stored: in blocks, each of `block` numbers in `bytes` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorType {
    pub name: &'static str,
    pub block: u64,
    pub bytes: u64,
}

/// One tensor of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// Numbers along each dimension, the innermost first.
    pub dims: Vec<u64>,
    pub kind: TensorType,
    /// Without padding.
    pub bytes: u64,
}

impl TensorType {
    fn numbered(number: u32) -> Option<Self> {
        let &(name, block, bytes) = TYPES.get(number as usize).filter(|(name, ..)| !name.is_empty())?;
        Some(Self { name, block, bytes })
    }

    /// Its number in files.
    pub(super) fn number(self) -> u32 {
        TYPES.iter().position(|&(name, ..)| name == self.name).unwrap_or_default() as u32
    }
}

impl TensorInfo {
    /// Numbers in it.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }
}

/// ggml's types by their number (`ggml.h`, `ggml-common.h`): name, numbers and bytes of a block. Unnamed ones are no
/// longer used in files.
const TYPES: [(&str, u64, u64); 43] = [
    ("F32", 1, 4),
    ("F16", 1, 2),
    ("Q4_0", 32, 18),
    ("Q4_1", 32, 20),
    ("", 0, 0),
    ("", 0, 0),
    ("Q5_0", 32, 22),
    ("Q5_1", 32, 24),
    ("Q8_0", 32, 34),
    ("Q8_1", 32, 36),
    ("Q2_K", 256, 84),
    ("Q3_K", 256, 110),
    ("Q4_K", 256, 144),
    ("Q5_K", 256, 176),
    ("Q6_K", 256, 210),
    ("Q8_K", 256, 292),
    ("IQ2_XXS", 256, 66),
    ("IQ2_XS", 256, 74),
    ("IQ3_XXS", 256, 98),
    ("IQ1_S", 256, 50),
    ("IQ4_NL", 32, 18),
    ("IQ3_S", 256, 110),
    ("IQ2_S", 256, 82),
    ("IQ4_XS", 256, 136),
    ("I8", 1, 1),
    ("I16", 1, 2),
    ("I32", 1, 4),
    ("I64", 1, 8),
    ("F64", 1, 8),
    ("IQ1_M", 256, 56),
    ("BF16", 1, 2),
    ("", 0, 0),
    ("", 0, 0),
    ("", 0, 0),
    ("TQ1_0", 256, 54),
    ("TQ2_0", 256, 66),
    ("", 0, 0),
    ("", 0, 0),
    ("", 0, 0),
    ("MXFP4", 32, 17),
    ("NVFP4", 64, 36),
    ("Q1_0", 128, 18),
    ("Q2_0", 64, 18),
];

/// The name of `general.file_type` (`llama_ftype` in `llama.h`), as it stands in file names.
pub(super) fn file_type_name(number: u64) -> Option<&'static str> {
    const NAMES: [&str; 42] = [
        "F32", "F16", "Q4_0", "Q4_1", "", "", "", "Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M",
        "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ2_XXS", "IQ2_XS", "Q2_K_S", "IQ3_XS",
        "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ3_M", "IQ2_S", "IQ2_M", "IQ4_XS", "IQ1_M", "BF16", "", "",
        "", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0",
    ];
    NAMES.get(usize::try_from(number).ok()?).copied().filter(|name| !name.is_empty())
}

/// Reads the descriptions and checks that the tensors lie one after the other, within the file.
pub(super) fn read<R: Read + Seek>(
    reader: &mut Reader<R>,
    count: u64,
    alignment: u64,
) -> Result<Vec<TensorInfo>, String> {
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    // Where the next tensor has to begin, counted from the beginning of the data.
    let mut place = 0u64;
    for number in 1..=count {
        reader.enter(Section::Tensor { number, count, name: String::new() });
        let length = reader.string_length(LONGEST_NAME)?;
        let name = String::from_utf8(reader.bytes(length)?)
            .map_err(|_| reader.damaged("a name that isn't UTF-8 text"))?;
        reader.enter(Section::Tensor { number, count, name: name.clone() });
        if !names.insert(name.clone()) {
            return Err(reader.damaged("the same name a second time"));
        }
        let (tensor, offset) = read_one(reader, name)?;
        if offset != place {
            return Err(reader.damaged(format!(
                "its data begin at {offset}; expected {place}, directly after the tensor before it"
            )));
        }
        place = place
            .checked_add(tensor.bytes)
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .ok_or_else(|| reader.damaged("its data end beyond what any file can hold"))?;
        tensors.push(tensor);
    }
    check_data(reader, &tensors, alignment)?;
    Ok(tensors)
}

/// A description after its name, and where its data begin.
fn read_one<R: Read + Seek>(reader: &mut Reader<R>, name: String) -> Result<(TensorInfo, u64), String> {
    let dimensions = reader.u32()?;
    if dimensions > MOST_DIMENSIONS {
        return Err(reader.damaged(format!("{dimensions} dimensions; expected at most {MOST_DIMENSIONS}")));
    }
    let dims = (0..dimensions).map(|_| reader.u64()).collect::<Result<Vec<_>, _>>()?;
    let number = reader.u32()?;
    let kind = TensorType::numbered(number).ok_or_else(|| {
        reader.damaged(format!("numbers of type {number}, which llama.cpp doesn't know or no longer reads"))
    })?;
    let offset = reader.u64()?;

    let most = i64::MAX as u64;
    let elements = dims.iter().try_fold(1u64, |product, &length| {
        product.checked_mul(length).filter(|&product| product > 0 && product <= most)
    });
    let elements = elements.ok_or_else(|| reader.damaged(format!("a shape of {dims:?}")))?;
    let row = dims.first().copied().unwrap_or(1);
    if row % kind.block > 0 {
        let reason = format!("rows of {row} numbers; {} stores blocks of {}", kind.name, kind.block);
        return Err(reader.damaged(reason));
    }
    let bytes = (elements / kind.block)
        .checked_mul(kind.bytes)
        .ok_or_else(|| reader.damaged(format!("a shape of {dims:?}, more than any file can hold")))?;
    Ok((TensorInfo { name, dims, kind, bytes }, offset))
}

fn check_data<R: Read + Seek>(
    reader: &Reader<R>,
    tensors: &[TensorInfo],
    alignment: u64,
) -> Result<(), String> {
    let mut first_cut = None;
    // u128: the sums can't overflow, the ends were checked as u64 relative to the data.
    let mut end = u128::from(reader.position());
    for (index, tensor) in tensors.iter().enumerate() {
        end = end.next_multiple_of(u128::from(alignment)) + u128::from(tensor.bytes);
        if end > u128::from(reader.length()) && first_cut.is_none() {
            first_cut = Some((index, tensor));
        }
    }
    let Some((index, tensor)) = first_cut else {
        return Ok(());
    };
    let missing = (end - u128::from(reader.length())).min(u128::from(u64::MAX)) as u64;
    Err(format!(
        "is cut off in the tensor data, in tensor {} of {} (`{}`): the tensors end at byte {end}, the file at {}; \
         {} missing. It was probably not downloaded completely: fetch it again",
        index + 1,
        tensors.len(),
        tensor.name.escape_debug(),
        reader.length(),
        plural_are(missing)
    ))
}

fn plural_are(missing: u64) -> String {
    format!("{} {}", plural(missing, "byte"), if missing == 1 { "is" } else { "are" })
}
