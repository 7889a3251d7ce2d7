#!/usr/bin/python3
"""The whole broker and the command line with a heap that fails (failing_memory.c, preloaded): they say so and end with a
documented code, and nothing that was confirmed is lost.

JOBQ_MEMORY_CASES: how many of each (default 6), drawn anew each day; JOBQ_SEED: others.
"""

import contextlib
import mmap
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import msgpack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import python_client as wire  # noqa: E402
from processes import Workspace, program  # noqa: E402
from python_client import BrokerError, Connection, Producer, Unanswered, Worker, job  # noqa: E402
from wire_case import WireBroker  # noqa: E402

OUT_OF_MEMORY, IO_AT_START, COMMIT_FAILED = 70, 87, 88
# ZeroMQ's own, with the place in its sources, C++'s before main(), a library's.
LAST_WORDS = r"FATAL ERROR: OUT OF MEMORY|\(src/\w+\.cpp:\d+\)|std::bad_alloc|failed to allocate"
CLI_CODES = {0, 1, 66, 69, 70, 75}
CASES = int(os.environ.get("JOBQ_MEMORY_CASES", "6"))
SEED = int(os.environ.get("JOBQ_SEED", str(int(time.time()) // 86_400)))


class Heap:
    """What the preloaded shim is told."""

    def __init__(self, directory, nth=0, for_ever=False):
        self.path = directory / "heap"
        self.path.write_bytes(struct.pack("qq", nth, int(for_ever)))
        self.env = dict(os.environ, LD_PRELOAD=program("JOBQ_FAILING_MEMORY"), FAILING_MEMORY=str(self.path))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 16)

    def fail(self, nth, for_ever):
        self.map[8:16] = struct.pack("q", int(for_ever))
        self.map[0:8] = struct.pack("q", nth)

    def has_failed(self):
        return struct.unpack("q", self.map[0:8])[0] <= 0


class FailingBroker(WireBroker):
    def __init__(self, space, heap):
        super().__init__(space.directory, space.endpoint, [])
        self.env = heap.env
        space.processes.append(self)


class FailingMemory(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(f"{SEED} {self.id()}")
        print(f"JOBQ_SEED={SEED}", flush=True)

    def cases(self, most):
        """(which allocation, whether all from then on)"""
        return [(self.random.randint(1, most), self.random.random() < 0.4) for _ in range(CASES)]

    def assert_ended_in_order(self, code, said):
        """By itself, with a word about memory; or by SIGSEGV: a thread of ZeroMQ's does not survive it. (That none of ours dies so is
        shown by memory_faults, in one process without ZeroMQ.) What is on disk is judged in any case."""
        if code == -signal.SIGSEGV:
            print("SIGSEGV", flush=True)
            return
        if code == -signal.SIGABRT:
            self.assertRegex(said, LAST_WORDS)
            return
        self.assertIn(code, (OUT_OF_MEMORY, IO_AT_START, COMMIT_FAILED), said)
        self.assertRegex(said, "(?i)memory", "it did not say why")

    def assert_sound(self, space, confirmed=(), acked=()):
        sound = WireBroker(space.directory, space.endpoint, [])
        space.processes.append(sound)
        sound.start()
        with contextlib.closing(Connection(space.endpoint)) as connection:
            for missing in confirmed:
                self.assertIn(connection.admin("job.show", id=missing)["job"]["state"], ("ready", "leased", "scheduled"))
            for done in acked:
                with self.assertRaises(BrokerError):
                    connection.admin("job.show", id=done)
            producer = Producer(space.endpoint)
            self.assertEqual(producer.enqueue("q", [job(b"one more")])[0][0], wire.CREATED)
            producer.close()
        self.assertEqual(sound.stop(), 0)
        checked = subprocess.run([program("JOBQ_CLI"), "check", space.directory / "data"], capture_output=True, text=True,
                                 check=False, timeout=60)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_a_start_without_memory_says_so_and_the_next_is_sound(self):
        for nth, for_ever in self.cases(2_500):
            with self.subTest(nth=nth, for_ever=for_ever), Workspace() as space:
                heap = Heap(space.directory, nth, for_ever)
                broker = FailingBroker(space, heap)
                try:
                    broker.start()
                    heap.fail(0, False)
                    self.assertEqual(broker.stop(), 0, broker.output())
                except AssertionError:
                    if broker.running():
                        raise
                    self.assert_ended_in_order(broker.wait(), broker.output())
                self.assert_sound(space)

    def work(self, space, broker, heap, nth, for_ever):
        """Until the broker has ended, a connection was dropped, or 30 rounds are over. What was said."""
        confirmed, asked, acked = set(), set(), set()

        def answer(ask, *arguments):
            deadline = time.monotonic() + 3
            while True:
                try:
                    return ask(*arguments, 0.05)
                except Unanswered:
                    if not broker.running() or time.monotonic() > deadline:
                        raise

        with contextlib.closing(Producer(space.endpoint)) as producer, \
                contextlib.closing(Worker(space.endpoint, ["q"], credit=1)) as worker:
            with contextlib.suppress(Unanswered):
                for n in range(30):
                    if n == 2:
                        heap.fail(nth, for_ever)
                    groups = msgpack.packb([["q", [job(os.urandom(3_000))]] for _ in range(3)])
                    results = answer(producer.connection.reply, producer.send(n + 1, groups), wire.ENQUEUED)[1]
                    confirmed |= {result[1] for result in results if result[0] == wire.CREATED}
                    delivery = wire.Delivery(answer(worker.connection.push, wire.DELIVER)[1][0])
                    asked.add(delivery.job)
                    sent = worker.connection.send(wire.OUTCOMES, [[*delivery.lease, wire.ACK, 1, "", 0]], None)
                    if answer(worker.connection.reply, sent, wire.OUTCOMES_REPLY)[0] == [wire.SETTLED]:
                        acked.add(delivery.job)
        return confirmed, asked, acked

    def test_a_broker_that_serves_says_so_and_what_it_confirmed_is_there(self):
        ended = 0
        for nth, for_ever in self.cases(3_000):
            with self.subTest(nth=nth, for_ever=for_ever), Workspace() as space:
                heap = Heap(space.directory)
                broker = FailingBroker(space, heap).start()
                confirmed, asked, acked = self.work(space, broker, heap, nth, for_ever)
                self.assertGreaterEqual(len(confirmed), 6)
                heap.fail(0, False)  # whoever goes on is well again
                if broker.running():
                    with contextlib.suppress(Unanswered):
                        Connection(space.endpoint, timeout=20).close()
                if broker.running():
                    self.assertEqual(broker.stop(), 0, broker.output())
                else:
                    ended += 1
                    self.assert_ended_in_order(broker.wait(), broker.output())
                self.assert_sound(space, confirmed - asked, acked)
        print(f"{ended} of {CASES} brokers ended", flush=True)

    def test_the_command_line_says_so_with_a_documented_code(self):
        with Workspace() as space:
            broker = WireBroker(space.directory, space.endpoint, [])
            space.processes.append(broker)
            broker.start()
            there = subprocess.run([program("JOBQ_CLI"), "--endpoint", space.endpoint, "enqueue", "q", "--body", "x"],
                                   capture_output=True, text=True, check=True, timeout=60).stdout.strip()
            copy = space.directory / "offline"
            other = WireBroker(copy, f"ipc://{space.directory}/other", [])
            copy.mkdir()
            space.processes.append(other)
            other.start()
            self.assertEqual(other.stop(), 0)
            for command in (["stats"], ["job", "show", there], ["enqueue", "q", "--body", "y"], ["check", copy / "data"]):
                for nth, for_ever in self.cases(1_500):
                    with self.subTest(command=command[0], nth=nth, for_ever=for_ever):
                        heap = Heap(space.directory, nth, for_ever)
                        done = subprocess.run([program("JOBQ_CLI"), "--endpoint", space.endpoint, *command], env=heap.env,
                                              capture_output=True, text=True, check=False, timeout=60)
                        if done.returncode == -signal.SIGABRT:
                            self.assertRegex(done.stderr, LAST_WORDS)
                        else:
                            self.assertIn(done.returncode, CLI_CODES, done.stderr)
                            self.assertTrue(done.returncode == 0 or done.stderr, "it did not say why")
                        if command[0] == "enqueue" and done.returncode == 0:
                            with contextlib.closing(Connection(space.endpoint)) as connection:
                                self.assertEqual(connection.admin("job.show", id=done.stdout.strip())["job"]["state"], "ready")
            self.assertEqual(broker.stop(), 0)


if __name__ == "__main__":
    if os.access("/dev/shm", os.W_OK):
        tempfile.tempdir = "/dev/shm"
    unittest.main()
