"""What the tests of the wire share: a broker that answers python_client.py, and shorthands for what nearly every test does."""

import os
import socket
import sys
import unittest

import python_client as wire
from processes import Broker, Workspace
from python_client import BrokerError, Connection, Producer, Unanswered, Worker, job


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class WireBroker(Broker):
    """Ready when it answers this client: needs no other program than the broker."""

    def _answers(self):
        if not self.running():
            raise AssertionError(f"the broker has ended with {self.child.returncode}:\n{self.output()}")
        try:
            Connection(self.endpoint, timeout=1.0).close()
        except Unanswered:
            return False
        return True

    def resident_bytes(self):
        with open(f"/proc/{self.child.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class WireTest(unittest.TestCase):
    """One broker per test class; each test has queues of its own."""

    config = ""
    over_tcp = False

    @classmethod
    def setUpClass(cls):
        cls.space = Workspace().__enter__()
        cls.addClassCleanup(cls.space.__exit__)
        config = cls.space.directory / "broker.toml"
        config.write_text(cls.config, encoding="utf-8")
        if cls.over_tcp:
            cls.space.endpoint = f"tcp://127.0.0.1:{free_port()}"
        cls.broker = WireBroker(cls.space.directory, cls.space.endpoint, ["--config", config])
        cls.space.processes.append(cls.broker)
        cls.broker.start()
        cls.endpoint = cls.space.endpoint

    def setUp(self):
        self.addCleanup(self.tell_of_failure)
        self.queue = self.id().rsplit(".", 1)[1].replace("test_", "")[:64]

    def tell_of_failure(self):
        """What the broker said meanwhile, and whether somebody else gets an answer from it."""
        if self._outcome.success:
            return
        try:
            other = f"another connection is answered: {Connection(self.endpoint).admin('stats')}"
        except (Unanswered, BrokerError) as error:
            other = f"another connection is not: {error}"
        print(f"{self.id()} failed; the broker's log ends with\n{self.broker.output()[-4000:]}\n{other}", file=sys.stderr)

    def closing(self, thing):
        self.addCleanup(thing.close)
        return thing

    def connection(self, **options):
        return self.closing(Connection(self.endpoint, **options))

    def producer(self, **options):
        return self.closing(Producer(self.endpoint, **options))

    def worker(self, queues=None, **options):
        worker = self.closing(Worker(self.endpoint, queues or [self.queue], **options))
        return worker

    def enqueue(self, *jobs):
        """The ids of jobs that are all created."""
        results = self.producer().enqueue(self.queue, [each if isinstance(each, list) else job(each) for each in jobs])
        for result in results:
            self.assertEqual(result[0], wire.CREATED, result)
        return [result[1] for result in results]

    def counts(self):
        shown = self.connection().admin("queue.show", queue=self.queue)["queue"]
        return {name: shown[name] for name in ("ready", "leased", "scheduled", "dead", "acked_total")}

    def settle_one(self, worker, kind, **more):
        delivery = worker.take_one()
        self.assertEqual(worker.settle(delivery, kind, **more), wire.SETTLED)
        return delivery

    def assert_refused(self, code, call, *arguments):
        with self.assertRaises(BrokerError) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertTrue(caught.exception.text or code in (wire.NO_SUCH_QUEUE, wire.NO_SUCH_JOB, wire.CODE_GONE))
        return caught.exception
