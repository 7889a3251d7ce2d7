#!/usr/bin/python3
"""The broker as a stranger meets it: driven over the wire by a client written from docs/protocol.md, with good manners, in
bad luck (lost connections, restarts) and with ill will (hostile bytes)."""

import os
import random
import time
import unittest

import msgpack
import python_client as wire
from processes import Broker, Workspace, wait_until
from python_client import BrokerError, Connection, Producer, Unanswered, Worker, job


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

    @classmethod
    def setUpClass(cls):
        cls.space = Workspace().__enter__()
        cls.addClassCleanup(cls.space.__exit__)
        cls.broker = WireBroker(cls.space.directory, cls.space.endpoint, [])
        cls.space.processes.append(cls.broker)
        cls.broker.start()
        cls.endpoint = cls.space.endpoint

    def setUp(self):
        self.queue = self.id().rsplit(".", 1)[1].replace("test_", "")[:64]

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


class Greeting(WireTest):
    def test_welcome_says_what_the_broker_takes(self):
        connection = self.connection()
        self.assertEqual((connection.version, connection.features), (1, 0))
        self.assertEqual(len(connection.incarnation), 16)
        self.assertTrue(connection.broker.startswith("jobq-broker "))
        self.assertEqual(connection.body_bytes_max, 1 << 20)
        self.assertEqual(connection.message_bytes_max, 8 << 20)
        self.assertEqual(connection.jobs_per_message_max, 10_000)
        self.assertGreater(connection.heartbeat_ms, 0)
        self.assertEqual(self.connection().incarnation, connection.incarnation)

    def test_versions_are_negotiated(self):
        connection = self.connection(greet=False)
        self.assert_refused(wire.UNSUPPORTED_VERSION, connection.hello, 2, 9)
        self.assertEqual(connection.hello(0, 9)[0], 1)

    def test_nothing_goes_before_hello(self):
        connection = self.connection(greet=False)
        self.assert_refused(wire.NOT_GREETED, connection.admin, "ping")
        for kind in (wire.REGISTER, wire.ENQUEUE, wire.OUTCOMES, wire.HEARTBEAT, wire.GOODBYE):
            with self.assertRaises(BrokerError):
                connection.request(kind, kind + 1, *{
                    wire.REGISTER: (None, None, [["q"]], [], 1, 0, [], [], "", "", 0, ""),
                    wire.ENQUEUE: (None, 1, 1, False, [["q", [job(b"x")]]]),
                    wire.OUTCOMES: ([],), wire.HEARTBEAT: ([],), wire.GOODBYE: (),
                }[kind])
        connection.hello()
        self.assertEqual(connection.admin("ping"), {})

    def test_unknown_requests_and_verbs_are_named(self):
        connection = self.connection()
        self.assert_refused(wire.UNKNOWN_VERB, connection.request, 63, 64)
        self.assert_refused(wire.UNKNOWN_VERB, connection.admin, "make.coffee")


