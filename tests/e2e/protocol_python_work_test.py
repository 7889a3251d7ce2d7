#!/usr/bin/python3
"""Workers and restarts, as a client written from docs/protocol.md sees them: outcomes, leases, sessions, and what a lost
connection or a killed broker leaves behind."""

import time
import unittest

import msgpack
import python_client as wire
from processes import wait_until
from python_client import BrokerError, Unanswered, Worker, job
from wire_case import WireTest


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


class ShortTimes(WireTest):
    """A broker that is impatient, and does not make queues by itself."""

    config = "[engine]\nheartbeat_ms = 200\nstop_grace_ms = 100\n[limits]\nauto_create = false\n"

    def setUp(self):
        super().setUp()
        self.control = self.connection()
        self.control.admin("queue.set", queue=self.queue, lease_ms=1000, backoff_min_ms=1, backoff_max_ms=1)

    def test_a_silent_worker_is_told_and_takes_its_session_up_again(self):
        self.enqueue(b"x")
        worker = self.worker()
        self.assertEqual((worker.heartbeat_ms, worker.connection.heartbeat_ms), (200, 200))
        delivery = worker.take_one()
        self.assertEqual(worker.connection.push(wire.BYE)[0], wire.UNKNOWN_SESSION)
        self.assert_refused(wire.UNKNOWN_SESSION, worker.heartbeat)
        session = worker.session
        self.assertEqual(worker.register(), ([wire.OWNED], []))
        self.assertEqual((worker.session, worker.resumed), (session, True))
        self.assertEqual(worker.ack(delivery), wire.SETTLED)

    def test_empty_heartbeats_keep_a_session(self):
        worker = self.worker()
        for _ in range(12):
            self.assertEqual(worker.heartbeat(), [])
            worker.connection.listen(0.1)
        self.assertEqual(worker.connection.pushes, [])

    def test_a_run_cannot_be_extended_for_ever(self):
        job_id, = self.enqueue(job(b"x", max_run_ms=1500))
        worker = self.worker()
        delivery = worker.take_one()
        self.assertEqual(worker.heartbeat([delivery]), [(wire.OWNED, 0)])
        answers = []

        def lost():
            answers.extend(worker.heartbeat([delivery]))
            return answers[-1] == (wire.STALE, wire.STALE_LEASE)

        wait_until(lost, "the run is ended")
        self.assertIn((wire.OWNED, wire.EXTEND_LIMIT), answers)
        self.assertEqual(worker.connection.push(wire.REVOKED)[0], [delivery.lease])
        attempts = self.control.admin("job.show", id=job_id)["attempts"]
        self.assertEqual([each["outcome"] for each in attempts], ["timed_out"])
        self.assertEqual(worker.take_one().attempt, 2)

    def test_a_queue_that_nobody_made_is_refused(self):
        results = self.producer().enqueue("nowhere", [job(b"x")])
        self.assertEqual(results, [[wire.REFUSED, wire.NO_SUCH_QUEUE, 0]])
        self.assert_refused(wire.NO_SUCH_QUEUE, lambda: Worker(self.endpoint, ["nowhere"]))
        self.assert_refused(wire.NO_SUCH_QUEUE, lambda: self.control.admin("queue.show", queue="nowhere"))


if __name__ == "__main__":
    unittest.main()
