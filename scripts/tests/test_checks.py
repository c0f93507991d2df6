"""Tests of the checks that `make lint` makes of crates and modules."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import check_circles
import check_directions


class Directions(unittest.TestCase):
    def found(self, *packages):
        return list(check_directions.faults(packages))

    def package(self, name, *dependencies, kind=None):
        return {"name": name, "dependencies": [{"name": other, "kind": kind} for other in dependencies]}

    def test_what_points_down_is_allowed(self):
        self.assertEqual(self.found(self.package("leafresh-engine", "leafresh-kernels", "llama-cpp-sys-2", "serde")), [])
        self.assertEqual(self.found(self.package("leafresh-server", "leafresh-lab", kind="dev")), [])

    def test_what_points_up_or_through_a_wall_is_not(self):
        for package, fault in [
            (self.package("leafresh-kernels", "leafresh-engine"), "kernels may not depend on engine"),
            (self.package("leafresh-server", "leafresh-lab"), "server may not depend on lab"),
            (self.package("leafresh-lab", "leafresh"), "lab may not depend on leafresh"),
            (self.package("leafresh-lab", "rusqlite"), "lab may not use rusqlite: it belongs to store"),
            (self.package("leafresh-new"), "new: a crate that"),
        ]:
            with self.subTest(fault):
                found = self.found(package)
                self.assertEqual(len(found), 1)
                self.assertIn(fault, found[0])


class Circles(unittest.TestCase):
    def circles(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder, "src", *name.split("__")).with_suffix(".rs")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return list(check_circles.Crate(Path(folder)).circles())

    def test_modules_that_know_each_other_are_found(self):
        found = self.circles(lib="mod a; mod b;", a="use crate::b::B;", b="fn f() { crate::a::g() }")
        self.assertEqual(found, [["a", "b", "a"]])

    def test_a_name_from_the_root_is_its_modules(self):
        lib = "mod a; mod b; pub use a::A;"
        self.assertEqual(self.circles(lib=lib, a="use super::b::B;", b="use crate::{A, c};"), [["a", "b", "a"]])

    def test_one_direction_tests_comments_and_a_module_with_its_own_parts_are_fine(self):
        found = self.circles(
            lib="mod a; mod b;",
            a="mod x; use x::X; pub struct A; // use crate::b::B;\n#[cfg(test)]\nmod tests { use crate::b::B; }",
            a__x="use super::A;",
            b="use crate::a::A;",
        )
        self.assertEqual(found, [])

    def test_parts_below_a_module_count_as_it(self):
        found = self.circles(lib="mod a; mod b;", a="mod x;", a__x="use crate::b::B;", b="use crate::a::A;")
        self.assertEqual(found, [["a", "b", "a"]])


if __name__ == "__main__":
    unittest.main()