class Enqueueing(WireTest):
    def test_a_job_reaches_a_worker_as_it_was_sent(self):
        job_id, = self.enqueue(job(b"\x00body\xff", "receipt", headers={"trace": "7f", "": ""}, priority=7, max_attempts=3,
                                   max_run_ms=60_000))
        self.assertLessEqual(len(job_id), 16)
        self.assertTrue(job_id.isprintable())
        worker = self.worker()
        delivery = worker.take_one()
        self.assertEqual((delivery.job, delivery.lease_no, delivery.attempt, delivery.max_attempts), (job_id, 1, 1, 3))
        self.assertEqual((delivery.queue, delivery.type, delivery.body), (self.queue, "receipt", b"\x00body\xff"))
        self.assertEqual((delivery.headers, delivery.priority), ({"trace": "7f", "": ""}, 7))
        self.assertEqual((delivery.lease_ms, delivery.max_run_ms), (30_000, 60_000))
        self.assertAlmostEqual(delivery.enqueued_at / 1000, time.time(), delta=60)
        self.assertEqual(self.counts()["leased"], 1)
        self.assertEqual(worker.ack(delivery), wire.SETTLED)
        self.assertEqual(self.counts(), {"ready": 0, "leased": 0, "scheduled": 0, "dead": 0, "acked_total": 1})

    def test_bodies_as_str_and_empty_ones_are_taken(self):
        self.enqueue(job("as text"), job(b""))
        worker = self.worker(credit=2)
        self.assertEqual([each.body for each in worker.take_many(2)], [b"as text", b""])

    def test_order_is_priority_then_arrival(self):
        self.enqueue(job(b"a"), job(b"b", priority=0), job(b"c", priority=9), job(b"d"))
        worker = self.worker(credit=4)
        self.assertEqual([each.body for each in worker.take_many(4)], [b"c", b"a", b"d", b"b"])

    def test_what_is_wrong_with_one_job_refuses_that_job(self):
        bad = [
            (job(b"x" * ((1 << 20) + 1)), wire.BODY_TOO_LARGE),
            (job(b"x", headers={"n": "v" * 5000}), wire.HEADERS_TOO_LARGE),
            (job(b"x", "not a type"), wire.BAD_TYPE),
            (job(b"x", priority=10), wire.BAD_PRIORITY),
            (job(b"x", priority=70000), wire.BAD_PRIORITY),
            (job(b"x", delay_ms=-1), wire.BAD_TIME),
            (job(b"x", delay_ms=5, run_at=5), wire.BAD_TIME),
            (job(b"x", expires_in_ms=2**63), wire.BAD_TIME),
            (job(b"x", unique_key="k" * 257), wire.BAD_UNIQUE_KEY),
            (job(b"x", unique_for_ms=5), wire.BAD_UNIQUE_KEY),
            (job(b"x", max_attempts=1001), wire.BAD_ARGUMENT),
        ]
        results = self.producer().enqueue(self.queue, [each for each, _ in bad] + [job(b"good")])
        self.assertEqual([result[:2] for result in results[:-1]], [[wire.REFUSED, code] for _, code in bad])
        self.assertEqual(results[-1][0], wire.CREATED)
        refused = self.producer().enqueue("no such name!", [job(b"x")])
        self.assertEqual(refused, [[wire.REFUSED, wire.BAD_QUEUE_NAME, 0]])

    def test_a_group_is_all_or_nothing(self):
        results = self.producer().enqueue_groups([
            [self.queue, [job(b"a"), job(b"b", priority=11), job(b"c")]],
            [self.queue, [job(b"d"), job(b"e")]],
        ])
        self.assertEqual([result[:2] for result in results[:3]],
                         [[wire.REFUSED, code] for code in (wire.NOT_DONE, wire.BAD_PRIORITY, wire.NOT_DONE)])
        self.assertEqual([result[0] for result in results[3:]], [wire.CREATED, wire.CREATED])
        self.assertEqual(self.counts()["ready"], 2)

    def test_a_full_queue_refuses_and_says_when_to_come_again(self):
        self.connection().admin("queue.set", queue=self.queue, max_jobs=2)
        results = self.producer().enqueue(self.queue, [job(b"1"), job(b"2"), job(b"3")])
        self.assertEqual([result[0] for result in results], [wire.CREATED, wire.CREATED, wire.REFUSED])
        self.assertEqual(results[2][1], wire.QUEUE_FULL)
        self.assertGreater(results[2][2], 0)

    def test_a_unique_key_gives_one_job(self):
        producer = self.producer()
        first, = producer.enqueue(self.queue, [job(b"one", unique_key="k")])
        same, = producer.enqueue(self.queue, [job(b"one", unique_key="k")])
        other, = producer.enqueue(self.queue, [job(b"two", unique_key="k")])
        self.assertEqual(first[0], wire.CREATED)
        self.assertEqual(same, [wire.DUPLICATE, first[1], wire.READY, False])
        self.assertEqual(other, [wire.DUPLICATE, first[1], wire.READY, True])
        worker = self.worker()
        delivery = worker.take_one()
        leased, = producer.enqueue(self.queue, [job(b"one", unique_key="k")])
        self.assertEqual(leased[2], wire.LEASED)
        worker.ack(delivery)
        again, = producer.enqueue(self.queue, [job(b"one", unique_key="k")])
        self.assertEqual(again[0], wire.CREATED)
        self.assertNotEqual(again[1], first[1])

    def test_a_delay_is_waited_for(self):
        worker = self.worker()
        begun = time.monotonic()
        results = self.producer().enqueue(self.queue, [job(b"later", delay_ms=400)])
        self.assertEqual(results[0][2], wire.SCHEDULED)
        worker.take_one()
        self.assertGreaterEqual(time.monotonic() - begun, 0.4)

    def test_a_date_in_the_past_is_now_and_one_to_come_is_waited_for(self):
        worker = self.worker(credit=2)
        now_ms = int(time.time() * 1000)
        results = self.producer().enqueue(self.queue, [job(b"future", run_at=now_ms + 500), job(b"past", run_at=now_ms - 5)])
        self.assertEqual([result[2] for result in results], [wire.SCHEDULED, wire.READY])
        self.assertEqual([each.body for each in worker.take_many(2)], [b"past", b"future"])
        self.assertGreaterEqual(time.time() * 1000, now_ms + 500)

    def test_a_job_that_waits_too_long_expires(self):
        self.enqueue(job(b"old", expires_in_ms=50))
        wait_until(lambda: self.counts()["ready"] == 0, "the job has expired")
        self.enqueue(b"fresh")
        self.assertEqual(self.worker().take_one().body, b"fresh")


