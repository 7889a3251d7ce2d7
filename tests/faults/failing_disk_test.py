#!/usr/bin/python3
"""The whole broker on a disk that fails (failing_disk.c, preloaded) or is full: what it said OK to is there at the next start,
it ends with its documented code, and where it can go on it takes outcomes while it refuses jobs.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

import msgpack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import python_client as wire  # noqa: E402
from processes import Workspace, program, wait_until  # noqa: E402
from python_client import Connection, Producer, Unanswered, Worker, job  # noqa: E402
from wire_case import WireBroker  # noqa: E402

WRITE, META, SYNC, GROW = 1, 2, 3, 4
IO_ERROR, NO_SPACE, SHORT, DONE_AND_DENIED = 1, 2, 3, 4
NO_SPACE_AT_START, IO_AT_START, COMMIT_FAILED = 85, 87, 88
DISK_FULL = 204


class FailingBroker(WireBroker):
    """jobq-broker whose Nth call of a kind goes wrong."""

    def __init__(self, space, kind, mode, nth, repeat):
        super().__init__(space.directory, space.endpoint, [])
        self.env = dict(os.environ, LD_PRELOAD=program("JOBQ_FAILING_DISK"),
                        FAILING_DISK=f"{kind} {mode} {nth} {int(repeat)} {space.directory}/data")
        space.processes.append(self)


class Story:
    """What clients were told."""

    def __init__(self, space):
        self.space, self.sent, self.confirmed, self.acked, self.asked = space, 0, set(), set(), set()

    def work_until_it_ends(self, broker):
        def while_it_runs(ask, *arguments):
            while True:
                try:
                    return ask(*arguments, 0.2)
                except Unanswered:
                    if not broker.running():
                        raise

        with contextlib.closing(Producer(self.space.endpoint)) as producer, \
                contextlib.closing(Worker(self.space.endpoint, ["q"], credit=1)) as worker:
            try:
                while self.sent < 3_000:
                    self.sent += 3
                    groups = msgpack.packb([["q", [job(os.urandom(5_000))]] for _ in range(3)])
                    asked = producer.send(self.sent, groups)
                    results = while_it_runs(producer.connection.reply, asked, wire.ENQUEUED)[1]
                    self.confirmed |= {result[1] for result in results if result[0] == wire.CREATED}
                    delivery = wire.Delivery(while_it_runs(worker.connection.push, wire.DELIVER)[1][0])
                    self.asked.add(delivery.job)
                    asked = worker.connection.send(wire.OUTCOMES, [[*delivery.lease, wire.ACK, 1, "", 0]], None)
                    if while_it_runs(worker.connection.reply, asked, wire.OUTCOMES_REPLY)[0] == [wire.SETTLED]:
                        self.acked.add(delivery.job)
                raise AssertionError("nothing went wrong")
            except Unanswered:
                pass

    def judge(self, test):
        """On a sound disk: every confirmed job comes once more, but those that were acked."""
        broker = WireBroker(self.space.directory, self.space.endpoint, [])
        self.space.processes.append(broker)
        broker.start()
        with contextlib.closing(Connection(self.space.endpoint)) as connection:
            row = connection.admin("queue.show", queue="q")["queue"]
        left = row["ready"]  # the one that the old worker held stays leased for the session's grace
        test.assertLessEqual(row["leased"], 1)
        worker = Worker(self.space.endpoint, ["q"], credit=1000)
        found = {delivery.job for delivery in worker.take_many(left, timeout=30)} if left else set()
        held = {missing for missing in self.confirmed - found - self.asked  # by the old worker, though it never heard of it
                if worker.connection.admin("job.show", id=missing)["job"]["state"] == "leased"}
        worker.close()
        test.assertEqual(broker.stop(), 0)
        test.assertEqual(self.confirmed - found - self.asked - held, set(), "confirmed and lost")
        test.assertEqual(found & self.acked, set(), "acked and given out again")
        test.assertLessEqual(len(found - self.confirmed), 3, "more than the request under way")


class FailingDisk(unittest.TestCase):
    def peers(self, space, credit):
        producer, worker = Producer(space.endpoint), Worker(space.endpoint, ["q"], credit=credit)
        self.addCleanup(producer.close)
        self.addCleanup(worker.close)
        return producer, worker

    def run_into(self, kind, mode, nth, repeat):
        with Workspace() as space:
            broker = FailingBroker(space, kind, mode, nth, repeat).start()
            story = Story(space)
            story.work_until_it_ends(broker)
            self.assertEqual(broker.wait(), COMMIT_FAILED, broker.output())
            self.assertIn("the store failed, so the broker ends", broker.output())
            self.assertGreater(len(story.confirmed), 0)
            story.judge(self)

    def test_a_write_fails_once(self):
        self.run_into(WRITE, IO_ERROR, 150, repeat=False)

    def test_writes_find_no_space_any_more(self):
        self.run_into(WRITE, NO_SPACE, 200, repeat=True)

    def test_a_write_is_cut_short(self):
        self.run_into(WRITE, SHORT, 120, repeat=False)

    def test_the_last_page_fails(self):
        self.run_into(META, IO_ERROR, 40, repeat=False)

    def test_the_last_page_is_written_and_the_broker_told_that_it_failed(self):
        self.run_into(META, DONE_AND_DENIED, 55, repeat=True)

    def test_a_sync_fails_and_the_next_would_not(self):
        self.run_into(SYNC, IO_ERROR, 50, repeat=False)

    def test_a_disk_that_fails_at_the_start_is_said_by_the_exit_code_and_a_later_start_is_sound(self):
        for kind, mode, nth, code in ((SYNC, IO_ERROR, 1, IO_AT_START), (WRITE, NO_SPACE, 1, NO_SPACE_AT_START),
                                      (META, IO_ERROR, 3, IO_AT_START), (SYNC, NO_SPACE, 4, NO_SPACE_AT_START)):
            with self.subTest(kind=kind, nth=nth), Workspace() as space:
                broker = FailingBroker(space, kind, mode, nth, True)
                wire_start = super(WireBroker, broker)
                with self.assertRaises(AssertionError):
                    wire_start.start()
                self.assertEqual(broker.wait(), code, broker.output())
                sound = WireBroker(space.directory, space.endpoint, [])
                space.processes.append(sound)
                sound.start()
                with contextlib.closing(Producer(space.endpoint)) as producer:
                    self.assertEqual(producer.enqueue("q", [job(b"x")])[0][0], wire.CREATED)
                self.assertEqual(sound.stop(), 0)

    def test_a_file_that_cannot_grow_takes_outcomes_and_refuses_jobs(self):
        with Workspace() as space:
            broker = FailingBroker(space, GROW, NO_SPACE, 2, True).start()
            producer, worker = self.peers(space, credit=50)
            refused, taken = None, 0
            while refused is None:
                results = producer.enqueue("q", [job(os.urandom(400_000))])
                taken += results[0][0] == wire.CREATED
                refused = next((result for result in results if result[0] == wire.REFUSED), None)
                self.assertLess(taken, 2_000, "the file grew")
            self.assertEqual(refused[1], DISK_FULL, refused)
            for delivery in worker.take_many(min(taken, 50)):
                self.assertEqual(worker.ack(delivery), wire.SETTLED)
            self.assertEqual(broker.stop(), 0)

    def test_a_full_disk_takes_outcomes_and_jobs_again_when_there_is_space(self):
        with Workspace() as space:
            place = space.directory / "disk"
            place.mkdir()
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True, check=False)
            if mounted.returncode != 0:
                self.skipTest(f"LOUD: cannot mount (root is needed): {mounted.stderr.decode().strip()}")
            self.addCleanup(subprocess.run, ["umount", "-l", place], check=False)
            config = space.directory / "small.toml"
            config.write_text("[store]\nmin_free = '1MiB'\npreallocate = false\nmax_size = '1GiB'\n")
            broker = WireBroker(place, space.endpoint, ["--config", config])
            space.processes.append(broker)
            broker.start()
            producer, worker = self.peers(space, credit=4)
            self.assertEqual([row[0] for row in producer.enqueue("q", [job(b"early")] * 8)], [wire.CREATED] * 8)
            ballast = place / "ballast"
            with open(ballast, "wb") as out:
                wait_until(lambda: self.fill(out), "the disk is full")
            # Told at the next look at the disk; nothing that was taken meanwhile may be lost.
            refused = wait_until(lambda: next((row for row in producer.enqueue("q", [job(b"late")]) if row[0] == wire.REFUSED), None),
                                 "a job is refused")
            self.assertEqual(refused[1], DISK_FULL, refused)
            for delivery in worker.take_many(4):
                self.assertEqual(worker.ack(delivery), wire.SETTLED)
            ballast.unlink()
            began = time.monotonic()
            wait_until(lambda: producer.enqueue("q", [job(b"again")])[0][0] == wire.CREATED, "jobs are taken again")
            print(f"jobs were taken again {time.monotonic() - began:.1f} s after there was space", flush=True)
            self.assertTrue(broker.running())
            Connection(space.endpoint).close()
            self.assertEqual(broker.stop(), 0)

    @staticmethod
    def fill(out):
        """Up to the last quarter of a MiB: outcomes need some pages. True when it is full."""
        free = os.fstatvfs(out.fileno())
        left = free.f_bavail * free.f_frsize - (256 << 10)
        if left <= 0:
            return True
        out.write(b"x" * left)
        out.flush()
        return False


if __name__ == "__main__":
    if os.access("/dev/shm", os.W_OK):  # the faults are ours: a real disk would only make it slow
        tempfile.tempdir = "/dev/shm"
    unittest.main()
