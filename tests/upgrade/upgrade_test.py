#!/usr/bin/python3
"""Stores of other ages. format-*.tar.xz were written by the jobq of their time (make_store.py says what is in them): today's
opens each, finds everything, and works it off. One of a newer jobq is refused before anything in it is touched."""

import hashlib
import json
import pathlib
import subprocess
import sys
import tarfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import python_client as wire  # noqa: E402  pylint: disable=wrong-import-position
from processes import Process, Workspace, program  # noqa: E402  pylint: disable=wrong-import-position
from python_client import Connection, Producer, Worker, job  # noqa: E402  pylint: disable=wrong-import-position

STORES = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz"))
LARGE = b"0123456789abcdef" * 2500


def unpacked(name, space):
    """The store of that name in the workspace's data directory, and what is in it."""
    with tarfile.open(HERE / f"{name}.tar.xz") as archive:
        archive.extractall(space.directory / "data")
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


class OldStore(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.space = self.enterContext(Workspace())

    def check(self):
        done = self.space.jobq("check", self.space.directory / "data")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def work_off(self, queue, count):
        """{job id: delivery}, all acked."""
        worker = Worker(self.space.endpoint, [queue], credit=count)
        deliveries = worker.take_many(count, timeout=20)
        for delivery in deliveries:
            self.assertEqual(worker.ack(delivery), wire.SETTLED)
        worker.goodbye()
        worker.close()
        return {delivery.job: delivery for delivery in deliveries}

    def check_waiting(self, jobs):
        found = self.work_off("ready", 23)
        self.assertEqual(set(found), {*jobs["ready"], *jobs["large"], *jobs["keyed"], *jobs["expiring"]})
        for number, name in enumerate(jobs["ready"]):
            delivery = found[name]
            self.assertEqual((delivery.body, delivery.priority, delivery.headers, delivery.attempt),
                             (b"ready %d" % number, number % 10, {"n": str(number)}, 1))
        self.assertEqual(found[jobs["large"][0]].body, LARGE)
        expiring = found[jobs["expiring"][0]]
        self.assertEqual((expiring.max_attempts, expiring.max_run_ms), (3, 60_000))

    def check_leased_and_failed(self, jobs):
        back = self.work_off("held", 2)  # nobody claims them, so they are given out again when the grace is over
        self.assertEqual({(name, each.lease_no, each.attempt, each.body) for name, each in back.items()},
                         {(name, 2, 1, b"in hand %d" % n) for n, name in enumerate(jobs["leased"])})
        failed, = jobs["failed once"]
        attempt, = self.space.jobq_json("job", "show", failed)["attempts"]
        self.assertEqual((attempt["worker"].split("@")[0], attempt["error"]), ("worker-of-then", "550 no such mailbox"))
        self.assertEqual(self.work_off("failing", 1)[failed].attempt, 2)

    def check_dead(self, jobs):
        dead = {each["id"]: each for each in self.space.jobq_json("dead", "ls", "bad")["jobs"]}
        self.assertEqual(set(dead), {*jobs["rejected"], *jobs["spent"]})
        self.assertEqual({dead[name]["error"] for name in jobs["rejected"]}, {"cannot be read"})
        self.assertEqual(dead[jobs["spent"][0]]["error"], "timeout")
        connection = Connection(self.space.endpoint)
        connection.admin("dead.redrive", queue="bad")
        connection.close()
        self.assertEqual(self.work_off("bad", 3)[jobs["rejected"][1]].headers, {"why": "test"})

    def test_everything_is_found_and_worked_off(self):
        for name in STORES:
            with self.subTest(name):
                self.setUp()
                manifest = unpacked(name, self.space)
                self.check()
                broker = self.space.broker()
                jobs = manifest["jobs"]
                for queue, expected in manifest["queues"].items():
                    shown = self.space.queue(queue)
                    if queue == "held":  # they may be back already
                        self.assertEqual(shown["leased"] + shown["ready"], 2)
                    else:
                        self.assertEqual({field: shown[field] for field in expected}, expected, queue)

                producer = Producer(self.space.endpoint)
                self.addCleanup(producer.close)
                again = producer.enqueue("ready", [job(b"one of its kind", "Keyed", unique_key="the key")])
                self.assertEqual(again, [[wire.DUPLICATE, jobs["keyed"][0], wire.READY, False]])
                self.check_waiting(jobs)
                self.check_leased_and_failed(jobs)
                self.check_dead(jobs)
                self.assertEqual(self.space.jobq_json("job", "show", jobs["acked"][-1])["job"]["exit"], "acked")
                for waiting in jobs["scheduled"]:
                    self.space.jobq("job", "cancel", waiting).check_returncode()
                self.space.jobq("queue", "resume", "halted").check_returncode()
                self.work_off("halted", 1)

                for row in self.space.jobq_json("stats")["queues"]:
                    self.assertEqual([row[state] for state in ("ready", "leased", "scheduled", "dead")], [0] * 4, row)
                    self.assertEqual(row["enqueued_total"], row["acked_total"] + row["cancelled_total"], row)
                self.assertEqual(broker.stop(), 0)
                self.check()

    def test_what_it_held_survives_a_restart_of_todays_broker(self):
        for name in STORES:
            with self.subTest(name):
                self.setUp()
                manifest = unpacked(name, self.space)
                broker = self.space.broker()
                broker.kill()
                broker.start()
                self.assertEqual(self.space.queue("ready")["ready"], manifest["queues"]["ready"]["ready"])
                broker.stop()
                self.check()


class NewerStore(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())
        self.data = self.space.directory / "data"
        unpacked(STORES[-1], self.space)
        subprocess.run([program("JOBQ_RAISE_FORMAT"), self.data, "7"], check=True, timeout=60)
        self.bytes_before = hashlib.sha256((self.data / "data.mdb").read_bytes()).hexdigest()

    def test_the_broker_refuses_it_with_both_versions_and_the_remedy(self):
        broker = Process("broker", [program("JOBQ_BROKER"), "--data", self.data, "--listen", self.space.endpoint],
                         self.space.directory)
        self.space.processes.append(broker)
        broker.start()
        self.assertEqual(broker.wait(), 82, broker.output())
        said = broker.output()
        self.assertRegex(said, r"data\.mdb has format 7, this version of jobq reads format 1; start the newer version\n")
        self.assertEqual(said.count("\n"), 1, said)
        self.assertEqual(hashlib.sha256((self.data / "data.mdb").read_bytes()).hexdigest(), self.bytes_before,
                         "a refused store is left as it was")

    def test_the_check_refuses_it_too(self):
        done = self.space.jobq("check", self.data)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, "format 7, this version of jobq reads format 1; start the newer version")

    def test_it_is_whole_for_the_version_that_made_it(self):
        subprocess.run([program("JOBQ_RAISE_FORMAT"), self.data, "1"], check=True, timeout=60)
        broker = self.space.broker()
        self.assertEqual(self.space.queue("ready")["ready"], 23)
        self.assertEqual(broker.stop(), 0)


class Kept(unittest.TestCase):
    def test_there_is_a_store_of_every_format(self):
        header = (HERE.parent.parent / "broker" / "store" / "rows.hpp").read_text(encoding="utf-8")
        newest = int(header.split("kFormatVersion = ")[1].split(";")[0])
        self.assertEqual(STORES, [f"format-{version}" for version in range(1, newest + 1)],
                         "run make_store.py with the code that writes the new format, and keep what it made")


if __name__ == "__main__":
    unittest.main()