class Resending(WireTest):
    def test_a_resend_is_answered_like_the_first_send(self):
        producer = self.producer()
        groups = msgpack.packb([[self.queue, [job(b"a"), job(b"b", delay_ms=3_600_000)]]])
        first = producer.connection.reply(producer.send(1, groups), wire.ENQUEUED)
        again = producer.connection.reply(producer.send(1, groups, resend=True), wire.ENQUEUED)
        self.assertEqual(again, first)
        producer.reconnect()
        self.assertEqual(producer.connection.reply(producer.send(1, groups, resend=True), wire.ENQUEUED), first)
        self.assertEqual((self.counts()["ready"], self.counts()["scheduled"]), (1, 1))

    def test_a_sequence_with_other_content_is_refused(self):
        producer = self.producer()
        producer.connection.reply(producer.send(1, msgpack.packb([[self.queue, [job(b"a")]]])), wire.ENQUEUED)
        other = producer.send(1, msgpack.packb([[self.queue, [job(b"b")]]]), resend=True)
        self.assert_refused(wire.RESEND_MISMATCH, producer.connection.reply, other, wire.ENQUEUED)
        self.assertEqual(self.counts()["ready"], 1)

    def test_what_was_reported_as_answered_is_forgotten(self):
        producer = self.producer()
        groups = msgpack.packb([[self.queue, [job(b"a")]]])
        producer.connection.reply(producer.send(1, groups), wire.ENQUEUED)
        producer.connection.reply(producer.send(2, groups, lowest_open=2), wire.ENQUEUED)
        self.assert_refused(wire.UNKNOWN_PRODUCER, producer.connection.reply, producer.send(1, groups, resend=True),
                            wire.ENQUEUED)

    def test_a_stranger_that_resends_is_told_that_nobody_knows(self):
        producer = self.producer()
        late = producer.send(7, msgpack.packb([[self.queue, [job(b"a")]]]), resend=True)
        self.assert_refused(wire.UNKNOWN_PRODUCER, producer.connection.reply, late, wire.ENQUEUED)

    def test_without_a_producer_every_send_is_a_new_request(self):
        connection = self.connection()
        for _ in range(2):
            sent = connection.request(wire.ENQUEUE, wire.ENQUEUED, None, 1, 1, True, [[self.queue, [job(b"a")]]])
            self.assertEqual(sent[1][0][0], wire.CREATED)
        self.assertEqual(self.counts()["ready"], 2)

    def test_many_requests_may_be_open_at_once(self):
        producer = self.producer()
        groups = msgpack.packb([[self.queue, [job(b"a")]]])
        sent = [(sequence, producer.send(sequence, groups, lowest_open=1)) for sequence in range(1, 5001)]
        ids = set()
        for sequence, request_id in sent:
            answered, results = producer.connection.reply(request_id, wire.ENQUEUED)
            self.assertEqual(answered, sequence)
            ids.add(results[0][1])
        self.assertEqual(len(ids), 5000)


