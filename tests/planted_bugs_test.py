#!/usr/bin/python3
"""The teeth of the other tests: switches on one planted bug after the other and demands that its finder goes red, for the
right reason; and that it is green without the bug.

    planted_bugs_test.py             some of the deterministic ones: others every day (CI)
    planted_bugs_test.py --all       all (tests/soak.sh teeth); prints the score for docs/faults.md
    planted_bugs_test.py NAME...     these

The build is that of JOBQ_BUILD_ROOT; it has to be one with -Dplanted_bugs=true.
"""

import os
import pathlib
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "faults"))
from planted_bugs import PLANTED  # noqa: E402

SOURCES = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("JOBQ_BUILD_ROOT", SOURCES / "build-test"))
A_RUN = 10  # how many of them CI looks at, each day the next
SECONDS_MAX = 60  # within which a bug has to be found
NO_SUCH_BUG = 64


def environment(bug):
    """What meson gives the tests, and the bug."""
    variables = dict(
        os.environ, LC_ALL="C.UTF-8", JOBQ_SOURCE_ROOT=str(SOURCES), JOBQ_SIM=str(BUILD / "tests/sim/jobq-sim"),
        JOBQ_RECORDER=str(BUILD / "tests/faults/jobq_recorder.so"), JOBQ_BATCH_WRITER=str(BUILD / "tests/faults/batch_writer"),
        JOBQ_POWER_CUT_SECONDS="45",
        PYTHONDONTWRITEBYTECODE="1")
    variables.pop("JOBQ_PLANTED_BUG", None)
    if bug:
        variables["JOBQ_PLANTED_BUG"] = bug
    return variables


def run(finder, bug=None):
    command = [str(part) for part in (BUILD / "tests" / finder.program, *finder.arguments)]
    # A run that finds nothing may take its time on a busy machine; a run that hangs must not.
    done = subprocess.run(command, env=environment(bug), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", check=False, timeout=10 * SECONDS_MAX)
    return done.returncode, done.stdout + done.stderr


def chosen_for_today():
    certain = [planted for planted in PLANTED if not planted.finder.soak_only]
    first = int(time.time()) // 86_400 * A_RUN
    return [certain[(first + i) % len(certain)] for i in range(A_RUN)]


class PlantedBugs(unittest.TestCase):
    wanted = ()

    def test_the_table_is_about_the_bugs_that_there_are(self):
        program = BUILD / "tests/engine/engine_test"
        done = subprocess.run([program], env=environment("no such bug"), capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, NO_SUCH_BUG, "the build has no planted bugs: configure it with -Dplanted_bugs=true")
        first, *names = done.stderr.split("\n")
        self.assertIn("there is no planted bug 'no such bug'", first)
        self.assertEqual(sorted(name for name in names if name), sorted(planted.name for planted in PLANTED))

    def test_each_stands_in_the_code_and_once(self):
        code = "".join(path.read_text(encoding="utf-8") for room in ("broker", "libjobq") for path in (SOURCES / room).rglob("*.?pp"))
        found = re.findall(r"JOBQ_PLANTED\((\w+)\)", code)
        found.remove("name")  # the macro's own definitions
        found.remove("name")
        found.remove("name")
        self.assertEqual(sorted(found), sorted(planted.name for planted in PLANTED))

    def test_each_is_found_and_by_the_test_that_is_named(self):
        for planted in self.wanted:
            with self.subTest(planted=planted.name):
                begun = time.monotonic()
                code, said = run(planted.finder, planted.name)
                took = time.monotonic() - begun
                self.assertNotEqual(code, 0, f"{planted.name} ({planted.does}) is not found by {planted.finder.name}")
                self.assertRegex(said, planted.finder.sees, f"{planted.name}: red, but not for its reason")
                code, said = run(planted.finder)
                self.assertEqual(code, 0, f"{planted.finder.name} is red without a bug:\n{said[-4000:]}")
                print(f"| `{planted.name}` | {planted.does} | {planted.finder.name} | {took:.1f} |", flush=True)


def main():
    by_name = {planted.name: planted for planted in PLANTED}
    arguments = sys.argv[1:]
    unknown = [name for name in arguments if name != "--all" and name not in by_name]
    if unknown:
        sys.exit(f"there is no planted bug {unknown[0]}; there are: {', '.join(by_name)}")
    if "--all" in arguments:
        PlantedBugs.wanted = PLANTED
    else:
        PlantedBugs.wanted = [by_name[name] for name in arguments] or chosen_for_today()
    unittest.main(argv=sys.argv[:1])


if __name__ == "__main__":
    main()
