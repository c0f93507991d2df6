#!/usr/bin/env python3
"""`make bench`: Leafresh and its peers side by side on this machine, same model file, same questions, in turns.

Each round starts each server, warms it up, measures it with `leafresh bench`, and stops it. A figure is the median of the
rounds. Two tables: `free`, where every server writes all parts freely, and `shipped`, where titles and descriptions are
chosen among documents. Ends with a line for each goal: `goal NAME VALUE TARGET ok|short`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Iterator

sys.path.insert(0, str(Path(__file__).parent))
from peers import llama_server  # noqa: E402

PYTHON_PACKAGES = ["torch", "transformers", "accelerate", "gguf", "fastapi", "sse-starlette", "uvicorn"]


def text(least: int, most: int) -> dict:
    return {"type": "string", "minLength": least, "maxLength": most}


def whole(**properties: dict) -> dict:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


CHALLENGE = whole(title=text(4, 24), description=text(16, 140))
SCHEMA = whole(recommend=text(10, 90), challenges={"type": "array", "items": CHALLENGE, "minItems": 3, "maxItems": 3})
PARTS = ["free", "shipped", "queue", "engine", "endurance"]
FIGURES = ["answers_per_s", "requests_per_s", "tokens_per_s", "valid", "ttft_p50", "ttft_p95", "tpot_p50", "tpot_p95", "latency_p50", "length_p50"]


@dataclass(frozen=True)
class Peer:
    """A server: how it is started on a port, and how it is asked."""

    name: str
    command: list[str]
    api: str
    environment: dict[str, str] = field(default_factory=dict)
    ready: str = "/health"
    once: bool = False  # so slow that it is measured in the first round only, as many requests as clients
    most_clients: int = 8
    body: dict = field(default_factory=dict)  # keys set in each request


@dataclass(frozen=True)
class Load:
    clients: int
    requests: int


@dataclass(frozen=True)
class Goal:
    """What a figure must reach."""

    name: str
    value: float | None
    target: float
    at_most: bool = False

    def line(self) -> str:
        value = "-" if self.value is None else f"{self.value:.2f}"
        reached = self.value is not None and (
            self.value <= self.target if self.at_most else self.value >= self.target
        )
        return f"goal {self.name} {value} {self.target:g} {'ok' if reached else 'short'}"


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.binary, self.model, self.out = str(options.leafresh), str(options.model), options.out
        self.rounds = options.rounds or (1 if options.quick else 3)
        self.loads = [Load(1, 4 if options.quick else 8), Load(8, 24)]
        self.results: dict[str, dict[str, dict[int, list[dict[str, float]]]]] = {}
        self.warnings: set[str] = set()

    def requests(self, grounding: str) -> Path:
        """The questions of one table as a file for `leafresh bench --requests`."""
        file = self.out / f"requests-{grounding}.jsonl"
        command = [self.binary, "bench", "requests", "--count", "64", "--grounding", grounding]
        run([*command, "--model", self.model, "--out", str(file)])
        return file

    def for_others(self, questions: Path) -> Path:
        """The same questions with a schema as an operator would write it: lengths instead of our alphabet.

        Our own schema has no bound for the first sentence, which our budgets bound; without them a server writes on until
        the token cap, which would compare lengths and not servers.
        """
        file = questions.with_name(questions.stem + "-lengths.jsonl")
        lines = [json.loads(line) for line in questions.read_text().splitlines()]
        file.write_text("".join(json.dumps({**line, "schema": SCHEMA}, ensure_ascii=False) + "\n" for line in lines))
        return file

    def table(self, name: str, peers: list[Peer], questions: Path, for_others: Path) -> None:
        for round_number in range(1, self.rounds + 1):
            for peer in peers:
                if peer.once and round_number > 1:
                    continue
                say(f"{name}, round {round_number} of {self.rounds}: {peer.name}")
                with started(peer, self.out / f"{peer.name}.log") as (url, pid):
                    for load in (load for load in self.loads if load.clients <= peer.most_clients):
                        if peer.once:
                            load = replace(load, requests=load.clients)
                        asked = questions if peer.api == "leafresh" else for_others
                        figures = self.measure(peer, url, pid, load, asked)
                        by_load = self.results.setdefault(name, {}).setdefault(peer.name, {})
                        by_load.setdefault(load.clients, []).append(figures)

    def measure(self, peer: Peer, url: str, pid: int, load: Load, questions: Path) -> dict[str, float]:
        report = self.out / "run.json"
        command = [self.binary, "bench", "--url", url, "--api", peer.api, "--requests", str(questions)]
        command += ["--clients", str(load.clients), "--total", str(load.requests), "--warmup", "0" if peer.once else "2"]
        command += ["--model", self.model, "--pid", str(pid), "--timeout", "1800", "--json", str(report)]
        if peer.body:
            command += ["--body", json.dumps(peer.body)]
        run(command)
        level = json.loads(report.read_text())["levels"][0]
        self.warnings.update(level["warnings"])
        return {key: figure["value"] for key, figure in level["figures"].items() if figure["value"] is not None}

    def median(self, table: str, peer: str, clients: int, key: str) -> float | None:
        runs = self.results.get(table, {}).get(peer, {}).get(clients, [])
        values = [run[key] for run in runs if key in run]
        return statistics.median(values) if values else None

    def ratio(self, table: str, peer: str, clients: int, key: str, theirs: str = "") -> float | None:
        ours, others = self.median(table, "leafresh", clients, key), self.median(table, peer, clients, theirs or key)
        return ours / others if ours is not None and others else None

    def markdown(self) -> str:
        lines = []
        for table, peers in self.results.items():
            lines += ["", f"### {table}", ""]
            lines += ["| server | clients | " + " | ".join(FIGURES) + " |", "|" + "---|" * (len(FIGURES) + 2)]
            for peer, by_load in peers.items():
                for clients, runs in by_load.items():
                    cells = [spread([run[key] for run in runs if key in run]) for key in FIGURES]
                    lines.append(f"| {peer} | {clients} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def spread(values: list[float]) -> str:
    """The median, and between which values it lies."""
    if not values:
        return "-"
    digits = 2 if max(values) < 100 else 0
    text = f"{statistics.median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command)} failed")
    return done.stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def started(peer: Peer, log: Path) -> Iterator[tuple[str, int]]:
    """The server's address and process, once it is ready; stopped in the end."""
    port = free_port()
    command = [part.replace("PORT", str(port)) for part in peer.command]
    with log.open("wb") as output:
        environment = {**os.environ, **peer.environment}
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}{peer.ready}", server, log)
        wait_until_idle(server.pid)
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_ready(url: str, server: subprocess.Popen, log: Path, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if urllib.request.urlopen(url, timeout=5).status == 200:
                return
        time.sleep(0.2)
    raise SystemExit(f"bench: {server.args[0]} isn't ready; {log} says why")


def wait_until_idle(pid: int, seconds: float = 300, interval: float = 3) -> None:
    """What a server still does in the background of its start, such as indexing, isn't what is measured."""
    end, before = time.monotonic() + seconds, cpu_seconds(pid)
    while time.monotonic() < end:
        time.sleep(interval)
        now = cpu_seconds(pid)
        if now - before < 0.03 * interval:
            return
        before = now
    say("warning: the server is busy without being asked")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(child) for child in children(pid))