class Working(WireTest):
    def test_credit_is_never_exceeded(self):
        self.enqueue(*[b"%d" % n for n in range(10)])
        worker = self.worker(credit=3)
        deliveries = worker.take_many(3)
        self.assertTrue(worker.connection.silent(0.2))
        worker.ack(deliveries[0])
        worker.take_one()
        self.assertTrue(worker.connection.silent(0.2))
        worker.heartbeat(credit=4)
        worker.take_one()
        worker.outcome(deliveries[1], wire.ACK)
        worker.outcome(deliveries[2], wire.ACK)
        self.assertEqual(worker.flush(credit=0), [wire.SETTLED, wire.SETTLED])
        self.assertTrue(worker.connection.silent(0.2))
        self.assertEqual(self.counts()["leased"], 2)

    def test_credit_in_bytes_always_allows_one_job(self):
        self.enqueue(b"x" * 100, b"y" * 100, b"z" * 100)
        worker = self.worker(credit=10, credit_bytes=150)
        delivery = worker.take_one()
        self.assertTrue(worker.connection.silent(0.2))
        worker.ack(delivery)
        worker.take_one()

    def test_a_nack_is_tried_again_and_at_last_dead_with_its_reasons(self):
        job_id, = self.enqueue(job(b"x", max_attempts=2))
        worker = self.worker()
        first = self.settle_one(worker, wire.NACK, text="mailbox busy", delay_ms=1)
        second = self.settle_one(worker, wire.NACK, text="mailbox full", delay_ms=1)
        self.assertEqual((first.attempt, second.attempt), (1, 2))
        self.assertGreater(second.lease_no, first.lease_no)
        connection = self.connection()
        dead = connection.admin("dead.ls", queue=self.queue)
        self.assertEqual([each["id"] for each in dead["jobs"]], [job_id])
        self.assertEqual((dead["jobs"][0]["reason"], dead["jobs"][0]["error"]), ("attempts", "mailbox full"))
        self.assertEqual(dead["jobs"][0]["failures"], 2)
        shown = connection.admin("job.show", id=job_id)
        self.assertEqual(shown["job"]["state"], "dead")
        self.assertEqual([(each["number"], each["outcome"], each["error"]) for each in shown["attempts"]],
                         [(1, "failed", "mailbox busy"), (2, "failed", "mailbox full")])

    def redrive(self, **filters):
        connection = self.connection()
        task = connection.admin("dead.redrive", queue=self.queue, **filters)["task"]
        return wait_until(lambda: (shown := connection.admin("task", task=task["task"])["task"])["state"] == "done" and shown,
                          "the redrive is done")

    def test_dead_jobs_are_driven_again(self):
        first, second = self.enqueue(job(b"a", "mail"), job(b"b", "sms"))
        worker = self.worker()
        for text in ("no such mailbox", "no such number"):
            self.settle_one(worker, wire.REJECT, text=text)
        self.assertEqual(self.counts()["dead"], 2)
        self.assertEqual(self.redrive(type="sms", dry_run=True)["moved"], 1)
        self.assertEqual(self.counts()["dead"], 2)
        self.assertEqual(self.redrive(error="number")["moved"], 1)
        again = worker.take_one()
        self.assertEqual((again.job, again.attempt, again.lease_no), (second, 1, 2))
        self.assertEqual(worker.ack(again), wire.SETTLED)
        self.assertEqual(self.redrive(id=first)["moved"], 1)
        self.assertEqual(worker.ack(worker.take_one()), wire.SETTLED)
        self.assertEqual(self.counts(), {"ready": 0, "leased": 0, "scheduled": 0, "dead": 0, "acked_total": 2})

    def test_release_counts_nothing_and_lets_another_have_it(self):
        self.enqueue(b"x")
        giver = self.worker()
        self.settle_one(giver, wire.RELEASE)
        taker = self.worker()
        again = taker.take_one()
        self.assertEqual((again.attempt, again.lease_no), (1, 2))

    def test_snooze_comes_again_uncounted(self):
        self.enqueue(b"x")
        worker = self.worker()
        begun = time.monotonic()
        self.settle_one(worker, wire.SNOOZE, delay_ms=300)
        again = worker.take_one()
        self.assertGreaterEqual(time.monotonic() - begun, 0.3)
        self.assertEqual(again.attempt, 1)

    def test_a_type_without_a_handler_is_struck(self):
        self.enqueue(job(b"x", "strange"), job(b"y", "known"))
        worker = self.worker()
        self.settle_one(worker, wire.NO_HANDLER)
        self.assertEqual(worker.take_one().body, b"y")
        self.assertEqual(self.worker().take_one().body, b"x")

    def test_a_worker_gets_the_types_that_it_serves(self):
        self.enqueue(job(b"x", "a"), job(b"y", "b"), job(b"z"))
        self.assertEqual(self.worker(types=["b"]).take_one().body, b"y")
        self.assertEqual(self.worker(types=[""]).take_one().body, b"z")

    def test_weights_share_a_worker(self):
        queues = [self.queue, self.queue + ".b"]
        for queue in queues:
            self.producer().enqueue(queue, [job(b"x") for _ in range(40)])
        worker = self.worker(queues=[[queues[0], 3], [queues[1], 1]], credit=40)
        got = [each.queue for each in worker.take_many(40)]
        self.assertEqual((got.count(queues[0]), got.count(queues[1])), (30, 10))

    def test_an_answer_for_a_lease_that_does_not_hold_is_stale(self):
        self.enqueue(b"x")
        worker, other = self.worker(), self.worker(credit=0)
        delivery = worker.take_one()
        self.assertEqual(other.settle(delivery, wire.ACK), wire.STALE)
        delivery.lease_no += 1
        self.assertEqual(worker.settle(delivery, wire.ACK), wire.STALE)
        delivery.lease_no -= 1
        self.assertEqual(worker.settle(delivery, wire.ACK), wire.SETTLED)
        self.assertEqual(worker.settle(delivery, wire.ACK), wire.SETTLED)  # sent again: the same answer

    def test_a_lease_runs_out_unless_it_is_extended(self):
        self.connection().admin("queue.set", queue=self.queue, lease_ms=1000, backoff_min_ms=1, backoff_max_ms=1)
        self.enqueue(b"kept", b"left")
        worker = self.worker(credit=2)
        kept, left = worker.take_many(2)
        self.assertEqual((kept.body, kept.lease_ms), (b"kept", 1000))
        for _ in range(6):
            self.assertEqual(worker.heartbeat([kept]), [(wire.OWNED, 0)])
            worker.connection.listen(0.25)  # the lease itself is what is tested: it has to run
        self.assertEqual(worker.connection.push(wire.REVOKED)[0], [left.lease])
        self.assertEqual(worker.heartbeat([left]), [(wire.STALE, wire.STALE_LEASE)])
        self.assertEqual(worker.settle(left, wire.ACK), wire.STALE)
        self.assertEqual(worker.ack(kept), wire.SETTLED)
        again = worker.take_one()
        self.assertEqual((again.body, again.lease_no, again.attempt), (b"left", 2, 1))

    def test_goodbye_hands_back_uncounted(self):
        self.enqueue(b"x", b"y")
        worker = self.worker(credit=2)
        worker.take_many(2)
        worker.goodbye()
        self.assertEqual(self.counts()["ready"], 2)
        self.assert_refused(wire.UNKNOWN_SESSION, worker.heartbeat)
        self.assertEqual({each.attempt for each in self.worker(credit=2).take_many(2)}, {1})

    def test_cancel_reaches_the_worker(self):
        waiting, = self.enqueue(job(b"waiting", delay_ms=3_600_000))
        running, = self.enqueue(b"running")
        worker = self.worker()
        delivery = worker.take_one()
        connection = self.connection()
        self.assertEqual(connection.admin("job.cancel", id=waiting)["job"]["state"], "gone")
        self.assertEqual(connection.admin("job.cancel", id=running)["job"]["state"], "leased")
        self.assertEqual(worker.connection.push(wire.CANCEL_REQUESTED)[0], [delivery.lease])
        self.assertEqual(worker.settle(delivery, wire.NACK, text="stopped"), wire.SETTLED)
        self.assertEqual(self.counts(), {"ready": 0, "leased": 0, "scheduled": 0, "dead": 0, "acked_total": 0})
        self.assert_refused(wire.CODE_GONE, lambda: connection.admin("job.cancel", id=running))

    def test_a_paused_queue_hands_out_nothing(self):
        connection = self.connection()
        self.enqueue(b"x")
        connection.admin("queue.pause", queue=self.queue)
        worker = self.worker()
        self.assertTrue(worker.connection.silent(0.2))
        connection.admin("queue.resume", queue=self.queue)
        self.assertEqual(worker.take_one().body, b"x")


