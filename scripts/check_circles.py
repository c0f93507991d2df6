#!/usr/bin/env python3
"""Finds modules of a crate that import each other in a circle.

Usage: check_circles.py [CRATE_DIR ...]     (default: every folder in crates/)

At each level of a crate its modules are looked at with all that lies below them: `streams` is `streams.rs` and
`streams/*.rs`, one thing told in several files, which may know each other. Between the modules of one level imports have
to have a direction. What a module names through the crate's root or a parent (`use crate::Error`) counts as an import of
the module that it comes from. Tests are left out: they may look at anything.

Ends with 1 when there is a circle, which is printed as the path through it.
"""

import re
import sys
from pathlib import Path

PATH = re.compile(r"\b(?:crate|super|self)(?:::(?:super|\w+))+")


def without_tests(text):
    """The source without comments, strings and `#[cfg(test)]` items with braces."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'r?"(?:\\.|[^"\\])*"', '""', text)
    while True:
        found = re.search(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*", text)
        if not found:
            return text
        end = found.end()
        brace, semicolon = text.find("{", end), text.find(";", end)
        if brace < 0 or 0 <= semicolon < brace:
            text = text[: found.start()] + text[semicolon + 1 :]
            continue
        depth, at = 0, brace
        while at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
            if depth == 0:
                break
        text = text[: found.start()] + text[at:]


def expand(tree):
    """The paths of a use tree: `a::{b, c::d}` gives `a::b` and `a::c::d`; `x as y` is `x`."""
    tree = tree.strip()
    if "{" not in tree:
        return [re.split(r"\s+as\s+", tree)[0].replace(" ", "")] if tree else []
    head, rest = tree.split("{", 1)
    parts, depth, current = [], 0, ""
    for letter in rest:
        if letter == "}" and depth == 0:
            break
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += letter
    parts.append(current)
    return [
        (head + path).replace("::self", "") for part in parts for path in expand(part)
    ]


class Crate:
    def __init__(self, folder):
        source = folder / "src"
        root = source / ("lib.rs" if (source / "lib.rs").exists() else "main.rs")
        self.modules = {(): without_tests(root.read_text())}
        for file in source.rglob("*.rs"):
            if file in (source / "lib.rs", source / "main.rs") or "tests" in file.stem:
                continue
            parts = file.relative_to(source).with_suffix("").parts
            name = parts[:-1] if parts[-1] == "mod" else parts
            if "tests" not in name:
                self.modules[name] = without_tests(file.read_text())
        self.imports = {
            name: {path for tree in re.findall(r"\buse\s+([^;]+);", text) for path in expand(tree)}
            for name, text in self.modules.items()
        }

    def resolve(self, module, path, depth=0):
        """The module that a path names something of, as seen from `module`; None where it leads out of the crate."""
        at, parts = list(module), path.split("::")
        if parts[0] == "crate":
            at, parts = [], parts[1:]
        elif parts[0] == "self":
            parts = parts[1:]
        elif parts[0] != "super" and tuple(at + parts[:1]) not in self.modules:
            return None
        while parts and parts[0] == "super":
            at, parts = at[:-1], parts[1:]
        while parts and tuple(at + parts[:1]) in self.modules:
            at, parts = at + parts[:1], parts[1:]
        if parts and depth < 8:
            # Something that the module has from somewhere else.
            for other in self.imports.get(tuple(at), ()):
                if other.split("::")[-1] == parts[0]:
                    found = self.resolve(tuple(at), other, depth + 1)
                    if found is not None:
                        return found
        return tuple(at)

    def edges(self):
        """Module to the modules that it names."""
        edges = {}
        for name, text in self.modules.items():
            paths = self.imports[name] | {found.group() for found in PATH.finditer(text)}
            known = {self.resolve(name, path) for path in paths}
            edges[name] = {module for module in known if module is not None and module != name}
        return edges

    def circles(self):
        edges = self.edges()
        for level in sorted({name[:-1] for name in edges if name}):
            depth = len(level) + 1
            inside = {name for name in edges if name[: len(level)] == level and len(name) >= depth}
            graph = {}
            for name in inside:
                to = {other[:depth] for other in edges[name] if other in inside}
                graph.setdefault(name[:depth], set()).update(to - {name[:depth]})
            circle = find_circle(graph)
            if circle:
                yield ["::".join(module) for module in circle]


def find_circle(graph):
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node) :] + [node]
        if node in done:
            return None
        path.append(node)
        for other in sorted(graph.get(node, ())):
            circle = visit(other)
            if circle:
                return circle
        path.pop()
        done.add(node)
        return None

    for node in sorted(graph):
        circle = visit(node)
        if circle:
            return circle
    return None


def main(arguments):
    top = Path(__file__).resolve().parent.parent
    folders = [Path(argument) for argument in arguments]
    folders = folders or sorted(path.parent.parent for path in top.glob("crates/*/src/*.rs") if path.name in ("lib.rs", "main.rs"))
    found = False
    for folder in dict.fromkeys(folders):
        for circle in Crate(folder).circles():
            found = True
            print(f"{folder.name}: {' -> '.join(circle)}", file=sys.stderr)
    if found:
        print("modules that import each other in a circle: move what both need into a third one", file=sys.stderr)
    return int(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
