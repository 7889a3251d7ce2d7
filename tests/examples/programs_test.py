#!/usr/bin/python3
"""The small programs of examples/, run as their head comments say, against a real broker."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from processes import Workspace, program, wait_until  # noqa: E402


class Programs(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())
        self.space.start("broker", program("JOBQ_BROKER"), "--data", self.space.directory / "data",
                         "--listen", self.space.endpoint)
        # Clients wait for the broker by themselves; a connection that works means that it is up.
        wait_until(lambda: self.run_example("enqueue", "warm@example.org", 1000000).returncode == 0, "the broker serves")

    def run_example(self, name, *arguments):
        path = pathlib.Path(os.environ["JOBQ_EXAMPLES"]) / name
        return subprocess.run([path, self.space.endpoint, *map(str, arguments)], capture_output=True, text=True,
                              check=False, timeout=60)

    def test_enqueue_batch_delayed_and_worker(self):
        first = self.run_example("enqueue", "a@example.org", 42)
        self.assertRegex(first.stdout, r"^accepted: j[0-9a-z]+\n$")
        again = self.run_example("enqueue", "a@example.org", 42)
        self.assertEqual(again.stdout.split()[-1], first.stdout.split()[-1])
        self.assertIn("was there already", again.stdout)
        self.assertEqual(self.run_example("enqueue", "no-address", 7).returncode, 0)
        self.assertEqual(self.run_example("enqueue", "retried@example.org", 13).returncode, 0)

        batch = self.run_example("batch", 300)
        self.assertEqual(batch.returncode, 0, batch.stdout + batch.stderr)
        self.assertIn("300 of 300 accepted", batch.stdout)
        self.assertIn("not_done", batch.stdout)
        self.assertIn("bad_priority", batch.stdout)

        delayed = self.run_example("delayed")
        self.assertEqual(delayed.returncode, 0, delayed.stdout + delayed.stderr)
        self.assertEqual(len(re.findall("accepted", delayed.stdout)), 2)

        worker = self.space.start("worker", pathlib.Path(os.environ["JOBQ_EXAMPLES"]) / "worker", self.space.endpoint)
        # 300 of the batch, 42, 13 (which fails once), the first one, and the one that was delayed for a second.
        receipts = re.compile(r"^receipt for order (\d+) to \S+ \(attempt (\d)\)$", re.MULTILINE)
        wait_until(lambda: len(receipts.findall(worker.output())) >= 304, "every receipt is sent", 60)
        seen = receipts.findall(worker.output())
        self.assertEqual(sorted(int(order) for order, _ in seen), sorted([1, 13, 42, 1000000, *range(1001, 1301)]))
        self.assertIn(("13", "2"), seen)
        self.assertEqual(worker.stop(), 0)
        self.assertIn("done, 0 handed back", worker.output())

    def test_without_arguments_they_say_how(self):
        for name in ("enqueue", "worker", "batch", "delayed"):
            path = pathlib.Path(os.environ["JOBQ_EXAMPLES"]) / name
            done = subprocess.run([path], capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual(done.returncode, 64)
            self.assertIn("usage", done.stderr)


if __name__ == "__main__":
    unittest.main()
