#!/usr/bin/python3
"""Peers that do their worst (hostile_peers.py): each is cut off, the broker's memory stays within the limit that is set plus
64 MB, and whoever behaves is served. (How much slower: tests/soak.sh hostile.)
"""

import contextlib
import os
import resource
import unittest

import hostile_peers
import msgpack
import python_client as wire
import zmq
from hostile_peers import MemoryWatch, RawPeer, all_cut, frame, greeted, own_bytes
from processes import wait_until
from wire_case import WireTest

SILENT = int(os.environ.get("JOBQ_SILENT", "3000"))
ABOVE_THE_LIMIT = 64 << 20
LIMIT, ALL_LIMIT = 16 << 20, 48 << 20  # of one connection, of all together
LARGE = 63 << 20  # a body: with its message the largest that there is
LARGE_LIMIT = 2 * LARGE + (16 << 20)  # room for two of them
PATIENT = 60.0


class HostileCase(WireTest):
    over_tcp = True

    @classmethod
    def setUpClass(cls):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.watch_memory()

    def watch_memory(self):
        self.memory = MemoryWatch(self.broker.child.pid)
        self.addCleanup(self.memory.grown)

    def tearDown(self):
        self.assertTrue(self.broker.running(), self.broker.output())
        self.enqueue(b"still served")
        worker = self.worker()
        self.assertEqual(worker.ack(worker.take_one()), wire.SETTLED)

    def assert_within(self, limit):
        grown = self.memory.grown()
        print(f"{self.id().rsplit('.', 1)[1]}: {grown >> 20} MiB at most, allowed are {(limit + ABOVE_THE_LIMIT) >> 20}", flush=True)
        self.assertLess(grown, limit + ABOVE_THE_LIMIT, f"grown by {grown >> 20} MiB")

    def assert_cut_when_it_reads_nothing(self, credit, limit):
        slow = hostile_peers.slow_worker(self.endpoint, self.queue, credit=credit)
        self.addCleanup(slow.close)
        wait_until(lambda: not slow.pong(), "it is cut off", seconds=PATIENT)
        self.assert_within(limit)
        self.queue += "-2"  # the jobs come back after the grace; tearDown() does not wait for them

    def assert_given_back(self):
        wait_until(lambda: own_bytes(self.broker.child.pid) < self.memory.before + ABOVE_THE_LIMIT, "memory is given back", seconds=PATIENT)


