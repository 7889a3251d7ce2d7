#!/usr/bin/python3
"""The broker on a disk that fails or is small, and with the largest body there may be."""

import fcntl
import os
import re
import shutil
import subprocess
import unittest

from processes import Workspace, _die_with_parent, program, wait_until

STORE_DAMAGED, COMMIT_FAILED = 81, 88


def tracing_works():
    return shutil.which("strace") is not None and subprocess.run(
        ["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, check=False).returncode == 0


def start_traced_broker(space, inject):
    """A broker whose syncs go wrong as strace's `inject` says. The first ones make the store."""
    # -D: the broker is our child and not strace's, which would leave it running when it is killed.
    # LeakSanitizer cannot work under a tracer.
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    broker = space.start("broker", "strace", "-D", "-f", "-qq", "-o", space.directory / "trace", "-e", "trace=fdatasync",
                         "-e", f"inject=fdatasync:{inject}", program("JOBQ_BROKER"), "--data",
                         space.directory / "data", "--listen", space.endpoint, env=environment)
    wait_until(lambda: space.jobq("--timeout", "2s", "ping").returncode == 0, "the broker answers")
    return broker


class Disk(unittest.TestCase):
    @unittest.skipUnless(tracing_works(), "no strace, or not allowed to trace")
    def test_a_slow_sync_is_told(self):
        with Workspace() as space:
            broker = start_traced_broker(space, "delay_enter=1200000:when=12")

            def told():
                self.assertEqual(space.jobq("--timeout", "10s", "enqueue", "q", "--body", "x").returncode, 0)
                return "the disk of the data directory is slow" in broker.output()

            wait_until(told, "the slow commit is in the log")
            store = space.jobq_json("stats")["store"]
            self.assertGreaterEqual(store["slow_commits"], 1)
            self.assertGreaterEqual(store["commit_us_max"], 1_200_000)

    def test_a_damaged_row_of_the_index_stops_the_broker_and_costs_no_job(self):
        """The index is only a hint, but jobs that it no longer names would never run: nobody may go on with it."""
        count = 33_000  # so many that a first row is written: a bitmap of 16,384 bits, all set but one
        with Workspace() as space:
            broker = space.broker()
            done = space.jobq("enqueue", "q", "--lines", stdin="x\n" * count, timeout=300)
            self.assertEqual((done.returncode, len(done.stdout.splitlines())), (0, count), done.stderr)
            broker.stop()
            data = space.directory / "data"
            file = bytearray((data / "data.mdb").read_bytes())
            rows = [found.start() for found in re.finditer(rb"\xff{2000,}", file)]
            self.assertGreater(len(rows), 0)
            for row in rows:
                file[row + 500] ^= 4
            (data / "data.mdb").write_bytes(file)

            again = subprocess.run([program("JOBQ_BROKER"), "--data", data, "--listen", space.endpoint], capture_output=True,
                                   text=True, check=False, timeout=60)
            self.assertEqual(again.returncode, STORE_DAMAGED, again.stderr)
            self.assertRegex(again.stderr.splitlines()[-1], "^jobq-broker: table lane_index .*checksum does not fit")

            checked = space.jobq("check", data, timeout=300)
            self.assertEqual(checked.returncode, 1)
            self.assertIn("lane_index: it is ready and not in the index of its lane (--json lists all)", checked.stdout)
            self.assertLess(len(checked.stdout.splitlines()), 40)
            self.assertIn("--repair", checked.stderr)
            repaired = space.jobq("check", data, "--repair", space.directory / "repaired", timeout=300)
            self.assertIn(f"{count:,} ready", repaired.stdout)
            self.assertIn("lost: 0 jobs", repaired.stdout)

    @unittest.skipUnless(shutil.which("mdb_copy"), "needs mdb_copy (lmdb-utils)")
    def test_somebody_who_reads_an_old_state_is_told(self):
        """A copy that stands still because nobody takes it: a pipe that is too small for the store."""
        def oldest_reader():
            self.assertEqual(space.jobq("enqueue", "q", "--body", "x").returncode, 0)  # a newer state
            store = space.jobq_json("stats")["store"]
            return store["oldest_reader_ms"], store["oldest_reader_pid"]

        with Workspace() as space:
            space.broker()
            self.assertEqual(oldest_reader(), (0, None))
            read, write = os.pipe()
            self.addCleanup(os.close, read)
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
            with subprocess.Popen(["mdb_copy", "-n", "-c", space.directory / "data" / "data.mdb"], stdout=write,
                                  preexec_fn=_die_with_parent) as copy:
                os.close(write)
                wait_until(lambda: oldest_reader()[1] == copy.pid, "the reader is seen")
                self.assertGreater(oldest_reader()[0], 0)
                copy.kill()  # and so it cannot take itself off the list
                copy.wait()
            self.assertEqual(oldest_reader(), (0, None))

    @unittest.skipUnless(tracing_works(), "no strace, or not allowed to trace")
    def test_a_failed_sync_ends_the_broker_and_nothing_confirmed_is_lost(self):
        with Workspace() as space:
            # Some later one fails, and from then on all of them.
            broker = start_traced_broker(space, "error=EIO:when=12+")
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
