#!/usr/bin/python3
"""Many clients at once: more than there are descriptors, and all of them back after a kill."""

import contextlib
import os
import resource
import shutil
import time
import unittest

import msgpack
import python_client as wire
import zmq
from processes import Workspace, program, wait_until
from python_client import Connection, Producer, job
from wire_case import WireBroker, free_port

DESCRIPTORS = 256
CROWD = int(os.environ.get("JOBQ_CROWD", "400"))


class Crowd:
    """Bare connections that say hello when they are asked to."""

    def __init__(self, endpoint, count):
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, count + 16)
        self.sockets = []
        for _ in range(count):
            member = self.context.socket(zmq.DEALER)
            member.setsockopt(zmq.LINGER, 0)
            member.setsockopt(zmq.RECONNECT_IVL, 100)
            member.connect(endpoint)
            self.sockets.append(member)

    def ask(self):
        """Everybody says hello, who has not been answered soon once more: what was on its way when a connection broke is gone."""
        self.unanswered, self.asked_at = set(self.sockets), 0.0

    def answered(self):
        """How many have been."""
        if time.monotonic() - self.asked_at > 2:
            self.asked_at = time.monotonic()
            for member in self.unanswered:
                with contextlib.suppress(zmq.Again):
                    member.send(msgpack.packb([1, wire.HELLO, 1, 1, 1, 0, "crowd", "here", 1]), zmq.DONTWAIT)
        for member in list(self.unanswered):
            while member.poll(0):
                if msgpack.unpackb(member.recv(), strict_map_key=False)[1] == wire.WELCOME:
                    self.unanswered.discard(member)
        return len(self.sockets) - len(self.unanswered)

    def leave(self):
        for member in self.sockets:
            member.close()
        self.sockets = []
        self.context.term()


class Many(unittest.TestCase):
    def setUp(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard < 2 * CROWD + 100:
            self.skipTest(f"LOUD: only {hard} descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.space = Workspace().__enter__()
        self.addCleanup(self.space.__exit__)
        self.space.endpoint = f"tcp://127.0.0.1:{free_port()}"

    def broker(self, *before):
        broker = WireBroker(self.space.directory, self.space.endpoint, [])
        broker.command = [*before, *broker.command]
        self.space.processes.append(broker)
        return broker.start()

    def crowd(self, count):
        crowd = Crowd(self.space.endpoint, count)
        self.addCleanup(crowd.leave)
        return crowd

    @unittest.skipUnless(shutil.which("prlimit"), "no prlimit")
    def test_more_clients_than_descriptors(self):
        broker = self.broker("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
        self.assertIn("connections", broker.output())  # the limit that the system sets is told at the start
        with contextlib.closing(Producer(self.space.endpoint)) as friend:
            crowd = self.crowd(CROWD)
            crowd.ask()

            def some_are_served_and_others_refused():
                return crowd.answered() >= 100 and friend.connection.admin("stats")["broker"]["cut_connections"] > 0

            wait_until(some_are_served_and_others_refused, "the first ones are served, and that others are refused is counted")
            # Whoever is in is served as ever.
            self.assertEqual(friend.enqueue("q", [job(b"x")])[0][0], wire.CREATED)
            self.assertLess(friend.connection.admin("stats")["broker"]["connections"], DESCRIPTORS)
            crowd.leave()
            wait_until(lambda: friend.connection.admin("stats")["broker"]["connections"] < 20, "the crowd has gone")
        Connection(self.space.endpoint).close()
        self.assertEqual(broker.stop(), 0)

    def test_everybody_is_back_after_a_kill(self):
        broker = self.broker()
        crowd = self.crowd(CROWD)
        crowd.ask()
        wait_until(lambda: crowd.answered() == CROWD, "everybody is served", seconds=60)
        broker.kill()
        broker.start()
        began = time.monotonic()
        crowd.ask()
        wait_until(lambda: crowd.answered() == CROWD, "everybody is served again", seconds=60)
        print(f"{CROWD} clients were served again {time.monotonic() - began:.1f} s after the broker was", flush=True)
        self.assertEqual(broker.stop(), 0)


if __name__ == "__main__":
    unittest.main()
