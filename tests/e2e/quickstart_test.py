#!/usr/bin/python3
"""examples/quickstart.sh as a newcomer runs it: it ends well, says so, and leaves nothing behind; also when it is
interrupted."""

import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

from processes import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "examples" / "quickstart.sh"


def uses(process, directory):
    """Whether it names the directory on its command line or has a file of it open (every one has its log there)."""
    if directory in (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
        return True
    return any(os.readlink(descriptor).startswith(directory) for descriptor in (process / "fd").iterdir())


def processes_using(directory):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if uses(entry, directory):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # it has ended meanwhile
                continue
    return found


def workplace(output):
    match = re.search(r"/tmp/jobq-shop\.\w+", output)
    return match.group(0) if match else None


class Quickstart(unittest.TestCase):
    def test_it_ends_well_and_leaves_nothing_behind(self):
        subprocess.run([QUICKSTART], stdin=subprocess.DEVNULL, capture_output=True, timeout=1500, check=False)  # builds
        begun = time.monotonic()
        done = subprocess.run([QUICKSTART], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
        took = time.monotonic() - begun
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("OK: every order was answered, nothing was lost, nothing was sent twice.", done.stdout)
        self.assertIn("1,001 of 1,001 posts", done.stdout)
        self.assertIn("1 job, 1 receipt", done.stdout)
        self.assertIn("550 5.1.1 <frances.horvat.29@customers.example>: no such mailbox here", done.stdout)
        self.assertIn("no article SPOON in the warehouse's list", done.stdout)
        self.assertIn("dead in 'stock' now: 0", done.stdout)
        self.assertIn("taken from stock        4,930 pieces for 1,000 orders", done.stdout)
        for moment in ("Before: jobq stats", "During: jobq stats", "After: jobq stats"):
            self.assertIn(moment, done.stdout)
        self.assertLess(took, 30 * float(os.environ.get("JOBQ_TEST_PATIENCE", "1")), "a second run takes too long")
        directory = workplace(done.stdout)
        self.assertFalse(pathlib.Path(directory).exists())
        self.assertEqual(processes_using(directory), [])

    def interrupted(self, number):
        script = subprocess.Popen([QUICKSTART], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, start_new_session=True,
                                  # Whoever started the tests in the background has it ignored, and a shell cannot trap that.
                                  preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        output = ""
        for line in script.stdout:
            output += line
            if "Posting a thousand orders" in line:
                break
        directory = workplace(output)
        self.assertIsNotNone(directory, output)
        self.assertGreater(len(processes_using(directory)), 3)
        script.send_signal(number)
        code = script.wait(60)
        script.stdout.close()
        wait_until(lambda: not processes_using(directory), "all processes of the quickstart are gone")
        subprocess.run(["rm", "-rf", directory], check=True)
        return code

    def test_interrupted_it_takes_its_processes_with_it(self):
        self.assertEqual(self.interrupted(signal.SIGINT), 130)

    def test_killed_it_takes_its_processes_with_it(self):
        self.assertEqual(self.interrupted(signal.SIGKILL), -signal.SIGKILL)

    def test_an_unknown_option_is_refused(self):
        done = subprocess.run([QUICKSTART, "--fast"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 64)
        self.assertIn("--fast", done.stderr)


if __name__ == "__main__":
    unittest.main()
