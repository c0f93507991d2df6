"""scripts/arm64.cmake: what llama.cpp is told to be built for."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

INCLUDED = Path(__file__).resolve().parents[1] / "arm64.cmake"

# As llama.cpp's own file begins, and as its option is read.
PROJECT = """cmake_minimum_required(VERSION 3.14)
project(test NONE)
set(GGML_CPU_ARM_ARCH "" CACHE STRING "")
message(STATUS "built for '${GGML_CPU_ARM_ARCH}'")
"""


def built_for(*definitions: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "CMakeLists.txt").write_text(PROJECT)
        arguments = ["cmake", "-S", folder, "-B", os.path.join(folder, "build")]
        arguments += ["-D" + definition for definition in definitions]
        # The crate always says this one.
        arguments += ["-DGGML_CPU_ARM_ARCH=armv8-a", f"-DCMAKE_PROJECT_INCLUDE={INCLUDED}"]
        said = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    return said.split("built for '", 1)[1].split("'", 1)[0]


ARM = ("CMAKE_SYSTEM_NAME=Linux", "CMAKE_SYSTEM_PROCESSOR=aarch64")


class Arm64(unittest.TestCase):
    def test_processors_with_dotprod_whatever_the_crate_says(self):
        self.assertEqual(built_for(*ARM), "armv8.2-a+dotprod")

    def test_the_environment_names_another(self):
        # The crate hands on what begins with GGML_.
        self.assertEqual(built_for(*ARM, "GGML_ARM_ARCH=armv8-a"), "armv8-a")

    def test_a_build_for_the_machine_at_hand_and_other_processors_are_left_alone(self):
        self.assertEqual(built_for(*ARM, "GGML_NATIVE=ON"), "armv8-a")
        self.assertEqual(built_for("CMAKE_SYSTEM_NAME=Linux", "CMAKE_SYSTEM_PROCESSOR=x86_64"), "armv8-a")


if __name__ == "__main__":
    unittest.main()
