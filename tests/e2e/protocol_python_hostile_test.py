#!/usr/bin/python3
"""Hostile bytes: whatever arrives, the broker answers or ignores it, keeps its memory, and goes on serving the others.
(Hostile connections: hostile_peers_test.py.)"""

import os
import random
import time
import unittest

import msgpack
import python_client as wire
from python_client import BrokerError, Unanswered, job
from wire_case import WireTest


class Hostile(WireTest):
    """Whatever arrives, the broker answers or ignores it, keeps its memory, and goes on serving the others."""

    over_tcp = True  # where the broker can see how much a peer has sent

    def tearDown(self):
        self.assertTrue(self.broker.running(), self.broker.output())
        self.enqueue(b"still served")
        worker = self.worker()
        self.assertEqual(worker.ack(worker.take_one()), wire.SETTLED)

    def error_for(self, *frames, greet=True):
        connection = self.connection(greet=greet)
        connection.send_frames(*frames)
        deadline = time.monotonic() + connection.timeout
        while not connection.replies:
            if not connection._receive(deadline):
                raise Unanswered("an error")
        (request_id, (kind, fields)), = connection.replies.items()
        self.assertEqual(kind, wire.ERROR, fields)
        return request_id, fields[0]

    def test_random_bytes(self):
        generator = random.Random(1)
        before = self.broker.resident_bytes()
        connection = self.connection()
        for _ in range(3000):
            connection.send_frames(generator.randbytes(generator.randrange(200)))
            connection.listen(0.0001)  # who does not read is cut
        self.assertEqual(connection.admin("ping"), {})
        self.assertLess(self.broker.resident_bytes() - before, 64 << 20)

    def test_messages_with_changed_bytes(self):
        generator = random.Random(2)
        producer = self.producer()
        frames = [producer.frame(5, 1, msgpack.packb([[self.queue, [job(b"x" * 30, "t", headers={"a": "b"}, priority=3)]]]), False),
                  msgpack.packb([1, wire.REGISTER, 6, None, None, [[self.queue, 1]], ["t"], 0, 0, [["j1", 1]], [], "n", "h", 1, "b"]),
                  msgpack.packb([1, wire.OUTCOMES, 7, [["j1", 1, 0], ["j2", 1, 1, 5, "text", 5]], 0]),
                  msgpack.packb([1, wire.HEARTBEAT, 8, [["j1", 1]], 0]),
                  msgpack.packb([1, wire.ADMIN, 9, "job.show", {"id": "j1"}]),
                  msgpack.packb([1, wire.HELLO, 10, 1, 1, 0, "c", "h", 1])]
        connection = self.connection()
        for _ in range(3000):
            frame = bytearray(generator.choice(frames))
            for _ in range(generator.randrange(1, 4)):
                frame[generator.randrange(len(frame))] = generator.randrange(256)
            connection.send_frames(bytes(frame[:generator.randrange(1, len(frame) + 1)] if generator.random() < 0.3 else frame))
            connection.listen(0.0001)
        connection.replies.clear()
        connection.next_request_id = 1_000_000_000
        # Some of them were good messages of a worker: it may hold what it was given.
        connection.hello()
        self.assertEqual(connection.admin("ping"), {})
        connection.close()

    def test_what_is_no_message(self):
        self.assertEqual(self.error_for(b""), (0, wire.BAD_MESSAGE))
        self.assertEqual(self.error_for(b"hello"), (0, wire.BAD_MESSAGE))
        self.assertEqual(self.error_for(msgpack.packb({"version": 1})), (0, wire.BAD_MESSAGE))
        self.assertEqual(self.error_for(msgpack.packb([1, wire.GOODBYE, 5]) + b"\xc0"), (5, wire.BAD_MESSAGE))
        self.assertEqual(self.error_for(msgpack.packb([1, wire.ENQUEUE, 5, None, 1, 1, False])), (5, wire.BAD_MESSAGE))
        self.assertEqual(self.error_for(msgpack.packb([7, wire.GOODBYE, 5])), (5, wire.UNSUPPORTED_VERSION))
        self.assertEqual(self.error_for(msgpack.packb([1, wire.WELCOME, 5])), (5, wire.UNKNOWN_VERB))

    def test_counts_that_nothing_is_behind(self):
        before = self.broker.resident_bytes()
        huge = b"\xdd\xff\xff\xff\xff"
        self.assertEqual(self.error_for(huge), (0, wire.BAD_MESSAGE))
        header = b"\x98\x01\x05\x07\xc0\x01\x01\xc2"
        self.assertEqual(self.error_for(header + huge), (7, wire.BAD_ARGUMENT))
        self.assertEqual(self.error_for(header + b"\x91\x92\xa1q" + huge), (7, wire.BAD_ARGUMENT))
        self.assertEqual(self.error_for(header + b"\x91\x92\xa1q\x91\x92\xa0\xc6\xff\xff\xff\xff"), (7, wire.BAD_MESSAGE))
        self.assertEqual(self.error_for(b"\x94\x01\x0b\x07" + b"\x91" * 1_000_000 + b"\xc0"), (7, wire.BAD_MESSAGE))
        self.assertLess(self.broker.resident_bytes() - before, 64 << 20)

    def test_more_than_one_frame(self):
        good = msgpack.packb([1, wire.GOODBYE, 5])
        for frames in ((good, good), (b"", good), (good, b""), tuple([b"x"] * 100)):
            self.assertEqual(self.error_for(*frames), (0, wire.BAD_MESSAGE))

    def test_numbers_out_of_range(self):
        connection = self.connection()
        register = [None, None, [[self.queue, 1]], [], 1, 0, [], [], "n", "h", 1, "b"]

        def registering(index, value):
            fields = list(register)
            fields[index] = value
            return connection.request, wire.REGISTER, wire.REGISTERED, *fields

        for index, value in ((4, 10_001), (4, -1), (2, [["a b", 1]]), (2, [[self.queue, 0]]), (2, [[self.queue, 101]]),
                             (2, [["q"]] * 1001), (3, ["t"] * 201), (6, [["", 1]]), (8, "n" * 129), (10, 2**32)):
            call, *arguments = registering(index, value)
            self.assert_refused(wire.BAD_ARGUMENT, call, *arguments)
        self.assert_refused(wire.BAD_ARGUMENT, connection.request, wire.ENQUEUE, wire.ENQUEUED, os.urandom(16), 0, 0, False,
                            [[self.queue, [job(b"x")]]])
        self.assert_refused(wire.UNKNOWN_SESSION, connection.request, wire.HEARTBEAT, wire.HEARTBEAT_REPLY, [])
        self.assert_refused(wire.UNKNOWN_SESSION, connection.request, wire.OUTCOMES, wire.OUTCOMES_REPLY, [["j1", 1, 0]])

    def test_a_message_over_the_limit(self):
        connection = self.connection(timeout=2.0)
        try:
            too_large = job(b"x" * (9 << 20))
            connection.request(wire.ENQUEUE, wire.ENQUEUED, None, 1, 1, False, [[self.queue, [too_large]]])
            self.fail("9 MiB were taken")
        except BrokerError as error:
            self.assertEqual(error.code, wire.TOO_LARGE)
        except Unanswered:
            pass  # the connection was cut, which the document allows

    def test_answers_for_jobs_that_it_never_had(self):
        worker = self.worker(credit=0)
        outcomes = [[f"j{n}", n, n % 6] for n in range(1, 2000)]
        results = worker.connection.request(wire.OUTCOMES, wire.OUTCOMES_REPLY, outcomes)[0]
        self.assertEqual(len(results), len(outcomes))
        self.assertTrue(set(results) <= {wire.STALE, wire.GONE, wire.SETTLED})
        self.assertEqual(self.connection().admin("ping"), {})


if __name__ == "__main__":
    unittest.main()
