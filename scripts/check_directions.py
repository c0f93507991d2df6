#!/usr/bin/env python3
"""Checks that the crates depend on each other in the directions of ARCHITECTURE.md, tests included.

Ends with 1 and names each dependency that isn't allowed.
"""

import json
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent

# What a crate may know, besides libraries. Tests may use what stands above, but never the program's commands.
ALLOWED = {
    "kernels": set(),
    "store": set(),
    "engine": {"kernels"},
    "remote": {"engine"},
    "retrieval": {"engine", "store"},
    "chat": {"engine", "retrieval", "store"},
    "server": {"engine", "remote", "retrieval", "store", "chat"},
    "lab": {"engine", "retrieval", "store", "chat", "server"},
    "leafresh": {"engine", "retrieval", "chat", "server", "lab"},
}

# Libraries that belong to one layer: who else names them has reached through a wall.
ONLY = {
    "llama-cpp-sys-2": {"engine"},
    "qdrant-edge": {"retrieval"},
    "qdrant-client": {"retrieval"},
    "rusqlite": {"store"},
    "axum": {"server"},
    "hyper": {"remote", "server"},
    "anyhow": {"server", "lab", "leafresh"},
}


def faults(packages):
    """Sentences about dependencies that aren't allowed. `packages`: as `cargo metadata` lists them."""
    for package in packages:
        name = package["name"].removeprefix("leafresh-")
        if name not in ALLOWED:
            yield f"{name}: a crate that check_directions.py doesn't know; say what it may know"
            continue
        for dependency in package["dependencies"]:
            if dependency["kind"] == "dev":
                continue
            other = dependency["name"]
            inside = other.removeprefix("leafresh-")
            if inside in ALLOWED and (inside != other or other == "leafresh"):
                if inside not in ALLOWED[name]:
                    yield f"{name} may not depend on {inside}"
            elif name not in ONLY.get(other, {name}):
                yield f"{name} may not use {other}: it belongs to {', '.join(sorted(ONLY[other]))}"


def main():
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=TOP, check=True, stdout=subprocess.PIPE).stdout)
    found = list(faults(metadata["packages"]))
    for fault in found:
        print(f"check_directions: {fault}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