class Reconnecting(WireTest):
    def test_a_worker_that_comes_back_keeps_what_it_names(self):
        self.enqueue(b"held", b"done", b"lost")
        worker = self.worker(credit=3)
        held, done, lost = worker.take_many(3)
        worker.drop_connection()
        worker.outcome(done, wire.ACK)
        del worker.held[lost.job]  # as if it had never arrived
        session = worker.session
        self.assertEqual(worker.reconnect(), ([wire.OWNED], [wire.SETTLED]))
        self.assertTrue(worker.resumed)
        self.assertEqual(worker.session, session)
        again = worker.take_one()
        self.assertEqual((again.body, again.lease_no, again.attempt), (b"lost", 2, 1))
        self.assertEqual(worker.ack(held), wire.SETTLED)
        self.assertEqual(worker.ack(again), wire.SETTLED)
        self.assertEqual(self.counts()["acked_total"], 3)

    def test_another_secret_does_not_take_a_session(self):
        self.enqueue(b"x")
        worker = self.worker()
        delivery = worker.take_one()
        thief = self.worker(credit=0)
        thief.session, thief.secret = worker.session, b"\x00" * 15 + b"\x01"
        thief.held = {delivery.job: delivery}
        self.assertEqual(thief.reconnect(), ([wire.STALE], []))
        self.assertFalse(thief.resumed)
        self.assertEqual(worker.ack(delivery), wire.SETTLED)

    def test_a_worker_that_stays_away_has_crashed(self):
        self.connection().admin("queue.set", queue=self.queue, session_grace_ms=200, backoff_min_ms=1, backoff_max_ms=1)
        job_id, = self.enqueue(b"x")
        worker = self.worker()
        worker.take_one()
        worker.drop_connection()
        again = self.worker().take_one()
        self.assertEqual((again.job, again.lease_no, again.attempt), (job_id, 2, 1))
        attempts = self.connection().admin("job.show", id=job_id)["attempts"]
        self.assertEqual([each["outcome"] for each in attempts], ["crashed"])