class HostilePeers(HostileCase):
    config = (f"[limits]\nhandshake_ms = 2000\nunread_bytes = {LIMIT}\nunsent_bytes = {LIMIT}\n"
              f"unread_total_bytes = {ALL_LIMIT}\nunsent_total_bytes = {ALL_LIMIT}\n")

    def peers(self, count):
        peers = [RawPeer(self.endpoint) for _ in range(count)]
        for peer in peers:
            self.addCleanup(peer.close)
        return peers

    def test_a_message_that_never_ends(self):
        self.assertTrue(hostile_peers.endless_message(self.endpoint, pace=0.01, most=256 << 20), "256 MiB were taken")
        self.assert_within(LIMIT)

    def test_messages_that_never_end_as_fast_as_they_go(self):
        for _ in range(6):
            self.assertTrue(hostile_peers.endless_message(self.endpoint, most=256 << 20), "256 MiB were taken")
        self.assert_within(LIMIT)

    def test_empty_frames(self):
        """Of two bytes each, of which ZeroMQ makes 64: the limit's bytes would be 512 MiB."""
        self.assertTrue(hostile_peers.endless_message(self.endpoint, hostile_peers.EMPTY_FRAMES, most=LIMIT // 2), "8 MiB were taken")
        self.assert_within(LIMIT)
        self.assert_given_back()

    def test_empty_frames_again_and_again(self):
        """What was freed for the one before, and is not given back yet, counts as well."""
        for _ in range(100):
            self.assertTrue(hostile_peers.endless_message(self.endpoint, hostile_peers.EMPTY_FRAMES, most=LIMIT // 2), "8 MiB were taken")
        self.assert_within(LIMIT)

    def test_empty_frames_of_many(self):
        """Each within its own limit, and all together too, until ZeroMQ has read them: 500 times 60 KB become 960 MB."""
        peers = [greeted(self.endpoint) for _ in range(500)]
        for peer in peers:
            self.addCleanup(peer.close)
            with contextlib.suppress(OSError):  # cut off by now
                peer.socket.sendall(hostile_peers.EMPTY_FRAMES[:60_000])
        self.assertEqual(all_cut(peers, PATIENT), [])
        self.assert_within(ALL_LIMIT)

    def test_small_frames_one_by_one(self):
        """Each keeps the buffer of 8 KiB into which ZeroMQ has read it."""
        self.assertTrue(hostile_peers.endless_message(self.endpoint, hostile_peers.SMALL_FRAME, most=LIMIT), "16 MiB were taken")
        self.assert_within(LIMIT)

    def test_half_messages_of_many(self):
        """Each within its own limit: 100 times 6 MiB."""
        peers = hostile_peers.half_messages(self.endpoint, 100, body_bytes=7 << 20, sent_bytes=6 << 20)
        for peer in peers:
            self.addCleanup(peer.close)
        self.enqueue(b"in between")
        self.assertEqual(all_cut(peers, PATIENT), [])
        self.assert_within(ALL_LIMIT)

    def test_thousands_who_say_nothing(self):
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < SILENT + 500:
            self.skipTest(f"LOUD: too few descriptors for {SILENT} connections")
        peers = self.peers(SILENT)
        self.enqueue(b"in between")  # they are no reason to wait
        self.assertEqual(all_cut(peers, PATIENT), [])
        self.assert_within(0)
        wait_until(lambda: self.connection().admin("stats")["broker"]["connections"] < 20, "they are forgotten")

    def test_wrong_greetings(self):
        peers = {peer: name for peer, name in zip(self.peers(len(hostile_peers.WRONG_GREETINGS)), hostile_peers.WRONG_GREETINGS)}
        for peer, name in peers.items():
            peer.socket.sendall(hostile_peers.WRONG_GREETINGS[name])
        self.assertEqual([peers[peer] for peer in all_cut(list(peers), PATIENT)], [])
        self.assert_within(0)

    def test_half_frames(self):
        """Begun and not ended: gone after ten seconds, in which nothing whole came; memory holds what has come."""
        peers = [greeted(self.endpoint) for _ in range(40)]
        hello = frame(msgpack.packb([wire.VERSION, wire.HELLO, 1, 1, 1, 0, "half", "here", 1]))
        for number, peer in enumerate(peers):
            self.addCleanup(peer.close)
            with contextlib.suppress(OSError):  # cut off by now
                peer.socket.sendall((hello if number % 2 else b"") + frame(b"x" * (1 << 20))[:1 << 19])
        self.enqueue(b"in between")
        self.assertEqual(all_cut(peers, PATIENT), [])
        self.assert_within(LIMIT)

    def test_a_worker_that_reads_none_of_its_jobs(self):
        for _ in range(8):
            self.enqueue(*[b"x" * (1 << 20)] * 5)
        self.watch_memory()
        self.assert_cut_when_it_reads_nothing(credit=40, limit=LIMIT)

    def test_questions_whose_answers_nobody_reads(self):
        sent, cut = hostile_peers.flood(self.endpoint, seconds=2)
        self.assertTrue(sent > 0 or cut)
        self.assert_within(LIMIT)

    def test_a_name_that_somebody_has(self):
        """Whoever comes under the routing id of another is not heard, and takes neither his jobs nor his answers."""
        def named():
            peer = zmq.Context.instance().socket(zmq.DEALER)
            self.addCleanup(peer.close, 0)
            peer.setsockopt(zmq.ROUTING_ID, b"worker-1")
            peer.connect(self.endpoint)
            peer.send(msgpack.packb([wire.VERSION, wire.HELLO, 1, 1, 1, 0, "named", "here", 1]))
            return peer

        def answer(peer):
            self.assertTrue(peer.poll(PATIENT * 1000 * wire.PATIENCE), "no answer")
            return msgpack.unpackb(peer.recv(), strict_map_key=False)[1]

        first = named()
        self.assertEqual(answer(first), wire.WELCOME)
        named()
        self.enqueue(b"in between")
        first.send(msgpack.packb([wire.VERSION, wire.ADMIN, 2, "ping", {}]))
        self.assertEqual(answer(first), wire.ADMIN_REPLY)
        self.assert_within(0)


class LargeJobs(HostileCase):
    config = (f"[limits]\nbody_bytes = {LARGE}\nmessage_bytes = '65MiB'\nunread_bytes = '130MiB'\nunsent_bytes = {LARGE_LIMIT}\n")

    def test_a_worker_that_reads_none_of_them(self):
        for _ in range(8):
            self.enqueue(b"x" * LARGE)
        self.assert_given_back()
        self.watch_memory()
        self.assert_cut_when_it_reads_nothing(credit=8, limit=LARGE_LIMIT)


if __name__ == "__main__":
    unittest.main()
