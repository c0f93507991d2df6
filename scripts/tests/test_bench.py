"""Tests of what `make bench` says about its figures."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench  # noqa: E402


class Goals(unittest.TestCase):
    def test_a_goal_says_whether_it_is_reached(self) -> None:
        cases = [
            (bench.Goal("a", 2.2, 2.2), "goal a 2.20 2.2 ok"),
            (bench.Goal("a", 2.19, 2.2), "goal a 2.19 2.2 short"),
            (bench.Goal("a", 0.5, 0.5, at_most=True), "goal a 0.50 0.5 ok"),
            (bench.Goal("a", 0.51, 0.5, at_most=True), "goal a 0.51 0.5 short"),
            (bench.Goal("a", None, 3), "goal a - 3 short"),
        ]
        for goal, line in cases:
            self.assertEqual(goal.line(), line)

    def test_a_spread_names_the_median_and_its_bounds(self) -> None:
        self.assertEqual(bench.spread([]), "-")
        self.assertEqual(bench.spread([1.234]), "1.23")
        self.assertEqual(bench.spread([3.0, 1.0, 2.0]), "2.00 (1.00–3.00)")
        self.assertEqual(bench.spread([100.4, 300.0]), "200 (100–300)")


class Idle(unittest.TestCase):
    def test_it_waits_for_what_a_server_and_its_children_still_do(self) -> None:
        # A child that is busy for a while, below a parent that only waits.
        busy = "import time; print(flush=True)\nwhile time.process_time() < 1.5: pass\ntime.sleep(60)"
        command = ["sh", "-c", '"$@" & wait', "sh", sys.executable, "-c", busy]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            server.stdout.readline()
            bench.wait_until_idle(server.pid, interval=1)
            self.assertGreaterEqual(bench.cpu_seconds(server.pid), 1.4)
        finally:
            for child in bench.children(server.pid):
                os.kill(child, signal.SIGKILL)
            server.communicate()


class Tables(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)
        options = argparse.Namespace(leafresh="l", model="m", out=self.out, quick=True, rounds=None)
        self.bench = bench.Bench(options)

    def test_a_ratio_compares_medians_and_counts_every_answer_of_a_peer(self) -> None:
        ours = [{"answers_per_s": value} for value in (3.0, 1.0, 2.0)]
        theirs = [{"requests_per_s": 0.5, "answers_per_s": 0.1}]
        self.bench.results = {"free": {"leafresh": {8: ours}, "peer": {8: theirs}}}
        self.assertEqual(self.bench.ratio("free", "peer", 8, "answers_per_s", "requests_per_s"), 4.0)
        self.assertIsNone(self.bench.ratio("free", "nobody", 8, "answers_per_s"))
        self.assertIn("| leafresh | 8 | 2.00 (1.00–3.00) |", self.bench.markdown())

    def test_others_are_asked_the_same_with_lengths_for_an_alphabet(self) -> None:
        questions = self.out / "requests-none.jsonl"
        questions.write_text('{"prompt": "추천: ", "schema": {"pattern": "x"}}\n', encoding="utf-8")
        line = self.bench.for_others(questions).read_text(encoding="utf-8")
        self.assertIn('"prompt": "추천: "', line)
        self.assertNotIn("pattern", line)
        self.assertIn("maxLength", line)


if __name__ == "__main__":
    unittest.main()
