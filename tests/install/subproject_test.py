#!/usr/bin/python3
"""Other build systems of a user's: jobq as a meson subproject (its library alone is built), and CMake over jobq.pc."""

import os
import shutil
import unittest

from installation import HERE, ROOT, Installation, run


class OtherBuilds(Installation):
    def outside(self, name):
        directory = self.directory / name
        shutil.copytree(HERE / "outside", directory)
        return directory

    def test_as_a_meson_subproject(self):
        directory = self.outside("with-meson")
        (directory / "subprojects").mkdir()
        (directory / "subprojects" / "jobq").symlink_to(ROOT)
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PKG_CONFIG")}
        run("meson", "setup", "build", "--buildtype=debug", cwd=directory, env=plain)
        run("ninja", "-C", "build", cwd=directory)
        self.assertEqual(list((directory / "build").rglob("jobq-broker")), [], "a subproject builds the library alone")
        self.check_program(directory / "build" / "outside")

    @unittest.skipUnless(shutil.which("cmake"), "cmake is not installed")
    def test_with_cmake(self):
        directory = self.outside("with-cmake")
        run("cmake", "-S", directory, "-B", directory / "build", f"-DCMAKE_CXX_COMPILER={self.compiler[-1]}")
        run("cmake", "--build", directory / "build")
        self.check_program(directory / "build" / "outside", LD_LIBRARY_PATH=str(self.libdir))


if __name__ == "__main__":
    unittest.main()