class Restarting(WireTest):
    def restart(self):
        self.broker.kill()
        self.broker.start()

    def test_a_restart_is_a_pause(self):
        producer = self.producer(timeout=1.0)
        ids = [result[1] for result in producer.enqueue(self.queue, [job(b"%d" % n) for n in range(6)])]
        dead, = producer.enqueue(self.queue, [job(b"dead", priority=9)])
        worker = self.worker(credit=3)
        first = worker.take_many(3)
        self.assertEqual(first[0].job, dead[1])
        worker.credit = 2
        worker.outcome(first[0], wire.REJECT, "never")
        self.assertEqual(worker.flush(credit=2), [wire.SETTLED])
        worker.outcome(first[1], wire.ACK)  # not sent yet
        incarnation = worker.connection.incarnation

        self.restart()
        claims = worker.reconnect()
        self.assertEqual(worker.connection.incarnation, incarnation)
        self.assertTrue(worker.resumed)
        self.assertEqual(claims, ([wire.OWNED], [wire.SETTLED]))
        rest = [first[2]]
        acked = [first[1].job]
        while rest:
            delivery = rest.pop()
            self.assertEqual(worker.ack(delivery), wire.SETTLED)
            acked.append(delivery.job)
            if len(acked) < len(ids):
                while not rest:
                    rest += worker.take()
        self.assertEqual(sorted(acked), sorted(ids))  # each once
        self.assertEqual(self.counts(), {"ready": 0, "leased": 0, "scheduled": 0, "dead": 1, "acked_total": 6})
        self.assertEqual(self.connection().admin("dead.ls", queue=self.queue)["jobs"][0]["error"], "never")

    def test_a_resend_across_a_restart_makes_no_second_job(self):
        producer = self.producer(timeout=1.0)
        groups = msgpack.packb([[self.queue, [job(b"a"), job(b"b")]]])
        first = producer.connection.reply(producer.send(1, groups), wire.ENQUEUED)
        self.restart()
        producer.reconnect()
        self.assertEqual(producer.connection.reply(producer.send(1, groups, resend=True), wire.ENQUEUED), first)
        self.assertEqual(self.counts()["ready"], 2)

    def test_a_client_that_did_not_notice_is_told(self):
        connection = self.connection()
        self.restart()

        def asked():
            try:
                connection.request(wire.ADMIN, wire.ADMIN_REPLY, "ping", {})
            except BrokerError as error:
                return error
            except Unanswered:
                return None
            raise AssertionError("the new broker took a stranger's request")

        connection.timeout = 1.0
        self.assertEqual(wait_until(asked, "the broker answers").code, wire.NOT_GREETED)
        connection.hello()
        self.assertEqual(connection.admin("ping"), {})

    def test_requests_ride_over_a_restart(self):
        producer = self.producer(timeout=1.0)
        self.assertEqual(producer.enqueue(self.queue, [job(b"before")])[0][0], wire.CREATED)
        self.broker.kill()
        sequence, packed = producer.next_sequence, msgpack.packb([[self.queue, [job(b"during")]]])
        producer.next_sequence += 1
        producer.send(sequence, packed)  # to nobody
        self.broker.start()
        producer.reconnect()
        results = producer.connection.reply(producer.send(sequence, packed, resend=True), wire.ENQUEUED)[1]
        self.assertEqual(results[0][0], wire.CREATED)
        self.assertEqual(self.counts()["ready"], 2)

    def test_the_first_request_of_a_producer_rides_over_a_restart_too(self):
        producer = self.producer(timeout=1.0)
        self.broker.kill()
        packed = msgpack.packb([[self.queue, [job(b"first")]]])
        producer.send(1, packed)
        self.broker.start()
        producer.reconnect()
        results = producer.connection.reply(producer.send(1, packed, resend=True), wire.ENQUEUED)[1]
        self.assertEqual(results[0][0], wire.CREATED)
        self.assertEqual(self.counts()["ready"], 1)

    def test_a_broker_that_is_told_to_stop_says_bye(self):
        worker = self.worker(credit=1)
        self.enqueue(b"x")
        delivery = worker.take_one()
        self.assertEqual(self.broker.stop(), 0)
        reason, retry_after_ms = worker.connection.push(wire.BYE)[:2]
        self.assertEqual(reason, wire.SHUTTING_DOWN)
        self.assertGreaterEqual(retry_after_ms, 0)
        self.broker.start()
        self.assertEqual(worker.reconnect(), ([wire.OWNED], []))
        self.assertEqual(worker.ack(delivery), wire.SETTLED)


class Hostile(WireTest):
    """Whatever arrives, the broker answers or ignores it, keeps its memory, and goes on serving the others."""

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
