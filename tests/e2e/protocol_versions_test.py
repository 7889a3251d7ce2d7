#!/usr/bin/python3
"""Peers of different ages meet, both ways, as docs/protocol.md has it under "Versions" and "Room to grow": a newer client with
this broker, and this client (through the command line) with a newer broker. What they have in common is used, what is unknown
is skipped, and what cannot be is said in clear words."""

import os
import socket
import unittest

import msgpack
import python_client as wire
from processes import Workspace
from python_client import job
from scripted_broker import ERROR, HELLO, WELCOME, ScriptedBroker
from wire_case import WireTest

LATER = [{"new": [1, {"nested": b"\x00"}]}, None, "and", 2**63]  # what a later version may put at the end of any array


class NewerClient(WireTest):
    def greeted(self, version_min, version_max, features):
        connection = self.connection(greet=False)
        welcome = connection.request(wire.HELLO, wire.WELCOME, version_min, version_max, features, "from the future 9",
                                     socket.gethostname(), os.getpid(), *LATER)
        return connection, welcome

    def test_the_highest_common_version_is_chosen(self):
        for low, high in ((1, 1), (1, 9), (0, 1), (0, 2**32 - 1)):
            _, welcome = self.greeted(low, high, 0)
            self.assertEqual(welcome[0], 1, (low, high))

    def test_without_a_common_version_both_are_named_with_the_remedy(self):
        for low, high in ((2, 9), (0, 0)):
            refusal = self.assert_refused(wire.UNSUPPORTED_VERSION, self.greeted, low, high, 0)
            self.assertRegex(refusal.text, rf"speaks wire version 1, the client {low} to {high}; upgrade the older")

    def test_a_refused_client_stays_a_stranger(self):
        connection = self.connection(greet=False)
        self.assert_refused(wire.UNSUPPORTED_VERSION, connection.hello, 2, 9)
        self.assert_refused(wire.NOT_GREETED, connection.admin, "ping")
        self.assertEqual(connection.hello(1, 9)[0], 1)
        self.assertEqual(connection.admin("ping"), {})

    def test_only_features_that_both_have_are_in_use(self):
        for said, used in ((2**64 - 1, wire.FEATURE_DRAIN), (wire.FEATURE_DRAIN, wire.FEATURE_DRAIN), (2**63, 0), (0, 0)):
            _, welcome = self.greeted(1, 1, said)
            self.assertEqual(welcome[1], used, said)

    def test_a_message_of_another_version_is_refused_and_the_connection_goes_on(self):
        connection = self.connection()
        for version in (0, 2):
            connection.send_frames(msgpack.packb([version, wire.ADMIN, 50 + version, "ping", {}]))
            self.assert_refused(wire.UNSUPPORTED_VERSION, connection.reply, 50 + version, wire.ADMIN_REPLY)
        self.assertEqual(connection.admin("ping"), {})

    def test_more_elements_are_skipped_in_every_array(self):
        connection, _ = self.greeted(1, 9, 0)
        full = job(b"body", "later", headers={}, priority=5, max_attempts=3, max_run_ms=1000, unique_for_ms=0)
        group = [self.queue, [[*full, *LATER], [*full, *LATER]], *LATER]
        _, results = connection.request(wire.ENQUEUE, wire.ENQUEUED, os.urandom(16), 1, 1, False, [group], *LATER)[:2]
        self.assertEqual([result[0] for result in results], [wire.CREATED] * 2)

        registered = connection.request(wire.REGISTER, wire.REGISTERED, None, None, [[self.queue, 1, *LATER]], ["later"], 2, 0, [],
                                        [], "newer", "host", 1, "build", *LATER)
        self.assertEqual(registered[4:6], [[], []])
        deliveries = []
        while len(deliveries) < 2:
            deliveries += [wire.Delivery(each) for each in connection.push(wire.DELIVER)[1]]
        held = [[*delivery.lease, *LATER] for delivery in deliveries]
        claims = connection.request(wire.HEARTBEAT, wire.HEARTBEAT_REPLY, held, 2, *LATER)[0]
        self.assertEqual(claims, [wire.OWNED] * 2)
        outcomes = [[*delivery.lease, wire.ACK, 1, "", 0, *LATER] for delivery in deliveries]
        self.assertEqual(connection.request(wire.OUTCOMES, wire.OUTCOMES_REPLY, outcomes, None, *LATER)[0], [wire.SETTLED] * 2)
        self.assertEqual(connection.request(wire.ADMIN, wire.ADMIN_REPLY, "ping", {}, *LATER)[0], {})
        connection.request(wire.GOODBYE, wire.GOODBYE_REPLY, *LATER)
        self.assertEqual(self.counts()["acked_total"], 2)

    def test_requests_and_parameters_that_came_later_are_named(self):
        connection, _ = self.greeted(1, 9, 2**64 - 1)
        refusal = self.assert_refused(wire.UNKNOWN_VERB, connection.request, 33, 34, *LATER)
        self.assertIn("33", refusal.text)
        refusal = self.assert_refused(wire.UNKNOWN_VERB, connection.request, wire.ADMIN, wire.ADMIN_REPLY,
                                      "queue.shuffle", {"queue": "q"})
        self.assertIn("queue.shuffle", refusal.text)
        refusal = self.assert_refused(wire.BAD_ARGUMENT, connection.request, wire.ADMIN, wire.ADMIN_REPLY,
                                      "queue.set", {"queue": self.queue, "colour": "blue"})
        self.assertIn("colour", refusal.text)


