#!/usr/bin/python3
"""Counts tests over all test programs of some `meson test` runs.

usage: count_results.py [--failures] [--also-passed N] [--also-failed N] TESTLOG_JSON...

A doctest program counts its test cases, a unittest program its tests, any other program counts as one test. A program
that failed without saying how many (a crash, a timeout, a leak found at exit) counts one failure on top of what it said.
Prints "N passed, N failed" and ", N skipped" if there are any; --failures prints the end of each failed program's output
instead. The exit code is always 0 when the logs could be read: the line is the answer.
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass

DOCTEST = re.compile(
    r"test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed(?:\s*\|\s*(\d+) skipped)?"
)
UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
UNITTEST_END = re.compile(r"^(OK|FAILED)(?: \(([^)]*)\))?\s*$", re.MULTILINE)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def unittest_counts(text):
    ran = [int(n) for n in UNITTEST_RAN.findall(text)]
    if not ran:
        return None
    counts = Counts()
    for _, details in UNITTEST_END.findall(text):
        for detail in details.split(", ") if details else []:
            name, _, number = detail.partition("=")
            if name in ("failures", "errors", "unexpected successes"):
                counts.failed += int(number)
            elif name == "skipped":
                counts.skipped += int(number)
    counts.passed = max(0, sum(ran) - counts.failed - counts.skipped)
    return counts


def doctest_counts(text):
    found = DOCTEST.findall(text)
    if not found:
        return None
    counts = Counts()
    for _, passed, failed, _ in found:  # "skipped" are those that a filter left out: no outcome
        counts.passed += int(passed)
        counts.failed += int(failed)
    return counts


def count_program(row):
    """Counts of one line of testlog.json."""
    if row["result"] == "SKIP":
        return Counts(skipped=1)
    text = ANSI.sub("", (row.get("stdout") or "") + "\n" + (row.get("stderr") or ""))
    counts = doctest_counts(text) or unittest_counts(text)
    ok = row["result"] in ("OK", "EXPECTEDFAIL")
    if counts is None:
        return Counts(passed=int(ok), failed=int(not ok))
    if not ok and counts.failed == 0:
        counts.failed = 1
    if ok and counts.failed:
        # The program says that tests failed and yet exits 0: the exit code is wrong, the failures are real.
        return counts
    return counts


def rows_of(path):
    with open(path, encoding="utf-8", errors="replace") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def print_failure(row):
    print(f"    ---- FAILED: {row['name']} ({row['result']}, exit code {row.get('returncode')}); the end of its output:")
    text = (row.get("stdout") or "").rstrip() + "\n" + (row.get("stderr") or "").rstrip()
    for line in text.strip().splitlines()[-80:]:
        print("    " + line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("logs", nargs="*")
    parser.add_argument("--failures", action="store_true", help="print the output of what failed instead of the counts")
    parser.add_argument("--also-passed", type=int, default=0)
    parser.add_argument("--also-failed", type=int, default=0)
    options = parser.parse_args()
    total = Counts(options.also_passed, options.also_failed)
    for path in options.logs:
        for row in rows_of(path):
            counts = count_program(row)
            if options.failures and counts.failed:
                print_failure(row)
            total += counts
    if not options.failures:
        print(total)
    return 0


if __name__ == "__main__":
    sys.exit(main())
