//! Writes small GGUF files, wrong ones too.

/// Writes GGUF files, wrong ones too.
pub(crate) struct Writer {
    pub(crate) version: u32,
    pub(crate) keys: Vec<(String, Vec<u8>)>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) alignment: usize,
}

#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dims: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) bytes: usize,
    /// Instead of the right one.
    pub(crate) offset: Option<u64>,
}

pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

pub(crate) fn typed(kind: u32, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes(), bytes].concat()
}

pub(crate) fn u32_value(value: u32) -> Vec<u8> {
    typed(4, &value.to_le_bytes())
}

pub(crate) fn text_value(text: &str) -> Vec<u8> {
    typed(8, &string(text.as_bytes()))
}

pub(crate) fn list_value(kind: u32, count: u64, entries: &[u8]) -> Vec<u8> {
    typed(9, &[&kind.to_le_bytes(), count.to_le_bytes().as_slice(), entries].concat())
}

pub(crate) fn texts_value(texts: &[&str]) -> Vec<u8> {
    let entries: Vec<u8> = texts.iter().flat_map(|text| string(text.as_bytes())).collect();
    list_value(8, texts.len() as u64, &entries)
}

pub(crate) fn numbers_value(numbers: &[i32]) -> Vec<u8> {
    let entries: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    list_value(5, numbers.len() as u64, &entries)
}

pub(crate) fn tensor(name: &str, dims: &[u64], kind: u32, bytes: usize) -> Tensor {
    Tensor { name: name.into(), dims: dims.into(), kind, bytes, offset: None }
}

impl Writer {
    /// The header of a model with two blocks.
    pub(crate) fn model() -> Self {
        let mut writer = Self { version: 3, keys: Vec::new(), tensors: Vec::new(), alignment: 32 };
        writer.set("general.architecture", text_value("llama"));
        writer.set("general.name", text_value("작은 모델"));
        writer.set("general.file_type", u32_value(15));
        writer.set("llama.block_count", u32_value(2));
        writer.set("llama.context_length", u32_value(128));
        writer.set("llama.embedding_length", u32_value(64));
        writer.set("llama.attention.head_count", u32_value(4));
        writer.set("llama.attention.head_count_kv", numbers_value(&[2, 1]));
        writer.set("llama.rope.freq_base", typed(6, &1e4f32.to_le_bytes()));
        writer.set("tokenizer.ggml.model", text_value("llama"));
        writer.set("tokenizer.ggml.tokens", texts_value(&["<unk>", "<s>", "</s>", "가", "나", ""]));
        writer.set("tokenizer.ggml.scores", list_value(6, 6, &[0; 24]));
        writer.set("tokenizer.ggml.add_bos_token", typed(7, &[1]));
        writer.set("tokenizer.chat_template", text_value("{{ messages }}"));
        writer.tensors = vec![
            tensor("token_embd.weight", &[64, 6], 2, 6 * 2 * 18),
            tensor("blk.0.attn_norm.weight", &[64], 0, 256),
            tensor("output.weight", &[64, 6], 1, 64 * 6 * 2),
        ];
        writer
    }

    pub(crate) fn set(&mut self, key: &str, value: Vec<u8>) {
        match self.keys.iter_mut().find(|(name, _)| name == key) {
            Some(entry) => entry.1 = value,
            None => self.keys.push((key.into(), value)),
        }
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let counts = [self.tensors.len() as u64, self.keys.len() as u64];
        let mut bytes = [b"GGUF".as_slice(), &self.version.to_le_bytes()].concat();
        bytes.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
        bytes
    }

    pub(crate) fn with_keys(&self) -> Vec<u8> {
        let mut bytes = self.header();
        for (key, value) in &self.keys {
            bytes.extend(string(key.as_bytes()));
            bytes.extend(value);
        }
        bytes
    }

    pub(crate) fn with_descriptions(&self) -> Vec<u8> {
        let mut bytes = self.with_keys();
        let mut place = 0u64;
        for tensor in &self.tensors {
            bytes.extend(string(tensor.name.as_bytes()));
            bytes.extend((tensor.dims.len() as u32).to_le_bytes());
            bytes.extend(tensor.dims.iter().flat_map(|length| length.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.unwrap_or(place).to_le_bytes());
            place = (place + tensor.bytes as u64).next_multiple_of(self.alignment as u64);
        }
        bytes
    }

    /// All of it, but for the padding after the last tensor, which files may lack.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.with_descriptions();
        for tensor in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
            bytes.resize(bytes.len() + tensor.bytes, 7);
        }
        bytes
    }
}