def children(pid: int) -> list[int]:
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


def ours(options: argparse.Namespace, grounding: str) -> Peer:
    command = [str(options.leafresh), "serve", "--listen", "127.0.0.1:PORT", "--model", str(options.model)]
    # Data of its own: what this machine has indexed or remembered stays out of it.
    environment = {
        "LEAFRESH_CHAT__GROUNDING": grounding,
        "LEAFRESH_LOG__FILTER": "warn",
        "LEAFRESH_DATA__DIR": str(options.out / "data"),
    }
    return Peer("leafresh", command, "leafresh", environment, ready="/health/ready")


def llama(options: argparse.Namespace, name: str, more: list[str]) -> Peer:
    binary = llama_server.build(options.peers)
    command = [str(binary), "-m", str(options.model), "--host", "127.0.0.1", "--port", "PORT", "--no-webui", *more]
    return Peer(name, command, "llama-server")


def python_peers(options: argparse.Namespace) -> list[Peer]:
    home = options.peers / "python-stack"
    python = home / "bin" / "python"
    if not python.exists():
        say(f"installing the Python stack in {home}: some gigabytes, once")
        run([sys.executable, "-m", "venv", str(home)])
        run([str(python), "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES])
    script = str(Path(__file__).parent / "peers" / "python_stack.py")
    command = [str(python), script, "--model", str(options.model), "--port", "PORT"]
    # Without a grammar nothing ends an answer but the model, which goes on with another example: a cap of about the length
    # of our answers, as such servers have one.
    cap = {"n_predict": 200}
    return [
        Peer("python", command, "llama-server", once=True, body=cap),
        Peer("python-as-found", [*command, "--as-found"], "llama-server", once=True, most_clients=1, body=cap),
    ]


def inner_goals(bench: Bench, options: argparse.Namespace) -> list[str]:
    """Goals that the program measures by itself, with the model in the process or with one that costs nothing."""
    lines = []
    quick = ["--quick"] if options.quick else []
    for command in (["overhead"], ["engine", "--model", bench.model, *quick]):
        say(f"leafresh bench {command[0]}")
        printed = run([bench.binary, "bench", *command])
        print(printed, flush=True)
        lines += [line for line in printed.splitlines() if line.startswith("goal ")]
    return lines


def queued(bench: Bench, options: argparse.Namespace, questions: Path) -> list[Goal]:
    """Throughput when more clients wait than can write."""
    total = 64 if options.quick else 128
    with started(patient(options), bench.out / "queued.log") as (url, pid):
        # In turns: the machine's own changes are larger than the difference.
        turns = (8, 64) if options.quick else (8, 64, 8, 64)
        runs = [bench.measure(patient(options), url, pid, Load(clients, total), questions) for clients in turns]
    at_8, at_64 = ([run["answers_per_s"] for run in runs[first::2]] for first in (0, 1))
    return [
        Goal("answers_per_s_at_64_over_8", sum(at_64) / sum(at_8), 0.95),
        Goal("valid_percent_at_64", min(run["valid"] for run in runs), 100),
    ]


def patient(options: argparse.Namespace) -> Peer:
    """Our server where the last of 64 wait longer than people would be let: here they shall, without the catalogue's answer."""
    shipped = ours(options, "select")
    return replace(shipped, environment={**shipped.environment, "LEAFRESH_DEADLINES__QUEUE_SECONDS": "240"})


def endurance(bench: Bench, options: argparse.Namespace, questions: Path) -> list[Goal]:
    """What many requests leave behind in memory."""
    few, many = (20, 200) if options.quick else (200, 2000)
    peer = ours(options, "select")
    with started(peer, bench.out / "endurance.log") as (url, pid):
        say(f"{many} requests for the memory they leave behind")
        bench.measure(peer, url, pid, Load(8, few), questions)
        before = resident(pid)
        bench.measure(peer, url, pid, Load(8, many - few), questions)
        after = resident(pid)
    return [Goal(f"rss_after_{many}_over_{few}", after / before, 1.05, at_most=True)]


def resident(pid: int) -> int:
    """Resident memory of a process and its children, the engine's above all, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    return own + sum(resident(child) for child in children(pid))


def side_by_side(bench: Bench, with_python: bool) -> list[Goal]:
    def answers(peer: str, clients: int) -> float | None:
        # Whether a peer's answers are valid isn't looked at: every one that ended counts for it.
        return bench.ratio("free", peer, clients, "answers_per_s", "requests_per_s")

    ttft = bench.ratio("free", "llama-server-tuned", 8, "ttft_p50")
    goals = [
        Goal("answers_per_s_at_8_over_tuned", answers("llama-server-tuned", 8), 2.2),
        Goal("answers_per_s_at_8_over_defaults", answers("llama-server", 8), 3),
        Goal("ttft_p50_at_8_over_tuned", ttft, 0.5, at_most=True),
        Goal("answers_per_s_at_1_over_tuned", answers("llama-server-tuned", 1), 1.2),
    ]
    if with_python:
        goals.append(Goal("answers_per_s_at_8_over_python", answers("python", 8), 15))
    ours = [runs for peers in bench.results.values() for runs in peers["leafresh"].values()]
    valid = [run["valid"] for runs in ours for run in runs]
    return [*goals, Goal("valid_percent", min(valid), 100)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Leafresh and its peers side by side on this machine")
    parser.add_argument("--leafresh", type=Path, required=True, help="our binary")
    parser.add_argument("--model", type=Path, required=True, help="the GGUF file that all servers load")
    parser.add_argument("--peers", type=Path, required=True, help="where peers are built and kept")
    parser.add_argument("--out", type=Path, required=True, help="where results go")
    parser.add_argument("--quick", action="store_true", help="one round with fewer requests, some ten minutes in all")
    parser.add_argument("--rounds", type=int, help="rounds of each table [default: 3, with --quick 1]")
    parser.add_argument("--python-stack", action="store_true", help="measure the Python stack too (gigabytes)")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=PARTS, help="some of " + ",".join(PARTS))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts: there is no {', '.join(sorted(unknown))}, but {', '.join(PARTS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(options.out / "data", ignore_errors=True)  # an earlier release's index would not be read
    peers = [ours(options, "none"), llama(options, "llama-server-tuned", llama_server.TUNED)]
    peers.append(llama(options, "llama-server", llama_server.DEFAULTS))
    if options.python_stack:
        peers += python_peers(options)
    bench = Bench(options)
    shipped = bench.requests("select")
    lines = []
    if "free" in options.parts:
        free = bench.requests("none")
        bench.table("free", peers, free, bench.for_others(free))
    if "shipped" in options.parts:
        bench.table("shipped", [ours(options, "select"), peers[1]], shipped, shipped)
    if bench.results:
        lines += [goal.line() for goal in side_by_side(bench, options.python_stack)]
    if "queue" in options.parts:
        lines += [goal.line() for goal in queued(bench, options, shipped)]
    if "engine" in options.parts:
        lines += inner_goals(bench, options)
    if "endurance" in options.parts:
        say("what comes now depends on no time: the machine may be used again")
        lines += [goal.line() for goal in endurance(bench, options, shipped)]
    (bench.out / "results.json").write_text(json.dumps(bench.results, indent=1))
    (bench.out / "results.md").write_text(bench.markdown() + "\n\n" + "\n".join(lines) + "\n")
    print(bench.markdown())
    for warning in sorted(bench.warnings):
        say(f"warning: {warning}")
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
