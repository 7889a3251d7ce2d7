"""A copy of the build, installed into a temporary root, and programs of users that are tried against it."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from processes import Workspace  # noqa: E402  pylint: disable=wrong-import-position


def run(*command, **options):
    """What it printed; fails loudly with everything that was said."""
    options.setdefault("timeout", 600)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{shlex.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class Installation(unittest.TestCase):
    maxDiff = None
    object = None

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="jobq-install."))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        root = cls.directory / "root"
        run("meson", "install", "-C", os.environ["JOBQ_BUILD_ROOT"], "--no-rebuild", "--destdir", root)
        (pc_file,) = root.rglob("jobq.pc")
        cls.root, cls.libdir = root, pc_file.parent.parent
        cls.prefix = root / os.environ["JOBQ_PREFIX"].lstrip("/")
        os.environ["PKG_CONFIG_PATH"] = str(pc_file.parent)
        os.environ["PKG_CONFIG_SYSROOT_DIR"] = str(root)
        os.environ["JOBQ_BROKER"] = str(cls.prefix / "bin" / "jobq-broker")
        os.environ["JOBQ_CLI"] = str(cls.prefix / "bin" / "jobq")
        cls.compiler = shlex.split(os.environ["JOBQ_CXX"])

    def built_object(self):
        """main.cpp of outside/, compiled once."""
        if Installation.object is None:
            Installation.object = self.directory / "main.o"
            run(*self.compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-c", HERE / "outside" / "main.cpp",
                "-o", Installation.object, *shlex.split(run("pkg-config", "--cflags", "jobq")))
        return Installation.object

    def check_program(self, program, **environment):
        with Workspace() as space:
            space.broker()
            said = run(program, space.endpoint, env={**os.environ, **environment})
            self.assertEqual(sorted(said.splitlines()),
                             sorted(["SendReceipt: order 42 for a@example.org, attempt 1", "Raw: raw bytes",
                                     "unanswered 0, version 0.1.0", "bad_queue_name"]))
            self.assertEqual(space.queue("receipts")["acked_total"], 2)
