#!/usr/bin/python3
"""The simulator: seeds that pass, seeds that repeat, and a store that lies, which must be found out.

    JOBQ_SIM_SEEDS, JOBQ_SIM_OPERATIONS, JOBQ_SIM_SECONDS   how much of it; docs/testing.md has the commands of long runs
    JOBQ_SIM_FROM   the first seed
"""

import os
import re
import subprocess
import unittest

SIM = os.environ["JOBQ_SIM"]
SEEDS = os.environ.get("JOBQ_SIM_SEEDS", "60")
OPERATIONS = os.environ.get("JOBQ_SIM_OPERATIONS", "150")
SECONDS = os.environ.get("JOBQ_SIM_SECONDS", "20")
FROM = os.environ.get("JOBQ_SIM_FROM", "1")


def run(*arguments):
    return subprocess.run([SIM, *arguments], capture_output=True, text=True, check=False, timeout=1200)


class Simulation(unittest.TestCase):
    def test_no_seed_violates_an_invariant(self):
        done = run("--from", FROM, "--seeds", SEEDS, "--ops", OPERATIONS, "--seconds", SECONDS, "--quiet")
        self.assertEqual(done.returncode, 0, done.stdout[-8000:] + done.stderr[-2000:])
        made = re.search(r"^(\d+) runs .*: 0 failed; (\d+) events", done.stdout, re.MULTILINE)
        self.assertIsNotNone(made, done.stdout)
        self.assertGreaterEqual(int(made.group(1)), 2, "hardly any run was made: the machine is too slow for the test")
        self.assertGreater(int(made.group(2)), 100 * int(made.group(1)))
        print(made.group(0), flush=True)

    def test_the_same_seed_gives_the_same_run(self):
        first, again = (run("--seeds", "8", "--ops", "100", "--jobs", jobs, "--fingerprints", "--quiet").stdout.splitlines()
                        for jobs in ("1", "2"))
        fingerprints = [line for line in first if re.fullmatch(r"\d+ [0-9a-f]{16}", line)]
        self.assertEqual(len(fingerprints), 8, first)
        self.assertEqual(len({line.split()[1] for line in fingerprints}), 8, "different seeds, different runs")
        self.assertEqual(fingerprints, [line for line in again if re.fullmatch(r"\d+ [0-9a-f]{16}", line)])

    def test_a_store_that_forgets_at_a_crash_is_found_out_and_the_run_is_shortened(self):
        done = run("--seeds", "20", "--ops", "150", "--forgetful-store", "--stop-after", "1", "--quiet")
        self.assertEqual(done.returncode, 1, done.stdout[-4000:])
        found = re.search(r"^FAILED: seed (\d+) of 150 operations: (.*)$", done.stdout, re.MULTILINE)
        self.assertIsNotNone(found, done.stdout[-4000:])
        shorter = run("--seed", found.group(1), "--ops", "150", "--forgetful-store", "--minimise")
        repeat = re.search(r"repeat it with: jobq-sim --seed \d+ --ops (\d+)", shorter.stdout)
        self.assertIsNotNone(repeat, shorter.stdout[-4000:])
        self.assertLess(int(repeat.group(1)), 150)

    def test_what_there_is_not_is_said(self):
        done = run("--without", "gremlins")
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no fault 'gremlins'; there are: nacks", done.stderr)


if __name__ == "__main__":
    unittest.main()
