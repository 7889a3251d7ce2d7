#!/usr/bin/python3
"""count_results.py: the line that tests/run.sh ends with says what really happened."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).with_name("count_results.py")


def row(name="t", result="OK", stdout="", stderr="", returncode=0):
    return {"name": name, "result": result, "stdout": stdout, "stderr": stderr, "returncode": returncode}


def count(*rows, options=()):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as log:
        for each in rows:
            log.write(json.dumps(each) + "\n")
        log.flush()
        done = subprocess.run([sys.executable, SCRIPT, *options, log.name], capture_output=True, text=True, check=True)
    return done.stdout.rstrip("\n")


class CountResults(unittest.TestCase):
    def test_doctest_programs_count_their_cases(self):
        out = "[doctest] test cases:  7 |  5 passed | 2 failed | 0 skipped\n[doctest] assertions: 99 | 97 passed | 2 failed |\n"
        self.assertEqual(count(row(result="FAIL", stdout=out)), "5 passed, 2 failed")

    def test_colours_do_not_hide_the_counts(self):
        out = "\x1b[0;36m[doctest] \x1b[0mtest cases: \x1b[0;32m 3\x1b[0m | \x1b[0;32m3 passed\x1b[0m | 0 failed | 0 skipped\n"
        self.assertEqual(count(row(stdout=out)), "3 passed, 0 failed")

    def test_unittest_programs_count_their_tests(self):
        err = "Ran 10 tests in 1.5s\n\nFAILED (failures=2, errors=1, skipped=3)\n"
        self.assertEqual(count(row(result="FAIL", stderr=err)), "4 passed, 3 failed, 3 skipped")

    def test_other_programs_count_one(self):
        self.assertEqual(count(row(), row(result="FAIL"), row(result="SKIP")), "1 passed, 1 failed, 1 skipped")

    def test_a_crash_after_passing_cases_is_a_failure(self):
        err = "Ran 4 tests in 0.1s\n\nOK\n"
        self.assertEqual(count(row(result="ERROR", stderr=err)), "4 passed, 1 failed")
        self.assertEqual(count(row(result="TIMEOUT")), "0 passed, 1 failed")

    def test_failures_count_even_when_the_program_exits_with_0(self):
        err = "Ran 4 tests in 0.1s\n\nFAILED (failures=1)\n"
        self.assertEqual(count(row(result="OK", stderr=err)), "3 passed, 1 failed")

    def test_stages_are_added(self):
        self.assertEqual(count(row(), options=["--also-passed", "3", "--also-failed", "1"]), "4 passed, 1 failed")

    def test_the_output_of_what_failed_is_shown_and_of_nothing_else(self):
        shown = count(row("good", stdout="fine"), row("bad", "FAIL", stdout="broken here"), options=["--failures"])
        self.assertIn("bad", shown)
        self.assertIn("broken here", shown)
        self.assertNotIn("fine", shown)


if __name__ == "__main__":
    unittest.main()