class OtherBroker(ScriptedBroker):
    """Answers hello as it is told to; puts more elements behind every reply, and pushes nobody knows before it."""

    def __init__(self, endpoint, welcome):
        super().__init__(endpoint)
        self.welcome = welcome

    def _answer(self, kind, fields):
        if kind == HELLO:
            return self.welcome
        kind, fields = super()._answer(kind, fields)
        return kind, [*fields, *LATER]

    def _send(self, peer, request_id, kind, fields):
        for push in (77, 4711):
            super()._send(peer, 0, push, LATER)
        super()._send(peer, request_id, kind, fields)


def welcome(version=1, features=0, more=()):
    return WELCOME, [version, features, b"0123456789abcdef", "jobq-broker 9.1", 1 << 20, 8 << 20, 10000, 5000, *more]


class NewerBroker(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())

    def meet(self, answer):
        return self.enterContext(OtherBroker(self.space.endpoint, answer))

    def test_a_newer_broker_that_still_speaks_our_version_is_served(self):
        broker = self.meet(welcome(features=2**64 - 1, more=LATER))
        broker.enqueue = lambda jobs: [[0, "j7", 1, *LATER]]
        done = self.space.jobq("enqueue", "q", "--body", "x")
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "j7"), done.stderr)
        hello = next(fields for kind, fields in broker.requests if kind == HELLO)
        self.assertEqual(hello[:3], [1, 1, wire.FEATURE_DRAIN], "the range and the features that this client has")

    def test_a_newer_broker_that_does_not_is_quoted(self):
        self.meet((ERROR, [wire.UNSUPPORTED_VERSION, "this broker speaks wire version 2 to 3, the client 1 to 1; upgrade the older one",
                           0]))
        done = self.space.jobq("enqueue", "q", "--body", "x")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("this broker speaks wire version 2 to 3", done.stderr)

    def test_a_broker_that_chooses_what_was_not_offered_is_refused(self):
        self.meet(welcome(version=2))
        done = self.space.jobq("enqueue", "q", "--body", "x")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"jobq-broker 9\.1.* wire version 2.* 1 to 1")

    def test_error_numbers_that_came_later_are_shown_as_numbers(self):
        broker = self.meet(welcome())
        broker.enqueue = lambda jobs: [[2, 299, 0, *LATER]]
        done = self.space.jobq("enqueue", "q", "--body", "x")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("299", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
