#!/usr/bin/python3
"""The broker on a disk that fails or is small, and with the largest body there may be."""

import os
import shutil
import subprocess
import unittest

from processes import Workspace, program, wait_until

COMMIT_FAILED = 88


def tracing_works():
    return shutil.which("strace") is not None and subprocess.run(
        ["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, check=False).returncode == 0


class Disk(unittest.TestCase):
    @unittest.skipUnless(tracing_works(), "no strace, or not allowed to trace")
    def test_a_failed_sync_ends_the_broker_and_nothing_confirmed_is_lost(self):
        with Workspace() as space:
            # LeakSanitizer cannot work under a tracer.
            environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
            # The first syncs make the store; some later one fails, and from then on all of them.
            broker = space.start("broker", "strace", "-f", "-qq", "-o", space.directory / "trace", "-e", "trace=fdatasync",
                                 "-e", "inject=fdatasync:error=EIO:when=12+", program("JOBQ_BROKER"), "--data",
                                 space.directory / "data", "--listen", space.endpoint, env=environment)
            wait_until(lambda: space.jobq("--timeout", "2s", "ping").returncode == 0, "the broker answers")
            confirmed = []
            while broker.running():
                done = space.jobq("--timeout", "2s", "enqueue", "q", "--body", len(confirmed))
                if done.returncode == 0:
                    confirmed.append(done.stdout.strip())
                self.assertLess(len(confirmed), 100, "no sync has failed")
            self.assertEqual(broker.wait(), COMMIT_FAILED)
            self.assertIn("the store failed, so the broker ends", broker.output())
            self.assertGreater(len(confirmed), 0)

            space.broker()  # on the same data
            for job in confirmed:
                self.assertEqual(space.jobq_json("job", "show", job)["job"]["state"], "ready")
            stored = space.jobq_json("stats")["queues"][0]["ready"]
            # The one whose commit failed may be there or not: whoever sent it was told that this is unknown.
            self.assertIn(stored - len(confirmed), (0, 1))

    def test_the_largest_body_goes_through_and_one_byte_more_is_refused(self):
        largest = 64 << 20
        with Workspace() as space:
            config = space.directory / "jobq.toml"
            config.write_text(f"[limits]\nbody_bytes = {largest}\nmessage_bytes = {largest + (1 << 20)}\n"
                              f"unread_bytes = {4 * largest}\n")
            space.broker("--config", config)
            body = space.directory / "body"
            body.write_bytes(os.urandom(1 << 20) * 64)
            done = space.jobq("enqueue", "big", "--body-file", body)
            self.assertEqual(done.returncode, 0, done.stderr)
            shown = subprocess.run([program("JOBQ_CLI"), "--endpoint", space.endpoint, "job", "show", done.stdout.strip()],
                                   capture_output=True, text=True, check=True)
            self.assertIn("64", shown.stdout)
            with open(body, "ab") as more:
                more.write(b"x")
            refused = space.jobq("enqueue", "big", "--body-file", body)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("64 MiB", refused.stderr)
            self.assertEqual(space.jobq_json("stats")["queues"][0]["ready"], 1)


if __name__ == "__main__":
    unittest.main()
